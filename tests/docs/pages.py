"""The pages that users read, and what stands in them."""

import pathlib
import re

PATHS = (pathlib.Path("README.md"), pathlib.Path("CONTRIBUTING.md"), *sorted(pathlib.Path("docs").glob("*.md")))
PAGES = {str(path): path.read_text(encoding="utf-8") for path in PATHS}
TABLE = r"<!-- (.*/.*) -->\n(.*?)<!-- /\1 -->"
SHOWN = [(page, *block) for page, text in PAGES.items() for block in re.findall(TABLE, text, re.DOTALL)]


def blocks(language, page=None):
    """The blocks of code: pairs of page and text."""
    found = {page: PAGES[page]} if page else PAGES
    return [
        (name, text) for name, page in found.items() for text in re.findall(rf"```{language}\n(.*?)```", page, re.S)
    ]


def words(page):
    """The running text of a page, on one line."""
    return " ".join(re.sub(TABLE, "", PAGES[page], flags=re.DOTALL).split())
