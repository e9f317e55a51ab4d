"""One process at a time on a run directory."""

import contextlib
import os
import pathlib
import socket

import filelock

from training.errors import UserError


class HeldError(UserError):
    """Another process has the run."""


class Lock:
    """Within it, the run directory is this process' own; the system drops the lock of a process that is dead.

    Args:
        directory: the run directory; it is made if it is not there.

    Raises:
        HeldError: another process holds it; the message has its pid and host.
        UserError: it cannot be made.
    """

    def __init__(self, directory: pathlib.Path):
        self._directory = directory
        self._path = directory / "checkpoints" / "lock"
        self._holder = self._path.with_name("lock.holder")  # Windows lets nobody read a file that is locked
        self._lock = filelock.FileLock(self._path, blocking=False)

    def __enter__(self):
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._holder.write_text(f"pid {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        except filelock.Timeout as error:
            holder = "another process"
            with contextlib.suppress(OSError):
                holder = self._holder.read_text(encoding="utf-8") or holder
            raise HeldError(f"{self._directory} ({holder})") from error
        except OSError as error:
            self._lock.release()
            raise UserError(f"{self._path}: expected a lock that can be had, found {error.strerror}") from error
        return self

    def __exit__(self, *_):
        self._holder.unlink(missing_ok=True)
        self._lock.release()
