"""Coordinates of a featurizer that carry one variable."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from commutes.engine import Featurizer
from commutes.errors import AlignmentError
from commutes.features._parametrisation import Parametrisation
from commutes.network import Site

Index = int | slice | Sequence[int] | range


class Features(ABC):
    """An unfitted specification: a family of maps at a site. Variables are aligned with its slices."""

    site: Site

    @property
    @abstractmethod
    def learnt(self) -> bool:
        """Whether the map has to be found by fitting."""

    @property
    def spreads(self) -> bool:
        """Whether a coordinate may write anywhere in the site, and not only where its own number is."""
        return True

    @property
    def chooses(self) -> bool:
        """Whether fitting chooses among the coordinates of a slice, which may then be open-ended."""
        return False

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def at(self, site: Site) -> Features:
        """The same family at another site, unfitted where it is learnt."""

    def size(self, width: int) -> int:
        """How many coordinates a site of this width has under the map.

        Raises:
            AlignmentError: The map does not fit a site of this width.
        """
        return width

    def given(self, coordinates: Sequence[int], device: torch.device) -> Featurizer | None:
        """The map to these coordinates, or None where it has to be found by fitting."""
        return None

    def parametrisation(
        self, width: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> Parametrisation | None:
        """How the map is found by descent, or None where it is not.

        Args:
            width: d, of the site.
            coordinates: What the variables named, in the order of the map's columns.
            columns: Of every variable, its columns of the map.
        """
        return None

    def accepts(self, featurizer: Featurizer) -> bool:
        """Whether a map may stand for this family once it is fitted."""
        return True

    def __getitem__(self, index: Index) -> Slice:
        return Slice(self, index)


@dataclass(frozen=True, eq=False)
class Slice:
    """Some coordinates of a featurizer, not yet resolved against the site's width."""

    features: Features
    index: Index

    def resolve(self, width: int, *, of: str, owner: str = "site") -> tuple[int, ...]:
        """The coordinates as numbers.

        Args:
            width: Coordinates that there are.
            of: The variable concerned, for the error.
            owner: What has them: the site, or a dictionary.

        Raises:
            AlignmentError: Open-ended on a learnt map, empty, repeated, or beyond the width.
        """
        where = f"{of} at {self.features.site}"
        if isinstance(self.index, slice):
            if self.index.stop is None and self.features.learnt and not self.features.chooses:
                raise AlignmentError(
                    "an open-ended slice of a learnt map would learn all the rest of the space",
                    where=where,
                    got=f"{self.features}[{self}]",
                    expected="a slice with an end, such as [:4]",
                    fix="say how many dimensions the variable gets",
                )
            bounds = [b for b in (self.index.start, self.index.stop, self.index.step) if b is not None]
            if self.index.step == 0 or any(b < 0 for b in self._whole(bounds, where)):
                raise self._negative(width, where)
            stop = width if self.index.stop is None else self.index.stop
            chosen: Sequence[int] = range(self.index.start or 0, stop, self.index.step or 1)
        else:
            chosen = self._whole(self.index, where)
        # First, and lazily: a slice may ask for more coordinates than fit into memory.
        beyond = next((i for i in chosen if i >= width), None)
        if beyond is not None:
            raise AlignmentError(
                f"more dimensions are asked for than the {owner} has",
                where=where,
                got=f"coordinate {beyond}",
                expected=f"from 0 to {width - 1}: the {owner} has {width}",
                fix=f"ask for fewer dimensions, or align with a wider {owner}",
            )
        if not chosen or len(set(chosen)) != len(chosen):
            raise AlignmentError(
                "a variable needs at least one coordinate, and none twice",
                where=where,
                got=f"[{self}]",
                expected="one or several distinct coordinates",
            )
        if min(chosen) < 0:
            raise self._negative(width, where)
        return tuple(chosen)

    def _negative(self, width: int, where: str) -> AlignmentError:
        return AlignmentError(
            "coordinates count from 0 upwards",
            where=where,
            got=f"[{self}]",
            expected=f"numbers from 0 to {width - 1}, in steps of at least 1",
        )

    def _whole(self, index: object, where: str) -> list[int]:
        try:
            listed: list[Any] = list(index) if isinstance(index, Iterable) else [index]
            if any(isinstance(i, bool) for i in listed):
                raise TypeError
            return [operator.index(i) for i in listed]
        except TypeError:
            raise AlignmentError(
                "coordinates are whole numbers",
                where=where,
                got=f"[{self}]",
                expected="an int, a slice or a flat list of ints",
                fix="[[0, 5]] is two coordinates, [0:5] is five",
            ) from None

    def __str__(self) -> str:
        if isinstance(self.index, slice):
            step = [] if self.index.step is None else [self.index.step]
            return ":".join("" if b is None else str(b) for b in [self.index.start, self.index.stop, *step])
        if isinstance(self.index, Iterable) and not isinstance(self.index, str):
            return ", ".join(map(str, self.index))
        return repr(self.index)

    def __repr__(self) -> str:
        return f"{self.features}[{self}]"
