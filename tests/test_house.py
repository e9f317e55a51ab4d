"""The house stays what its picture says: imports go down, folders and files stay small."""

import ast
import collections
import pathlib
import subprocess

import pytest

# From the ground up; a file may import its own floor and those below.
FLOORS = ("iclayer", "models", "training", "reporting", "benchmarks", "train_cifar", "train_imagenet")
ROOMS = ("training.data", "training.devices")  # of the training; they know neither the story above them nor each other
SHARED = ("training.config", "training.errors", "training.files")
FILES = sorted(map(pathlib.Path, subprocess.check_output(["git", "ls-files", "*.py"], text=True).split()))
MODULES = [path for path in FILES if path.parts[0].removesuffix(".py") in FLOORS]


def within(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imported(source):
    """The modules that a program imports, also within its functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "an import that does not say from where"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong(importer, name):
    """Whether the module `importer` may not import `name`."""
    floors = [FLOORS.index(module.partition(".")[0]) for module in (importer, name) if within(module, FLOORS)]
    if floors != sorted(floors, reverse=True):
        return True
    room = next((room for room in ROOMS if within(importer, [room])), None)
    return bool(room) and within(name, ["training"]) and not within(name, [room, *SHARED])


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_down(path):
    importer = ".".join(path.with_suffix("").parts)
    assert [name for name in imported(path.read_text()) if wrong(importer, name)] == []


@pytest.mark.parametrize(
    ("importer", "line", "allowed"),
    [
        ("reporting.tables", "from training import records", True),
        ("training.grid", "from reporting import analysis", False),
        ("training.grid", "def f():\n    import reporting.tables", False),
        ("iclayer.layer", "from models.units import UNITS", False),
        ("models.units", "import benchmarks", False),
        ("training.run", "from training.data.images import ImageSet", True),
        ("training.data.images", "from training.config import DataConfig", True),
        ("training.data.images", "from training import run", False),
        ("training.data.images", "from training.devices import strategy", False),
        ("training.devices.strategy", "from training.data import images", False),
        ("train_cifar", "from reporting import summary", True),
    ],
)
def test_an_import_against_the_direction_is_seen(importer, line, allowed):
    assert [wrong(importer, name) for name in imported(line)] == [not allowed]


def test_no_folder_has_more_than_15_modules():
    folders = collections.Counter(path.parent for path in FILES)
    assert {str(folder): count for folder, count in folders.items() if count > 15} == {}


def test_no_file_has_more_than_300_lines():
    lines = {str(path): len(path.read_text().splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > 300} == {}


def test_no_file_that_is_tracked_has_more_than_a_mebibyte():
    names = subprocess.check_output(["git", "ls-files", "-z"], text=True).split("\0")[:-1]
    sizes = {name: pathlib.Path(name).stat().st_size for name in names}
    assert {name: size for name, size in sizes.items() if size > 2**20} == {}


@pytest.mark.parametrize("package", sorted({path.parent for path in MODULES} - {pathlib.Path()}), ids=str)
def test_each_folder_says_what_belongs_there_and_what_it_may_import(package):
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    assert 3 <= len(text.splitlines()) <= 5
    assert "import" in text or package.parent.name == "benchmarks"
