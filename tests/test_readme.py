"""What the README says is what happens."""

import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np

import iclayer

README = pathlib.Path("README.md").read_text()


def test_the_ten_lines_work_where_only_the_package_is_installed(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) <= 10
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(tmp_path / "site"), "."], check=True)
    assert {path.name.split("-")[0] for path in (tmp_path / "site").iterdir()} == {"iclayer"}
    (tmp_path / "mine.py").write_text(
        f"{code}\nprint(iclayer.__file__, [layer.name for layer in model.layers if isinstance(layer, iclayer.IC)])\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "mine.py"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout
    assert "ic" in done.stdout


def test_every_file_and_folder_that_it_names_is_there():
    named = re.findall(r"`([\w./-]+\.(?:py|yaml|csv|txt|md|png)|[\w-]+/)`", README) + re.findall(
        r"\]\(([\w./-]+)\)", README
    )
    assert len(named) > 10
    for name in named:
        if not name.startswith(("runs/", "data/")):
            assert pathlib.Path(name).exists(), name


def test_every_config_and_make_target_that_it_names_is_there():
    makefile = pathlib.Path("Makefile").read_text()
    for target in re.findall(r"\bmake ([\w-]+)", README):
        assert f"\n{target}:" in makefile
    for config in re.findall(r"configs/[\w-]+\.yaml", README):
        assert pathlib.Path(config).exists()


def test_the_public_names_have_docstrings():
    for name in iclayer.__all__:
        assert getattr(iclayer, name).__doc__
    assert keras.__version__
    assert np.__version__
