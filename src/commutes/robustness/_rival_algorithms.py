"""Rival algorithms that are made from the claimed one: the same function by variables of other inputs.

The coarsest variable of a group of inputs G is the class of x_G, where x_G ~ x'_G if f(x_G, r) = f(x'_G, r) for all
values r of the other inputs: all of G that the answer can ever depend on, and no more. Groups that are disjoint or lie
within one another give an algorithm of the function f, whatever f is: the parity of four numbers by (a, b) and (c, d),
by (a, c) and (b, d), or by (a, b) and (a, b, c).

See The Decomposition of Switching Functions (Ashenhurst, 1957).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np

from commutes.algorithm import Algorithm, Finite, Variable
from commutes.robustness._controls import lookup
from commutes.robustness._rival_relations import View

MADE = 3
"""Rivals that stand against a claim beside those that were declared: each costs a fit."""

# Inputs whose answers are listed in a table; input variables that are grouped; sets of groups that are tried, and
# algorithms that are made of them.
TABLE, VARIABLES, SETS, MOST = 200_000, 8, 20_000, 24

BY = "by way of"
"""Between the claim's name and the groups, in the name of what is made."""
Group = tuple[int, ...]
"""Input variables by number, ascending."""


@dataclass(frozen=True, eq=False)
class Regroupings:
    """What was made, the likest to the claim first; or why nothing could be."""

    algorithms: tuple[Algorithm, ...]
    reason: str


@dataclass(frozen=True, eq=False)
class _Classes:
    """The coarsest variable of a group of inputs."""

    value: np.ndarray
    """The class of every joint value of the group, the last input varying fastest."""
    one: np.ndarray
    """A joint value of every class."""


def regroupings(claim: View, aligned: Sequence[Variable], *, seed: int) -> Regroupings:
    """Algorithms with the claim's function, and as many variables as it aligns, of no more values than these have.

    Args:
        claim: The algorithm.
        aligned: Its variables that are aligned.
        seed: Of the order of those that are equally like the claim.
    """
    algorithm = claim.algorithm
    inputs = algorithm.input_variables
    domains = [d for d in map(algorithm.domain, inputs) if isinstance(d, Finite)]
    if len(domains) < len(inputs) or not isinstance(claim.output, Finite):
        return Regroupings((), "numbers without a list of values cannot be regrouped")
    sizes = [d.size for d in domains]
    if len(sizes) > VARIABLES or float(np.prod(sizes, dtype=float)) > TABLE:
        most = f"{VARIABLES} input variables" if len(sizes) > VARIABLES else f"{TABLE:,} inputs"
        return Regroupings((), f"an algorithm of more than {most} is not regrouped")
    answers = algorithm.run(algorithm.enumerate_inputs())[algorithm.output_variable.name]
    table, seen = _reduced(answers.reshape(sizes))
    own = [_group(algorithm, variable) for variable in aligned]
    most = max(len(np.unique(claim.code(v.name))) for v in aligned)
    classes = _classes(table, least=min(len(group) for group in own), most=most)
    chosen = _chosen(list(classes), own, np.random.default_rng([seed, 62]))
    if not chosen:
        words = "a variable" if len(own) == 1 else f"{len(own)} variables"
        return Regroupings((), f"no other grouping of its inputs gives {words} of at most {most} values")
    return Regroupings(tuple(_built(algorithm, groups, classes, table, seen) for groups in chosen[:MOST]), "")


def _reduced(table: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The table without values that no answer tells apart, and per input which of its values are one."""
    seen = []
    for axis in range(table.ndim):
        _, first, value = np.unique(table, axis=axis, return_index=True, return_inverse=True)
        table = table.take(first, axis=axis)
        seen.append(value.reshape(-1))
    return table, seen


def _group(algorithm: Algorithm, variable: Variable) -> Group:
    """The inputs that a variable depends on."""
    known = {variable, *algorithm.ancestors(variable)}
    return tuple(i for i, v in enumerate(algorithm.input_variables) if v in known)


def _classes(table: np.ndarray, *, least: int, most: int) -> dict[Group, _Classes]:
    """Every group of at least so many inputs whose variable has 2 to `most` values, and is not the answer itself."""
    found = {}
    for size in range(least, table.ndim):
        for group in combinations(range(table.ndim), size):
            rows = np.moveaxis(table, group, range(size)).reshape(_rows(table, group), -1)
            _, one, value = np.unique(rows, axis=0, return_index=True, return_inverse=True)
            if 2 <= len(one) <= most and (rows != rows[:, :1]).any():
                found[group] = _Classes(value.reshape(-1), one)
    return found


def _rows(table: np.ndarray, group: Group) -> int:
    return int(np.prod([table.shape[i] for i in group]))


def _chosen(groups: list[Group], own: Sequence[Group], rng: np.random.Generator) -> list[tuple[Group, ...]]:
    """Sets of groups that are disjoint or nested, those with groups of the claim's sizes first."""
    sizes, singles = sorted(len(group) for group in own), sum(len(group) == 1 for group in own)
    shuffled = [groups[i] for i in rng.permutation(len(groups))]
    # Where there are too many sets to try them all, those of the claim's sizes are not to be missed.
    likely = [group for group in shuffled if len(group) in sizes]
    found: dict[tuple[Group, ...], None] = {}
    for among in (likely, shuffled):
        for chosen in islice(combinations(among, len(own)), SETS):
            few = sum(len(group) == 1 for group in chosen) <= singles
            if (
                few
                and set(chosen) != set(own)
                and all(_nested_or_apart(*two) for two in combinations(chosen, 2))
            ):
                found[tuple(sorted(chosen, key=lambda group: (len(group), group)))] = None
    return sorted(found, key=lambda chosen: [len(group) for group in chosen] != sizes)


def _nested_or_apart(one: Group, other: Group) -> bool:
    return set(one).isdisjoint(other) or set(one) <= set(other) or set(other) <= set(one)


def _built(
    algorithm: Algorithm,
    groups: tuple[Group, ...],
    classes: Mapping[Group, _Classes],
    table: np.ndarray,
    seen: Sequence[np.ndarray],
) -> Algorithm:
    """The algorithm whose variables are those of the groups, a group before those that hold it."""
    inputs, output = algorithm.input_variables, algorithm.output_variable
    names = [v.name for v in inputs]
    titles = [f"({', '.join(names[i] for i in group)})" for group in groups]
    made = Algorithm(f"{algorithm.name} {BY} {' and '.join(titles)}")
    for variable in inputs:
        made.input(variable.name, domain=algorithm.domain(variable))
    called = {group: _name([names[i] for i in group], {*names, output.name}) for group in groups}
    values = {group: Finite(range(len(classes[group].one))) for group in groups}
    for group in (*groups, tuple(range(len(names)))):
        within, alone = _parts(group, groups)
        parents = [*(called[part] for part in within), *(names[i] for i in alone)]
        own = [algorithm.domain(inputs[i]) for i in alone]
        given = [*(values[part] for part in within), *(d for d in own if isinstance(d, Finite))]
        joint = _joint(group, within, alone, classes, seen, table.shape)
        if group in called:
            f = lookup(classes[group].value[joint], given, values[group])
            made.add(called[group], *parents, f=f, domain=values[group])
        else:
            domain = algorithm.domain(output)
            f = lookup(table.reshape(-1)[joint], given, domain)
            made.add(output.name, *parents, f=f, domain=domain, output=True)
    return made.check()


def _name(inputs: Sequence[str], taken: set[str]) -> str:
    name = "_".join(["of", *inputs])
    while name in taken:
        name += "_"
    return name


def _parts(group: Group, groups: Sequence[Group]) -> tuple[list[Group], list[int]]:
    """What a group's variable is computed from: the largest groups within it, and inputs by themselves."""
    within = [g for g in groups if set(g) < set(group)]
    largest = [g for g in within if not any(set(g) < set(other) for other in within)]
    return largest, [i for i in group if not any(i in g for g in largest)]


def _joint(
    group: Group,
    within: Sequence[Group],
    alone: Sequence[int],
    classes: Mapping[Group, _Classes],
    seen: Sequence[np.ndarray],
    shape: Sequence[int],
) -> np.ndarray:
    """For every joint value of the parts one of the group's inputs that gives it, as the number of a row."""
    counts = [*(len(classes[part].one) for part in within), *(len(seen[i]) for i in alone)]
    grid = np.indices(counts).reshape(len(counts), -1)
    values: dict[int, np.ndarray] = {}
    for part, code in zip(within, grid, strict=False):
        joint = np.unravel_index(classes[part].one[code], [shape[i] for i in part])
        values |= dict(zip(part, joint, strict=True))
    for i, code in zip(alone, grid[len(within) :], strict=True):
        values[i] = seen[i][code]
    return np.ravel_multi_index([values[i] for i in group], [shape[i] for i in group])
