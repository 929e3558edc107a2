"""Control tasks: the same algorithm with one variable replaced by a random function of its parents.

See Designing and Interpreting Probes with Control Tasks, arXiv 1909.03368.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from commutes.algorithm import Algorithm, Domain, Finite, Variable
from commutes.errors import AlgorithmError

# A table of more rows than this is not shuffled; and so many shuffles are tried before a domain counts as exhausted.
_ROWS, _TRIES = 1_000_000, 400


def controls(algorithm: Algorithm, variable: Variable, *, count: int, seed: int) -> list[Algorithm]:
    """Up to `count` algorithms in which `variable` is a random function of its parents with the same marginals.

    The values of the variable's table are permuted over its rows. Functions are drawn without replacement, and those
    that equal the variable, or one another, up to a relabelling of values are left out. A table that makes the
    algorithm ill-formed (a constant output) is left out too.

    Returns:
        Fewer than `count` where the domain has no more, none where the variable's parents are not finite.
    """
    domains = [algorithm.domain(p) for p in variable.parents]
    finite = [d for d in domains if isinstance(d, Finite)]
    own = algorithm.domain(variable)
    if len(finite) < len(domains) or not isinstance(own, Finite):
        return []
    sizes = [d.size for d in finite]
    rows = int(np.prod(sizes, dtype=float))
    if rows > _ROWS:
        return []
    codes = np.unravel_index(np.arange(rows), sizes)
    columns = {p.name: c.astype(np.int64) for p, c in zip(variable.parents, codes, strict=True)}
    table = _table(algorithm, variable, columns, rows)
    rng = np.random.default_rng([seed, 3, *variable.name.encode()])
    seen = {_pattern(table)}
    found: list[Algorithm] = []
    for _ in range(_TRIES):
        if len(found) == count:
            break
        shuffled = table[rng.permutation(rows)]
        pattern = _pattern(shuffled)
        if pattern in seen:
            continue
        seen.add(pattern)
        try:
            found.append(_with_table(algorithm, variable, shuffled, finite, own).check())
        except AlgorithmError:
            continue
    return found


def _table(algorithm: Algorithm, variable: Variable, columns: dict[str, np.ndarray], rows: int) -> np.ndarray:
    """The variable's codes over all rows of its parents."""
    own, decoded = algorithm.domain(variable), {}
    for parent in variable.parents:
        decoded[parent.name] = algorithm.values(parent, columns[parent.name])
    values = [variable(*(decoded[p.name][i] for p in variable.parents)) for i in range(rows)]
    return np.asarray(own.encode(values), np.int64)


def _pattern(table: np.ndarray) -> bytes:
    """The table with values numbered by first appearance: equal for tables that differ by a relabelling."""
    _, first, inverse = np.unique(table, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse].tobytes()


def _with_table(
    algorithm: Algorithm, variable: Variable, table: np.ndarray, parents: list[Finite], own: Domain
) -> Algorithm:
    other = Algorithm(f"{algorithm.name}, {variable.name} at random")
    for known in algorithm.variables:
        domain = algorithm.domain(known)
        if known.kind == "input":
            other.input(known.name, domain=domain)
            continue
        f = lookup(table, parents, own) if known is variable else known
        names = [p.name for p in known.parents]
        other.add(known.name, *names, f=f, domain=domain, output=known.kind == "output")
    return other


def lookup(table: np.ndarray, parents: list[Finite], own: Domain) -> Callable[..., object]:
    """The mechanism with this table.

    Args:
        table: The code of every row of the parents' values, the last parent varying fastest.
        parents: Their domains, in the order of the mechanism's arguments.
        own: Of the variable.
    """
    sizes = [d.size for d in parents]
    values = own.decode(table)

    def at_random(*given: object) -> object:
        codes = [d.code(v) for d, v in zip(parents, given, strict=True)]
        return values[int(np.ravel_multi_index(codes, sizes))]

    return at_random
