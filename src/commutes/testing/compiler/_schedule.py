"""When each operation is computed, in which coordinates its values stand, and who reads them afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from commutes.testing.compiler._nodes import Graph, Node
from commutes.testing.compiler._program import Aggregate, Indices, SelectorWidth, SOp, Tokens


@dataclass(frozen=True, eq=False)
class Storage:
    """One place in the residual stream that holds an operation's values, at every position the same columns."""

    op: SOp
    columns: tuple[int, ...]
    made: int
    """The step behind which it is there."""
    raw: bool = False
    """1 / (1 + width), as attention leaves it, before it is turned into a direction per width."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """Steps: 0 is the embedding, 2b + 1 the attention of block b, 2b + 2 its two-layer network, the last the readout.

    An operation is computed as early as the operations that it reads allow, and several in one step.
    """

    storages: tuple[Storage, ...]
    blocks: int
    width: int
    """Coordinates of the residual stream, spare ones included."""
    computed: Mapping[SOp, int]
    """The step in which each operation reads its operands."""
    readers: Mapping[tuple[Node, bool], tuple[int, ...]]
    """Per node, and apart for its raw form, the steps that read it."""

    def storage(self, op: SOp, *, raw: bool = False) -> Storage:
        """Where an operation's values stand."""
        return next(s for s in self.storages if s.op is op and s.raw is raw)

    def columns(self, op: SOp) -> tuple[int, ...]:
        """The coordinates in which other operations read it."""
        return self.storage(op).columns

    @property
    def positions(self) -> tuple[int, ...]:
        """The coordinates that say the position: one per position."""
        return next(s.columns for s in self.storages if isinstance(s.op, Indices))


def schedule_of(graph: Graph, *, spare: int) -> Schedule:
    """The schedule of a program's operations; `spare` coordinates are left in which nothing ever stands."""
    computed: dict[SOp, int] = {}
    ready: dict[SOp, int] = {}
    for op in graph.program.operations:
        if isinstance(op, Tokens | Indices):
            computed[op] = ready[op] = 0
            continue
        step = max(ready[operand] for operand in op.operands) + 1
        attends = isinstance(op, Aggregate | SelectorWidth)
        # Attention is in odd steps, the networks between in even ones.
        computed[op] = step if step % 2 == attends else step + 1
        ready[op] = computed[op] + isinstance(op, SelectorWidth)
    storages: list[Storage] = []
    width = 0

    def put(op: SOp, size: int, made: int, *, raw: bool = False) -> None:
        nonlocal width
        storages.append(Storage(op, tuple(range(width, width + size)), made, raw))
        width += size

    for op in graph.program.operations:
        if isinstance(op, SelectorWidth):
            put(op, 1, computed[op], raw=True)
        put(op, 1 if op.numerical else len(graph.values(op)), ready[op])
    if not any(isinstance(op, Indices) for op in graph.program.operations):
        # Attention breaks ties by position, whether the program asks for positions or not.
        put(Indices(), graph.program.length, 0)
    blocks = max(1, (max(ready.values()) + 1) // 2)
    return Schedule(
        tuple(storages), blocks, width + spare, computed, _readers(graph, computed, 2 * blocks + 1)
    )


def _readers(
    graph: Graph, computed: Mapping[SOp, int], last: int
) -> dict[tuple[Node, bool], tuple[int, ...]]:
    found: dict[tuple[Node, bool], set[int]] = {}
    for node, parents in graph.parents.items():
        for parent in parents:
            found.setdefault((parent, False), set()).add(computed[node[0]])
        if isinstance(node[0], SelectorWidth):
            found[node, True] = {computed[node[0]] + 1}
    for node in graph.program.outputs:
        found.setdefault((node, False), set()).add(last)
    return {node: tuple(sorted(steps)) for node, steps in found.items()}
