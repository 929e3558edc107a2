"""How many pairs are run at once: the bytes that one needs where nothing is differentiated are counted, not guessed."""

from __future__ import annotations

import torch

from commutes.engine._counted import runs_within
from commutes.engine._forward import forward
from commutes.engine._interchange import Unmapped
from commutes.engine._prepared import Prepared
from commutes.network import Inputs, Network


def half(budget: int) -> int:
    """What is kept of clean runs, or a forward, may take so many bytes of a budget.

    An eighth is for what neither counts: kernels of libraries, what an optimizer keeps, what the allocator holds on to.
    """
    return budget * 7 // 16


def rows_within(prepared: Prepared, budget: int, *, slots: int = 1) -> int:
    """How many pairs a run without gradients takes at once, by its memory: one at least, as many as usual at most.

    What is kept anyway is not counted. Of networks that are no language models as many as usual are run.

    Args:
        prepared: On which they are run, by `Prepared.batch` and `Prepared.logits`.
        budget: Bytes.
        slots: Sources of every pair.
    """
    usual = prepared.network.batch_size(prepared.inputs)
    if prepared.network.language is None:
        return usual
    # Of a base whose states are computed again, where there is one: they are the last.
    base = torch.zeros(1, dtype=torch.long) if prepared.cone is None else prepared.cone.kept.states.last
    source = prepared.sources.last.to(base.device).expand(1, slots)
    maps = [Unmapped()] * len(prepared.plan)
    masks = [
        torch.zeros(1, slots, layout.width, dtype=torch.bool, device=prepared.network.device)
        for layout in prepared.plan.values()
    ]
    return runs_within(budget, usual, lambda: prepared.logits(prepared.batch(base, source), maps, masks))


def clean_rows_within(network: Network, inputs: Inputs, budget: int) -> int:
    """The same of runs without edits."""
    usual = network.batch_size(inputs)
    if network.language is None:
        return usual
    one = inputs.rows(torch.zeros(1, dtype=torch.long))
    return runs_within(budget, usual, lambda: forward(network, one.args, one.kwargs, taps={}))
