"""The variance shift of runs: what `python -m reporting.diagnose` measured and predicted, over layers and seeds."""

import itertools

import numpy as np
import pandas
from matplotlib import figure, ticker

from reporting import analysis
from training.records import Record

NAMES = {"variance_shift": "measured", "predicted_variance_shift": "predicted"}
RUN = ["setting", "network", "ordering", "rate", "seed"]  # what tells one run from another
STYLES = [{"color": f"C{i}", "marker": marker} for i, marker in enumerate(("o", "s", "^", "D", "v", "P", "X"))]
TICKS = (1, 1.5, 2, 3, 5, 10, 20, 50, 100)


def diagnosed(found: list[Record]) -> list[Record]:
    """Those of the runs that count that were diagnosed and have a batch normalization, whose shift can be shown."""
    counted = set(analysis.finished(analysis.table(found))["directory"])
    return [record for record in found if record.directory in counted and _has_shift(record.directory)]


def _has_shift(directory):
    path = directory / "diagnostics.csv"
    return path.exists() and pandas.read_csv(path)["variance_shift"].notna().any()


def by_layer(found: list[Record]) -> pandas.DataFrame:
    """One row a batch normalization of a trained network: `RUN`, and its shift as `measured` and `predicted`.

    `predicted` is NaN in diagnostics of before it was there.
    """
    frame = analysis.diagnostics(found).rename(columns=NAMES)
    norms = frame[(frame["model"] == "trained") & frame["measured"].notna()]
    return norms.reindex(columns=[*RUN, "layer", *NAMES.values()]).reset_index(drop=True)


def by_run(found: list[Record]) -> pandas.DataFrame:
    """One row a run: `RUN`, geometric means of `measured` and `predicted` over its batch normalizations, and `gain`.

    That is its accuracy with statistics that are recomputed with noise off, less that with moving statistics.
    """
    frame = analysis.diagnostics(found)
    of_model = frame[(frame["model"] == "trained") & frame["accuracy"].notna()]
    accuracy = of_model.pivot_table(index=RUN, columns="mode", values="accuracy", sort=False)
    shifts = np.exp(
        by_layer(found).set_index(RUN)[[*NAMES.values()]].apply(np.log).groupby(level=RUN, sort=False).mean()
    )
    return shifts.assign(gain=accuracy["recomputed"] - accuracy["inference"]).reset_index()


def ratios(found: list[Record], network: str, other: str) -> pandas.DataFrame:
    """One row an ordering and rate: the shift of `network` by that of `other`, paired by seed.

    `n` seeds, the geometric mean `ratio` of runs, and its 95% interval, `low` to `high`.
    """
    measured = by_run(found).pivot_table(
        index=["ordering", "rate", "seed"], columns="network", values="measured", sort=False
    )
    pairs = measured[[network, other]].dropna()
    grouped = (pairs[network] / pairs[other]).groupby(level=["ordering", "rate"], sort=False)
    rows = [(*key, len(seeds), *_interval(seeds)) for key, seeds in grouped]
    return pandas.DataFrame(rows, columns=["ordering", "rate", "n", "ratio", "low", "high"])


def tables(found: list[Record]) -> dict[str, pandas.DataFrame]:
    """For each rate the shifts and the gains, as text: a row an ordering, a column a network."""
    out = {}
    for rate, runs in by_run(found).groupby("rate", sort=False):
        name = "network" if runs.groupby("network")["setting"].nunique().max() == 1 else "setting"
        shift = "Variance shift, geometric mean [95% interval] (predicted)"
        gain = "Accuracy with recomputed statistics, less with moving ones: mean ± half of the 95% interval"
        for title, cell in ((shift, _shift), (gain, _gain)):
            rows = {
                f"`{ordering}`": {network: cell(seeds) for network, seeds in group.groupby(name)}
                for ordering, group in runs.groupby("ordering", sort=False)
            }
            text = pandas.DataFrame.from_dict(rows, orient="index").sort_index(axis=1).fillna("-")
            out[f"{title}, rate {rate:g}"] = text.rename_axis("unit").reset_index()
    return out


def _shift(seeds):
    mean, low, high = _interval(seeds["measured"])
    predicted, *_ = _interval(seeds["predicted"])
    text = f"{mean:.2f}" + ("" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]")
    return text + ("" if np.isnan(predicted) else f" ({predicted:.2f})")


def _interval(shifts):
    """The geometric mean over seeds, and its 95% interval, which is that of the logarithms."""
    logs = np.log(shifts)
    half = analysis.half_interval(logs)
    return np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])


def _gain(seeds):
    half = analysis.half_interval(seeds["gain"])
    return f"{seeds['gain'].mean():+.3f}" + ("" if np.isnan(half) else f" ± {half:.3f}")


def drawing(found: list[Record]) -> figure.Figure:
    """The shift of each batch normalization, predicted and measured; and the means of runs at the highest rate.

    Networks differ in marker too. Without predictions there is the second panel alone.
    """
    layers, runs = by_layer(found).dropna(subset="predicted"), by_run(found)
    styles = dict(zip(sorted(runs["network"].unique()), itertools.cycle(STYLES), strict=False))
    drawn = figure.Figure(figsize=(12, 5), layout="constrained")
    if len(layers):
        _draw_layers(drawn.add_subplot(1, 2, 1), layers, styles)
    _draw_runs(drawn.add_subplot(1, 1 + bool(len(layers)), 1 + bool(len(layers))), runs, styles)
    for axis in drawn.axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    return drawn


def _draw_layers(axis, layers, styles):
    for network, own in layers.groupby("network"):
        axis.plot(
            own["predicted"], own["measured"], **styles[network], linestyle="", markersize=4, alpha=0.6, label=network
        )
    ends = [1, layers[[*NAMES.values()]].max(axis=None)]
    axis.plot(ends, ends, color="gray", linewidth=1)
    axis.set(xscale="log", yscale="log", xlabel="predicted variance shift", ylabel="measured variance shift")
    for each in (axis.xaxis, axis.yaxis):
        _number(each, ends[1])
    axis.set_title("each batch normalization", fontsize="medium")


def _draw_runs(axis, runs, styles):
    rate = runs["rate"].max()
    highest = runs[runs["rate"] == rate]
    orderings = list(highest["ordering"].unique())[::-1]
    networks = list(highest.groupby("network"))
    for place, (network, own) in enumerate(networks):
        means, lows, highs = np.transpose(
            [_interval(seeds) for _, seeds in own.groupby("ordering", sort=False)["measured"]]
        )
        heights = [orderings.index(ordering) for ordering in own["ordering"].unique()]
        apart = 0.14 * ((len(networks) - 1) / 2 - place)
        errors = {"xerr": [means - lows, highs - means], "capsize": 2}
        axis.errorbar(
            means, np.add(heights, apart), **errors, **styles[network], linestyle="", markersize=5, label=network
        )
    axis.set(xscale="log", xlabel="measured variance shift, with its 95% interval over seeds")
    axis.set_yticks(range(len(orderings)), orderings)
    axis.set_title(f"geometric mean over batch normalizations, rate {rate:g}", fontsize="medium")
    _number(axis.xaxis, highest["measured"].max())


def _number(axis, most):
    """Numbers that people would choose, up to `most`."""
    ticks = [tick for tick in TICKS if tick < 1.1 * most]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(ticker.NullLocator())
