"""Interchange on a frozen network whose clean states are kept: of pairs, of several alignments at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from commutes.engine._cone import Lane, run_lanes
from commutes.engine._forward import Resume, Weights
from commutes.engine._interchange import Featurizer, SiteEdit, interchange
from commutes.engine._kept import Kept
from commutes.engine._layout import SiteLayout
from commutes.engine._store import Store
from commutes.errors import EngineError
from commutes.network import Inputs, Network, Site, State, address, hooked, state_of


class Batch(NamedTuple):
    """Tensors of `n` pairs. A tree of tensors only, so that batches of several fits stack."""

    args: tuple[torch.Tensor, ...]
    kwargs: dict[str, torch.Tensor]
    state: tuple[torch.Tensor, ...]
    """The state to resume from, or nothing for a whole run or a cone."""
    sources: tuple[torch.Tensor, ...]
    """Per site (n, slots, groups, d)."""
    positions: tuple[dict[int, torch.Tensor], ...]
    """Per site, by the number of the place, (n, p); places at all positions are left out."""
    base: torch.Tensor
    """The base of each pair, as a row of the inputs.  # shape: (n,)"""


@dataclass(frozen=True, eq=False)
class Cone:
    """Where the edited runs of a causal decoder begin."""

    kept: Kept
    block: int
    """The last block whose output they share with the base's; -1 where that is before the first."""
    start: int
    """The first position in which they may differ from it, or that is read."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A frozen network with its inputs encoded, its sites resolved and its clean states kept."""

    network: Network
    inputs: Inputs
    plan: Mapping[Site, SiteLayout]
    positions: Mapping[Site, Mapping[int, torch.Tensor]]
    sources: Store
    """Clean states of the sources by site, (n, groups, d); of all alignments that were prepared together."""
    state: State
    """The network's module when it was prepared."""
    own: Mapping[str, int]
    """Addresses of its weights, by name."""
    cone: Cone | None = None
    """Where edited runs start in a causal decoder; None in other networks, and in those that failed the test."""
    block: int | None = None
    """The block behind which edited runs resume in other networks; None where they run whole."""
    states: torch.Tensor | None = None
    """Output of that block for every input; None where runs are not resumed."""
    refused: str = ""
    """Why edited runs of a language model are no cones."""

    @property
    def route(self) -> str:
        """What an edited run computes, in words."""
        blocks = self.network.blocks
        if self.cone is not None:
            behind = f"behind {blocks[self.cone.block]}" if self.cone.block >= 0 else "from the first block"
            return f"cone: {behind}, from position {self.cone.start} on"
        found = "whole runs" if self.block is None else f"resumed behind {blocks[self.block]}"
        return f"{found}; no cone: {self.refused}" if self.refused else found

    @property
    def asked(self) -> int:
        """Bytes of clean states that a pair takes when it is run, beside what is kept."""
        bases = 0 if self.cone is None else self.cone.kept.states.asked
        return bases + self.sources.asked

    def batch(self, base: torch.Tensor, source: torch.Tensor) -> Batch:
        """The tensors of pairs.

        Args:
            base: Index of each pair's base input.  # shape: (n,)
            source: Index of each pair's source inputs, -1 where there is none.  # shape: (n, slots)

        Raises:
            EngineError: Indices of other shapes, inputs in another role than they were prepared for, or a source's
                clean run that is not finite.
        """
        if base.ndim != 1 or source.ndim != 2 or len(source) != len(base):
            raise EngineError(
                "bases and sources do not fit together",
                got=f"bases {tuple(base.shape)}, sources {tuple(source.shape)}",
                expected="bases (n,), sources (n, slots)",
                fix="give every base its own row of sources: nothing is broadcast",
            )
        if not source.numel():
            raise EngineError(
                "there are no pairs to run",
                got=f"sources {tuple(source.shape)}",
                expected="one pair at least, with one source at least (-1 for none)",
            )
        base, source = base.to(self.network.device), source.to(self.network.device)
        whole = self.cone is None
        if self.cone is not None:
            # The first position that is run was found among the announced bases: another may be edited before it.
            _announced(base, self.cone.kept.states.knows(base), "base")
        states = () if self.states is None else (self.states[base],)
        return Batch(
            tuple(a[base] for a in self.inputs.args) if whole else (),
            {k: a[base] for k, a in self.inputs.kwargs.items()} if whole else {},
            states,
            tuple(self._sources(base, source)),
            tuple({i: t[base] for i, t in self.positions[site].items()} for site in self.plan),
            base,
        )

    def _sources(self, base: torch.Tensor, source: torch.Tensor) -> list[torch.Tensor]:
        _announced(source, (source < 0) | self.sources.knows(source), "source")
        # A slot that takes nothing needs some state all the same: where the base's is not known any is as good.
        rows = torch.where(source < 0, base.unsqueeze(1), source)
        rows = torch.where(self.sources.knows(rows), rows, self.sources.first)
        found, where = self.sources.of(rows)
        return [found[site][where] for site in self.plan]

    def logits(
        self,
        batch: Batch,
        featurizers: Sequence[Featurizer],
        masks: Sequence[torch.Tensor],
        *,
        weights: Weights | None = None,
        columns: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits of the pairs' bases after the interchange.  # shape: (n, answers), or (n, tokens, vocabulary)

        Args:
            batch: What `batch` returned.
            featurizers: One map per site, in the order of `plan`.
            masks: One (n, slots, k) table per site: which coordinate comes from which source.
            weights: Parameters to run with instead of the module's own; the sources' states stay as they are. With
                others than its own, or with its own where a gradient of them is asked, a causal decoder runs whole. A
                gradient of weights that are not given here there is none in a cone.
            columns: Of the logits; all by default.

        Raises:
            EngineError: The network has other hooks or weights than when it was prepared.
        """
        return logits_together([Edited(self, batch, featurizers, masks, weights)], columns=columns)[0]

    def whole(
        self,
        batch: Batch,
        featurizers: Sequence[Featurizer],
        masks: Sequence[torch.Tensor],
        *,
        weights: Weights | None = None,
        columns: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`logits` by a run of every block at every position, from the inputs on: nothing of the bases is kept."""
        inputs = self.inputs.rows(batch.base)
        edits = self._edits(batch, featurizers, masks)
        return interchange(self.network, inputs.args, inputs.kwargs, edits, weights=weights, columns=columns)

    def has(self, weights: Weights | None) -> bool:
        """Whether these are the network's own weights, of which no gradient is asked."""
        return weights is None or not any(
            tensor.requires_grad or self.own.get(name) != address(tensor) for name, tensor in weights.items()
        )

    def _logits(self, run: Edited, columns: torch.Tensor | None) -> torch.Tensor:
        """Of a run that is no cone, or cannot be one with the weights that it is given."""
        if self.cone is not None:
            return self.whole(*run[1:4], weights=run.weights, columns=columns)
        batch, edits = run.batch, self._edits(*run[1:4])
        start = None if self.block is None else Resume(self.block, batch.state[0])
        return interchange(
            self.network, batch.args, batch.kwargs, edits, weights=run.weights, start=start, columns=columns
        )

    def check_unchanged(self, now: State) -> None:
        """Refuse what is kept of a network that is another by now.

        Args:
            now: The network's module as it stands.

        Raises:
            EngineError: It has other hooks or weights than when it was prepared.
        """
        if now == self.state:
            return
        hooks = now.hooks != self.state.hooks
        where = ", ".join(hooked(self.network.module)[:2]) or "none"
        raise EngineError(
            "the network has changed since it was prepared",
            where=self.network.name,
            got=f"other hooks than then; now on: {where}"
            if hooks
            else "weights that were written into or replaced",
            expected="the module as it was: states of its clean runs are kept",
            fix="change the module first, and prepare, fit or evaluate then",
        )

    def _edits(
        self, batch: Batch, featurizers: Sequence[Featurizer], masks: Sequence[torch.Tensor]
    ) -> tuple[SiteEdit, ...]:
        return tuple(
            SiteEdit(layout, featurizer, sources, mask, _per_place(positions, layout))
            for layout, featurizer, sources, mask, positions in zip(
                self.plan.values(), featurizers, batch.sources, masks, batch.positions, strict=True
            )
        )


class Edited(NamedTuple):
    """One of several edited runs that may share a forward; the arguments of `Prepared.logits`."""

    prepared: Prepared
    batch: Batch
    featurizers: Sequence[Featurizer]
    masks: Sequence[torch.Tensor]
    weights: Weights | None = None
    """Others than the network's own make a run that would be a cone a whole one."""


def logits_together(runs: Sequence[Edited], *, columns: torch.Tensor | None = None) -> list[torch.Tensor]:
    """`Prepared.logits` of every run; cones with the same base states and first position share a forward.

    Raises:
        EngineError: A network has other hooks or weights than when it was prepared.
    """
    found: dict[int, torch.Tensor] = {}
    for members, logits in logits_joined(runs, columns=columns):
        found |= zip(members, logits.split([len(runs[i].batch.base) for i in members]), strict=True)
    return [found[i] for i in range(len(runs))]


def logits_joined(
    runs: Sequence[Edited], *, columns: torch.Tensor | None = None
) -> list[tuple[list[int], torch.Tensor]]:
    """The same by forward: which runs share it, and the logits of their pairs, one run after the other.

    Raises:
        EngineError: As of `logits_together`.
    """
    now = {id(n): state_of(n.module) for n in (run.prepared.network for run in runs)}
    for run in runs:
        run.prepared.check_unchanged(now[id(run.prepared.network)])
    shared: dict[tuple[int, int], list[int]] = {}
    found: list[tuple[list[int], torch.Tensor]] = []
    for i, run in enumerate(runs):
        cone = run.prepared.cone
        if cone is None or not run.prepared.has(run.weights):
            found.append(([i], run.prepared._logits(run, columns)))
        else:
            shared.setdefault((id(cone.kept), cone.start), []).append(i)
    for members in shared.values():
        cones = [runs[i].prepared.cone for i in members]
        lanes = [
            Lane(cone.block, runs[i].batch.base, runs[i].prepared._edits(*runs[i][1:4]))
            for i, cone in zip(members, cones, strict=True)
            if cone is not None
        ]
        first = cones[0]
        assert first is not None
        order, logits = run_lanes(first.kept, first.start, lanes, columns=columns)
        found.append(([members[i] for i in order], logits))
    return found


def check_finite(states: torch.Tensor, site: Site, examples: torch.Tensor) -> None:
    """Refuse clean states that are not finite.

    Raises:
        EngineError: NaN or infinity; the first such example is named.
    """
    bad = ~torch.isfinite(states).flatten(1).all(dim=1)
    if bool(bad.any()):
        first = int(examples[int(torch.nonzero(bad)[0])])
        raise EngineError(
            "the network's clean run is not finite",
            where=f"{site}, example {first}",
            got="NaN or infinity",
            expected="finite activations",
            fix="run the network on that example alone; the intervention is not at fault",
        )


def _announced(examples: torch.Tensor, known: torch.Tensor, role: str) -> None:
    """Refuse inputs in a role that they were not prepared for."""
    if not bool(known.all()):
        raise EngineError(
            f"an input is used as a {role} that was not prepared as one",
            where=f"example {int(examples[~known][0])}",
            got=f"an input outside {role}s=",
            expected=f"one of the {role}s that prepare was told",
            fix=f"name it in {role}s= too, or leave {role}s= out",
        )


def _per_place(positions: Mapping[int, torch.Tensor], layout: SiteLayout) -> tuple[torch.Tensor | None, ...]:
    return tuple(positions.get(index) for index in range(len(layout.places)))
