"""The checked form of an algorithm: an ordered graph of mechanisms that answer all they can be asked."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, final

import numpy as np

from commutes.algorithm._domain import Domain
from commutes.algorithm._mechanism import TABLE_ROWS, Mechanism
from commutes.algorithm._order import children, cycle, topological, upstream
from commutes.algorithm._values import show
from commutes.errors import AlgorithmError, similar

if TYPE_CHECKING:
    from commutes.algorithm._variable import Variable

Columns = dict[str, np.ndarray]
"""Variable name to column: int64 codes where the domain is finite, else float64 (n,) or (n, width)."""


@final
class Model:
    """What `check` makes of the declared variables; raises where they are not a causal model.

    Args:
        name: The algorithm's name, for messages.
        declared: The variables by name, in the order of their declaration.
    """

    def __init__(self, name: str, declared: Mapping[str, Variable]) -> None:
        self.parents = {key: variable.parent_names for key, variable in declared.items()}
        _check_graph(name, declared, self.parents)
        by_kind = sorted(declared, key=lambda key: declared[key].kind != "input")
        self.order = topological({key: self.parents[key] for key in by_kind})
        self.variables = tuple(declared[key] for key in self.order)
        self.inputs = tuple(key for key in self.order if declared[key].kind == "input")
        self.output = next(key for key in self.order if declared[key].kind == "output")
        self.domains: dict[str, Domain] = {}
        self.mechanisms: dict[str, Mechanism] = {}
        for variable in self.variables:
            self._compile(variable)
        self._check_meaning(name)

    def run(
        self, columns: Mapping[str, np.ndarray], do: Mapping[str, np.ndarray], n: int, only: Collection[str]
    ) -> Columns:
        """The columns of the variables in `only`, mechanisms replaced by `do` where it says so."""
        result: Columns = {}
        for name in self.order:
            if name not in only:
                continue
            if name in do:
                result[name] = do[name]
            elif name in self.mechanisms:
                result[name] = self.mechanisms[name].column(
                    [result[parent] for parent in self.parents[name]], n
                )
            else:
                result[name] = columns[name]
        return result

    def grid(self) -> Columns:
        """Every input once; the last input varies fastest."""
        sizes = [self.domains[name].size or 0 for name in self.inputs]
        codes = np.unravel_index(np.arange(math.prod(sizes)), sizes)
        return dict(zip(self.inputs, codes, strict=True))

    def _compile(self, variable: Variable) -> None:
        name = variable.name
        if variable.mechanism is None:
            assert variable.declared is not None
            self.domains[name] = variable.declared
            return
        domains = [self.domains[parent] for parent in variable.parent_names]
        mechanism = Mechanism(name, variable.mechanism, variable.parent_names, domains, variable.declared)
        mechanism.repeat(*mechanism.trial())
        self.mechanisms[name] = mechanism
        self.domains[name] = mechanism.domain

    def _check_meaning(self, name: str) -> None:
        """Refuse an output that is constant and a variable that cannot matter, where tables can prove it."""
        sizes = [self.domains[key].size for key in self.inputs]
        if all(size is not None for size in sizes) and math.prod(size or 0 for size in sizes) <= TABLE_ROWS:
            inputs = self.grid()
            n = len(inputs[self.inputs[0]])
            answers = self.run(inputs, {}, n, self.order)[self.output]
            if (answers == answers[:1]).all():
                raise AlgorithmError(
                    f"the output of {name} is constant",
                    where=self.output,
                    got=f"{show(self.domains[self.output].decode(answers[:1])[0])} for all {n:,} inputs",
                    expected="an output that depends on the inputs",
                    fix=f"look at the mechanism of {self.output} and at the domains of the inputs",
                )
        relevant = upstream({key: self._real_parents(key) for key in self.order}, [self.output])
        idle = [key for key in self.order if key not in relevant]
        if idle:
            last = idle[-1]  # its children do matter, so it is their mechanisms that pass it over
            heirs = ", ".join(children(self.parents)[last])
            raise AlgorithmError(
                f"{last} can never matter: whatever its value, {self.output} stays the same",
                where=f"{last} -> {heirs}",
                got=f"mechanisms that give the same for every value of {last}: {heirs}",
                fix=f"use {last} in a mechanism, or leave it out",
            )

    def _real_parents(self, name: str) -> list[str]:
        """The parents on which the mechanism depends; all where there is no complete table to tell."""
        mechanism = self.mechanisms.get(name)
        if mechanism is None or not mechanism.complete:
            return list(self.parents[name])
        table = mechanism.table()
        return [
            parent
            for axis, parent in enumerate(mechanism.parents)
            if (table != table.take([0], axis=axis)).any()
        ]


def _check_graph(name: str, declared: Mapping[str, Variable], parents: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse what is wrong with the arrows alone, before any mechanism is called."""
    for child, its_parents in parents.items():
        for parent in its_parents:
            if parent not in declared:
                others = [other for other in declared if other != child]
                close = similar(parent, others)
                raise AlgorithmError(
                    f"{child} has a parent that is not declared: {parent}",
                    where=f"{child}({', '.join(its_parents)})",
                    expected=f"one of {', '.join(others)}" if others else "a declared variable",
                    fix=f"write {close}, or declare {parent}" if close else f"declare {parent}",
                )
    loop = cycle(parents)
    if loop is not None:
        raise AlgorithmError(
            f"the variables of {name} form a cycle: {' -> '.join(loop)}",
            expected="an acyclic graph",
            fix=f"take {loop[-2]} out of the parents of {loop[-1]}, or use one variable per step",
        )
    outputs = [key for key, variable in declared.items() if variable.kind == "output"]
    if not outputs:
        raise AlgorithmError(
            f"{name} has no output",
            got=f"the variables {', '.join(declared)}" if declared else "no variables",
            expected="one output",
            fix="write @algorithm.output above its mechanism",
        )
    relevant = upstream(parents, outputs)
    if not any(declared[key].kind == "input" for key in relevant):
        raise AlgorithmError(
            f"no input reaches the output of {name}",
            where=f"{outputs[0]}({', '.join(parents[outputs[0]])})",
            fix=f"give {outputs[0]} a parent that depends on an input",
        )
    for key in declared:
        if key not in relevant:
            raise AlgorithmError(
                f"{key} can never matter: no path leads from it to {outputs[0]}",
                fix=f"make it a parent of something that {outputs[0]} depends on, or leave it out",
            )
