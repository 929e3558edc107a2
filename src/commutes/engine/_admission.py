"""Which networks are run as cones: those that should be by their making, and that prove it on random edits."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from commutes.engine._cone import Lane, run_lanes
from commutes.engine._interchange import SiteEdit, Unmapped, interchange
from commutes.engine._kept import Kept, Wanted, keep
from commutes.engine._layout import SiteLayout, layouts
from commutes.engine._resume import Certificate, refused_hooks
from commutes.errors import is_out_of_memory
from commutes.network import Inputs, Moment, Network, Place, Site

# Certificates by what a forward's way depends on: see `_kind`.
_certificates: weakref.WeakKeyDictionary[Network, dict[tuple[object, ...], Certificate]] = (
    weakref.WeakKeyDictionary()
)

# Rows of the certifying run. It may differ from the whole run by rounding, in units of the type's precision of the
# largest logit: the products have other shapes. Of a type of few digits hardly any of them may be lost.
_ROWS, _ROUNDING, _FEW_DIGITS, _FEW_ROUNDING = 4, 256, 1e-5, 2


def cone_certificate(network: Network, inputs: Inputs) -> Certificate:
    """Whether cones give what whole runs give, tried with random edits before the first block and behind three.

    What can be read off the network and the inputs is looked at every time, hooks too; the trial is made once for
    prompts of one length, and stands for weights that are trained further and for other prompts of that length.
    """
    reason = _refused(network, inputs)
    if reason:
        return Certificate(False, reason)
    known = _certificates.setdefault(network, {})
    kind = _kind(network, inputs)
    if kind not in known:
        known[kind] = _certified(network, inputs)
    return known[kind]


def _kind(network: Network, inputs: Inputs) -> tuple[object, ...]:
    """Padding, windows, autocast and one kernel for attention or another take other ways through the same model."""
    mask = inputs.kwargs["attention_mask"]
    config: Any = network.module.config
    dtype = next(network.module.parameters()).dtype
    device = mask.device.type
    return (
        bool((mask == 0).any()),
        mask.shape[1],
        getattr(config, "_attn_implementation", None),
        dtype,
        network.module.training,
        torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device),
    )


def _refused(network: Network, inputs: Inputs) -> str:
    """Why a network is no causal decoder whose keys and values can be kept, or nothing."""
    language = network.language
    if language is None:
        return "not a language model"
    hooks = refused_hooks(network)
    if hooks:
        return hooks
    if not network.blocks or network.blocks != language.blocks:
        return "its layers are not known"
    model: Any = network.module
    config = model.config.get_text_config()
    both = getattr(config, "is_causal", True) is False or getattr(
        config, "use_bidirectional_attention", False
    )
    if language.prompt.mask is not None or both:
        return "its attention goes both ways"
    if "past_key_values" not in language.anatomy.takes:
        return "its forward takes no past_key_values"
    if any(m.training and getattr(m, "gradient_checkpointing", False) for m in model.modules()):
        return "gradient checkpointing in training mode lets go of keys and values"
    item = language.anatomy.item
    if any(item(path, "output") is not None for path in network.blocks):
        return "its layers return more than the hidden state"
    if any(isinstance(item(path, "input"), str) for path in network.blocks):
        return "its layers are given the hidden state by name"
    return _refused_positions(config, inputs) or _refused_layers(config, len(network.blocks))


def _refused_positions(config: Any, inputs: Inputs) -> str:
    scaling = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    parts = [part for part in (scaling, *scaling.values()) if isinstance(part, dict)]
    kinds = {str(part.get("rope_type", part.get("type"))): part for part in parts}
    if "dynamic" in kinds:
        return "its rotary positions depend on earlier runs (dynamic scaling)"
    if "longrope" in kinds:
        lengths = inputs.kwargs["attention_mask"].sum(dim=1)
        switch = kinds["longrope"].get("original_max_position_embeddings") or getattr(
            config, "original_max_position_embeddings", config.max_position_embeddings
        )
        if int(lengths.min()) <= switch < int(lengths.max()):
            return f"its rotary positions depend on the longest prompt beside (longrope, {switch} tokens)"
    return ""


def _refused_layers(config: Any, depth: int) -> str:
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    layers = DynamicCache(config=config).layers
    others = [type(layer) for layer in layers if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer)]
    if others:
        return f"not all of its layers keep keys and values of their own, and no more ({others[0].__name__})"
    return "its layers share keys and values" if layers and len(layers) != depth else ""


def _certified(network: Network, inputs: Inputs) -> Certificate:
    """Compare lanes at several blocks, joining one batch, with a whole run each, from two positions on."""
    mask = inputs.kwargs["attention_mask"]
    order = torch.argsort(mask.sum(dim=1), stable=True)
    # The shortest and the longest prompts, so that padding is met where there is some.
    rows = inputs.rows(torch.cat([order[:2], order[-2:]])[torch.arange(_ROWS) % min(4, 2 * len(order))])
    generator = torch.Generator().manual_seed(0)
    for start in _starts(network, mask.shape[1]):
        try:
            with torch.no_grad():
                reason = _difference(network, rows, start, generator)
        except Exception as error:
            if is_out_of_memory(error):
                # That says nothing about the model.
                raise
            # Whatever a model does that no decoder does, the whole run is still right.
            reason = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
        if reason:
            return Certificate(False, reason)
    return Certificate(True, "runs from the first edited block and position equal whole runs")


def _starts(network: Network, tokens: int) -> list[int]:
    """The first position that is read, and one before it where there is one: a single query needs no mask."""
    read = network.read_position
    assert read is not None
    last = tokens + (read if isinstance(read, int) else min(read))
    return sorted({min(last, tokens // 2), last})


def _difference(network: Network, inputs: Inputs, start: int, generator: torch.Generator) -> str:
    """Why cones from this position on are not to be had, or nothing."""
    sites = _sites(network, start)
    depth, bases = len(network.blocks), torch.arange(inputs.n)
    wanted = Wanted({block: start for block in sites if block >= 0}, tuple(range(depth)), start)
    kept = keep(network, inputs, wanted, bases=bases, budget=2**62)
    plan = layouts(network, inputs, list(sites.values()))
    lanes = [
        Lane(block, bases.to(network.device), (_random_edit(plan[site], inputs, start, generator),))
        for block, site in sites.items()
    ]
    reason = _without_batch(kept, start, plan[sites[-1]], inputs)
    if reason:
        return reason
    order, logits = run_lanes(kept, start, lanes)
    for lane, cone in zip((lanes[i] for i in order), logits.split(inputs.n), strict=True):
        whole = interchange(network, inputs.args, inputs.kwargs, lane.edits)
        gap = float((whole - cone).abs().max())
        eps = torch.finfo(whole.dtype).eps
        unit = eps * (1 + float(whole.abs().max()))
        allowed = (_ROUNDING if eps < _FEW_DIGITS else _FEW_ROUNDING) * unit
        if not gap <= allowed:
            return f"an edit of {sites[lane.block]} is off by {gap:.1g}"
    return ""


def _sites(network: Network, position: int) -> Mapping[int, Site]:
    """By block, its output at the position; and, as block -1, what goes into the first.

    What goes in is tried too: where a model attends both ways, an output of the first of two blocks shows nothing.
    """
    assert network.language is not None
    anatomy, blocks, depth = network.language.anatomy, network.blocks, len(network.blocks)

    def site(block: int, side: Literal["input", "output"]) -> Site:
        item = anatomy.item(blocks[block], side)
        return Site(network, (Place(Moment(blocks[block], side, item, None), position=position),))

    return {-1: site(0, "input")} | {
        block: site(block, "output") for block in sorted({0, depth // 2, depth - 1})
    }


def _without_batch(kept: Kept, start: int, layout: SiteLayout, inputs: Inputs) -> str:
    """Why rows cannot be told from what else blocks are given, or nothing: a run of one row shows what has no batch."""
    network, found = kept.network, []

    def look(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        found.extend(
            tuple(leaf.shape)
            for leaf in tree_leaves((args, named))
            if isinstance(leaf, torch.Tensor) and leaf.ndim > 1 and leaf.shape[0] != 1
        )

    handles = [
        network.module.get_submodule(path).register_forward_pre_hook(look, with_kwargs=True)
        for path in network.blocks
    ]
    one = torch.zeros(1, dtype=torch.long)
    edit = _random_edit(layout, inputs.rows(one), start, torch.Generator().manual_seed(0))
    try:
        run_lanes(kept, start, [Lane(-1, one.to(network.device), (edit,))])
    finally:
        for handle in handles:
            handle.remove()
    return f"its layers are given a tensor without a batch, of shape {found[0]}" if found else ""


def _random_edit(layout: SiteLayout, inputs: Inputs, position: int, generator: torch.Generator) -> SiteEdit:
    """States that come from nowhere: an edit that changed nothing would not notice attention to later positions."""
    shape = (inputs.n, 1, layout.groups, layout.width)
    noise = torch.randn(shape, generator=generator).to(layout.site.network.device)
    mask = torch.ones(inputs.n, 1, layout.width, dtype=torch.bool, device=noise.device)
    table = torch.full((inputs.n, 1), position, device=noise.device)
    return SiteEdit(layout, Unmapped(), noise, mask, (table,))
