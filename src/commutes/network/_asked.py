"""From what is asked for by name, layer, head and position to a validated place in a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from torch import nn

from commutes.errors import SiteError
from commutes.network._admit import no_language, no_such
from commutes.network._site import Place, Position

if TYPE_CHECKING:
    from commutes.network.transformers import Head, Language, Meaning


def asked_place(
    asked: Place,
    modules: Mapping[str, nn.Module],
    language: Language | None,
    *,
    layer: int | None,
    head: Head | None,
    position: Position | Meaning | None,
    source_position: Position | Meaning | None,
) -> Place:
    """The place that is meant.

    Args:
        asked: As it was written, its path perhaps a name; without positions.
        modules: Of the network, by path.
        language: Of the network, if it is a language model.
        layer: Of a name.
        head: Of a name.
        position: In numbers, by a function or in words.
        source_position: The same in the source; None where it is the base's.

    Raises:
        SiteError: No such module (the three nearest are named), or a side or call that cannot be.
    """
    path, side, call = asked.moment.path, asked.moment.side, asked.moment.call
    if language is None and (layer is not None or head is not None):
        raise no_language(path)
    if path not in modules and not (language is not None and language.knows(path)):
        raise no_such(path, modules, () if language is None else language.names)
    if side not in ("input", "output"):
        raise SiteError(
            "a site is at a module's input or output", got=repr(side), expected="'input' or 'output'"
        )
    if call is not None and (isinstance(call, bool) or not isinstance(call, int) or call < 0):
        raise SiteError("calls count from 0", where=path, got=repr(call), expected="a whole number from 0")
    where = (position, source_position)
    if language is not None:
        asked = language.place(asked, layer=layer, head=head)
        where = language.positions(asked, *where)
    base, source = cast("tuple[Position | None, Position | None]", where)
    return replace(asked, position=base, source_position=source)
