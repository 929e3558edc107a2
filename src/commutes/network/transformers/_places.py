"""From a name, a layer and a head to a module, a side and features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

from commutes.errors import SiteError, nearest
from commutes.network._site import Moment, Part, Place
from commutes.network.transformers._anatomy import Anatomy
from commutes.network.transformers._names import (
    HEADED,
    LENS,
    NAMES,
    SPOTS,
    Spot,
    lens,
    lens_spots,
)

Head = int | Sequence[int]


def is_name(name: str) -> bool:
    """Whether `name` stands for a place, whatever modules there are."""
    return name in NAMES or lens(name) is not None


def head_count(anatomy: Anatomy, name: str) -> int | None:
    """How many heads the place of a name has; None where it has none or they are not known."""
    hook = lens(name)
    plain = str(LENS.get(name if hook is None else hook[1], name)).removeprefix("head_")
    if plain not in HEADED:
        return None
    return anatomy.shared if plain in ("key_output", "value_output") else anatomy.heads


def hook_of(name: str) -> str:
    """The hook of TransformerLens that holds the same in layer N; empty where there is none."""
    hooks = [hook for hook, stands_for in LENS.items() if stands_for == name]
    return f"blocks.N.{hooks[0]}" if hooks else ""


def named_place(anatomy: Anatomy, asked: Place, layer: int | None, head: Head | None) -> Place:
    """The place that a name stands for.

    Args:
        anatomy: Of the model.
        asked: Its path is the name; its part counts within what the name and the head stand for.
        layer: Of the block; None for a hook of TransformerLens, which says it.
        head: One or several heads, for names that have them.

    Raises:
        SiteError: No such layer, head or hook; a place that the model has no module for; a fused projection of
            unknown layout.
    """
    name = asked.moment.path
    if asked.moment.side != "output" or asked.moment.item is not None or asked.axis is not None:
        raise SiteError(
            "a name says which side, member and axis are meant",
            where=name,
            got="side=, item= or axis= beside it",
            expected="the name alone, with layer= and head=",
        )
    name, layer = _hook(name, layer)
    layer = _layer(anatomy, layer, name)
    name, head = _headed(name, head)
    spot = _spot(anatomy, name, layer)
    path = ".".join(filter(None, (anatomy.blocks[layer], spot.path)))
    moment = Moment(path, spot.side, anatomy.item(path, spot.side), asked.moment.call)
    shape = anatomy.shape(path, spot.side, moment.item)
    if shape is None:
        raise SiteError(
            "the place holds no hidden state in this model",
            where=path,
            got=f"{name} without a tensor of activations",
            expected="a tensor (batch, tokens, features)",
        )
    features = _features(anatomy, name, spot, shape[-1], head, path)
    return replace(asked, moment=moment, part=_part(features, asked.part, moment))


def _hook(name: str, layer: int | None) -> tuple[str, int | None]:
    """A hook of TransformerLens says its layer itself."""
    found = lens(name)
    if found is None:
        return name, layer
    if layer is not None:
        raise SiteError(
            "the layer is said twice", where=name, got=f"layer={layer}", expected="the hook's name alone"
        )
    number, hook = found
    if hook == "hook_resid_mid":
        raise SiteError(
            "no module holds the stream between attention and MLP",
            where=name,
            got="a sum that is formed inside the block",
            expected="a place that a hook can edit",
            fix="use hook_attn_out or hook_resid_pre: what is added to the stream, or the stream before it",
        )
    if hook not in LENS:
        raise SiteError(
            "there is no such hook among those that this model has",
            where=name,
            got=repr(hook),
            expected=f"one of {', '.join(LENS)}; nearest: {nearest(hook, LENS)[0]}",
        )
    return hook, number


def _layer(anatomy: Anatomy, layer: int | None, name: str) -> int:
    depth = len(anatomy.blocks)
    if not depth:
        raise SiteError(
            "the layers of this model are not known",
            where=name,
            got=f"a model of type {anatomy.family!r} without one list of layers",
            expected="a plain module path",
        )
    if isinstance(layer, bool) or not isinstance(layer, Integral) or not -depth <= layer < depth:
        raise SiteError(
            "there is no such layer",
            where=name,
            got="no layer=" if layer is None else f"layer {layer!r} of {depth}",
            expected=f"from 0 to {depth - 1}, or -{depth} to -1 from the last",
        )
    return int(layer) % depth


def _headed(name: str, head: Head | None) -> tuple[str, Head | None]:
    if name.startswith("head_"):
        if head is None:
            raise SiteError(
                "the name stands for one head", where=name, got="no head=", expected="head=0, ..."
            )
        return name.removeprefix("head_"), head
    plain = LENS.get(name, name)
    if head is not None and plain not in HEADED:
        raise SiteError(
            "the place has no heads",
            where=name,
            got=f"head={head}",
            expected=f"a place with heads: {', '.join(HEADED)}",
        )
    return name, head


def _spot(anatomy: Anatomy, name: str, layer: int) -> Spot:
    modules = anatomy.inside(layer)
    spots = lens_spots(name, modules) if name in LENS else name
    options = SPOTS[spots] if isinstance(spots, str) else spots
    there = [spot for spot in options if spot.path in modules]
    if not there:
        raise SiteError(
            "the model has no module for this place",
            where=f"{name}, layer {layer}",
            got=f"a model of type {anatomy.family!r}, whose blocks have {', '.join(m for m in modules if m)}",
            expected=f"one of {', '.join(spot.path for spot in options)}",
            fix="name the module by its path",
        )
    spot = there[0]
    if spot.fused and anatomy.family not in spot.families:
        raise SiteError(
            "a fused projection of unknown layout",
            where=f"{anatomy.blocks[layer]}.{spot.path}",
            got=f"{name} of a model of type {anatomy.family!r}",
            expected=f"one of the types whose layout is known: {', '.join(spot.families)}",
            fix="name the module by its path and the features by part=",
        )
    return spot


def _features(
    anatomy: Anatomy, name: str, spot: Spot, width: int, head: Head | None, path: str
) -> list[int] | None:
    """Features of the place, or of one of its heads; None for the whole tensor."""
    name = str(LENS.get(name, name))
    if name not in HEADED or (spot.fused is None and head is None):
        return None
    queries, shared = anatomy.heads, anatomy.shared
    third = name.removesuffix("_output")
    count = queries if third in ("query", "attention_value") else shared
    fused = spot.fused is not None and third != "attention_value"
    parts = None if queries is None or shared is None else (queries + 2 * shared if fused else count)
    if not parts or not count or queries is None or shared is None or width % parts:
        raise SiteError(
            "the heads of this place are not known",
            where=path,
            got=f"{width} features, {queries} query heads and {shared} key and value heads",
            expected="equally wide heads",
            fix="name the module by its path and the features by part=",
        )
    d = width // parts
    starts = _starts(spot.fused, third, queries, shared, d)
    chosen = _heads(head, count, name, path, queries, shared)
    return [starts[h] + i for h in chosen for i in range(d)]


def _starts(fused: str | None, third: str, queries: int, shared: int, d: int) -> list[int]:
    """First feature of every head."""
    order = {"query": 0, "key": 1, "value": 2}
    if fused == "interleaved":
        return [(3 * h + order[third]) * d for h in range(queries)]
    offset = {"query": 0, "key": queries, "value": queries + shared}[third] if fused else 0
    count = shared if third in ("key", "value") else queries
    return [(offset + h) * d for h in range(count)]


def _heads(head: Head | None, count: int, name: str, path: str, queries: int, shared: int) -> list[int]:
    if head is None:
        return list(range(count))
    chosen: list[Any] = [head] if isinstance(head, str) or not isinstance(head, Iterable) else list(head)
    if not chosen or any(
        isinstance(h, bool) or not isinstance(h, Integral) or not 0 <= int(h) < count for h in chosen
    ):
        raise SiteError(
            "there is no such head",
            where=path,
            got=f"head {head!r} of {name}",
            expected=f"from 0 to {count - 1}"
            + (f": {queries} query heads share {shared} key and value heads" if count < queries else ""),
        )
    return [int(h) for h in chosen]


def _part(features: list[int] | None, part: Part | None, moment: Moment) -> Part | None:
    """Features within the place; `part` counts from the place's own first feature."""
    if features is None or part is None:
        return part if features is None else features
    inside = Place(moment, part).features(len(features))
    assert inside is not None
    return [features[i] for i in inside]
