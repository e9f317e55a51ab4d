"""The site is the repository: each file at its own place, so that a relative link leads to the same file in both."""

import pathlib
import re
import subprocess

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).parent.parent


@event_priority(100)  # before the plugins, which turn notebooks into pages
def on_files(files, config):
    """All files that git tracks or would, in place of those of `docs` alone."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    theme = [file for file in files if file.src_dir != config.docs_dir]
    there = [name for name in names if (ROOT / name).exists()]
    own = [File(name, str(ROOT), config.site_dir, config.use_directory_urls) for name in there]
    return Files([*theme, *own])


def on_page_markdown(markdown, **_):
    return re.sub(r"^\|.*$", _row, markdown, flags=re.MULTILINE)


def _row(row):
    r"""A row of a table. Python-Markdown would show the backslash that repository viewers need for a bar in code."""
    shown = re.sub("`.*?`", lambda code: code[0].replace(r"\|", "|"), row[0])
    return shown.replace(" ± ", " ±\N{NO-BREAK SPACE}")
