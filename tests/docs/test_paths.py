"""What the pages name is there, and the first of them stays short."""

import pathlib
import re

import pytest
from pages import PAGES

PROGRAMS = [path for kind in ("*.py", "configs/*.yaml", "benchmarks/*.py") for path in pathlib.Path().glob(kind)]


def test_the_readme_is_one_that_is_read():
    assert len(PAGES["README.md"].encode()) <= 12_000
    assert len(PAGES["README.md"].splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_folder_that_it_names_is_there(page):
    """Paths in code are from the top of the repository, links from the page."""
    text = re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL)
    code = set(re.findall(r"`((?:\w[\w-]*/)+[\w.-]*|\w+\.(?:py|txt|md|cff))`", text))
    made = {path for path in code if path.startswith(("runs/", "checkpoints/", "build/", "log.txt")) or "NAME" in path}
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)", text)
    for path in [pathlib.Path(each) for each in code - made] + [pathlib.Path(page).parent / each for each in links]:
        assert path.exists(), path


def test_every_config_that_is_named_is_there():
    text = "".join([*PAGES.values(), *(path.read_text() for path in PROGRAMS)])
    for path in set(re.findall(r"configs/[\w-]+\.yaml", text)) - {"configs/NAME.yaml"}:
        assert pathlib.Path(path).exists(), path
