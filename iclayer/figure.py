"""The figure of what `iclayer.diagnostics.diagnose` measured."""

import itertools

import matplotlib
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


def figure(frame) -> matplotlib.figure.Figure:
    """Draws what `diagnose` measured over the depth of the network.

    Args:
        frame: what `diagnose` returns, or several such, concatenated: each `model` is a line, solid in training and
            dotted in inference.

    Returns:
        The figure: a panel for each measure. A weight layer stands at its number among the weight layers of its model,
        in the order in which they are called and counted from 1, and a batch normalization at its number among those.
        A value that is missing leaves a gap. Infinite values are drawn at the top, at ∞.
    """
    frame = frame.reset_index(drop=True)
    drawn = matplotlib.figure.Figure(figsize=(12, 6.5), layout="constrained")
    *panels, legend = drawn.subplots(2, 4).ravel()
    names = list(frame["model"].unique())
    colors, markers = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(names))), itertools.cycle("osD^vP*X<>p")
    styles = [
        {"color": color, "marker": marker, "markersize": 4} for color, marker in zip(colors, markers, strict=False)
    ]
    for panel, (measure, label) in zip(panels, MEASURES.items(), strict=True):
        norms = measure == "variance_shift"
        kind = "batch normalization" if norms else "weight layer"
        rows = frame[frame["channels"].notna() & (frame["constant"].isna() == norms)]
        most = rows.groupby("model")["layer"].nunique().max() if len(rows) else 1
        panel.set(xlabel=f"{kind}, from the input", ylabel=label, xlim=(0.5, most + 0.5))
        panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator("auto", integer=True))
        panel.grid(alpha=0.3)
        if measure in LOGARITHMIC:
            panel.set_yscale("log")
            for label_ticks in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
                label_ticks(matplotlib.ticker.LogFormatter(minor_thresholds=(2, 0.5)))  # 1.05, not 1.05 x 10^0
            greatest = rows.loc[rows[measure] < np.inf, measure].max()
            top = 10.0 if np.isnan(greatest) else 10 * greatest
            if np.isinf(rows[measure]).any():
                panel.text(1, top, " ∞", transform=panel.get_yaxis_transform(), verticalalignment="center")
            rows = rows.replace({measure: {np.inf: top}})
        for name, style in zip(names, styles, strict=True):
            of_model = rows[rows["model"] == name]
            numbers = pd.Series(1 + pd.factorize(of_model["layer"])[0], of_model.index)
            for mode, line in LINES.items():
                values = of_model.loc[of_model["mode"] == mode, measure]
                panel.plot(numbers[values.index], values, line, **style)
    lines = [matplotlib.lines.Line2D([], [], label=name, **style) for name, style in zip(names, styles, strict=True)]
    lines += [
        matplotlib.lines.Line2D([], [], color="gray", ls=line, label=f"{mode} mode") for mode, line in LINES.items()
    ]
    legend.axis("off")
    legend.legend(handles=lines, loc="center")
    return drawn
