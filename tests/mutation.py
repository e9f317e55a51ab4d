"""Mutation testing: breaks a sample of the code, one place at a time, and shows what no test noticed.

    python tests/mutation.py SESSION.sqlite

A place is a token that an operator of Cosmic Ray changes. Of each module's places some are drawn, and a change of each,
by a hash of the line: lines that stay keep their changes. The tests run in forks of this process, which has imported
what takes long and computed nothing, so that a broken module costs its tests alone. Modules are broken in place and
then mended: this is to run in a copy of the repository, and `make mutation` makes one. The session keeps what was
found, and the same command goes on with it.
"""

import collections
import contextlib
import difflib
import hashlib
import itertools
import multiprocessing
import os
import pathlib
import re
import signal
import sys

import hypothesis  # noqa: F401
import jsonargparse  # noqa: F401
import matplotlib.figure  # noqa: F401
import pandas  # noqa: F401
import parso
import pytest
import rich.table  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.model_selection  # noqa: F401
import tensorflow  # noqa: F401
import tensorflow_datasets  # noqa: F401
from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_code, use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

PLACES, LEAST, MOST = 11, 4, 12  # one place of so many is broken, and of a module so many at least and at most
TIMEOUT = 900  # seconds, of the tests of one module
# The fast tests that hold each module. Only tests that start processes, or of another backend, hold those of `UNHELD`.
UNHELD = {
    *("iclayer/distribute.py", "iclayer/fused/jax.py", "iclayer/fused/torch.py"),
    *("training/launch/on_ray.py", "training/launch/worker.py"),
}
TESTS = {
    "iclayer/diagnostics.py": "diagnosed_layers diagnostics",
    "iclayer/errors.py": "theory layer",
    "iclayer/figure.py": "figure",
    "iclayer/fused/masks.py": "contract",
    "iclayer/fused/tensorflow.py": "contract tensorflow uout",
    "iclayer/insert.py": "insert_state insert_keep insert",
    "iclayer/internals.py": "keras_contract diagnostics insert",
    "iclayer/layer.py": "layer",
    "iclayer/measures.py": "diagnosed_layers diagnostics",
    "iclayer/shift.py": "shift",
    "iclayer/theory.py": "theory variance_shift",
    "iclayer/weights.py": "diagnosed_layers diagnostics insert",
    "models/cifar.py": "models orderings",
    "models/densenet.py": "families orderings",
    "models/depths.py": "families models mistakes",
    "models/factory.py": "models orderings families",
    "models/grouped.py": "families",
    "models/imagenet.py": "imagenet models",
    "models/plain.py": "models orderings",
    "models/resnext.py": "families orderings",
    "models/units.py": "orderings",
    "models/wide.py": "families orderings",
    "reporting/analysis.py": "analysis report tables",
    "reporting/curves.py": "report tables",
    "reporting/decisions.py": "decisions tables report",
    "reporting/diagnose.py": "diagnose",
    "reporting/pages.py": "pages",
    "reporting/predict.py": "predict",
    "reporting/report.py": "report diagnose",
    "reporting/shifts.py": "shifts",
    "reporting/summary.py": "tables train",
    "reporting/tables.py": "tables report",
    "training/checkpoint.py": "checkpoint resume",
    "training/cli.py": "config grid mistakes",
    "training/command.py": "config mistakes diagnose",
    "training/config.py": "config mistakes tables",
    "training/data/archive.py": "archive",
    "training/data/augmentation.py": "images",
    "training/data/crops.py": "crops photographs",
    "training/data/digits.py": "images records",
    "training/data/folders.py": "folders pixels any_folder",
    "training/data/imagefolder.py": "imagefolder folders",
    "training/data/images.py": "images records",
    "training/data/known.py": "archive images",
    "training/data/pipeline.py": "images",
    "training/data/photographs.py": "photographs imagefolder",
    "training/data/pixels.py": "pixels crops folders",
    "training/data/prepared.py": "prepared splits",
    "training/data/sources.py": "archive images prepared folders",
    "training/data/tfrecords.py": "photographs splits",
    "training/devices/backend.py": "records machines",
    "training/devices/cluster.py": "cluster",
    "training/devices/environment.py": "records train",
    "training/devices/internals.py": "internals optimizer train",
    "training/devices/memory.py": "memory train",
    "training/devices/optimizer.py": "optimizer",
    "training/devices/strategy.py": "cluster devices train",
    "training/devices/threads.py": "threads",
    "training/errors.py": "cluster mistakes diagnose",
    "training/export.py": "export predict",
    "training/files.py": "checkpoint mistakes",
    "training/grid.py": "config tables mistakes train refused resume sharing",
    "training/interrupt.py": "resume",
    "training/launch/jobs.py": "jobs launch view",
    "training/launch/launcher.py": "launch slices",
    "training/launch/local.py": "launch slices",
    "training/launch/packing.py": "packing slices",
    "training/launch/view.py": "view",
    "training/lock.py": "devices machines refused resume",
    "training/metrics.py": "metrics train",
    "training/origin.py": "refused threads",
    "training/records.py": "records report train refused resume",
    "training/run.py": "train mistakes refused resume",
}
# What no one would write: bits of what is no int; "is" for "==" and the order of names, which may make no difference.
ODD = re.compile(
    r"core/ReplaceBinaryOperator_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(RShift|LShift|Bit\w+)"
    r"|core/ReplaceComparisonOperator_(\w+_Is(Not)?|(Eq|NotEq)_[LG]\w+)(?<!Is_IsNot)(?<!IsNot_Is)"
)


def says_something(leaf):
    """Whether a token is neither in an annotation nor in the text of an error."""
    while parent := leaf.parent:
        annotation = {"annassign": slice(1, 2), "tfpdef": slice(2, None), "funcdef": slice(4, -2)}.get(parent.type)
        if parent.type in ("raise_stmt", "fstring") or (annotation and leaf in parent.children[annotation]):
            return False
        leaf = parent
    return True


def draw(module, items):
    """Mutants of a module: of different places, and each of them a program."""
    source = module.read_text()
    tree, lines, places = parso.parse(source), source.splitlines(), collections.defaultdict(list)
    for item in items:
        (mutation,) = item.mutations
        leaf = tree.get_leaf_for_position(mutation.start_pos)
        if says_something(leaf) and not ODD.fullmatch(mutation.operator_name):
            places[mutation.start_pos].append(item)

    def lot(place, what=""):
        line, column = place
        return hashlib.sha256(f"{module} {lines[line - 1 : line + 1]} {column} {what}".encode()).digest()

    def is_program(mutation):
        code = mutate_code(source, get_operator(mutation.operator_name)(), mutation.occurrence)
        try:
            compile(code, module, "exec")
        except SyntaxError:
            return False
        return True

    def first(place):
        in_turn = sorted(places[place], key=lambda item: lot(place, item.mutations[0].operator_name))
        return next((item for item in in_turn if is_program(*item.mutations)), None)

    wanted = min(max(len(places) // PLACES, LEAST), MOST)
    return list(itertools.islice(filter(None, map(first, sorted(places, key=lot))), wanted))


def passes(names):
    """Whether these tests pass, in a process of their own; those that take too long do not."""
    process = multiprocessing.get_context("fork").Process(target=run, args=[names])
    process.start()
    process.join(TIMEOUT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it has started, too
    process.join()
    return process.exitcode == 0


def run(names):
    os.setsid()
    for output in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    files = [str(path) for path in pathlib.Path("tests").rglob("test_*.py") if path.stem.removeprefix("test_") in names]
    sys.exit(pytest.main(["-x", "-p", "no:cacheprovider", *files]))


def main(session):
    packages = ("iclayer", "models", "training", "reporting")
    modules = [path for package in packages for path in pathlib.Path(package).rglob("*.py")]
    if missing := {str(path) for path in modules if not path.name.startswith("__")} - TESTS.keys() - UNHELD:
        sys.exit(f"{__file__}: expected every module in TESTS, found none of {', '.join(sorted(missing))}")
    with use_db(session) as db:
        if not db.num_work_items:
            if not passes(sorted({name for names in TESTS.values() for name in names.split()})):
                sys.exit("expected tests that pass while nothing is broken")
            drawn = []
            for module in map(pathlib.Path, TESTS):
                init([module], db, {})
                drawn += draw(module, db.work_items)
            db.clear()
            db.add_work_items(drawn)
        for item in db.pending_work_items:
            (mutation,) = item.mutations
            print(mutation.module_path, *mutation.start_pos, mutation.operator_name, flush=True)
            operator = get_operator(mutation.operator_name)()
            with use_mutation(mutation.module_path, operator, mutation.occurrence) as codes:
                survived = passes(TESTS[str(mutation.module_path)].split())
            outcome = TestOutcome.SURVIVED if survived else TestOutcome.KILLED
            diff = "\n".join(difflib.unified_diff(*map(str.splitlines, codes), lineterm="", n=0))
            db.set_result(item.job_id, WorkResult(WorkerOutcome.NORMAL, test_outcome=outcome, diff=diff))
        report(db.completed_work_items)


def report(completed):
    """Prints what survived, and the share of each module that was killed."""
    found = collections.defaultdict(list)
    for item, result in sorted(completed, key=lambda pair: pair[0].mutations[0].module_path):
        (mutation,) = item.mutations
        found[str(mutation.module_path)].append(result.is_killed)
        if not result.is_killed:
            print(mutation.module_path, mutation.definition_name, result.diff, sep="\n")
    found["all"] = [killed for of_module in found.values() for killed in of_module]
    for name, killed in found.items():
        print(f"{name:28} {sum(killed):3} of {len(killed):3} killed")


if __name__ == "__main__":
    main(*sys.argv[1:])
