"""What differences decide: intervals by another route, how often they hold the truth, Holm's correction, the words."""

import itertools
import pathlib

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from reporting import analysis, decisions


def pairs(unit="u", **claims):
    """Paired differences of one unit and setting."""
    frame = pandas.DataFrame({"setting": "s", "unit": unit, "less": "baseline", **claims})
    return frame.reindex(columns=["setting", "unit", "less", *decisions.CLAIMS])


def decided(**claims):
    return decisions.decide(pairs(**claims)).set_index("claim")


def by_hand(values):
    """Mean, 95% interval and p of Student's t, from their formulas."""
    mean = sum(values) / len(values)
    error = np.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    half = special.stdtrit(len(values) - 1, 0.975) * error
    return mean, mean - half, mean + half, 2 * special.stdtr(len(values) - 1, -abs(mean) / error)


@settings(max_examples=100)
@given(st.lists(st.integers(-5000, 5000).map(lambda count: count / 10_000), min_size=2, max_size=8, unique=True))
def test_an_interval_is_the_mean_and_students_t_standard_errors_either_way(values):
    row = decided(last=values).loc["last"]
    mean, low, high, p = by_hand(values)
    assert row["n"] == len(values)
    np.testing.assert_allclose(row[["mean", "low", "high", "p"]].astype(float), [mean, low, high, p], 0, 1e-9)


def histories(folder):
    """Each claim's measure by unit and seed, from the files of a folder of records."""
    runs = {}
    for path in pathlib.Path("results", folder).rglob("history.csv"):
        accuracy = list(pandas.read_csv(path)["val_accuracy"])
        falls = [max(0, before - after) for before, after in itertools.pairwise(accuracy)]
        unit, _, seed = path.parent.name.rpartition("-seed")
        runs[unit.replace("-rate-0.05", "").replace("-rate-", ", rate "), seed] = {
            "mean": sum(accuracy) / len(accuracy),
            "drop": max(falls),
            "last": accuracy[-1],
        }
    return runs


def differences(runs, row):
    """Those that a row of `decide` is made of, by seed."""
    seeds = {seed for unit, seed in runs if unit == row.unit} & {seed for unit, seed in runs if unit == row.less}
    return {seed: runs[row.unit, seed][row.claim] - runs[row.less, seed][row.claim] for seed in seeds}


def check(row, values):
    assert row.n == len(values) > 0
    if np.isnan(row.low):
        assert len(values) == 1 or np.ptp(values) < 1e-12
    else:
        np.testing.assert_allclose([row.mean, row.low, row.high], by_hand(values)[:3], 0, 1e-9)


@pytest.mark.parametrize("folder", ["first-evidence", "overfit", "cifar100", "depth", "orderings", "digits"])
def test_every_interval_of_the_records_is_that_of_their_histories(folder):
    """By another route: from the files to the differences, and from these by formula."""
    runs = histories(folder)
    found, _ = analysis.read_runs(pathlib.Path("results", folder))
    table = decisions.decide(analysis.paired(analysis.table(found)))
    assert set(table["claim"]) == set(decisions.CLAIMS)
    for row in table.itertuples():
        check(row, list(differences(runs, row).values()))


@pytest.mark.parametrize("folder", ["overfit", "cifar100", "depth"])
def test_every_interval_of_a_change_is_that_of_the_histories(folder):
    found, base = (analysis.read_runs(pathlib.Path("results", name))[0] for name in (folder, "first-evidence"))
    paired = analysis.paired(analysis.table(found + base))
    (other,) = set(paired["setting"]) - {"cifar10, ResNet-20, 20 epochs"}
    table = decisions.decide(decisions.changes(paired, other, "cifar10, ResNet-20, 20 epochs"))
    assert len(table) % len(decisions.CLAIMS) == 0 < len(table)
    runs = [histories(name) for name in (folder, "first-evidence")]
    for row in table.itertuples():
        one, less = (differences(each, row) for each in runs)
        check(row, [one[seed] - less[seed] for seed in one.keys() & less.keys()])


def test_changes_are_of_the_pairs_and_seeds_that_both_settings_have():
    here = pandas.concat([pairs("v", last=[0.5, 0.25, 1.0]), pairs("u", last=[0.25, 0.5, 0.0])]).assign(
        seed=[0, 1, 2] * 2
    )
    there = pandas.concat([pairs("u", last=[2.0, 1.0]), pairs("w", last=[1.0, 1.0])]).assign(
        seed=[2, 0] * 2, setting="t"
    )
    changed = decisions.changes(pandas.concat([here, there]), "s", "t")
    assert changed[["unit", "less", "seed", "last"]].values.tolist() == [
        ["u", "baseline", 0, -0.75],
        ["u", "baseline", 2, -2.0],
    ]
    with pytest.raises(KeyError, match="nowhere"):
        decisions.changes(here, "s", "nowhere")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_19_of_20_intervals_hold_the_true_difference(count):
    draws, true = 2000, 0.01
    values = np.random.default_rng(count).normal(true, 0.02, (draws, count))
    frames = [pairs(f"u{i}", last=row) for i, row in enumerate(values)]
    table = decisions.decide(pandas.concat(frames))
    share = ((table["low"] <= true) & (true <= table["high"])).mean()
    assert len(table) == draws
    assert abs(share - 0.95) < 4 * np.sqrt(0.95 * 0.05 / draws)  # 0.019; a right one fails once in 16,000


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, np.nan, 0.9], [1.0, np.nan, 1.0]),
        ([0.02], [0.02]),
        ([0.001, 0.02, 0.02, 0.04], [0.004, 0.06, 0.06, 0.06]),
    ],
)
def test_holm_corrects_the_smallest_by_all_the_next_by_one_fewer_and_never_falls(p, corrected):
    np.testing.assert_allclose(decisions.holm(pandas.Series(p)), corrected)


def test_at_most_one_in_20_families_without_differences_decides_anything():
    random, families = np.random.default_rng(0), 400
    frames = [
        pairs(unit, **{claim: random.normal(0, 0.02, 5) for claim in decisions.CLAIMS}).assign(setting=family)
        for family in range(families)
        for unit in ("u", "v", "w")
    ]
    table = decisions.decide(pandas.concat(frames))
    wrong = table["word"].isin(["larger", "smaller"]).groupby([table["setting"], table["claim"]]).any()
    assert len(wrong) == 3 * families
    assert wrong.mean() < 0.05 + 4 * np.sqrt(0.05 * 0.95 / len(wrong))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([0.010, 0.011, 0.012], "larger"),
        ([-0.010, -0.011, -0.012], "smaller"),
        ([0.0005, -0.0005, 0.0], "none"),
        ([0.0010, 0.0014, 0.0018], "larger"),  # and not none as well
        ([0.01, -0.01, 0.0], "undecided"),
        ([0.01], "undecided"),
        ([0.86 - 0.85, 0.87 - 0.86, 0.88 - 0.87], "undecided"),  # equal but for rounding
    ],
)
def test_a_word_is_no_stronger_than_its_interval(values, word):
    assert decided(last=values).loc["last", "word"] == word


@settings(max_examples=100)
@given(st.lists(st.integers(-60, 60).map(lambda count: count / 10_000), min_size=2, max_size=8))
def test_by_itself_none_is_said_where_the_interval_is_within_0_005_and_holds_0(values):
    row = decided(last=values).loc["last"]
    if row["low"] < 0 < row["high"]:
        assert (row["word"] == "none") == (max(-row["low"], row["high"]) < decisions.NONE)


def test_what_decides_by_itself_may_not_among_many_pairs_and_does_among_claims_and_settings():
    one = pairs(last=[0.010, 0.011, 0.016])
    others = [pairs(unit, last=[0.2, -0.1, 0.3]) for unit in ("v", "w")]
    none = pairs("x", last=[0.0015, -0.0015, 0.0])
    for frame, word in ((one, "larger"), (none, "none")):
        alone, among = (decisions.decide(pandas.concat(frames)).iloc[0] for frames in ([frame], [frame, *others]))
        assert (alone["word"], among["word"]) == (word, "undecided")
        assert among["low"] == alone["low"]
    elsewhere = [one.assign(mean=[0.2, -0.1, 0.3], drop=[0.0, 0.3, -0.1]), one.assign(setting="other")]
    table = decisions.decide(pandas.concat(elsewhere))
    assert list(table.loc[table["claim"] == "last", "word"]) == ["larger", "larger"]


@pytest.mark.parametrize(("deviation", "difference"), [(0.004, 0.005), (0.004, 0.01), (0.01, 0.01), (0.0054, 0.03)])
def test_with_the_seeds_needed_4_of_5_studies_find_the_difference_and_with_one_fewer_do_not(deviation, difference):
    count = decisions.seeds_needed(deviation, difference)
    random = np.random.default_rng(0)
    for seeds, enough in ((count, True), (count - 1, False)):
        values = random.normal(difference, deviation, (20_000, seeds))
        t = values.mean(1) / values.std(1, ddof=1) * np.sqrt(seeds)
        power = (t > special.stdtrit(seeds - 1, 0.975)).mean()
        assert (power > 0.8 - 0.01) if enough else (power < 0.8 + 0.01)


@given(st.floats(1e-4, 0.05), st.sampled_from([0.005, 0.03]))
def test_seeds_needed_are_finite_and_grow_with_the_spread(deviation, difference):
    assert 2 <= decisions.seeds_needed(deviation, difference) <= decisions.seeds_needed(2 * deviation, difference)


def test_the_forest_shows_each_interval_on_its_line_and_what_it_decides():
    frame = pandas.concat([pairs("up", last=[0.010, 0.011, 0.012]), pairs("open", last=[0.01, -0.01, 0.0])])
    table = decisions.decide(pandas.concat([frame, pairs("lone", last=[0.5])]))
    axes = decisions.drawing(table).axes
    assert [axis.get_xlabel() for axis in axes] == [*decisions.CLAIMS.values()]
    named = [text.get_text() for text in axes[0].get_yticklabels()]
    assert named == ["up less baseline (n = 3)", "open less baseline (n = 3)"]
    drawn = {}
    for points, _, (bars,) in axes[2].containers:
        ((low, height), (high, _)) = bars.get_segments()[0]
        drawn[points.get_ydata()[0]] = (points.get_xdata()[0], low, high, points.get_marker())
        assert height == points.get_ydata()[0]
    ticks = dict(zip(named, axes[0].get_yticks(), strict=True))
    for row in table.dropna(subset="low").itertuples():
        seen = drawn[ticks[f"{row.unit} less {row.less} (n = 3)"]]
        assert seen == pytest.approx((row.mean, row.low, row.high, decisions.STYLES[row.word][0]))


def test_intervals_of_two_seeds_alone_may_leave_their_panel():
    two, more = pairs("two", last=[-0.05, -0.06]), pairs("more", last=[0.010, 0.011, 0.012])

    def panel(frame):
        table = decisions.decide(frame)
        left, right = decisions.drawing(table).axes[2].get_xlim()
        rows = table[table["claim"] == "last"]
        return list((rows["low"] > left) & (rows["high"] < right)), all(rows["mean"].between(left, right))

    assert panel(pandas.concat([two, more])) == ([False, True], True)
    assert panel(two) == ([True], True)


def test_parts_are_the_place_alone_and_unit_1_less_its_ablations():
    both = [("relu-ic-conv", "baseline"), ("relu-bn-conv", "baseline"), ("relu-dropout-conv", "baseline")]
    both += [("relu-ic-conv, rate 0.2", "relu-bn-conv"), ("relu-ic-conv", "relu-dropout-conv")]
    frames = [pairs(unit, last=[0.1, 0.2]).assign(less=less) for unit, less in both]
    rows = decisions.parts(decisions.decide(pandas.concat(frames)))
    assert [*zip(rows["unit"], rows["less"], strict=True)] == [both[1], *both[3:]]
