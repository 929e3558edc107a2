"""Which networks are run as cones: those that should be by their making, and that prove it on a random edit."""

from __future__ import annotations

import weakref
from typing import Any

import torch

from commutes.engine._cone import Lane, run_lanes
from commutes.engine._interchange import SiteEdit, interchange
from commutes.engine._kept import Wanted, keep
from commutes.engine._layout import SiteLayout, layouts
from commutes.engine._resume import Certificate
from commutes.network import Inputs, Moment, Network, Place, Site

# One certificate per network object and per kind of batch: prompts that are padded take other ways than others.
_certificates: weakref.WeakKeyDictionary[Network, dict[bool, Certificate]] = weakref.WeakKeyDictionary()

# Rows of the certifying run. It may differ from the whole run by rounding, in units of the type's precision of the
# largest logit: the products have other shapes. A type of few digits is judged by a share of the edit's effect.
_ROWS, _ROUNDING, _FEW_DIGITS, _SHARE = 4, 256, 1e-5, 0.1


def cone_certificate(network: Network, inputs: Inputs) -> Certificate:
    """Whether cones give what whole runs give, tried with random edits at the first, a middle and the last block."""
    padded = bool((inputs.kwargs["attention_mask"] == 0).any()) if network.language is not None else False
    known = _certificates.setdefault(network, {})
    if padded not in known:
        reason = _refused(network)
        known[padded] = Certificate(False, reason) if reason else _certified(network, inputs)
    return known[padded]


def _refused(network: Network) -> str:
    """Why a network is no causal decoder whose keys and values can be kept, or nothing."""
    language = network.language
    if language is None:
        return "not a language model"
    if not network.blocks or network.blocks != language.blocks:
        return "its layers are not known"
    model: Any = network.module
    config = model.config.get_text_config()
    if language.prompt.mask is not None or getattr(config, "is_causal", True) is False:
        return "its attention goes both ways"
    if "past_key_values" not in language.anatomy.takes:
        return "its forward takes no past_key_values"
    scaling = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = {str(part.get("rope_type")) for part in (scaling, *scaling.values()) if isinstance(part, dict)}
    if "dynamic" in kinds:
        return "its rotary positions depend on earlier runs (dynamic scaling)"
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    layers = DynamicCache(config=config).layers
    if any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
        return "its layers keep more than keys and values"
    if layers and len(layers) != len(network.blocks):
        return "its layers share keys and values"
    return ""


def _certified(network: Network, inputs: Inputs) -> Certificate:
    """Compare lanes at several blocks, joining one batch, with a whole run each, at two positions."""
    mask = inputs.kwargs["attention_mask"]
    order = torch.argsort(mask.sum(dim=1), stable=True)
    # The shortest and the longest prompts, so that padding is met where there is some.
    rows = inputs.rows(torch.cat([order[:2], order[-2:]])[torch.arange(_ROWS) % min(4, 2 * len(order))])
    tokens, depth = mask.shape[1], len(network.blocks)
    generator = torch.Generator().manual_seed(0)
    for position in sorted({tokens - 1, tokens // 2}):
        sites = {
            block: Site(
                network, (Place(Moment(network.blocks[block], "output", None, None), position=position),)
            )
            for block in sorted({0, depth // 2, depth - 1})
        }
        try:
            with torch.no_grad():
                reason = _difference(network, rows, sites, position, generator)
        except Exception as error:
            # Whatever a model does that no decoder does, the whole run is still right.
            reason = (
                f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            )
        if reason:
            return Certificate(False, reason)
    return Certificate(True, "runs from the first edited block and position equal whole runs")


def _difference(
    network: Network, inputs: Inputs, sites: dict[int, Site], position: int, generator: torch.Generator
) -> str:
    plan = layouts(network, inputs, list(sites.values()))
    wanted = Wanted(dict.fromkeys(sites, position), tuple(range(len(network.blocks))), position)
    bases = torch.arange(inputs.n)
    kept, _ = keep(network, inputs, wanted, bases=bases, budget=2**62)
    lanes = [
        Lane(block, bases.to(network.device), (_random_edit(plan[site], inputs, position, generator),))
        for block, site in sites.items()
    ]
    clean = interchange(network, inputs.args, inputs.kwargs, [])
    cones = run_lanes(kept, position, lanes)
    for lane, cone in zip(lanes, cones, strict=True):
        whole = interchange(network, inputs.args, inputs.kwargs, lane.edits)
        gap, effect = float((whole - cone).abs().max()), float((whole - clean).abs().max())
        eps = torch.finfo(whole.dtype).eps
        unit = eps * (1 + float(whole.abs().max()))
        allowed = _ROUNDING * unit if eps < _FEW_DIGITS else max(_SHARE * effect, 8 * unit)
        if not gap <= allowed:
            return f"an edit of {network.blocks[lane.block]} at position {position} is off by {gap:.1g}"
    return ""


def _random_edit(layout: SiteLayout, inputs: Inputs, position: int, generator: torch.Generator) -> SiteEdit:
    """States that come from nowhere: an edit that changed nothing would not notice attention to later positions."""
    shape = (inputs.n, 1, layout.groups, layout.width)
    noise = torch.randn(shape, generator=generator).to(layout.site.network.device)
    mask = torch.ones(inputs.n, 1, layout.width, dtype=torch.bool, device=noise.device)
    table = torch.full((inputs.n, 1), position, device=noise.device)
    return SiteEdit(layout, _Replaced(), noise, mask, (table,))


class _Replaced:
    """All coordinates as they are."""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """The state."""
        return state

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """The new coordinates, in the state's own type."""
        return new.to(state.dtype)
