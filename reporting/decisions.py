"""What paired differences between units decide of the paper's claims: faster, more stable, better."""

import bisect

import numpy as np
import pandas
from matplotlib import figure, lines
from scipy import stats

from reporting import analysis

CLAIMS = {  # one measure each, so that none is chosen after the fact: a column of `analysis.paired`, and its name
    "mean": "faster: mean of all epochs",
    "drop": "more stable: largest drop",
    "last": "better: last epoch",
}
NONE = 0.005  # the largest difference of accuracies that counts as none; all gains of Table 1 but one are larger
STYLES = {  # marker, its filling, and what the legend says
    "larger": (">", "black", "larger"),
    "smaller": ("<", "black", "smaller"),
    "none": ("s", "black", f"none above {NONE} (gray)"),
    "undecided": ("o", "white", "undecided"),
}


def decide(paired: pandas.DataFrame) -> pandas.DataFrame:
    """One row a setting, pair of units and claim, in the order of `paired`.

    Of the `n` differences by seed it has the `mean`, the standard deviation `std` and the 95% interval of the mean,
    `low` to `high`, by Student's t; `p`, that of no difference; and `p_above`, that of one above 0.005 either way. Both
    are corrected (Holm 1979) for all pairs of the setting, claim by claim, for each is a question of its own. `word`
    says what is decided: "larger" or "smaller" where p is below 0.05, "none" where p_above is, else "undecided". One
    seed, or differences that are all equal, have no interval and decide nothing.

    Args:
        paired: of `analysis.paired`.
    """
    rows = [
        {"setting": setting, "unit": unit, "less": less, "claim": claim} | _tested(seeds[claim].dropna())
        for (setting, unit, less), seeds in paired.groupby(["setting", "unit", "less"], sort=False)
        for claim in CLAIMS
        if seeds[claim].notna().any()
    ]
    columns = ["setting", "unit", "less", "claim", "n", "mean", "std", "low", "high", "p", "p_above"]
    out = pandas.DataFrame(rows, columns=columns)
    for p in ("p", "p_above"):
        out[p] = out.groupby(["setting", "claim"], sort=False)[p].transform(holm)
    return out.assign(word=[_word(row) for row in out.itertuples()])


def changes(paired: pandas.DataFrame, setting: str, less: str) -> pandas.DataFrame:
    """The differences in one setting less those in another, by pair of units and seed, in the form of `paired`.

    `decide` tells of them whether what units do depends on the setting. Pairs and seeds that one of the two lacks are
    left out.

    Args:
        paired: of `analysis.paired`.
        setting: name of a setting in it.
        less: of the other.

    Raises:
        KeyError: there is no such setting.
    """
    settings = paired.groupby("setting")
    one, other = (settings.get_group(name).set_index(["unit", "less", "seed"])[[*CLAIMS]] for name in (setting, less))
    common = one.index.intersection(other.index, sort=False)
    return (one.loc[common] - other.loc[common]).reset_index().assign(setting=f"{setting}, less {less}")


def _tested(values):
    known = {"n": len(values), "mean": values.mean(), "std": values.std()}
    if len(values) < 2 or np.ptp(values) < 1e-9:  # below what one image can make
        return known
    test = stats.ttest_1samp(values, 0.0)
    low, high = test.confidence_interval(0.95)
    above = stats.ttest_1samp(values, NONE, alternative="less"), stats.ttest_1samp(values, -NONE, alternative="greater")
    p_above = min(1.0, 2 * max(one.pvalue for one in above))  # twice: no word is stronger than its interval
    return known | {"low": low, "high": high, "p": test.pvalue, "p_above": p_above}


def holm(p: pandas.Series) -> pandas.Series:
    """p values corrected for their number (Holm 1979); NaN does not count."""
    ordered = p.dropna().sort_values()
    return (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1).reindex(p.index)


def _word(row):
    if row.p < 0.05:
        return "larger" if row.mean > 0 else "smaller"
    return "none" if row.p_above < 0.05 else "undecided"


def seeds_needed(deviation: float, difference: float) -> int:
    """The least number of seeds with which the paired t test at 5% finds a difference, and its sign, in 4 of 5 studies.

    Args:
        deviation: the standard deviation of paired differences, above 0.
        difference: the true one, above 0.
    """

    def power(count):
        return stats.nct.sf(stats.t.ppf(0.975, count - 1), count - 1, difference / deviation * np.sqrt(count))

    counts = range(2, 1_000_000)
    return counts[bisect.bisect_left(counts, 0.8, key=power)]


def parts(decided: pandas.DataFrame) -> pandas.DataFrame:
    """The rows that tell where batch normalization stands from what dropout adds, and from what it adds itself."""
    return decided[(decided["unit"] == analysis.UNDROPPED) | (decided["less"] != analysis.BASELINE)]


def drawing(decided: pandas.DataFrame) -> figure.Figure:
    """A forest plot: for each setting and claim the differences that have an interval, and what they decide.

    An interval of two seeds may leave its panel where others have more: beside it those would be hard to see.
    """
    known = decided.dropna(subset="low")
    settings = [
        (name, rows, rows[["unit", "less", "n"]].drop_duplicates())
        for name, rows in known.groupby("setting", sort=False)
    ]
    lengths = [len(pairs) + 2.5 for *_, pairs in settings]
    drawn = figure.Figure(figsize=(9.5, 0.3 * sum(lengths) + 0.4), layout="constrained")
    grid = drawn.add_gridspec(len(settings), len(CLAIMS), height_ratios=lengths)
    for row, (setting, rows, pairs) in enumerate(settings):
        names = {(unit, less): f"{unit} less {less} (n = {n})" for unit, less, n in pairs.itertuples(index=False)}
        heights = {pair: -place for place, pair in enumerate(names)}
        for column, (claim, name) in enumerate(CLAIMS.items()):
            axis = drawn.add_subplot(grid[row, column])
            _draw(axis, rows[rows["claim"] == claim], heights)
            axis.set_yticks([*heights.values()], [] if column else [*names.values()])
            axis.set(xlabel=name, ylim=(0.6 - len(names), 0.6))
            if not column:
                axis.set_title(setting, parse_math=False, loc="left", fontsize="medium")
    handles = [
        lines.Line2D([], [], color="black", linestyle="", marker=marker, mfc=filling, label=text)
        for marker, filling, text in STYLES.values()
    ]
    drawn.legend(
        handles=handles, loc="outside lower right", ncols=len(handles), fontsize="small", title="95% intervals"
    )
    return drawn


def _draw(axis, rows, heights):
    axis.axvspan(-NONE, NONE, color="0.9", linewidth=0)
    axis.axvline(0, color="0.5", linewidth=1)
    axis.locator_params(axis="x", nbins=3)
    axis.tick_params(axis="x", labelsize="small")
    whole = rows[rows["n"] > 2] if rows["n"].max() > 2 else rows
    edges = [-NONE, NONE, *rows["mean"], *whole["low"], *whole["high"]]
    margin = 0.05 * (max(edges) - min(edges))
    axis.set_xlim(min(edges) - margin, max(edges) + margin)
    for row in rows.itertuples():
        marker, filling, _ = STYLES[row.word]
        place, half = heights[row.unit, row.less], row.high - row.mean
        axis.errorbar(row.mean, place, xerr=half, fmt=marker, mfc=filling, color="black", capsize=2)
