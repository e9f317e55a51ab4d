"""What a slice of a grid leaves for the next one: the records, and what its runs go on from, in small files."""

import io
import json
import pathlib
import shutil
import zipfile

from training import files, records
from training.errors import UserError
from training.launch.local import COMPILED

PART = 15 * 2**20


def progress(directory: pathlib.Path | zipfile.Path) -> tuple[bool, int]:
    """Whether a run has its end, finished or diverged, and its epochs; (False, -1) where its records are not whole."""
    if not all((directory / name).exists() for name in records.SEALED):
        return False, -1
    result = directory / "result.json"
    ended = result.exists() and json.loads(result.read_text())["status"] != "interrupted"
    return ended, len((directory / "history.csv").read_text().splitlines()) - 1


def unpack(out: pathlib.Path) -> None:
    """Puts in its place what the last slice packed: records that are further than those here, and what is missing here.

    Raises:
        UserError: a part is missing.
    """
    packed = sorted(out.glob("state.[0-9]*"))
    if not packed:
        return
    parts = sorted(packed[-1].glob("*-of-*"))
    if not parts or len(parts) != int(parts[0].name.partition("-of-")[2]):
        raise UserError(
            f"{packed[-1]}: expected all of its parts, found {', '.join(part.name for part in parts) or 'none'}; bring "
            "the others, or delete this folder to go on from what else is here"
        )
    archive = zipfile.ZipFile(io.BytesIO(b"".join(part.read_bytes() for part in parts)))
    names = archive.namelist()
    for directory in [name.removesuffix("config.yaml") for name in names if name.endswith("/config.yaml")]:
        here, result = progress(out / directory), f"{directory}result.json"
        further = progress(zipfile.Path(archive, directory)) > here
        if further:
            (out / result).unlink(missing_ok=True)  # of the records that go
        for name in names:
            lacks = not here[0] and name != result and not (out / name).exists()
            if name.startswith(directory) and (further or lacks):
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                files.replace(out / name, archive.read(name))


def pack(out: pathlib.Path) -> None:
    """Leaves the records, and of each run that has no end yet what it goes on from, in files of at most 15 MiB.

    What was packed before is there until all of it is.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", strict_timestamps=False) as archive:  # files that came back may be from 1970
        for config in sorted(out.rglob("config.yaml")):
            directory = config.parent
            paths = [path for path in directory.iterdir() if path.is_file()]
            if not progress(directory)[0]:
                paths += sorted(directory.glob("checkpoints/epoch-*.state"))[-1:]
                paths += directory.glob(f"{COMPILED}/*")
            for path in sorted(paths):
                archive.write(path, path.relative_to(out))
    data = content.getvalue()
    before, new, starts = sorted(out.glob("state.[0-9]*")), out / "state.new", range(0, len(data), PART)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for number, start in enumerate(starts, 1):
        files.replace(new / f"{number:03}-of-{len(starts):03}", data[start : start + PART])
    new.rename(out / f"state.{1 + max((int(folder.suffix[1:]) for folder in before), default=0):04}")
    for folder in before:
        shutil.rmtree(folder)
