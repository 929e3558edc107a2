"""How another algorithm stands to the claimed one: the same, entailed by it, finer than it, or neither.

Variables are compared up to a relabelling of their values: by which inputs they tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

import numpy as np

from commutes.algorithm import Algorithm, Columns, Domain, Finite, Variable
from commutes.counterfactuals._codes import joint_codes

Relation = Literal["the same", "entailed", "finer", "rival"]

# As many inputs are listed in full; beyond them as many are drawn.
INPUTS = 100_000
# Pairs on which interchanges are compared, and variables of which every set is tried.
PAIRS, VARIABLES = 4_000, 8


@dataclass(frozen=True, eq=False)
class View:
    """An algorithm on inputs that it shares with others, and those of its variables that are spoken of."""

    algorithm: Algorithm
    names: tuple[str, ...]
    inputs: Columns
    complete: bool
    """Whether these are all inputs that there are."""

    @cached_property
    def columns(self) -> Columns:
        """All variables on these inputs."""
        return self.algorithm.run(self.inputs)

    @property
    def answers(self) -> np.ndarray:
        """What it answers.  # shape: (rows,)"""
        return self.columns[self.algorithm.output_variable.name]

    @property
    def output(self) -> Domain:
        """The values that it can answer."""
        return self.algorithm.domain(self.algorithm.output_variable)

    @property
    def rows(self) -> int:
        """How many inputs."""
        return len(next(iter(self.inputs.values())))

    def code(self, *names: str) -> np.ndarray:
        """The joint value of these variables: equal codes where all of them are equal.  # shape: (rows,)"""
        return joint_codes([self.columns[name] for name in names], self.rows)

    def pattern(self, name: str) -> bytes:
        """Which inputs a variable tells apart: equal for variables that differ by a relabelling of values."""
        code = self.code(name)
        _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        return rank[inverse].tobytes()


def shared_inputs(algorithm: Algorithm, *, seed: int) -> tuple[Columns, bool]:
    """All inputs of the algorithm, or a seeded sample of them; and whether they are all."""
    count = algorithm.input_count
    if count is not None and count <= INPUTS:
        return algorithm.enumerate_inputs(INPUTS), True
    rng = np.random.default_rng([seed, 60])
    return {v.name: algorithm.domain(v).sample(rng, INPUTS) for v in algorithm.input_variables}, False


def spoken_of(algorithm: Algorithm, aligned: Sequence[Variable] = ()) -> tuple[str, ...]:
    """The variables that an algorithm says are computed, and the inputs that a claim aligns."""
    inner = [v.name for v in algorithm.inner_variables]
    return (*inner, *(v.name for v in aligned if v.kind == "input"))


def recoded(column: np.ndarray, theirs: Domain, ours: Domain) -> np.ndarray:
    """Another algorithm's answers as codes of our output's values; -1 for a value that it does not have."""
    if not isinstance(ours, Finite):
        return column
    values = theirs.values if isinstance(theirs, Finite) else theirs.decode(column)
    place = ours.attempt(values)[0]
    return place[column] if isinstance(theirs, Finite) else place


def otherwise(claim: View, rival: View) -> int:
    """On how many of the inputs the two answer differently."""
    answers = recoded(rival.answers, rival.output, claim.output)
    return int(differing(claim.answers, answers, claim.output).sum())


def differing(one: np.ndarray, other: np.ndarray, domain: Domain) -> np.ndarray:
    """Where two columns of answers differ, numbers by more than their tolerance.  # shape: (n,)"""
    if isinstance(domain, Finite):
        return one != other
    apart = np.abs(one - other) > (getattr(domain, "tolerance", None) or 0.0)
    return np.asarray(np.asarray(apart).reshape(len(one), -1).any(axis=1))


def relation(claim: View, rival: View, *, seed: int) -> Relation:
    """What another algorithm is to the claimed one; what has no variables of its own is entailed."""
    entailed, entails = entailed_by(claim, rival, seed=seed), entailed_by(rival, claim, seed=seed)
    if entailed:
        return "the same" if entails else "entailed"
    return "finer" if entails else "rival"


def entailed_by(one: View, other: View, *, seed: int) -> bool:
    """Whether whoever claims `one` has claimed `other` as well.

    Every variable of the other is a function of variables of the one, a set of its own for each, and swapping it has
    the same effect as swapping these: the other is a coarsening of the one, or leaves variables out.

    See Causal Abstraction: A Theoretical Foundation for Mechanistic Interpretability, arXiv 2301.04709.
    """
    rng = np.random.default_rng([seed, 61])
    base, source = rng.integers(one.rows, size=(2, PAIRS))
    sets = [
        [names for names in _sets(one.names) if _carries(one, names, other, name, base, source)]
        for name in other.names
    ]
    return all(sets) and _disjoint(sets)


def _sets(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    most = len(names) if len(names) <= VARIABLES else 2
    for size in range(1, most + 1):
        yield from combinations(names, size)


def _carries(
    one: View, names: tuple[str, ...], other: View, name: str, base: np.ndarray, source: np.ndarray
) -> bool:
    known = one.code(*names)
    if joint_codes([known, other.code(name)], one.rows).max() != known.max():
        return False
    ours, theirs = _swapped(one, names, base, source), _swapped(other, (name,), base, source)
    return not differing(ours, recoded(theirs, other.output, one.output), one.output).any()


def _swapped(view: View, names: Sequence[str], base: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The answers to these bases with these variables as they are for the sources."""
    inputs = {name: column[base] for name, column in view.inputs.items()}
    do = {view.algorithm[name]: view.columns[name][source] for name in names}
    return view.algorithm.run(inputs, do)[view.algorithm.output_variable.name]


def _disjoint(sets: Sequence[Sequence[tuple[str, ...]]], taken: frozenset[str] = frozenset()) -> bool:
    if not sets:
        return True
    return any(
        _disjoint(sets[1:], taken | set(chosen)) for chosen in sets[0] if not taken.intersection(chosen)
    )


def standing(claim: View, aligned: Sequence[str], rival: View) -> dict[str, str]:
    """Which variable of a rival stands in the place of each aligned variable of the claim.

    First the very same variable, whatever it is called; then one of the same name; then those that are left, in their
    order. Where a rival has too few inner variables, inputs that its output reads itself come behind them.
    """
    graph = rival.algorithm
    free = [v.name for v in graph.inner_variables]
    if len(free) < len(aligned):
        free += [v.name for v in graph.parents(graph.output_variable) if v.kind == "input"]
    patterns = {name: rival.pattern(name) for name in free}
    found: dict[str, str] = {}
    for name in aligned:
        same = [other for other in free if patterns[other] == claim.pattern(name)]
        if same:
            found[name] = same[0]
            free.remove(same[0])
    for name in aligned:
        if name not in found and name in free:
            found[name] = name
            free.remove(name)
    for name in aligned:
        if name not in found and free:
            found[name] = free.pop(0)
    return {name: found[name] for name in aligned if name in found}
