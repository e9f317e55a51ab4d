"""Orderings: the table of units, and the grammar of the strings in it.

An ordering is a string of the tokens `conv`, `bn`, `dropout`, `uout`, `ic` (= `bn dropout`) and `relu`, read for every
weight layer of a network:

    stem   = conv, then what follows `conv` in the string
    branch = the whole string, once per weight layer; what stands behind `|` waits, for the branch's last weight layer,
             until after the addition
    head   = what precedes `conv` in the string, then pooling, then what stands behind `||`, then Dense

Of a string with a `;` the branch's last weight layer reads what stands behind it, and all else what stands before it.
`pool` behind `||` says where the pooling stands, if not first.
"""

import collections
from typing import NamedTuple, Self

from iclayer.errors import require

UNITS = {
    "baseline": "conv bn | relu",  # Fig. 3a, He et al. 2016a
    "relu-ic-conv": "relu ic conv",  # (1): Fig. 3b, 4.2
    "ic-conv-relu": "ic conv relu",  # (2): Fig. 3b, 4.2
    "conv-relu-ic": "conv relu ic",  # (3): Fig. 3b
    "bn-relu-conv": "bn relu conv",  # He et al. 2016b
    "relu-bn-conv": "relu bn conv",  # ablation: (1) without dropout
    "relu-dropout-conv": "relu dropout conv",  # ablation: (1) without BN
    "conv-ic-relu": "conv ic | relu",  # "IC before the activation", 4.3
    "conv-bn-relu-dropout": "conv bn | relu dropout",  # the practice of articles and answers
    "conv-dropout-bn-relu": "conv dropout bn | relu",  # the disharmony of Li et al. 2018
    "li2018": "conv bn | relu || dropout",  # dropout after all BN: Li et al. 2018, 4.3
    "kim2023": "conv bn | relu ; dropout conv bn | relu || dropout pool",  # between a branch's last BN and weights
    "wide": "bn relu conv ; bn relu dropout conv",  # Zagoruyko & Komodakis 2016
}
TOKENS = ("conv", "bn", "dropout", "uout", "ic", "relu")
NOISES = ("dropout", "uout", "ic")  # the tokens that take a rate


class Token(NamedTuple):
    """One token of an ordering; `repeat` tells a second `relu` in one string from the first."""

    kind: str
    repeat: str = ""


class Part(NamedTuple):
    """What a weight layer reads: the tokens before and after `conv`, and behind `|`."""

    before: tuple[Token, ...]
    conv: tuple[Token, ...]
    after: tuple[Token, ...]
    waiting: tuple[Token, ...]


class Ordering(NamedTuple):
    """An ordering, parsed.

    Attributes:
        first: what all weight layers read, but for the last of a branch.
        last: what that one reads.
        unpooled, pooled: the tokens behind `||`, before the pooling and after it.
    """

    first: Part
    last: Part
    unpooled: tuple[Token, ...]
    pooled: tuple[Token, ...]

    @classmethod
    def parse(cls, unit: str) -> Self:
        """Reads a name of `UNITS`, or an ordering.

        Raises:
            ValueError: no network can be built from `unit`; the message says why.
        """

        def check(valid, why):
            expected = f"one of {', '.join(UNITS)}, or a string of {', '.join(TOKENS)}"
            examples = "such as 'relu ic conv' or 'conv bn | relu || dropout'"
            require("unit", valid, f"{expected} {examples}", f"{unit=}, {why}")

        check(isinstance(unit, str), "which is not a string")
        words = UNITS.get(unit, unit).split()
        for word in words:
            check(word in (*TOKENS, "pool", "|", ";", "||"), f"where {word!r} is neither a unit nor a token")
        for mark in (";", "||", "pool"):
            check(words.count(mark) < 2, f"which has `{mark}` more than once")
        body, head = _halves(words, "||")
        order = "where `conv`, `|`, `;`, `||` and `pool` must come in this order"
        check(not {"conv", "|", ";"} & {*head} and "pool" not in body, order)
        parts = _halves(body, ";") if ";" in body else (body,)
        where = ", in a part" * (len(parts) > 1)
        for part in parts:
            check(part.count("conv") == 1, f"which has `conv` {part.count('conv')} times, not once{where}")
            check(part.count("|") < 2, f"which has `|` more than once{where}")
            check("|" not in part or part.index("conv") < part.index("|"), order)
        unpooled, pooled = _halves(head, "pool") if "pool" in head else ([], head)
        seen = collections.Counter[str]()
        first = _part(parts[0], seen)
        return cls(first, _part(parts[-1], collections.Counter()), _tokens(unpooled, seen), _tokens(pooled, seen))

    @property
    def drops(self) -> bool:
        """Whether any of it is dropout, or noise in its place, so that a rate matters."""
        tokens = (*sum(self.first + self.last, ()), *self.unpooled, *self.pooled)
        return any(token.kind in NOISES for token in tokens)


def _halves(words, mark):
    """What stands before the first `mark`, and what behind it."""
    place = words.index(mark) if mark in words else len(words)
    return words[:place], words[place + 1 :]


def _tokens(words, seen):
    """The tokens of `words`, of which `seen` counts those before."""
    tokens = []
    for word in words:
        seen[word] += 1
        tokens.append(Token(word, f"_{seen[word]}" if seen[word] > 1 else ""))
    return tuple(tokens)


def _part(words, seen):
    own, waiting = _halves(words, "|")
    before, after = _halves(own, "conv")
    return Part(_tokens(before, seen), (Token("conv"),), _tokens(after, seen), _tokens(waiting, seen))
