"""Coordinates of a featurizer that carry one variable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from commutes.errors import AlignmentError
from commutes.network import Site

Index = int | slice | Sequence[int] | range


class Features(ABC):
    """An unfitted specification: a family of maps at a site. Its slices are what variables are aligned with."""

    site: Site

    @property
    @abstractmethod
    def learnt(self) -> bool:
        """Whether the map has to be found by fitting."""

    @abstractmethod
    def __str__(self) -> str: ...

    def __getitem__(self, index: Index) -> Slice:
        return Slice(self, index)


@dataclass(frozen=True, eq=False)
class Slice:
    """Some coordinates of a featurizer, not yet resolved against the site's width."""

    features: Features
    index: Index

    def resolve(self, width: int, *, of: str) -> tuple[int, ...]:
        """The coordinates as numbers.

        Args:
            width: Coordinates that the site has.
            of: The variable concerned, for the error.

        Raises:
            AlignmentError: Open-ended on a learnt map, empty, repeated, or beyond the width.
        """
        where = f"{of} at {self.features.site}"
        if isinstance(self.index, slice):
            if self.index.stop is None and self.features.learnt:
                raise AlignmentError(
                    "an open-ended slice of a learnt map would learn all the rest of the space",
                    where=where,
                    got=f"{self.features}[{self}]",
                    expected="a slice with an end, such as [:4]",
                    fix="say how many dimensions the variable gets",
                )
            start, stop, step = self.index.start, self.index.stop, self.index.step
            if any(isinstance(p, int) and p < 0 for p in (start, stop, step)):
                raise AlignmentError(
                    "coordinates count from 0", where=where, got=f"[{self}]", expected="no negative bounds"
                )
            chosen = list(range(start or 0, width if stop is None else stop, step or 1))
        elif isinstance(self.index, bool):
            raise AlignmentError(
                "coordinates are whole numbers", where=where, got=repr(self.index), expected="an int"
            )
        elif isinstance(self.index, int):
            chosen = [self.index]
        else:
            chosen = [int(i) for i in self.index]
        if not chosen or len(set(chosen)) != len(chosen):
            raise AlignmentError(
                "a variable needs at least one coordinate, and none twice",
                where=where,
                got=f"[{self}]",
                expected="one or several distinct coordinates",
            )
        beyond = [i for i in chosen if not 0 <= i < width]
        if beyond:
            raise AlignmentError(
                "more dimensions are asked for than the site has",
                where=where,
                got=f"coordinate {beyond[0]}",
                expected=f"from 0 to {width - 1}: the site has {width}",
                fix="ask for fewer dimensions, or align with a wider site",
            )
        return tuple(chosen)

    def __str__(self) -> str:
        if isinstance(self.index, slice):
            bounds = [self.index.start, self.index.stop] + ([self.index.step] if self.index.step else [])
            return ":".join("" if b is None else str(b) for b in bounds)
        return ", ".join(map(str, self.index)) if not isinstance(self.index, int) else str(self.index)

    def __repr__(self) -> str:
        return f"{self.features}[{self}]"
