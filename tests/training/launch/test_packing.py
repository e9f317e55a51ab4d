"""What a slice of Table 1 packs is whole at any moment, and unpacks beside whatever is there."""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import zipfile

import pytest

from training.errors import UserError
from training.launch import packing

OUT = pathlib.Path("out")
RUN, OTHER = OUT / "config" / "run", OUT / "config" / "other"
# A run directory that lacks a file, has so many epochs, or these and a status.
MOMENTS = {"none": None, "part": (2, "-"), "1": (1, None), "2": (2, None), "3": (3, None)}
MOMENTS |= {"1 interrupted": (1, "interrupted"), "2 interrupted": (2, "interrupted"), "2 diverged": (2, "diverged")}


def write(directory, moment, note):
    """A run directory; `note` stands in each of its records."""
    if moment is None:
        return
    count, status = moment
    (directory / "checkpoints").mkdir(parents=True)
    (directory / "config.yaml").write_text(note)
    (directory / "history.csv").write_text(f"epoch, {note}\n" + "1\n" * count)
    (directory / "checkpoints" / f"epoch-{count:06d}.state").write_text(str(count))
    if status != "-":
        (directory / "env.json").write_text(note)
    if status not in ("-", None):
        (directory / "result.json").write_text(json.dumps({"status": status, "note": note}))


def notes(directory):
    return {path.name: path.read_text() for path in directory.glob("*") if path.is_file()}


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("packed", [name for name in MOMENTS if name not in ("none", "part")])
@pytest.mark.parametrize("here", MOMENTS)
def test_the_records_that_are_further_stay_or_come_as_one_and_what_they_lack_comes(here, packed):
    write(RUN, MOMENTS[packed], "packed")
    theirs = notes(RUN)
    packing.pack(OUT)
    shutil.rmtree(RUN)
    write(RUN, MOMENTS[here], "here")
    shutil.rmtree(RUN / "checkpoints", ignore_errors=True)
    ours = notes(RUN)
    packing.unpack(OUT)
    order = ["none", "part", "1", "1 interrupted", "2", "2 interrupted", "3", "2 diverged"]
    rank = {name: order.index(name.removesuffix(" interrupted")) for name in order}
    assert notes(RUN) == (theirs if rank[packed] > rank[here] else ours)
    state = [] if "diverged" in here + packed else [f"epoch-{MOMENTS[packed][0]:06d}.state"]
    assert [path.name for path in RUN.glob("checkpoints/*")] == state


class KilledError(BaseException):
    """The process is no more."""


def kill_at_each_step(act, monkeypatch):
    """Does `act` again and again, and ends it before its first step, its second, and so on: changes of the file system,
    and reads of an archive, when what is written straight from it is half there."""

    def mortal(change, left):
        def one_change_less(*arguments, **options):
            if next(left, None) is None:
                raise KilledError
            return change(*arguments, **options)

        return one_change_less

    for done in itertools.count():
        left = iter(range(done))
        with monkeypatch.context() as patch:
            for name in ("mkdir", "rename", "replace", "unlink", "rmdir"):
                patch.setattr(os, name, mortal(getattr(os, name), left))
            patch.setattr(zipfile.ZipExtFile, "read", mortal(zipfile.ZipExtFile.read, left))
            with contextlib.suppress(KilledError):
                act()
                break
        yield
    assert done > 3


def test_a_kill_while_packing_leaves_something_that_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "PART", 100)
    write(RUN, (1, None), "before")
    packing.pack(OUT)
    shutil.rmtree(RUN)
    write(RUN, (2, None), "now")

    def unpacked():
        there = tmp_path / "there"
        shutil.rmtree(there, ignore_errors=True)
        for folder in OUT.glob("state.*"):
            shutil.copytree(folder, there / "out" / folder.name)
        packing.unpack(there / "out")
        return tree(there / RUN)

    before, now = unpacked(), tree(RUN)
    for _ in kill_at_each_step(lambda: packing.pack(OUT), monkeypatch):
        assert unpacked() in (before, now)
    assert unpacked() == now != before
    assert len(list(OUT.glob("state.*"))) == 1


@pytest.mark.parametrize("packed", ["2", "2 diverged"])
def test_what_a_kill_left_half_unpacked_unpacks(packed, monkeypatch):
    write(RUN, MOMENTS[packed], "packed")
    packing.pack(OUT)

    def unpacked():
        found = tree(RUN)
        shutil.rmtree(RUN)
        write(RUN, (1, "interrupted"), "here")
        shutil.rmtree(RUN / "checkpoints")
        return found

    unpacked()
    packing.unpack(OUT)
    whole = unpacked()
    for _ in kill_at_each_step(lambda: packing.unpack(OUT), monkeypatch):
        packing.unpack(OUT)
        assert unpacked() == whole


def test_what_is_packed_is_in_small_parts_and_of_what_ended_the_records_alone(monkeypatch):
    monkeypatch.setattr(packing, "PART", 1000)
    write(RUN, (2, None), "of a run")
    (RUN / "compiled").mkdir()
    (RUN / "compiled" / "program").write_bytes(b"x" * 4000)
    write(OTHER, (2, "finished"), "of a run")
    os.utime(RUN / "history.csv", (0, 0))
    before = tree(OUT)
    packing.pack(OUT)
    (folder,) = OUT.glob("state.*")
    assert 1 < len(list(folder.iterdir())) < 9
    assert all(path.stat().st_size <= 1000 for path in folder.iterdir())
    shutil.rmtree(RUN.parent)
    packing.unpack(OUT)
    shutil.rmtree(folder)
    del before[str((OTHER / "checkpoints" / "epoch-000002.state").relative_to("out"))]
    assert tree(OUT) == before


def test_a_part_that_is_missing_is_named_and_nothing_is_touched(monkeypatch):
    monkeypatch.setattr(packing, "PART", 300)
    write(RUN, (2, None), "of a run")
    packing.pack(OUT)
    min(OUT.glob("state.*/*")).unlink()
    shutil.rmtree(RUN)
    before = tree(OUT)
    with pytest.raises(UserError, match=r"^out/state\.0001: expected all of its parts, found 002-of-"):
        packing.unpack(OUT)
    assert tree(OUT) == before
