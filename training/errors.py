"""Mistakes that a user can make."""

import functools
import re
import sys
from collections.abc import Callable
from typing import Any


class UserError(Exception):
    """One line for the user: what was named, what was expected, what was found. Scripts exit with code 2."""

    def __init__(self, message):
        super().__init__(" ".join(str(message).split()))


def exit_codes(main: Callable[..., int]) -> Callable[..., int]:
    """Decorates what a process does: a UserError is its line on stderr and 2, Ctrl-C is 130."""

    @functools.wraps(main)
    def decorated(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130

    return decorated


def reason(error: Exception) -> str:
    """The line of an error of TensorFlow that says what happened, behind those that say where."""
    where = ("Graph execution error", "Detected at node", "<", "  ", "\t")
    text = re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*", "", str(error))  # names of operations
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(where)]
    return lines[0] if lines else type(error).__name__


def require(key: str, value: Any, valid: bool, expected: str) -> None:
    """Raises a UserError that names the key, what was expected and what was found."""
    if not valid:
        raise UserError(f"{key}: expected {expected}, found {value}")
