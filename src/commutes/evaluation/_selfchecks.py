"""Checks of the engine on the network at hand, run with every evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.engine import (
    BUDGET,
    Featurizer,
    Prepared,
    SiteEdit,
    captured,
    forward,
    interchange,
    layouts,
)
from commutes.errors import CommutesError, EngineError
from commutes.evaluation._predictions import Bench
from commutes.features import Neurons
from commutes.network import Moment, Network, Place, Site
from commutes.stats import Rate, rate

# Inputs that the self-checks run: enough to meet every branch, few enough to cost nothing.
INPUTS = 64

# Pairs of every swapped set that are run whole beside the way in which all of them are run.
BESIDE = 8

# How far an edited run that takes nothing may be from one without edits, relative to the largest logit.
ROUNDING = 1e-4

# How far runs of other shapes may be from one another by rounding, relative to the largest logit: products of a few
# rows are summed in another order than those of many. Of types of fewer digits so many units of their precision.
_SAME, _FEW_UNITS = {torch.float64: 1e-10, torch.float32: ROUNDING}, 8


def self_checks(alignment: Alignment, bench: Bench) -> dict[str, float | Rate | None]:
    """Swapping a base with itself changes nothing; a full swap of what `read` selects gives the source's answer.

    Returns:
        "base onto itself": largest change of a logit, which must be 0. "edited runs beside whole ones": how far any
        logit is from that of a whole run, where what is measured is run as it is measured, on some pairs of every
        swapped set and with bases as their own sources. "whole swap of what is read": share of pairs in which the
        answer is the source's clean answer, which must be 1.

    Raises:
        EngineError: Swapping a base with itself changed a logit, or runs as they are measured are not whole runs.
    """
    change = identity_change(alignment, bench.prepared, alignment.featurizers)
    if change != 0:
        raise EngineError(
            "swapping a base with itself changed the answer",
            where=alignment.network.name,
            got=f"a logit moved by {change:.3g}",
            expected="no change, bit for bit",
            fix="the featurizer does not give back what it read: fit again or report the map",
        )
    return {
        "base onto itself": change,
        "edited runs beside whole ones": beside_whole_runs(bench, alignment.featurizers),
        "whole swap of what is read": whole_swap(bench),
    }


def beside_whole_runs(bench: Bench, featurizers: tuple[Featurizer, ...]) -> float:
    """Largest difference of a logit between runs as they are measured and whole ones, by whichever way they are run.

    Bases as their own sources are compared with runs without edits, too: there a map may round more.

    Raises:
        EngineError: More than rounding.
    """
    prepared, pairs = bench.prepared, bench.pairs
    own = torch.arange(min(INPUTS, prepared.network.batch_size(prepared.inputs), prepared.inputs.n))
    every = [torch.ones(len(own), 1, m.shape[-1], dtype=torch.bool, device=m.device) for m in bench.masks]
    with torch.no_grad():
        rows = prepared.inputs.rows(own)
        clean = forward(prepared.network, rows.args, rows.kwargs, taps={})
        batch = prepared.batch(own, own.unsqueeze(1))
        found, whole = (run(batch, featurizers, every) for run in (prepared.logits, prepared.whole))
        worst = _gap(found, whole, prepared, "bases as their own sources")
        if not any(place.source_position is not None for site in prepared.plan for place in site.places):
            _gap(found, clean, prepared, "bases as their own sources beside no edit", least=ROUNDING)
        for number, swap in enumerate(pairs.swaps):
            chosen = np.nonzero(pairs.swap == number)[0][:BESIDE]
            if not len(chosen):
                continue
            masks = [mask[chosen] for mask in bench.masks]
            sources = torch.from_numpy(pairs.source[chosen])
            batch = prepared.batch(torch.from_numpy(pairs.base[chosen]), sources)
            found = prepared.logits(batch, featurizers, masks)
            whole = prepared.whole(batch, featurizers, masks)
            worst = max(worst, _gap(found, whole, prepared, f"{swap.label}, {len(chosen)} pairs"))
    return worst


def _gap(
    found: torch.Tensor, expected: torch.Tensor, prepared: Prepared, which: str, *, least: float = 0.0
) -> float:
    gap = float((found - expected).abs().max())
    share = _SAME.get(expected.dtype, _FEW_UNITS * torch.finfo(expected.dtype).eps)
    allowed = max(share, least) * (1 + float(expected.abs().max()))
    if not gap <= allowed:
        raise EngineError(
            "edited runs are not what whole runs are",
            where=f"{prepared.network.name}, {prepared.route}; {which}",
            got=f"a logit that differs by {gap:.3g}",
            expected=f"at most {allowed:.3g}, which is rounding",
            fix="report it with the model's class and configuration: this way of running should have been refused",
        )
    return gap


def identity_change(alignment: Alignment, prepared: Prepared, featurizers: tuple[Featurizer, ...]) -> float:
    """Largest change of a logit when every base is its own source, all runs in batches of the same make-up.

    Beside runs in which the same edits take nothing, which must be equal bit for bit, stands the run without edits:
    a map may not move what it does not swap. There an edited tensor may lie in memory in another layout, and be summed
    in another order, so that rounding is forgiven.
    """
    rows = torch.arange(min(INPUTS, prepared.inputs.n))
    one = prepared.inputs.rows(rows)
    # Sources are captured in the very batch that is then edited: other batch sizes may round differently.
    states = captured(prepared.network, one, prepared.plan, source=False)
    plain, swapped = [], []
    for layout, featurizer, group in zip(prepared.plan.values(), featurizers, alignment.groups, strict=True):
        positions = tuple(
            prepared.positions[layout.site][i][rows] if i in prepared.positions[layout.site] else None
            for i in range(len(layout.places))
        )
        source = states[layout.site].unsqueeze(1)
        mask = torch.ones(len(rows), 1, group.dimension, dtype=torch.bool, device=source.device)
        swapped.append(SiteEdit(layout, featurizer, source, mask, positions))
        plain.append(SiteEdit(layout, featurizer, source, ~mask, positions))
    with torch.no_grad():
        clean = forward(prepared.network, one.args, one.kwargs, taps={})
        before = interchange(prepared.network, one.args, one.kwargs, plain)
        after = interchange(prepared.network, one.args, one.kwargs, swapped)
    drift = float((before - clean).abs().max())
    if not drift <= ROUNDING * (1 + float(clean.abs().max())):
        return drift
    return float((after - before).abs().max())


def whole_swap(bench: Bench) -> Rate | None:
    """Share of pairs in which the whole tensor at `read`, taken from the source, gives the source's answer.

    None where that tensor cannot be a site (the logits are a member of a tuple or of an output object). Of a language
    model it is what the projection to the vocabulary returns.
    """
    network, pairs = bench.prepared.network, bench.pairs
    path = _read_path(network)
    if path is None:
        return None
    site = Site(network, (Place(Moment(path, "output", None, None), position=network.read_position),))
    inputs = bench.prepared.inputs
    try:
        plan = layouts(network, inputs, [site])
    except CommutesError:
        return None
    count = min(INPUTS, len(pairs))
    base, source = torch.from_numpy(pairs.base[:count]), torch.from_numpy(pairs.source[:count, 0])
    sources = captured(network, inputs.rows(source), plan, source=True, chunk=BUDGET)[site].unsqueeze(1)
    every = Neurons(torch.arange(plan[site].width, device=sources.device))
    mask = torch.ones(count, 1, plan[site].width, dtype=torch.bool, device=sources.device)
    rows = inputs.rows(base)
    table = plan[site].places[0].positions(rows.values, count, source=False)
    edit = SiteEdit(plan[site], every, sources, mask, (table,))
    with torch.no_grad():
        answered = bench.answers.decode(interchange(network, rows.args, rows.kwargs, [edit]))
    return rate(bench.answers.match(answered, bench.clean[source.numpy()]))


def _read_path(network: Network) -> str | None:
    """The module that makes the logits; None where a language model has no one module for it."""
    if network.language is None:
        return network.read_path
    module: Any = network.module
    head = module.get_output_embeddings()
    return next((path for path, part in module.named_modules() if part is head), None)
