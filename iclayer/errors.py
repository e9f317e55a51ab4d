"""The one form of the errors that a wrong argument raises."""

import math


def is_number(value):
    """Whether a value is a float or int, and finite."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def require(argument, valid, expected, received):
    """Raises a ValueError of one line where `argument` is not `valid`: what was expected, and what was received."""
    if not valid:
        raise ValueError(f"Invalid value received for argument `{argument}`. Expected {expected}. Received: {received}")
