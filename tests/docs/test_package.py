"""One version everywhere; the wheel is the folder `iclayer`, and what builds it is in the sdist."""

import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import iclayer


def test_one_version_everywhere():
    (cited,) = re.findall(r"^version: (.+)$", pathlib.Path("CITATION.cff").read_text(), re.MULTILINE)
    released = re.findall(r"^## \[(\d.*)\] - \d{4}-\d\d-\d\d$", pathlib.Path("CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited == released[0] == iclayer.__version__


def build(kind, source, out):
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, check=True)
    (file,) = out.iterdir()
    return file


def contents(wheel):
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_wheel_is_iclayer_alone_and_the_same_from_the_sdist(tmp_path):
    tracked = subprocess.check_output(["git", "ls-files"], text=True).splitlines()
    package = [name for name in tracked if name.startswith("iclayer/")]
    for name in [*package, "pyproject.toml", "MANIFEST.in", "LICENSE"]:
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, tmp_path / "clone" / name)
    for out in ("sdist", "wheel", "again"):
        (tmp_path / out).mkdir()
    # By tar, for tarfile has no filter before Python 3.11.4.
    subprocess.run(["tar", "xf", build("sdist", tmp_path / "clone", tmp_path / "sdist")], cwd=tmp_path, check=True)
    wheel = contents(build("wheel", tmp_path / "clone", tmp_path / "wheel"))
    unpacked = tmp_path / f"iclayer-{iclayer.__version__}"
    assert contents(build("wheel", unpacked, tmp_path / "again")) == wheel
    about = f"iclayer-{iclayer.__version__}.dist-info"
    assert sorted(name for name in wheel if not name.startswith(f"{about}/")) == sorted(package)
    assert wheel[f"{about}/licenses/LICENSE"] == pathlib.Path("LICENSE").read_bytes()
