"""Where in a network a variable may live: modules, parts of them, positions, calls."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from commutes.errors import SiteError

if TYPE_CHECKING:
    from commutes.network._network import Network

Side = Literal["input", "output"]
PositionFunction = Callable[[Mapping[str, np.ndarray]], np.ndarray]
Position = int | Sequence[int] | PositionFunction
Part = int | slice | range | Sequence[int]


@dataclass(frozen=True)
class Moment:
    """One firing of one module: what a hook is attached to."""

    path: str
    """Dotted path of the module; the empty path is the network's module itself."""
    side: Side
    """Whether the module's input or its output is meant."""
    item: int | str | None
    """Which member of a tuple, or the name of an argument; None where the value is a tensor."""
    call: int | None
    """Which call of a module that runs several times in one forward; None where it runs once."""

    def __str__(self) -> str:
        text = self.path or "(the module itself)"
        if self.side == "input":
            text += ".input"
        if self.item is not None:
            text += f"[{self.item}]"
        if self.call is not None:
            text += f" at call {self.call}"
        return text


@dataclass(frozen=True, eq=False)
class Place:
    """Coordinates of one tensor at one moment: some features at some positions."""

    moment: Moment
    part: Part | None = None
    """Features (neurons, channels) on the feature axis; None is all of them."""
    position: Position | None = None
    """Positions on the other axes, flattened; None is all of them. A function gets the inputs' values."""
    source_position: Position | None = None
    """Positions that are read in the source; None means the same as in the base."""
    axis: int | None = None
    """Feature axis; by default the last one, and axis 1 for images (batch, channel, height, width)."""

    def __str__(self) -> str:
        text = str(self.moment)
        if self.part is not None:
            text += f" features {_say(self.part)}"
        if self.position is not None:
            text += _where(self.position)
            if self.source_position is not None:
                text += f" (source{_where(self.source_position)})".replace("source position", "source")
        return text

    def feature_axis(self, ndim: int) -> int:
        """The axis that holds features in a tensor of `ndim` dimensions, batch included."""
        axis = self.axis if self.axis is not None else (1 if ndim >= 4 else ndim - 1)
        axis = axis + ndim if axis < 0 else axis
        if not 1 <= axis < ndim:
            raise SiteError(
                "the feature axis does not exist",
                where=str(self),
                got=f"axis {self.axis} of a tensor with {ndim} axes",
                expected=f"an axis from 1 to {ndim - 1} (axis 0 is the batch)",
            )
        return axis

    def features(self, width: int) -> list[int] | None:
        """Indices into the feature axis; None means all of them in order."""
        if self.part is None:
            return None
        if isinstance(self.part, slice):
            stop = self.part.stop
            # Python would cut the slice short without a word: asking for more than there is must be said.
            if isinstance(stop, int) and stop > width:
                raise self._no_part(width)
            chosen = list(range(*self.part.indices(width)))
        else:
            chosen = self._whole_numbers(self.part)
        resolved = [i + width if i < 0 else i for i in chosen]
        wrong = [i for i, r in zip(chosen, resolved, strict=True) if not 0 <= r < width]
        if wrong or not resolved or len(set(resolved)) != len(resolved):
            raise self._no_part(width, absent=bool(wrong))
        return resolved

    def _no_part(self, width: int, *, absent: bool = True) -> SiteError:
        return SiteError(
            "the part of the site does not exist"
            if absent
            else "the part of the site is empty or repeats itself",
            where=str(self.moment),
            got=_say(self.part),
            expected=f"distinct features from 0 to {width - 1}",
            fix="name the features by index; commutes sites lists the widths",
        )

    def _whole_numbers(self, part: object) -> list[int]:
        try:
            listed: list[Any] = list(part) if isinstance(part, Iterable) else [part]
            if any(isinstance(i, bool) for i in listed):
                raise TypeError
            return [operator.index(i) for i in listed]
        except TypeError:
            raise SiteError(
                "a part is made of whole numbers",
                where=str(self.moment),
                got=_say(self.part),
                expected="an index, a slice or a flat list of indices",
                fix="[0, 5] is two features, slice(0, 5) is five",
            ) from None

    def positions(
        self, values: Mapping[str, np.ndarray], n: int, length: int, *, source: bool
    ) -> torch.Tensor | None:
        """Positions per example.  # shape: (n, p) or None for all of them, in order

        Args:
            values: The inputs' values by name, for a function of the inputs.
            n: Number of examples.
            length: Number of positions of the tensor.
            source: Whether the example is read as a source.
        """
        chosen = self.source_position if source and self.source_position is not None else self.position
        if chosen is None:
            return None
        table = _evaluated(chosen, values, n, self) if callable(chosen) else self._listed(chosen)
        if not np.issubdtype(table.dtype, np.integer):
            raise SiteError(
                "positions are whole numbers",
                where=str(self),
                got=f"values of type {table.dtype}",
                expected="integers",
            )
        table = np.broadcast_to(table, (n, table.shape[-1]))
        resolved = np.where(table < 0, table + length, table)
        bad = (resolved < 0) | (resolved >= length)
        if bad.any():
            row = int(np.nonzero(bad.any(axis=1))[0][0])
            raise SiteError(
                "a position lies outside the sequence",
                where=f"{self}, example {row}",
                got=f"position {int(table[row][bad[row]][0])}",
                expected=f"from {-length} to {length - 1}",
            )
        # A source may be read twice at one position; a base that is written twice there has no one value.
        twice = np.diff(np.sort(resolved, axis=1), axis=1) == 0
        if twice.any() and chosen is self.position:
            row = int(np.nonzero(twice.any(axis=1))[0][0])
            raise SiteError(
                "a position is named twice",
                where=f"{self}, example {row}",
                got=", ".join(map(str, table[row].tolist())),
                expected="distinct positions",
            )
        return torch.from_numpy(np.ascontiguousarray(resolved.astype(np.int64)))

    def _listed(self, chosen: int | Sequence[int]) -> np.ndarray:
        table = np.atleast_1d(np.asarray(chosen))
        if table.ndim > 1 or table.size == 0:
            raise SiteError(
                "positions are given as one list for all examples",
                where=str(self.moment),
                got=repr(chosen),
                expected="an index or a flat list of indices, at least one",
                fix="[0, 5] is two positions; give a function of the inputs for positions per example",
            )
        return table


def _evaluated(
    function: PositionFunction, values: Mapping[str, np.ndarray], n: int, place: Place
) -> np.ndarray:
    # An exception inside the user's function is the user's to see: it is never caught and tried another way.
    answer = np.asarray(function(values))
    table = answer[:, None] if answer.ndim == 1 else answer
    if table.ndim != 2 or table.shape[0] != n or table.shape[1] == 0:
        raise SiteError(
            "a position function must answer for every example",
            where=str(place),
            got=f"an array of shape {answer.shape}",
            expected=f"({n},) or ({n}, positions)",
        )
    return table


def _say(what: object) -> str:
    if callable(what):
        return f"by {getattr(what, '__name__', 'a function')}"
    if isinstance(what, slice):
        parts = [what.start, what.stop] + ([what.step] if what.step is not None else [])
        return ":".join("" if p is None else str(p) for p in parts)
    # The features of a head would fill a line one by one.
    if isinstance(what, list | tuple) and len(what) > 2 and all(type(i) is int for i in what):
        first, behind = what[0], what[-1] + 1
        return f"{first}:{behind}" if list(what) == list(range(first, behind)) else str(what)
    return str(what)


def _where(position: Position) -> str:
    """A position as it is written behind a place; one in words, such as "{b}", stands for itself."""
    words = getattr(position, "words", None)
    return f" position {_say(position)}" if words is None else f" at {words}"


@dataclass(frozen=True, eq=False)
class Site:
    """One or several places of a network, read and written as one vector.

    The vector of an example has the places' coordinates one after the other. With `each=True` every position
    is a vector of its own and they share one map.
    """

    network: Network
    places: tuple[Place, ...]
    each: bool = False

    def __add__(self, other: Site) -> Site:
        if not isinstance(other, Site):
            return NotImplemented
        if other.network is not self.network or other.each != self.each:
            raise SiteError(
                "only sites of one network, alike in each=, can be joined",
                got=f"{self} and {other}",
                expected="two sites made by the same Network object",
            )
        return replace(self, places=self.places + other.places)

    def __str__(self) -> str:
        return " + ".join(str(place) for place in self.places) + (" (each position)" if self.each else "")

    def __repr__(self) -> str:
        return f"Site({self})"

    def on(self, network: Network) -> Site:
        """The same places of another network; positions in words are found in that network's own prompts."""
        places = self.places if network.language is None else map(network.language.again, self.places)
        return Site(network, tuple(places), self.each)

    @property
    def moments(self) -> tuple[Moment, ...]:
        """The distinct moments of the site, in the order of its places."""
        return tuple(dict.fromkeys(place.moment for place in self.places))
