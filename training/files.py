"""Writing a file whole, or not at all."""

import os
import pathlib

from training.errors import UserError


def replace(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file so that a reader sees the old content or the new one, never a part; also after a crash.

    Raises:
        UserError: it cannot be written (a full disk, no permission); the old content is intact.
    """
    data = content.encode() if isinstance(content, str) else content
    new = path.with_name(f"{path.name}.{os.getpid()}.new")  # two grids may draw into one folder
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise UserError(
            f"{path}: expected to write {len(data):,} bytes, found {error.strerror}; what was written before is intact"
        ) from error
