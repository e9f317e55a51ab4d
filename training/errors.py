"""Mistakes that a user can make."""


class UserError(Exception):
    """One line for the user: what was named, what was expected, what was found. Scripts exit with code 2."""

    def __init__(self, message):
        super().__init__(" ".join(str(message).split()))
