"""Every error and warning class, and the one form in which they speak."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AlgorithmError",
    "AlignmentError",
    "ArtefactError",
    "CommutesError",
    "CommutesWarning",
    "DataError",
    "DomainError",
    "EngineError",
    "FitError",
    "MechanismError",
    "NetworkError",
    "SiteError",
    "SpecError",
    "StatisticsError",
    "StoreError",
    "is_out_of_memory",
    "memory_error",
    "nearest",
    "similar",
]


class CommutesError(Exception):
    """What is wrong, where, what was got, what was expected and what to do: one screen, one form.

    Args:
        what: One sentence that says what is wrong.
        where: The file, line, key, variable, site or cell concerned.
        got: What was found.
        expected: What would have been right.
        fix: What to do, in the imperative.

    >>> print(CommutesError("no such variable", got="'lefft'", expected="one of left, right", fix="write left"))
    no such variable
      got:      'lefft'
      expected: one of left, right
      do:       write left
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: str | None = None,
        expected: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.got = got
        self.expected = expected
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        labelled = (
            ("where:", self.where),
            ("got:", self.got),
            ("expected:", self.expected),
            ("do:", self.fix),
        )
        lines = [self.what]
        for label, text in labelled:
            if text is not None:
                lines.append(f"  {label:<9} " + text.replace("\n", "\n            "))
        return "\n".join(lines)


class AlgorithmError(CommutesError):
    """The hypothesis is not a well-formed causal model."""


class DomainError(AlgorithmError):
    """A value lies outside the domain of its variable."""


class MechanismError(AlgorithmError):
    """A mechanism raised, left its domain, or answered differently twice."""


class DataError(CommutesError):
    """The counterfactuals that were asked for cannot be drawn, or may not be used in this way."""


class StatisticsError(CommutesError):
    """A statistic was asked of data that cannot give it."""


class NetworkError(CommutesError):
    """The network, its encoding or its answers do not fit together."""


class SiteError(NetworkError):
    """A place in the network that does not exist or is not what it was said to be."""


class EngineError(CommutesError):
    """An intervention did not happen exactly as declared."""


class AlignmentError(CommutesError):
    """Variables, slices and sites do not fit together, or the alignment is not fitted."""


class FitError(CommutesError):
    """A fit could not be carried out."""


class SpecError(CommutesError):
    """A spec cannot be read or asks for something impossible."""


class ArtefactError(CommutesError):
    """A saved file is damaged, foreign or incomplete."""


class StoreError(CommutesError):
    """A run folder cannot be written, or belongs to another run; what it holds is whole."""


class CommutesWarning(UserWarning):
    """Something that the user should know and that does not stop the work."""


# Of names that are less alike than this one is no misspelling of the other.
_LIKE = 0.4


def nearest(name: str, names: Iterable[str], n: int = 1) -> list[str]:
    """The `n` members of `names` that are spelt most like `name`, best first.

    >>> nearest("lefft", ["left", "right"])
    ['left']
    """
    return difflib.get_close_matches(name, list(names), n=n, cutoff=0.0)


def similar(name: str, names: Iterable[str]) -> str | None:
    """The member of `names` that `name` may be a misspelling of; None where nothing is like it.

    >>> similar("lefft", ["left", "right"]), similar("nope", ["boolean"])
    ('left', None)
    """
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=_LIKE)
    return close[0] if close else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no room, by the exceptions of Python and torch (not imported here)."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in words or "can't allocate memory" in words or "not enough memory" in words
    )


def memory_error(error: BaseException, *, where: str | None = None) -> FitError:
    """That there was no room, and what takes less of it."""
    lines = str(error).splitlines()
    return FitError(
        "out of memory",
        where=where,
        got=f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__,
        expected="a batch and a network that fit into the memory of the device",
        fix="use a smaller batch (batch= or --set fit.batch=64), fewer starts, or fewer pairs",
    )
