"""A site in pyvene's words: component, layer, unit; and whether pyvene does there what is declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from commutes.engine._layout import SiteLayout
from commutes.engine.pyvene._taken import Side, check_tensor
from commutes.engine.pyvene._twin import Twin, cannot, pyvene, without_prefix
from commutes.network import Inputs, Moment

# GPT-2's attention returns what its last dropout returned: two names of one tensor.
_SAME = {"attn.resid_dropout": "attn"}


@dataclass(frozen=True, eq=False)
class Carrier:
    """Where pyvene reads and writes a site."""

    layout: SiteLayout
    component: str
    layer: int
    unit: str
    heads: tuple[int, ...] | None
    """With unit "h.pos", the heads whose features are the site's."""
    features: tuple[int, ...] | None
    """The site's features within the component's, where they are a part of them."""
    width: int
    """Features of the component at one position: of its heads together, where it has some."""
    count: int | None
    """Positions of the site; None where there is no position axis."""

    @property
    def each(self) -> bool:
        """Whether every position goes through the same map."""
        return self.layout.site.each and self.count is not None

    @property
    def rows(self) -> int:
        """Rows of the map."""
        return self.width if self.each or self.heads is not None else self.width * (self.count or 1)

    def spread(self, basis: torch.Tensor) -> torch.Tensor:
        """A map of the site as one of the component: rows of features that are not the site's are zero."""
        if self.features is None:
            return basis
        parts = basis.unflatten(0, (-1, len(self.features)))
        whole = basis.new_zeros(len(parts), self.width, basis.shape[1])
        whole[:, list(self.features)] = parts
        return whole.flatten(0, 1)

    def neurons(self, coordinates: Sequence[int]) -> list[int]:
        """Features of the component that these coordinates of the site are, the same at all its positions.

        Raises:
            EngineError: Other neurons at one position than at another.
        """
        here = list(range(self.width)) if self.features is None else list(self.features)
        cells = [divmod(c, len(here)) for c in coordinates]
        positions = range(1 if self.each else (self.count or 1))
        chosen = list(dict.fromkeys(f for _, f in cells))
        if set(cells) != {(p, f) for p in positions for f in chosen}:
            raise cannot(
                "neurons that differ from position to position",
                where=str(self.layout.site),
                expected="the same neurons at every position of the site",
                fix="align with one position, or with the same neurons of all",
            )
        return [here[f] for f in chosen]

    def locations(self, table: torch.Tensor | None, n: int) -> list[Any] | None:
        """`unit_locations` of one representation.

        Args:
            table: Positions, (n, p); None for all of them.
            n: Examples.
        """
        if self.heads is None:
            return None if table is None else table.tolist()
        everywhere = torch.arange(self.count or 1).expand(n, -1)
        return [[list(self.heads)] * n, (everywhere if table is None else table).tolist()]


def carrier(twin: Twin, inputs: Inputs, layout: SiteLayout, *, rotated: bool) -> Carrier:
    """The place of a site in pyvene's words.

    Args:
        twin: Of the network.
        inputs: Some inputs, for the runs that show what pyvene would do.
        layout: Of the site.
        rotated: Whether the site is read through a map; neurons are named one by one.

    Raises:
        EngineError: pyvene has no words for the site, or would do something else there; the message says what.
    """
    place, where = layout.places[0], str(layout.site)
    moment = place.place.moment
    if len(layout.places) > 1:
        raise cannot(
            "one map over several places",
            where=where,
            expected="a site of one module and one side",
            fix="give each place a featurizer of its own, or list positions in one place",
        )
    if moment.call is not None:
        raise cannot(
            f"call {moment.call} of a module; pyvene writes at every call",
            where=where,
            expected="a module that runs once",
        )
    if len(place.shape) > 2 or place.axis != len(place.shape):
        raise cannot(
            f"a tensor of shape (batch, {', '.join(map(str, place.shape))}) with features on axis {place.axis}",
            where=where,
            expected="(batch, features) or (batch, positions, features)",
        )
    check_tensor(twin, inputs, moment)
    count = None if len(place.shape) == 1 else layout.groups
    if count is not None and not layout.site.each:
        count = layout.width // place.width
    features = None if place.features is None else tuple(place.all_features)
    return _named(twin, layout, moment, features, count, rotated) or _by_path(twin, layout, features, count)


def _by_path(twin: Twin, layout: SiteLayout, features: tuple[int, ...] | None, count: int | None) -> Carrier:
    place = layout.places[0]
    moment = place.place.moment
    component = f"{twin.prefix}{moment.path}".rstrip(".") + f".{moment.side}"
    return Carrier(layout, component, 0, "pos", None, features, place.shape[-1], count)


def _named(
    twin: Twin,
    layout: SiteLayout,
    moment: Moment,
    features: tuple[int, ...] | None,
    count: int | None,
    rotated: bool,
) -> Carrier | None:
    """By a name of pyvene's table: the site's very features, else one that has more."""
    pyvene()
    from pyvene.models.modeling_utils import output_to_subcomponent

    kind, width = type(twin.model), layout.places[0].shape[-1]
    wider: Carrier | None = None
    for name, layer in _names(twin.model, moment.path, moment.side):
        index = torch.arange(width).expand(1, 1, -1)
        covers = output_to_subcomponent(index, name, kind, twin.model.config)
        if covers.ndim == 4:
            shared = count == 1 or layout.site.each
            heads = _heads(covers[0, :, 0].tolist(), features) if rotated and shared and features else None
            if heads is not None and features is not None:
                return Carrier(layout, name, layer, "h.pos", heads, None, len(features), count)
            continue
        found = tuple(covers[0, 0].tolist())
        if found == (features or tuple(range(width))):
            return Carrier(layout, name, layer, "pos", None, None, len(found), count)
        if len(found) == width:
            wider = Carrier(layout, name, layer, "pos", None, features, width, count)
    return wider


def _names(model: Any, path: str, side: Side) -> Iterator[tuple[str, int]]:
    """The names and the layer under which pyvene knows one side of a module."""
    table = pyvene().type_to_module_mapping.get(type(model), {})
    for name, (template, hook, *_) in table.items():
        for theirs, ours in _SAME.items():
            template = re.sub(rf"\b{re.escape(theirs)}$", ours, template)
        pattern = re.escape(template).replace(re.escape("[%s]"), r"\.(\d+)")
        found = re.fullmatch(pattern, path)
        if found and found.groups() and ("pre" in hook) == (side == "input"):
            yield name, int(found[1])


def _heads(heads: Sequence[Sequence[int]], features: Sequence[int]) -> tuple[int, ...] | None:
    """Which heads these features are, one after the other."""
    d = len(heads[0])
    number = {tuple(head): i for i, head in enumerate(heads)}
    chosen = [number.get(tuple(features[i : i + d])) for i in range(0, len(features), d)]
    return None if None in chosen else tuple(h for h in chosen if h is not None)


def path_of(model: Any, component: str, layer: int) -> tuple[str, Side]:
    """Module and side of a component: a path of its own, or a name of pyvene's table.

    Raises:
        EngineError: A name for a slice of a module, which only a network with a tokenizer resolves.
    """
    entry = pyvene().type_to_module_mapping.get(type(model), {}).get(component)
    if entry is not None and len(entry) > 2:
        raise cannot(
            f"{component}, a slice of a module",
            where=f"layer {layer}",
            expected="a whole module, or a network with a tokenizer",
            fix="make the network with its tokenizer: Network(model, tokenizer, ...)",
        )
    side: Side
    if entry is None:
        path, _, said = component.rpartition(".")
        side = "input" if said == "input" else "output"
    else:
        path, side = entry[0] % layer, "input" if "pre" in entry[1] else "output"
    return without_prefix(model, re.sub(r"\[(\d+)\]", r".\1", path)), side
