"""A record is read as it was written, or it is refused in one line."""

import json
import pathlib
import shutil

import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reporting import analysis, tables
from training import records
from training.cli import load
from training.config import DataConfig, Run
from training.data import sources
from training.devices import environment
from training.errors import UserError

SOURCE = pathlib.Path("results/digits/relu-ic-conv-seed0")
ORIGINAL = records.read(SOURCE)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return shutil.copytree(SOURCE, tmp_path_factory.mktemp("records") / "run")


def mutations(content: bytes):
    """Bytes replaced, removed or inserted anywhere; digits most often, for they would be a wrong number."""
    piece = st.one_of(st.text("0123456789.-e", max_size=3).map(str.encode), st.binary(max_size=20))
    return st.builds(
        lambda start, length, new: content[:start] + new + content[start + length :],
        st.integers(0, len(content)),
        st.integers(0, 20),
        piece,
    )


@pytest.mark.parametrize(
    ("name", "examples"), [("history.csv", 150), ("result.json", 150), ("config.yaml", 50), ("env.json", 50)]
)
def test_a_changed_file_of_a_finished_run_is_refused_or_says_the_same(name, examples, copy):
    content = (SOURCE / name).read_bytes()

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(mutations(content))
    def holds(changed):
        (copy / name).write_bytes(changed)
        try:
            record = records.read(copy)
        except UserError as error:
            assert "\n" not in str(error)
            return
        assert record.history.equals(ORIGINAL.history)
        assert (record.config, record.environment) == (ORIGINAL.config, ORIGINAL.environment)
        assert record.result == ORIGINAL.result

    holds()
    (copy / name).write_bytes(content)
    assert records.read(copy).result == ORIGINAL.result


@pytest.mark.parametrize("name", ["history.csv", "config.yaml", "env.json"])
def test_a_changed_file_of_an_unfinished_run_is_refused_or_one_that_a_run_can_write(name, copy):
    (copy / "result.json").unlink()
    content = (SOURCE / name).read_bytes()

    @settings(max_examples=100, deadline=None)
    @given(mutations(content))
    def holds(changed):
        (copy / name).write_bytes(changed)
        try:
            record = records.read(copy)
        except UserError as error:
            assert "\n" not in str(error)
            return
        assert list(record.history["epoch"]) == list(range(1, len(record.history) + 1))
        assert record.history["val_accuracy"].between(0, 1).all()
        assert "unfinished after" in tables.notes(copy, [record], {})[-1]

    holds()
    shutil.copytree(SOURCE, copy, dirs_exist_ok=True)


def test_a_number_that_was_changed_in_every_place_is_still_seen(copy):
    for name in ("history.csv", "result.json"):
        path = copy / name
        text = path.read_text()
        assert str(ORIGINAL.result["last_accuracy"]) in text
        path.write_text(text.replace(str(ORIGINAL.result["last_accuracy"]), "0.9876543"))
    with pytest.raises(UserError, match=r"result.json: expected the checksum .* found them changed"):
        records.read(copy)
    shutil.copytree(SOURCE, copy, dirs_exist_ok=True)


def test_a_run_that_goes_on_has_no_result_and_remembers_its_earlier_sessions(copy):
    (run,), _ = load(["--config", "configs/digits.yaml", "--model.unit", "relu-ic-conv"])
    first = {key: value for key, value in ORIGINAL.environment.items() if key != "earlier_sessions"}
    for epochs in (5, 9):
        records.start(Run(run.config, copy), epochs, first["images_sha256"])
        record = records.read(copy)
        assert (record.status, record.environment["from_epoch"]) == ("unfinished", epochs + 1)
    assert record.environment["earlier_sessions"][0] == first
    assert record.environment["earlier_sessions"][1]["from_epoch"] == 6
    shutil.copytree(SOURCE, copy, dirs_exist_ok=True)


@pytest.mark.parametrize("epochs", [1, 9, 10, 30])
def test_the_mean_of_the_last_ten_is_one_in_the_record_and_in_the_report_and_none_of_fewer(epochs, copy):
    (copy / "history.csv").write_text("".join((SOURCE / "history.csv").open().readlines()[: epochs + 1]))
    facts = {"trainable_parameters": 1, "evaluated_images": 360}
    recorded = records.write_result(copy, "finished", **facts)["mean_last_ten_accuracy"]
    reported = analysis.table([records.read(copy)])["last_ten"].item()
    if epochs < 10:
        assert recorded is None
        assert pandas.isna(reported)
    else:
        assert recorded == reported == pytest.approx(ORIGINAL.history["val_accuracy"][epochs - 10 : epochs].mean())
    shutil.copytree(SOURCE, copy, dirs_exist_ok=True)


def test_where_there_is_no_repository_the_commit_is_not_known(monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    found = environment.environment()
    assert (found["commit"], found["dirty"]) == (None, None)


def test_the_digits_are_those_of_the_records():
    paths = pathlib.Path("results/digits").rglob("env.json")
    digits = sources.load(DataConfig("digits"))
    assert {json.loads(path.read_text())["images_sha256"] for path in paths} == {digits.sha256}
