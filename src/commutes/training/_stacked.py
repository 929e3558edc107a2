"""Fits of one shape as one batch: the same forward, over stacked weights, bases and pairs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import stack_module_state, vmap
from torch.utils._pytree import tree_map

from commutes.training._members import Member

# A batched forward may differ from the single ones by rounding only; more means that the module keeps something
# that differs between the networks outside its parameters and buffers.
_AGREEMENT = 1e-3


@dataclass(frozen=True, eq=False)
class Stack:
    """Claims of one shape that run through one another's forward."""

    members: tuple[Member, ...]
    weights: dict[str, torch.Tensor] | None
    """Weights of all networks; None where there is one."""

    def logits(
        self,
        solved: Sequence[torch.Tensor],
        rows: Sequence[torch.Tensor],
        starts: int,
        progress: float | None,
    ) -> torch.Tensor:
        """Logits of the chosen pairs of every claim, through every start.  # (claims x starts, n, answers)

        Args:
            solved: Per learnt group (claims x starts, ...).
            rows: Pairs of every claim, equally many.
            starts: Starts of every claim.
            progress: How far the fit is, or None for the maps as they are measured.
        """
        first = self.members[0]

        def repeated(*leaves: torch.Tensor) -> torch.Tensor:
            return torch.stack(leaves).repeat_interleave(starts, dim=0)

        trees = [member.chosen(r) for member, r in zip(self.members, rows, strict=True)]
        stacked: Any = tree_map(repeated, *trees)
        weights = first.weights
        if self.weights is not None:
            weights = {k: w.repeat_interleave(starts, dim=0) for k, w in self.weights.items()}

        def one(own: Any, tree: Any, parameters: Any) -> torch.Tensor:
            batch, mask = tree
            return first.prepared.logits(batch, first.maps(own, progress), mask, weights=parameters)

        dims = (0, 0, None if self.weights is None else 0)
        with warnings.catch_warnings():
            # Some operations are batched slowly; that is no fault of the user's, who could do nothing about it.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return vmap(one, in_dims=dims, randomness="error")(list(solved), stacked, weights)


def kind(member: Member) -> tuple[object, ...]:
    """Equal for claims of which one's sites and given maps can stand for all: the batch runs through the first's."""
    groups = [
        (
            str(group.site),
            group.features.learnt or group.coordinates,
            # A position that is a function is known by the function alone.
            *((p.position, p.source_position) for p in group.site.places if callable(p.position)),
        )
        for group in member.alignment.groups
    ]
    return (member.parts, member.source.shape[1], *groups)


def stack(members: Sequence[Member]) -> Stack | None:
    """Claims of one kind as one batch, if that gives the same logits as running them one by one."""
    members = tuple(members)
    first = members[0].alignment
    one_network = all(m.alignment.network is first.network for m in members)
    weights = None
    if not one_network:
        weights = _stacked([m.alignment.network.module for m in members])
    if not one_network and weights is None:
        return None
    found = Stack(members, weights)
    return found if _agree(found) else None


def _agree(stack: Stack) -> bool:
    """Run a few pairs of every claim both ways. What cannot be batched is looped over: slower, never different."""
    count = min(8, *(len(m.base) for m in stack.members))
    rows = [torch.arange(count)] * len(stack.members)
    device = stack.members[0].alignment.network.device
    solved = [
        part.solve(torch.stack([part.start(i) for i in range(len(stack.members))]).to(device))
        for part in stack.members[0].parts
    ]
    with torch.no_grad():
        one_by_one = torch.stack(
            [
                m.prepared.logits(batch, m.maps([tensor[i] for tensor in solved], 0.0), masks)
                for i, m in enumerate(stack.members)
                for batch, masks in [m.chosen(rows[i])]
            ]
        )
        try:
            together = stack.logits(solved, rows, 1, 0.0)
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            # What vmap cannot batch it refuses in these ways; what is wrong in itself fails in the loop, too.
            return False
    gap = (one_by_one - together).abs().max()
    return bool(gap <= _AGREEMENT * (1 + one_by_one.abs().max()))


def _stacked(modules: Sequence[torch.nn.Module]) -> dict[str, torch.Tensor] | None:
    kinds = [[(p, type(m)) for p, m in module.named_modules()] for module in modules]
    if any(kind != kinds[0] for kind in kinds):
        return None
    try:
        parameters, buffers = stack_module_state(list(modules))
    except (RuntimeError, ValueError):  # other shapes, or some in training mode
        return None
    return {k: t.detach() for k, t in (parameters | buffers).items()}
