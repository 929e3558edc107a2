"""Programs of which networks are made: small enough for a census of all pairs of inputs."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from commutes.errors import AlgorithmError, similar
from commutes.testing.compiler._program import (
    Aggregate,
    Indices,
    Map,
    Program,
    Select,
    SelectorWidth,
    SequenceMap,
    SOp,
    Tokens,
)


def program(name: str, *, length: int | None = None, symbols: int | None = None) -> Program:
    """A program by name.

    Args:
        name: One of `PROGRAMS`.
        length: Of the sequences, where the program is one for any length; otherwise its own.
        symbols: Size of the alphabet, where the program is one for any alphabet.

    Raises:
        AlgorithmError: No such program, or one that has no such size.

    >>> program("reverse", length=3, symbols=2).outputs[0][0].name
    'reversed'
    """
    if name not in PROGRAMS:
        near = similar(name, PROGRAMS)
        raise AlgorithmError(
            f"there is no program {name!r}",
            expected=f"one of {', '.join(PROGRAMS)}",
            fix=f"write {near!r}" if near else "write one with Program(...)",
        )
    make, own_length, own_symbols, flexible = PROGRAMS[name]
    for asked, own, word in ((length, own_length, "length"), (symbols, own_symbols, "symbols")):
        if asked is not None and asked != own and word not in flexible:
            raise AlgorithmError(
                f"the program {name} has one {word} only", got=f"{word}={asked}", expected=str(own)
            )
    return make(length or own_length, symbols or own_symbols)


def _letters(symbols: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[:symbols]


def _everywhere(op: SOp, length: int) -> tuple[tuple[SOp, int], ...]:
    return tuple((op, position) for position in range(length))


def _shifted(name: str, of: SOp, by: int, indices: Indices, *, default: Any = None) -> Aggregate:
    """What stands `by` positions further to the right."""
    target = Map(f"{name}_target", lambda i: i + by, indices)
    return Aggregate(name, Select(indices, target, operator.eq), of, default)


def _previous(length: int, symbols: int) -> Program:
    """The token before each one."""
    previous = _shifted("previous", Tokens(), -1, Indices(), default="none")
    return Program("previous token", _letters(symbols), length, _everywhere(previous, length), causal=True)


def _duplicate(length: int, symbols: int) -> Program:
    """Has each token been there before?"""
    tokens = Tokens()
    seen = SelectorWidth("seen", Select(tokens, tokens, operator.eq))
    again = Map("again", lambda count: count > 1, seen)
    # The first token never is one.
    outputs = tuple((again, position) for position in range(1, length))
    return Program("duplicate token", _letters(symbols), length, outputs, causal=True)


def _reverse(length: int, symbols: int) -> Program:
    """The sequence backwards."""
    indices = Indices()
    mirror = Map("mirror", lambda i: length - 1 - i, indices)
    reverse = Aggregate("reversed", Select(indices, mirror, operator.eq), Tokens())
    return Program("reverse", _letters(symbols), length, _everywhere(reverse, length))


def _histogram(length: int, symbols: int) -> Program:
    """How often each token occurs."""
    tokens = Tokens()
    count = SelectorWidth("count", Select(tokens, tokens, operator.eq))
    return Program("histogram", _letters(symbols), length, _everywhere(count, length))


def _parity(length: int, symbols: int) -> Program:
    """Is the number of a's odd?"""
    tokens = Tokens()
    count = SelectorWidth("count", Select(tokens, Indices(), lambda token, _: token == "a"))
    odd = Map("odd", lambda n: n % 2 == 1, count)
    return Program("parity of a count", _letters(symbols), length, ((odd, length - 1),))


def _fraction(length: int, symbols: int) -> Program:
    """The share of a's so far, at every position."""
    is_a = Map("is_a", lambda token: float(token == "a"), Tokens(), number=True)
    indices = Indices()
    share = Aggregate("share", Select(indices, indices, operator.le), is_a, 0.0)
    return Program("fraction of previous", _letters(symbols), length, _everywhere(share, length), causal=True)


def _sort(length: int, symbols: int) -> Program:
    """The tokens in order."""
    tokens, indices = Tokens(), Indices()
    # Equal tokens keep their order, so that every position has a rank of its own.
    place = SequenceMap("place", lambda token, i: (token, i), (tokens, indices))
    rank = SelectorWidth("rank", Select(place, place, operator.lt))
    ordered = Aggregate("sorted", Select(rank, indices, operator.eq), tokens, "none")
    return Program("sort", _letters(symbols), length, _everywhere(ordered, length))


def _balanced(length: int, symbols: int) -> Program:
    """Do the brackets match?"""
    tokens, indices = Tokens(), Indices()
    opened = SelectorWidth("opened", Select(tokens, indices, lambda token, _: token == "("))
    closed = SelectorWidth("closed", Select(tokens, indices, lambda token, _: token == ")"))
    depth = SequenceMap("depth", operator.sub, (opened, closed))
    below = Map("below", lambda d: d < 0, depth)
    fallen = SelectorWidth("fallen", Select(below, indices, lambda found, _: found))
    matched = SequenceMap("matched", lambda d, n: d == 0 and n == 0, (depth, fallen))
    return Program("balanced brackets", "()"[:symbols], length, ((matched, length - 1),), causal=True)


def _induction(length: int, symbols: int) -> Program:
    """What came after the earlier occurrence of the last token."""
    tokens = Tokens()
    previous = _shifted("previous", tokens, -1, Indices(), default="none")
    found = Aggregate("found", Select(previous, tokens, operator.eq), tokens, "none")
    return Program("induction", _letters(symbols), length, ((found, length - 1),), causal=True)


def _indirect_object(length: int, symbols: int) -> Program:
    """Of the names before the last one, the first that is not the last one."""
    tokens, indices = Tokens(), Indices()
    subject = Aggregate("subject", Select(indices, indices, lambda k, _: k == length - 1), tokens)
    other = SequenceMap("other", operator.ne, (tokens, subject))
    place = SequenceMap("place", lambda i, is_other: (i, is_other), (indices, other))
    earlier = SelectorWidth("earlier", Select(place, indices, lambda found, i: found[1] and found[0] < i))
    first = SequenceMap(
        "first", lambda i, is_other, n: i < length - 1 and is_other and n == 0, (indices, other, earlier)
    )
    name = Aggregate("name", Select(first, indices, lambda found, _: found), tokens, "nobody")
    return Program("indirect object", _letters(symbols), length, ((name, length - 1),))


def _addition(length: int, symbols: int) -> Program:
    """The sum of two numbers of two digits, most significant first: a1 a0 b1 b0."""
    tokens, indices = Tokens(), Indices()
    partner = _shifted("partner", tokens, 2, indices)
    total = SequenceMap("sum", lambda a, b: a + b, (tokens, partner))
    carry = Map("carry", lambda s: s >= symbols, total)
    moved = _shifted("moved", carry, 1, indices)
    upper = SequenceMap("upper", lambda s, c: s + c, (total, moved))
    digit = Map("digit", lambda s: s % symbols, total)
    return Program("addition", range(symbols), length, ((upper, 0), (digit, 1)))


def _paired(
    name: str,
    first: Callable[[Any, Any], bool],
    second: Callable[[bool, bool], bool],
    alphabet: Callable[[int], Any],
) -> Callable[[int, int], Program]:
    """second(first(t0, t1), first(t2, t3))."""

    def make(length: int, symbols: int) -> Program:
        tokens, indices = Tokens(), Indices()
        partner = _shifted("partner", tokens, 1, indices)
        pair = SequenceMap("pair", first, (tokens, partner))
        moved = _shifted("moved", pair, 2, indices)
        both = SequenceMap("both", second, (pair, moved))
        return Program(name, alphabet(symbols), length, ((both, 0),))

    return make


def _bits(symbols: int) -> tuple[bool, ...]:
    return (False, True)[:symbols]


_ANY = ("length", "symbols")

PROGRAMS: dict[str, tuple[Callable[[int, int], Program], int, int, tuple[str, ...]]] = {
    "previous": (_previous, 4, 3, _ANY),
    "duplicate": (_duplicate, 4, 3, _ANY),
    "reverse": (_reverse, 4, 3, _ANY),
    "histogram": (_histogram, 4, 3, _ANY),
    "parity": (_parity, 5, 2, _ANY),
    "fraction": (_fraction, 4, 2, _ANY),
    "sort": (_sort, 3, 3, _ANY),
    "balanced": (_balanced, 4, 2, ("length",)),
    "induction": (_induction, 4, 3, _ANY),
    "indirect_object": (_indirect_object, 3, 3, _ANY),
    "addition": (_addition, 4, 3, ("symbols",)),
    "and_or": (_paired("and of pairs, or", operator.and_, operator.or_, _bits), 4, 2, ()),
    "equality": (_paired("equality of pairs, equal", operator.eq, operator.eq, _letters), 4, 3, ("symbols",)),
}
"""By name: how it is made, its length, the size of its alphabet, and which of the two may be chosen."""
