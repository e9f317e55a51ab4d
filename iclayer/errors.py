"""The one form of the errors that a wrong argument raises."""


def require(argument, valid, expected, received):
    """Raises a ValueError of one line where `argument` is not `valid`: what was expected, and what was received."""
    if not valid:
        raise ValueError(f"Invalid value received for argument `{argument}`. Expected {expected}. Received: {received}")
