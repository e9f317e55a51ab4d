"""The figure of what `iclayer.diagnostics.diagnose` measured."""

import itertools

import matplotlib.figure
import matplotlib.lines
import matplotlib.ticker
import numpy as np
import pandas as pd

MEASURES = {
    "mean_abs_correlation": "mean |correlation|",
    "max_abs_correlation": "largest |correlation|",
    "mutual_information": "mutual information (nats)",
    "eigenvalue_spread": "largest / smallest eigenvalue",
    "nonnegative": "share of inputs >= 0",
    "one_sign": "share of neurons with\ngradients of one sign",
    "variance_shift": "variance shift max(r, 1/r)",
}
LOGARITHMIC = ("eigenvalue_spread", "variance_shift")
LINES = {"training": "-", "inference": ":"}
ONLY = {"one_sign": "training", "variance_shift": "inference"}  # measured in one mode alone
FRONT, DASHES = ("black", "tab:blue", "tab:orange", "tab:green"), ("--", ":", "-.")


def figure(frame) -> matplotlib.figure.Figure:
    """Draws what `diagnose` measured over the depth of the network.

    Args:
        frame: what `diagnose` returns, or several such, concatenated: each `model` is a line. The first four stand in
            front, in colors; any others are thin and gray, behind them.

    Returns:
        The figure. Of one model: a panel for each measure, solid in training and dotted in inference. Of several: a
        panel for each measure and mode, training on the left, inference on the right, on one scale. A weight layer
        stands at its number among the weight layers of its model, in the order in which they are called and counted
        from 1, and a batch normalization at its number among those. A value that is missing leaves a gap. Infinite
        values are drawn at the top, at ∞.
    """
    frame = frame.reset_index(drop=True)
    styles = _styles(frame["model"].unique())
    apart = len(styles) > 1
    if apart:
        shown = [(measure, [mode]) for measure in MEASURES for mode in LINES if ONLY.get(measure, mode) == mode]
    else:
        shown = [(measure, list(LINES)) for measure in MEASURES]
    height = -(-len(shown) // 2)
    drawn = matplotlib.figure.Figure(figsize=(11, 2.7 * height), layout="constrained")
    panels: dict = {}
    for place, (measure, modes) in enumerate(shown, 1):
        panel = drawn.add_subplot(height, 2, place, sharey=panels.get(measure))
        panels.setdefault(measure, panel)
        norms = measure == "variance_shift"
        rows = frame[frame["channels"].notna() & (frame["constant"].isna() == norms)]
        _set_axes(panel, measure, rows)
        if apart:
            panel.set_title(f"{modes[0]} mode", fontsize="medium")
        if measure in LOGARITHMIC:
            greatest = rows.loc[rows[measure] < np.inf, measure].max()
            top = 10.0 if np.isnan(greatest) else 10 * greatest
            if np.isinf(rows.loc[rows["mode"].isin(modes), measure]).any():
                panel.text(1, top, " ∞", transform=panel.get_yaxis_transform(), verticalalignment="center")
            rows = rows.replace({measure: {np.inf: top}})
        for name, style in styles.items():
            of_model = rows[rows["model"] == name]
            numbers = pd.Series(1 + pd.factorize(of_model["layer"])[0], of_model.index)
            for mode in modes:
                values = of_model.loc[of_model["mode"] == mode, measure]
                panel.plot(numbers[values.index], values, **style | ({} if apart else {"linestyle": LINES[mode]}))
    lines = [matplotlib.lines.Line2D([], [], label=name, **style) for name, style in styles.items()]
    if not apart:
        lines += [matplotlib.lines.Line2D([], [], color="gray", ls=LINES[mode], label=f"{mode} mode") for mode in LINES]
    drawn.legend(handles=lines, loc="outside lower center", ncols=6)
    return drawn


def _styles(names):
    """How the line of each model looks."""
    behind = ({"color": "gray", "linewidth": 1, "zorder": 1.9, "linestyle": line} for line in itertools.cycle(DASHES))
    looks = itertools.chain(({"color": color, "linewidth": 1.8} for color in FRONT), behind)
    markers = itertools.cycle("osD^vP*X<>p")
    return {
        name: {"marker": marker, "markersize": 4, **look}
        for name, marker, look in zip(names, markers, looks, strict=False)
    }


def _set_axes(panel, measure, rows):
    """Names and scales the axes of the panel of a measure, for so many layers as the rows have."""
    most = rows.groupby("model")["layer"].nunique().max() if len(rows) else 1
    kind = "batch normalization" if measure == "variance_shift" else "weight layer"
    panel.set(xlabel=f"{kind}, from the input", ylabel=MEASURES[measure], xlim=(0.5, most + 0.5))
    panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator("auto", integer=True))
    panel.tick_params(which="both", labelsize="small")
    panel.grid(alpha=0.3)
    if measure in LOGARITHMIC:
        panel.set_yscale("log")
        for label_ticks in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
            label_ticks(matplotlib.ticker.LogFormatter(minor_thresholds=(2, 0.5)))  # 1.05, not 1.05 x 10^0
