"""What the pages say of the variance shift is what the records say."""

import pathlib
import re

import numpy as np
from pages import words

from reporting import analysis, shifts

SHIFTED = {
    "that those have learned by factors of {},": ["conv-dropout-bn-relu"],
    "IC's by {},": ["relu-ic-conv"],
    "one dropout a branch by {} and": ["kim2023", "wide"],
    "in the places of the first two, by {};": ["conv uout bn | relu", "relu bn uout conv"],
}


def test_the_variance_shifts_in_the_text_are_those_that_were_recorded():
    families, short = (
        shifts.diagnosed(analysis.read_runs(pathlib.Path(f"results/{name}"))[0])
        for name in ("disharmony", "first-evidence")
    )
    layers, text = shifts.by_layer(families), words("docs/evidence.md")
    off = np.exp(abs(np.log(layers["measured"] / layers["predicted"])))
    half, most = (f"{100 * (off.quantile(share) - 1):.0f}%" for share in (0.5, 0.9))
    nothing = layers.loc[layers["predicted"] < 1.001, "measured"].max()
    assert f"Of the {len(layers):,} batch normalizations in {len(families)} trained networks, half are" in text
    assert f"half are predicted to within {half}, nine of ten to within {most}. Where it predicts 1," in text
    assert f"`diagnose` measures up to {nothing:.2f}:" in text
    runs = shifts.by_run(families).query("rate == 0.5").set_index(["ordering", "network"])
    means = np.exp(np.log(runs["measured"]).groupby(level=["ordering", "network"]).mean())
    for said, units in SHIFTED.items():
        assert said.format(f"{means.loc[units].min():.1f} to {means.loc[units].max():.1f}") in text
    ratios = shifts.ratios(families, "WRN-16-4", "WRN-16-1").query("rate == 0.5").set_index("ordering")
    wide, drop, ic = (
        "{ratio:.2f} [{low:.2f}, {high:.2f}]".format(**ratios.loc[unit])
        for unit in ("wide", "conv-dropout-bn-relu", "relu-ic-conv")
    )
    assert f"by the factor {wide} for `wide` and {ic} for `relu-ic-conv`: lower." in text
    assert f"For `conv-dropout-bn-relu` it is {drop}: higher." in text
    assert all(ratios.loc[["wide", "relu-ic-conv"], "high"] < 1)
    assert ratios.loc["conv-dropout-bn-relu", "low"] > 1
    assert set(ratios.loc[["wide", "relu-ic-conv", "conv-dropout-bn-relu"], "n"]) == {3}
    tables = {title: table.set_index("unit") for title, table in shifts.tables(families).items()}
    lower = {
        (rate, unit): re.findall(r"[\d.]+ \[.*\]|[\d.]+(?=\)$)", table.loc[f"`{unit}`", "WRN-16-1"])
        for rate in ("0.2", "0.1")
        for title, table in tables.items()
        if title.startswith("Variance") and title.endswith(f"rate {rate}")
        for unit in ("conv-dropout-bn-relu", "relu-ic-conv")
    }
    (a, e), (b, f), (c, g), (d, h) = (lower[key] for key in sorted(lower, key=lambda key: (key[1], -float(key[0]))))
    assert (
        f"shifts {a} at rate 0.2 and {b} at 0.1 (predicted {e} and {f}), `relu-ic-conv` {c} and {d} ({g} and {h})."
        in text
    )
    shift, gain = (table for title, table in tables.items() if title.endswith("rate 0.5"))
    units = ("conv uout bn | relu", "conv-dropout-bn-relu", "relu bn uout conv", "relu-ic-conv")
    a, b, c, d = (shift.loc[f"`{unit}`", "WRN-16-1"].partition(" (")[0] for unit in units)
    assert f"It shifts {a} where dropout shifts {b} (`{units[0]}` and `{units[1]}`, WRN-16-1)," in text
    assert f"{c} where IC's shifts {d} (`{units[2]}` and `{units[3]}`)." in text
    assert f"raise its accuracy by {gain.loc['`relu-ic-conv`', 'WRN-16-4']}." in text
    shift, gain = (
        table.set_index("unit").loc["`relu-ic-conv`", "ResNet-20"] for table in shifts.tables(short).values()
    )
    assert f"rate of 0.05 it is {shift} in ResNet-20, and they raise nothing ({gain}):" in text
