"""Independent blocks of inputs: a domain too large to list, sampled by its variables' values all the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commutes.algorithm import Algorithm, Columns, Finite, Variable
from commutes.counterfactuals._codes import Gathered, joint_codes

__all__ = ["ENUMERABLE", "Block", "blocks"]

ENUMERABLE = 1_000_000
"""The largest domain that is listed in full."""


@dataclass(frozen=True, eq=False)
class Block:
    """All values of some inputs, gathered by the joint value of the inner variables that they determine."""

    inputs: Columns
    gathered: Gathered

    def draw(self, rng: np.random.Generator, rows: int) -> Columns:
        """Uniform over the joint values, then over the inputs that give them."""
        picked = self.gathered.pick(rng, rng.integers(0, self.gathered.count, size=rows))
        return {name: column[picked] for name, column in self.inputs.items()}


def blocks(algorithm: Algorithm) -> list[Block]:
    """The blocks that can be listed: inputs that share an inner variable are in one block.

    The joint values of all inner variables are then the product of the blocks', so that drawing each block by
    itself draws uniformly over them, however rare a value is under uniform inputs.
    """
    found: list[Block] = []
    for inputs, inner in _components(algorithm):
        sizes = [algorithm.domain(v).size for v in inputs]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes) or float(np.prod([float(s) for s in known])) > ENUMERABLE:
            continue
        grid = np.indices(known).reshape(len(known), -1)
        rows = grid.shape[1]
        mine = {v.name: column for v, column in zip(inputs, grid, strict=True)}
        # The other inputs do not matter to these variables: any value of theirs will do.
        rng = np.random.default_rng(0)
        rest = {
            v.name: np.repeat(algorithm.domain(v).sample(rng, 1), rows, axis=0)
            for v in algorithm.input_variables
            if v not in inputs
        }
        columns = algorithm.run(mine | rest)
        code = joint_codes([columns[v.name] for v in inner], rows)
        found.append(Block(mine, Gathered(code, np.ones(rows), int(code.max()) + 1)))
    return found


def _components(algorithm: Algorithm) -> list[tuple[tuple[Variable, ...], tuple[Variable, ...]]]:
    """Inputs with the finite inner variables below them, connected through either."""
    parts: list[tuple[set[Variable], list[Variable]]] = []
    for variable in algorithm.inner_variables:
        if not isinstance(algorithm.domain(variable), Finite):
            continue
        above = {a for a in algorithm.ancestors(variable) if a in algorithm.input_variables}
        joined = [part for part in parts if part[0] & above]
        merged = (above.union(*(p[0] for p in joined)), [v for p in joined for v in p[1]] + [variable])
        parts = [part for part in parts if not part[0] & above] + [merged]
    return [
        (
            tuple(v for v in algorithm.input_variables if v in inputs),
            tuple(v for v in algorithm.inner_variables if v in inner),
        )
        for inputs, inner in parts
    ]
