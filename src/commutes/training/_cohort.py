"""Fits of one shape as one batch: the same forward, over stacked weights, bases and pairs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import stack_module_state, vmap
from torch.utils._pytree import tree_map

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import Batch, Featurizer, Prepared, prepare
from commutes.errors import FitError
from commutes.evaluation import answers_of, clean_answers
from commutes.evaluation import losses as cross_entropies
from commutes.features import Subspace, orthonormal, rotation

# A batched forward may differ from the single ones by rounding only; more means that the module keeps something
# that differs between the networks outside its parameters and buffers.
_AGREEMENT = 1e-3


@dataclass(frozen=True, eq=False)
class Member:
    """One claim with its pairs on its prepared network."""

    alignment: Alignment
    pairs: Counterfactuals
    prepared: Prepared
    base: torch.Tensor
    source: torch.Tensor
    masks: tuple[torch.Tensor, ...]
    targets: torch.Tensor
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Cohort:
    """Claims of one shape. Parameters are one raw (claims x starts, d, k) tensor per learnt group."""

    members: tuple[Member, ...]
    shapes: tuple[tuple[int, int], ...]
    """(d, k) of every learnt group."""
    stacked: dict[str, torch.Tensor] | None
    """Weights of all networks; None where one network, or a loop, serves."""
    batched: bool

    @property
    def claims(self) -> int:
        """How many claims are fitted together."""
        return len(self.members)

    @property
    def device(self) -> torch.device:
        """Where the first network is."""
        return self.members[0].alignment.network.device

    def maps(self, raws: Sequence[torch.Tensor], alignment: Alignment) -> list[Featurizer]:
        """The featurizers of one claim: rotations of its raw parameters, and given maps as they are."""
        learnt = iter(raws)
        return [rotation(next(learnt)) if given is None or group.features.learnt else given
                for group, given in zip(alignment.groups, alignment.maps, strict=True)]  # fmt: skip

    def losses(
        self, raws: Sequence[torch.Tensor], batch: int, starts: int, generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        """Cross-entropy to the expected answers on fresh batches, per claim and start.  # (claims x starts,)"""
        # Every claim draws from a generator of its own: it gets the batches that it would get alone.
        rows = [
            torch.randint(len(m.base), (batch,), generator=generator)
            for m, generator in zip(self.members, generators, strict=True)
        ]
        targets = [m.targets[r] for m, r in zip(self.members, rows, strict=True)]
        logits = self.logits([orthonormal(raw) for raw in raws], rows, starts)
        flat = torch.stack(targets).repeat_interleave(starts, dim=0)
        per_pair = cross_entropies(logits.flatten(0, 1), flat.flatten(0, 1))
        return per_pair.reshape(flat.shape[:2]).mean(dim=1)

    def logits(
        self, bases: Sequence[torch.Tensor], rows: Sequence[torch.Tensor], starts: int
    ) -> torch.Tensor:
        """Logits of the chosen pairs of every claim, through every start.  # (claims x starts, n, answers)"""
        batches = [m.prepared.batch(m.base[r], m.source[r]) for m, r in zip(self.members, rows, strict=True)]
        masks = [[mask[r] for mask in m.masks] for m, r in zip(self.members, rows, strict=True)]
        if not self.batched:
            return self._looped(bases, batches, masks, starts)
        return self._together(bases, batches, masks, starts)

    def _looped(
        self, bases: Sequence[torch.Tensor], batches: Sequence[Batch], masks: Sequence[Any], starts: int
    ) -> torch.Tensor:
        found = []
        for claim, member in enumerate(self.members):
            for start in range(starts):
                own = [basis[claim * starts + start] for basis in bases]
                maps = _maps(member.alignment, own)
                found.append(
                    member.prepared.logits(batches[claim], maps, masks[claim], weights=member.weights)
                )
        return torch.stack(found)

    def _together(
        self, bases: Sequence[torch.Tensor], batches: Sequence[Batch], masks: Sequence[Any], starts: int
    ) -> torch.Tensor:
        first = self.members[0]

        def repeated(*leaves: torch.Tensor) -> torch.Tensor:
            return torch.stack(leaves).repeat_interleave(starts, dim=0)

        trees = [(batch, mask) for batch, mask in zip(batches, masks, strict=True)]
        stacked = _tree_stack(repeated, trees)
        weights = first.weights
        if self.stacked is not None:
            weights = {k: w.repeat_interleave(starts, dim=0) for k, w in self.stacked.items()}

        def one(own: Any, tree: Any, parameters: Any) -> torch.Tensor:
            batch, mask = tree
            return first.prepared.logits(batch, _maps(first.alignment, own), mask, weights=parameters)

        dims = (0, 0, None if self.stacked is None else 0)
        with warnings.catch_warnings():
            # Some operations are batched slowly; that is no fault of the user's, who could do nothing about it.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return vmap(one, in_dims=dims, randomness="error")(list(bases), stacked, weights)


def cohort(alignments: Sequence[Alignment], pairs: Sequence[Counterfactuals], *, budget: int) -> Cohort:
    """Prepare the claims; batch them if that gives the same logits as running them one by one."""
    shapes = [_shape(alignment) for alignment in alignments]
    if any(shape != shapes[0] for shape in shapes) or len({p.source.shape[1] for p in pairs}) > 1:
        raise FitError(
            "only claims of one shape are fitted together",
            got=f"shapes {sorted(set(shapes))}",
            expected="the same sites, sizes and number of sources",
            fix="fit them one by one with cm.fit",
        )
    share = budget // len(alignments)
    members = tuple(_member(a, p, share) for a, p in zip(alignments, pairs, strict=True))
    one_network = all(m.alignment.network is members[0].alignment.network for m in members)
    stacked = None
    if not one_network:
        stacked = _stack([m.alignment.network.module for m in members])
    batched = Cohort(members, shapes[0], stacked, True)
    looped = Cohort(members, shapes[0], stacked, False)
    if (not one_network and stacked is None) or not _alike(alignments):
        return looped
    return batched if _agree(batched, looped) else looped


def _member(alignment: Alignment, pairs: Counterfactuals, budget: int) -> Member:
    network = alignment.network
    prepared = prepare(network, alignment.algorithm.arrays(pairs.inputs), alignment.sites, budget=budget)
    answers = answers_of(network, alignment.algorithm)
    targets = answers.targets(pairs.expected)
    clean_answers(prepared, answers)
    device = network.device
    weights = {k: p.detach() for k, p in network.module.named_parameters()}
    weights |= {k: b.detach() for k, b in network.module.named_buffers()}
    return Member(
        alignment,
        pairs,
        prepared,
        torch.from_numpy(pairs.base).to(device),
        torch.from_numpy(pairs.source).to(device),
        tuple(alignment.masks(pairs)),
        torch.from_numpy(targets).to(device),
        weights,
    )


def _alike(alignments: Sequence[Alignment]) -> bool:
    """Whether one claim's sites and given maps can stand for all: a batched run goes through the first's."""

    def places(alignment: Alignment) -> list[object]:
        return [
            (
                str(group.site),
                group.features.learnt or group.coordinates,
                # A position that is a function is known by the function alone.
                [(p.position, p.source_position) for p in group.site.places if callable(p.position)],
            )
            for group in alignment.groups
        ]

    first = places(alignments[0])
    return all(places(alignment) == first for alignment in alignments[1:])


def _agree(batched: Cohort, looped: Cohort) -> bool:
    """Run a few pairs of every claim both ways. What cannot be batched is looped over: slower, never different."""
    rows = [torch.arange(min(8, len(m.base))) for m in batched.members]
    if len({len(r) for r in rows}) > 1:
        rows = [torch.arange(min(len(r) for r in rows))] * len(rows)
    generator = torch.Generator().manual_seed(0)
    bases = [
        orthonormal(torch.randn(batched.claims, d, k, generator=generator)).to(batched.device)
        for d, k in batched.shapes
    ]
    with torch.no_grad():
        one_by_one = looped.logits(bases, rows, 1)
        try:
            together = batched.logits(bases, rows, 1)
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            # What vmap cannot batch it refuses in these ways; what is wrong in itself fails in the loop, too.
            return False
    gap = (one_by_one - together).abs().max()
    return bool(gap <= _AGREEMENT * (1 + one_by_one.abs().max()))


def _maps(alignment: Alignment, bases: Sequence[torch.Tensor]) -> list[Featurizer]:
    learnt = iter(bases)
    maps: list[Featurizer] = []
    for group, given in zip(alignment.groups, alignment.maps, strict=True):
        if group.features.learnt:
            basis = next(learnt)
            maps.append(Subspace(basis, basis))
        else:
            assert given is not None
            maps.append(given)
    return maps


def _shape(alignment: Alignment) -> tuple[tuple[int, int], ...]:
    return tuple((g.width, g.dimension) for g in alignment.groups if g.features.learnt)


def _stack(modules: Sequence[torch.nn.Module]) -> dict[str, torch.Tensor] | None:
    kinds = [[(p, type(m)) for p, m in module.named_modules()] for module in modules]
    if any(kind != kinds[0] for kind in kinds):
        return None
    try:
        parameters, buffers = stack_module_state(list(modules))
    except (RuntimeError, ValueError):  # other shapes, or some in training mode
        return None
    return {k: t.detach() for k, t in (parameters | buffers).items()}


def _tree_stack(function: Any, trees: Sequence[Any]) -> Any:
    return tree_map(function, *trees)
