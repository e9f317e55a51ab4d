"""One process at a time on a run directory."""

import fcntl
import os
import pathlib
import socket

from training.errors import UserError


class Lock:
    """Within it, the run directory is this process' own; the kernel drops the lock of a process that is dead.

    Args:
        directory: the run directory; it is made if it is not there.

    Raises:
        UserError: another process holds it; the message has its pid and host. Or it cannot be made.
    """

    def __init__(self, directory: pathlib.Path):
        self._directory = directory

    def __enter__(self):
        path = self._directory / "checkpoints" / "lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+")
        except OSError as error:
            raise UserError(f"{path}: expected a file that can be written, found {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise UserError(
                f"{self._directory}: expected a run that no other process works on, found {holder}"
            ) from error
        self._file.truncate(0)
        self._file.write(f"pid {os.getpid()} on {socket.gethostname()}")
        self._file.flush()
        return self

    def __exit__(self, *_):
        self._file.close()
