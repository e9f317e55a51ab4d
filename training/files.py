"""Writing a file whole, or not at all."""

import contextlib
import os
import pathlib

from training.errors import UserError


def replace(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file so that a reader sees the old content or the new one, never a part; also after a power loss.

    Raises:
        UserError: it cannot be written (a full disk, no permission); the old content is intact.
    """
    data = content.encode() if isinstance(content, str) else content
    new = path.with_name(f"{path.name}.{os.getpid()}.new")  # two grids may draw into one folder
    try:
        new.write_bytes(data)
        settle(new, path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise UserError(
            f"{path}: expected to write {len(data):,} bytes, found {error.strerror}; what was written before is intact"
        ) from error


def settle(new: pathlib.Path, path: pathlib.Path) -> None:
    """Puts a file that is written in the place of `path`: what is settled later is not there before it is."""
    with new.open("rb+") as file:
        os.fsync(file.fileno())
    new.replace(path)
    with contextlib.suppress(OSError):  # Windows opens no folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
