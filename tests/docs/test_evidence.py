"""What the pages say of the evidence is what the records say."""

import pathlib
import re

import pytest
from pages import PAGES, SHOWN, words

from reporting import analysis, decisions, pages, report, tables
from reporting.tables import plain

# What the text says of the tables: page, folder of the records, words, and row and column of each number in them.
# A number of what is decided stands with its word, which the sentence must not contradict.
LAST, MEAN = "last epoch", "faster: mean of all epochs"
DROP, DECIDED = "more stable: largest drop", "better: last epoch"
UNIT_1 = "relu-ic-conv"
ALL = "cifar10, ResNet-20, 20 epochs"
MEDIUM = "medium-conv-{}-seed0"
STABLE = [(f"{unit} less baseline", DROP, "smaller") for unit in (UNIT_1, "relu-bn-conv")]
ADDED = (f"{UNIT_1} less relu-bn-conv", DECIDED, "larger")
BETTER, FASTER = (f"{UNIT_1} less baseline", DECIDED, "larger"), ("relu-bn-conv less baseline", MEAN, "larger")
SAID = [
    (
        "README.md",
        "results/overfit",
        "training is more stable with unit 1 of the paper: the largest fall of the test accuracy differs from the "
        "baseline's by {} (mean and 95% interval, five seeds). Batch normalization alone, in the same place, does that "
        "too: {}. Dropout at the paper's rate, added to that, raises the accuracy of the last epoch by {}.",
        [*STABLE, ADDED],
    ),
    (
        "README.md",
        "results/first-evidence",
        "unit 1 ends above the baseline by {}, and batch normalization alone is faster: by {} in the mean of all "
        "epochs.",
        [BETTER, FASTER],
    ),
    (
        "docs/evidence.md",
        "results/first-evidence",
        "unit 1 ends above the baseline by {} in the last epoch. Faster: batch normalization alone in its place, by {} "
        "in the mean of all epochs.",
        [BETTER, FASTER],
    ),
    (
        "docs/evidence.md",
        "results/first-evidence",
        "placement alone is faster, by {} in the mean of all epochs; that it ends higher is undecided there ({}). "
        "Dropout on top changes the largest fall by no more than 0.005 ({}); whether it changes the accuracy of the "
        "last epoch is undecided there ({}).",
        [
            FASTER,
            ("relu-bn-conv less baseline", DECIDED, "undecided"),
            (f"{UNIT_1} less relu-bn-conv", DROP, "none above 0.005"),
            (f"{UNIT_1} less relu-bn-conv", DECIDED, "undecided"),
        ],
    ),
    (
        "docs/evidence.md",
        "results/overfit",
        "raises the accuracy of the last epoch at rate 0.05, by {}, and lowers the mean of all epochs at 0.2, by {}.",
        [ADDED, (f"{UNIT_1}, rate 0.2 less relu-bn-conv", MEAN, "smaller")],
    ),
    (
        "docs/evidence.md",
        "results/overfit",
        "differs from the baseline's by {} with unit 1 and by {} with batch normalization alone in its place. At rate "
        "0.2 unit 1 is slower than the baseline, by {} in the mean of all epochs, and ends lower, by {}.",
        [*STABLE, *((f"{UNIT_1}, rate 0.2 less baseline", column, "smaller") for column in (MEAN, DECIDED))],
    ),
    (
        "docs/evidence.md",
        "results/overfit",
        "in the baseline's last epoch {} of the training images are right, augmented as it sees them, and {} of the",
        [("baseline", "training"), ("baseline", LAST)],
    ),
    (
        "docs/evidence.md",
        "results/overfit less results/first-evidence",
        "the difference in the largest fall changes by {} with unit 1 and by {} with batch normalization alone: the "
        "gain in stability is larger.",
        STABLE,
    ),
    (
        "docs/evidence.md",
        "results/cifar100",
        "ends above the baseline with both seeds, but corrected for three pairs that is undecided: {}. Unit 1 ends "
        "above it with one seed and below with the other: {}.",
        [(f"{unit} less baseline", DECIDED, "undecided") for unit in ("relu-bn-conv", UNIT_1)],
    ),
    (
        "docs/evidence.md",
        "results/depth",
        "are above the baseline with both seeds, in the last epoch and in the mean of all. Two seeds leave both "
        "undecided: the intervals of that mean, {} and {}, are above 0,",
        [(f"{unit} less baseline", MEAN, "undecided") for unit in (UNIT_1, "relu-bn-conv")],
    ),
    (
        "docs/evidence.md",
        "results/orderings",
        "`conv-dropout-bn-relu` furthest (undecided: {}):",
        [("conv-dropout-bn-relu less baseline", DECIDED, "undecided")],
    ),
    (
        "docs/evidence.md",
        "results/fashion-regularizers",
        "the large one with everything is first, at {};",
        [("large-conv-bn-relu-dropout-augment-seed0", LAST)],
    ),
    (
        "docs/evidence.md",
        "results/fashion-regularizers",
        "Batch normalization ({}), dropout ({}) and both ({}) do not raise the accuracy of the medium network ({})",
        [
            (MEDIUM.format(f"{kind}no-augment"), LAST)
            for kind in ("bn-relu-", "relu-dropout-", "bn-relu-dropout-", "relu-")
        ],
    ),
    (
        "docs/evidence.md",
        "results/fashion-regularizers",
        "Shifts and flips lower the accuracy, alone ({}) and with both ({}),",
        [(MEDIUM.format(f"{kind}augment"), LAST) for kind in ("relu-", "bn-relu-dropout-")],
    ),
]


def reported(folder):
    """The tables of the report of a folder of records, or of its changes less those of another: the rows, as dicts."""
    names = folder.split(" less ")
    if len(names) == 1:
        found = pages.reported(pathlib.Path(folder).resolve())[1]
    else:
        paired = analysis.paired(
            analysis.table([run for name in names for run in analysis.read_runs(pathlib.Path(name))[0]])
        )
        (other,) = set(paired["setting"]) - {ALL}
        found = [tables.decisions_table(decisions.decide(decisions.changes(paired, other, ALL)))]
    return [table.map(plain).to_dict("records") for table in found]


@pytest.mark.parametrize("page", sorted({page for page, folder, _ in SHOWN if folder.startswith("results/")}))
def test_the_tables_are_of_the_report_of_the_records(page):
    assert pages.filled(PAGES[page]) == PAGES[page]


def test_the_accuracies_and_differences_in_the_text_are_those_of_the_tables():
    cells = {
        (folder, next(iter(row.values())), column): cell
        for _, folder, *_ in SAID
        for table in reported(folder)
        for row in table
        for column, cell in row.items()
    }

    def number(folder, row, column, word=""):
        cell = cells[folder, row, column]
        assert cell.startswith(word), (row, column)
        return cell.removeprefix(f"{word}: ")

    texts = {page: words(page) for page in PAGES}
    for page, folder, said, places in SAID:
        sentence = said.format(*(number(folder, *place) for place in places))
        assert texts[page].count(sentence) == 1, sentence
        texts[page] = texts[page].replace(sentence, "")
    for page, text in texts.items():  # no other is left
        assert not re.findall(r"[+-]0\.\d{4} (?:±|\[)|(?<![+-])0\.[5-9]\d{3}", text), page


def decided(folder):
    """The pairs and claims that are, in the tables of `reported`."""
    rows = [row for table in reported(folder) if DROP in table[0] for row in table]
    return {
        (row["difference"], claim) for row in rows for claim in (MEAN, DROP, DECIDED) if "undecided" not in row[claim]
    }


def test_what_the_pages_call_undecided_is_so():
    readme, evidence = words("README.md"), words("docs/evidence.md")
    of_all, of_few = decided("results/first-evidence"), decided("results/overfit")
    assert "That unit 1 is faster is decided in neither, nor that it ends better where" in readme
    assert "That unit 1 is faster is undecided, and more stable is undecided for all." in evidence
    assert (f"{UNIT_1} less baseline", MEAN) not in of_all
    assert not [pair for pair, claim in of_all if claim == DROP and pair.endswith("less baseline")]
    assert "At the paper's 0.05 both are undecided" in evidence
    assert "whether faster or better is undecided" in evidence
    for unit in (UNIT_1, "relu-bn-conv"):
        assert not {(f"{unit} less baseline", claim) for claim in (MEAN, DECIDED)} & of_few
    assert "All else that [notebook 06](../notebooks/06_orderings.ipynb) has of such changes is undecided" in evidence
    assert decided("results/overfit less results/first-evidence") == {(pair, claim) for pair, claim, _ in STABLE}
    assert "two seeds decide nothing of CIFAR-100 or of ResNet-56, nor do their changes from ResNet-20 on" in evidence
    for name in ("results/cifar100", "results/depth"):
        assert not decided(name) | decided(f"{name} less results/first-evidence")
    for name, said, expected in (
        (
            "cifar100",
            "about 0.52, and relu-bn-conv 0.54:",
            {"baseline": "0.52", UNIT_1: "0.52", "relu-bn-conv": "0.54"},
        ),
        (
            "depth",
            "baseline 0.87, relu-ic-conv and relu-bn-conv 0.88:",
            {"baseline": "0.87", UNIT_1: "0.88", "relu-bn-conv": "0.88"},
        ),
    ):
        (means,) = (table for table in reported(f"results/{name}") if "seeds" in table[0])
        assert {row["unit"]: f"{float(row[LAST].split()[0]):.2f}" for row in means} == expected
        assert said in pathlib.Path(f"configs/{name}.yaml").read_text()
        assert {row["n"] for row in means} == {"2"}


def test_seeds_0_to_3_alone_decide_otherwise():
    paired = analysis.paired(analysis.table(analysis.read_runs(pathlib.Path("results/first-evidence"))[0]))
    said = "Seeds 0 to 3 alone decide otherwise: batch normalization alone ends higher, and whether it is faster is"
    assert said in words("docs/evidence.md")
    words_of = [
        decisions.decide(some).query("unit == 'relu-bn-conv'").set_index("claim")["word"]
        for some in (paired.query("seed < 4"), paired)
    ]
    assert [(word["mean"], word["last"]) for word in words_of] == [("undecided", "larger"), ("larger", "undecided")]


def test_the_seeds_that_are_needed_are_those_of_the_table():
    (table,) = (table for table in reported("results") if "seeds for 0.005" in table[0])
    said = (
        "{} to {} for a difference of 0.005, by the spread of up to five seeds on CIFAR-10. Two seeds of ResNet-56 "
        "give {}, of CIFAR-100 {}."
    )
    settings = (
        ALL,
        "cifar10 (5,000 images), ResNet-20, 100 epochs",
        "cifar10, ResNet-56, 20 epochs",
        "cifar100, ResNet-20, 20 epochs",
    )
    needed = {row["setting"]: (row["n"], row["seeds for 0.005"].split()[0]) for row in table}
    assert [needed[name][0] for name in settings] == ["2 to 5", "5", "2", "2"]
    assert said.format(*(needed[name][1] for name in settings)) in words("docs/evidence.md")


def test_the_report_of_the_records_is_the_one_beside_them(tmp_path):
    report.write(pathlib.Path("results"), tmp_path)
    assert "Missing" in (tmp_path / "report.md").read_text()
    for path in tmp_path.iterdir():
        if path.suffix not in (".png", ".svg"):
            assert path.read_text() == (pathlib.Path("results") / path.name).read_text(), path.name


def test_every_record_is_that_of_a_finished_run_on_a_clean_commit_or_of_table_1_in_slices():
    for folder in ("results", "benchmarks/results"):
        found, unreadable = analysis.read_runs(pathlib.Path(folder))
        assert not unreadable
        for record in found:
            table1 = record.status == "interrupted" and record.directory.parent == pathlib.Path("results/table1")
            assert record.status == "finished" or table1, record.directory
            assert record.environment["dirty"] is False, record.directory
