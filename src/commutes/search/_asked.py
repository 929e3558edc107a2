"""Where a spec asks for its variables: by layer, head and position, each found in the network or refused by its key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from commutes.errors import NetworkError, SpecError

if TYPE_CHECKING:
    from commutes.network import Network, Site
    from commutes.search._spec import Spec
    from commutes.search._spec_challenge import VariantPart
    from commutes.search._spec_claim import AtPart

__all__ = ["Asked", "Keys", "asked", "by_name", "check_layers", "found", "located", "moved", "told"]

# The name that a layer alone stands for.
BLOCK = "block_output"

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """One place as it is asked for: a name with its layer, or a path; a head; a token."""

    name: str
    layer: int | None = None
    head: int | None = None
    position: int | str | tuple[int | str, ...] | None = None

    def __str__(self) -> str:
        words = self.name if self.layer is None else f"{self.name} of layer {self.layer}"
        words += "" if self.head is None else f", head {self.head}"
        return words if self.position is None else f"{words} at {self._tokens}"

    @property
    def column(self) -> str:
        """What varies within a layer: the head and the token."""
        head = "" if self.head is None else f"head {self.head}"
        return ", ".join(word for word in (head, self._tokens) if word)

    @property
    def _tokens(self) -> str:
        parts = self.position if isinstance(self.position, tuple) else (self.position,)
        return " + ".join(str(part) for part in parts if part is not None)


def asked(spec: Spec, network: Network) -> tuple[Asked, ...]:
    """The places that are swept: every layer with every head and every position, in the order of the spec.

    Raises:
        SpecError: A layer beyond the last block, "all" heads of a place that has none.
    """
    claim = spec.claim
    return tuple(
        replace(place, head=head, position=position)
        for place in _places(spec, network)
        for head in _heads(spec, network, place)
        for position in claim.positions or (None,)
    )


def located(spec: Spec, network: Network, name: str, swept: Asked) -> Asked:
    """The place of one variable: the swept one, but for what its table in claim.at says.

    Raises:
        SpecError: A place in every layer where no layer is named.
    """
    own = spec.claim.at.get(name)
    return swept if own is None else moved(spec, network, own, swept, f"claim.at.{name}")


def moved(spec: Spec, network: Network, own: AtPart | VariantPart, swept: Asked, key: str) -> Asked:
    """A place, but for what a table says; `key` is the table's.

    Raises:
        SpecError: A place in every layer where no layer is named.
    """
    place = _own_place(spec, network, own, swept, key)
    # A head is one of its place: another place has not the same heads.
    head = swept.head if place.name == swept.name else None
    return replace(
        place,
        head=head if own.head is None else own.head,
        position=swept.position if own.position is None else own.position,
    )


def found(spec: Spec, network: Network, place: Asked, *, at: str | None = None) -> Site:
    """The site that is asked for.

    Args:
        spec: For the keys that a message names.
        network: In which.
        place: What is asked for.
        at: The variable whose own table asks, if one does.

    Raises:
        SpecError: It is not there; with the key that is at fault.
    """
    keys = Keys(spec, at)
    # One step at a time, so that a message names the one key that is wrong.
    # A name for one head stands for nothing without it: any head will do where the place is looked for.
    any_head = 0 if place.name.startswith("head_") else None
    told(spec, keys.place(place), lambda: _site(network, replace(place, head=any_head, position=None)))
    told(spec, keys.head(place), lambda: _site(network, replace(place, position=None)))
    tokens = place.position if isinstance(place.position, tuple) else (place.position,)
    if network.language is None and any(isinstance(token, str) for token in tokens):
        raise SpecError(
            "a position in words is one of a prompt",
            where=spec.where(keys.position(place)),
            got=repr(place.position),
            expected=f"a number: {network.name} is no language model",
            fix="number the positions from 0, or from the end by -1",
        )
    return told(spec, keys.position(place), lambda: _site(network, place))


def told(spec: Spec, key: str, look: Callable[[], T], *, listed: bool = True) -> T:
    """What `look` gives; what it refuses is told as an error of the spec's `key`.

    Args:
        spec: The spec.
        key: The dotted key that asked.
        look: What may refuse.
        listed: Whether the command that lists the places would help.

    Raises:
        SpecError: In place of the network's own error.
    """
    try:
        return look()
    except NetworkError as error:
        where = spec.where(key) + ("" if error.where is None else f"; {error.where}")
        fix = error.fix
        if listed:
            command = f"`commutes sites {spec.origin.given or 'SPEC'}` lists the places"
            # The advice of an error about modules names that command, too.
            fix = command if fix is None or "commutes sites" in fix else f"{fix}; {command}"
        raise SpecError(error.what, where=where, got=error.got, expected=error.expected, fix=fix) from error


def by_name(spec: Spec, network: Network) -> bool:
    """Whether layers are those of a place with a name, rather than the blocks' own paths."""
    return spec.claim.place is not None or network.language is not None


@dataclass(frozen=True)
class Keys:
    """The keys of the spec that asked for a place; `at` is the variable whose own table asked, if one did."""

    spec: Spec
    at: str | None

    def place(self, place: Asked) -> str:
        """Who said which place it is."""
        claim = self.spec.claim
        own = self._own("site", "place", "layer")
        if own is not None:
            return own
        if claim.sites is not None:
            return _entry("claim.sites", claim.sites, place.name)
        return "claim.place" if claim.place is not None else _entry("claim.layers", claim.layers, place.layer)

    def head(self, place: Asked) -> str:
        """Who said which head."""
        own, heads = self._own("head"), self.spec.claim.heads
        if own is not None:
            return own
        # A place that wants a head and is given none is the place's to mend.
        return self.place(place) if place.head is None else _entry("claim.heads", heads, place.head)

    def position(self, place: Asked) -> str:
        """Who said which token."""
        return self._own("position") or _entry("claim.positions", self.spec.claim.positions, place.position)

    def _own(self, *names: str) -> str | None:
        own = None if self.at is None else self.spec.claim.at.get(self.at)
        given = [name for name in names if getattr(own, name, None) is not None]
        return f"claim.at.{self.at}.{given[0]}" if given else None


def _entry(key: str, entries: object, entry: object) -> str:
    listed = list(entries) if isinstance(entries, tuple) else []
    return f"{key}.{listed.index(entry)}" if entry in listed else key


def _places(spec: Spec, network: Network) -> list[Asked]:
    claim, count = spec.claim, len(network.blocks)
    check_layers(spec, network.name, count)
    if claim.sites is not None:
        return [Asked(path) for path in claim.sites]
    layers: Sequence[int] = range(count) if isinstance(claim.layers, str) else claim.layers or ()
    if by_name(spec, network):
        return [Asked(claim.place or BLOCK, layer) for layer in layers]
    return [Asked(network.blocks[layer]) for layer in layers]


def _own_place(spec: Spec, network: Network, own: AtPart | VariantPart, swept: Asked, key: str) -> Asked:
    if own.site is not None:
        return Asked(own.site)
    if own.place is None and own.layer is None:
        return replace(swept, head=None, position=None)
    layer = swept.layer if own.layer is None else own.layer
    if layer is None:
        raise SpecError(
            f"the place {own.place} has no layer",
            where=spec.where(f"{key}.place"),
            got=f"place = {own.place!r} beside claim.sites",
            expected="a place and its layer",
            fix=f"add layer to {key}, or name its site",
        )
    if own.place is None and not by_name(spec, network):
        return Asked(network.blocks[layer])
    return Asked(own.place or (swept.name if swept.layer is not None else BLOCK), layer)


def check_layers(spec: Spec, name: str, count: int) -> None:
    """Hold every layer that the spec names against how many the network has.

    Args:
        spec: Names layers, or "all".
        name: What messages call the network.
        count: Its blocks.

    Raises:
        SpecError: A layer beyond the last block, or none is declared.
    """
    claim = spec.claim
    listed = (0,) if isinstance(claim.layers, str) else claim.layers or ()
    asked = [(layer, _entry("claim.layers", claim.layers, layer)) for layer in listed]
    tables = {f"claim.at.{name}": own.layer for name, own in claim.at.items()}
    tables |= {f"challenge.variants.{name}": own.layer for name, own in spec.challenge.variants.items()}
    asked += [(layer, f"{key}.layer") for key, layer in tables.items() if layer is not None]
    for layer, key in asked:
        if layer >= count:
            raise SpecError(
                f"the network has no layer {layer}",
                where=spec.where(key),
                got=str(layer),
                expected=f"0 to {count - 1}: {name} has {count} blocks"
                if count
                else f"claim.sites, since {name} declares no blocks",
                fix=f"`commutes sites {spec.origin.given or 'SPEC'}` lists the places",
            )


def _heads(spec: Spec, network: Network, place: Asked) -> Sequence[int | None]:
    heads = spec.claim.heads
    if heads is None or not isinstance(heads, str):
        return heads or (None,)
    count = None if network.language is None else network.language.heads(place.name)
    if count is None:
        raise SpecError(
            f"{place.name} has no heads that are known",
            where=spec.where("claim.heads"),
            got='heads = "all"',
            expected="a place with heads, such as head_attention_value_output",
            fix=f"remove heads; `commutes sites {spec.origin.given or 'SPEC'}` lists the places",
        )
    return range(count)


def _site(network: Network, place: Asked) -> Site:
    return network.site(place.name, layer=place.layer, head=place.head, position=place.position)
