"""The hypothesis: a directed acyclic graph of variables, mechanisms and domains, written in plain Python."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final, overload

import numpy as np

from commutes.algorithm import _draw, _identity, _svg
from commutes.algorithm._admission import admit
from commutes.algorithm._columns import (
    as_column,
    as_do,
    as_inputs,
    from_plain_do,
    from_values,
    row_count,
    source_columns,
)
from commutes.algorithm._domain import Domain
from commutes.algorithm._model import Columns, Model
from commutes.algorithm._order import children, upstream
from commutes.algorithm._signature import as_domain, check_arity, declared_domain, parameters
from commutes.algorithm._values import show
from commutes.algorithm._variable import Kind, Variable
from commutes.errors import AlgorithmError, DomainError, similar

if TYPE_CHECKING:
    import networkx as nx

MOST_INPUTS = 1_000_000
Function = Callable[..., Any]


@final
class Algorithm:
    """A causal model: inputs, variables X = f(parents of X), and one output among them.

    The parents of a variable are the parameter names of its mechanism. Its domain is its return annotation
    (bool, a Literal, an Enum), or `domain=`, or is found by trying the mechanism on all values of its
    parents. Nothing can be added once the algorithm has been checked, which every use of it does first.

    Args:
        name: What the hypothesis is called in messages and reports.

    See Causal Abstractions of Neural Networks, 2106.02997.

    >>> equality = Algorithm("hierarchical equality")
    >>> w, x, y, z = equality.inputs("w x y z", domain=range(20))
    >>> @equality.variable
    ... def left(w, x) -> bool:
    ...     return w == x
    >>> @equality.variable
    ... def right(y, z) -> bool:
    ...     return y == z
    >>> @equality.output
    ... def same(left, right) -> bool:
    ...     return left == right
    >>> equality.evaluate({"w": 1, "x": 1, "y": 2, "z": 3})["same"]
    False
    >>> equality.evaluate({"w": 1, "x": 1, "y": 2, "z": 3}, do={left: False})["same"]
    True
    >>> equality
    Algorithm('hierarchical equality': left(w, x), right(y, z), same(left, right))
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._declared: dict[str, Variable] = {}
        self._model: Model | None = None
        self._fingerprint: _identity.Fingerprint | None = None

    # Declaring

    def inputs(self, names: str | Iterable[str], *, domain: object) -> tuple[Variable, ...]:
        """Several inputs with the same domain; `names` is a text with spaces or commas, or a sequence."""
        listed = names.replace(",", " ").split() if isinstance(names, str) else list(names)
        return tuple(self.input(name, domain=domain) for name in listed)

    def input(self, name: str, *, domain: object) -> Variable:
        """One input: a variable that is given, not computed."""
        return self._declare(name, "input", None, (), as_domain(domain, where=name))

    @overload
    def variable(self, f: Function, *, domain: object = None, name: str | None = None) -> Variable: ...
    @overload
    def variable(
        self, f: None = None, *, domain: object = None, name: str | None = None
    ) -> Callable[[Function], Variable]: ...
    def variable(
        self, f: Function | None = None, *, domain: object = None, name: str | None = None
    ) -> Variable | Callable[[Function], Variable]:
        """An inner variable, made from its mechanism; used as a decorator, with or without arguments.

        Args:
            f: The mechanism. Its parameter names are the parents.
            domain: The values; by default the return annotation says, or they are found by trying.
            name: The variable's name, by default the function's.
        """
        return self._decorate("inner", f, domain, name)

    @overload
    def output(self, f: Function, *, domain: object = None, name: str | None = None) -> Variable: ...
    @overload
    def output(
        self, f: None = None, *, domain: object = None, name: str | None = None
    ) -> Callable[[Function], Variable]: ...
    def output(
        self, f: Function | None = None, *, domain: object = None, name: str | None = None
    ) -> Variable | Callable[[Function], Variable]:
        """The output, declared as `variable` declares inner variables."""
        return self._decorate("output", f, domain, name)

    def add(
        self, name: str, *parents: Variable | str, f: Function, domain: object = None, output: bool = False
    ) -> Variable:
        """A variable whose parents are named, for families that are built in a loop.

        >>> parity = Algorithm("parity of three bits")
        >>> bits = parity.inputs("b0 b1 b2", domain=(0, 1))
        >>> so_far = bits[0]
        >>> for i in (1, 2):
        ...     so_far = parity.add(f"p{i}", so_far, bits[i], f=lambda a, b: a ^ b, output=i == 2)
        >>> parity.evaluate({"b0": 1, "b1": 1, "b2": 1})
        {'b0': 1, 'b1': 1, 'b2': 1, 'p1': 0, 'p2': 1}
        """
        function = f.mechanism if isinstance(f, Variable) and f.mechanism is not None else f
        names = tuple(parent if isinstance(parent, str) else self[parent].name for parent in parents)
        for parent in names:
            if names.count(parent) > 1:
                raise AlgorithmError(f"{name} names its parent {parent} twice", fix="name every parent once")
        check_arity(name, function, names)
        declared = declared_domain(name, function, domain, sys._getframe(1).f_locals)
        return self._declare(name, "output" if output else "inner", function, names, declared)

    def check(self) -> Algorithm:
        """Refuse everything that makes this no causal model, then freeze it; returns the algorithm itself.

        Raises:
            AlgorithmError: An undeclared parent, a cycle, no output, an output that no input reaches or that
                is constant, a variable that can never matter.
            MechanismError: A mechanism that raises, leaves its domain, answers differently twice or never
                returns.
        """
        if self._model is None:
            self._model = Model(self.name, self._declared)
        return self

    # Asking

    @property
    def variables(self) -> tuple[Variable, ...]:
        """All variables, parents before children, the inputs first in the order of their declaration."""
        return self._checked.variables

    @property
    def input_variables(self) -> tuple[Variable, ...]:
        """The inputs, in the order of their declaration."""
        return tuple(variable for variable in self.variables if variable.kind == "input")

    @property
    def inner_variables(self) -> tuple[Variable, ...]:
        """The variables between the inputs and the output, parents before children."""
        return tuple(variable for variable in self.variables if variable.kind == "inner")

    @property
    def output_variable(self) -> Variable:
        """The output."""
        return self[self._checked.output]

    def __getitem__(self, variable: Variable | str) -> Variable:
        if isinstance(variable, Variable) and variable.algorithm is not self:
            raise AlgorithmError(
                f"{variable.name} belongs to another algorithm",
                got=f"a variable of {variable.algorithm.name!r}",
                expected=f"a variable of {self.name!r}",
                fix="use its name to mean the variable of the same name here",
            )
        name = variable.name if isinstance(variable, Variable) else variable
        found = self._declared.get(name) if isinstance(name, str) else None
        if found is None:
            near = similar(str(name), self._declared)
            raise AlgorithmError(
                f"{self.name} has no variable {show(name)}",
                expected=f"one of {', '.join(self._declared)}" if self._declared else "a declared variable",
                fix=f"write {near}" if near else "declare it",
            )
        return found

    def __contains__(self, variable: object) -> bool:
        if isinstance(variable, Variable):
            return variable.algorithm is self
        return variable in self._declared

    def parents(self, variable: Variable | str) -> tuple[Variable, ...]:
        """The variables that the mechanism of `variable` reads, in topological order."""
        return self._ordered(set(self[variable].parent_names))

    def ancestors(self, variable: Variable | str) -> tuple[Variable, ...]:
        """Every variable that `variable` depends on, itself not included, in topological order."""
        name = self[variable].name
        return self._ordered(upstream(self._checked.parents, [name]) - {name})

    def descendants(self, variable: Variable | str) -> tuple[Variable, ...]:
        """Every variable that depends on `variable`, itself not included, in topological order."""
        name = self[variable].name
        return self._ordered(upstream(children(self._checked.parents), [name]) - {name})

    def domain(self, variable: Variable | str) -> Domain:
        """The domain of a variable, declared or found."""
        return self._checked.domains[self[variable].name]

    @property
    def input_count(self) -> int | None:
        """How many inputs there are; None where there are infinitely many."""
        sizes = [self.domain(variable).size for variable in self.input_variables]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    # Evaluating

    def columns(self, values: Mapping[str, Sequence[Any]] | Mapping[Variable, Sequence[Any]]) -> Columns:
        """Columns of the inputs from plain values.

        Args:
            values: For every input, the sequence or array of its values, all of one length.

        Raises:
            AlgorithmError: A name that is unknown, missing or no input; unequal lengths.
            DomainError: A value outside its domain, with its row.
        """
        return from_values(self, values)

    def values(self, variable: Variable | str, column: np.ndarray) -> list[Any]:
        """The plain Python values of a column."""
        return self.domain(variable).decode(as_column(self, self[variable], column, members=False))

    def arrays(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The values of columns as numpy arrays.

        Returns:
            Per variable: bool, int64 or float64 where the values are such, (n, width) for vectors and for
            tuples of numbers of one length, object otherwise.
        """
        return {
            name: self.domain(name).array(as_column(self, self[name], column, members=False))
            for name, column in columns.items()
        }

    def run(self, columns: Mapping[str, np.ndarray], do: Mapping[Any, np.ndarray] | None = None) -> Columns:
        """All variables' columns, each mechanism called once per distinct row of its parents.

        Args:
            columns: The inputs' columns; columns of other variables are ignored and computed anew.
            do: For variables (or their names) that are intervened on, their columns.
        """
        inputs = as_inputs(self, columns)
        n = row_count(inputs)
        return self._checked.run(inputs, as_do(self, do or {}, n), n, self._checked.order)

    def answers_under(self, known: Mapping[str, np.ndarray], do: Mapping[Any, np.ndarray]) -> np.ndarray:
        """The output's column under an intervention, computed from what it leaves as it is: only what lies below runs.

        Args:
            known: Clean columns of the variables that enter what lies below; others do not matter.
            do: For variables (or their names) that are intervened on, their columns.
        """
        model, n = self._checked, row_count(known) if known else len(next(iter(do.values())))
        fixed = as_do(self, do, n)
        below = {v.name for name in fixed for v in self.descendants(name)} - fixed.keys()
        entering = {parent for name in below for parent in model.parents[name]} - below - fixed.keys()
        given = {name: known[name] for name in entering} | fixed
        return model.run({}, given, n, below | given.keys())[model.output]

    def evaluate(self, values: Mapping[Any, Any], do: Mapping[Any, Any] | None = None) -> dict[str, Any]:
        """All variables' values for one input.

        Args:
            values: The value of every input.
            do: The values of variables that are intervened on.
        """
        inputs = self.columns({name: [value] for name, value in values.items()})
        result = self.run(inputs, from_plain_do(self, do or {}))
        return {name: self.values(name, column)[0] for name, column in result.items()}

    def interchange(
        self, base: Mapping[str, np.ndarray], sources: Mapping[Any, Mapping[str, np.ndarray]]
    ) -> Columns:
        """All variables' columns for the base inputs, with some variables as they are for other inputs.

        Args:
            base: The base inputs' columns.
            sources: For every variable that is swapped, the columns of its source inputs, row by row with
                the base's.

        See Causal Abstractions of Neural Networks, 2106.02997.
        """
        return self.run(base, source_columns(self, self._checked, sources))

    def enumerate_inputs(self, limit: int = MOST_INPUTS) -> Columns:
        """Every input once, the last variable varying fastest; refused where there are more than `limit`."""
        count = self.input_count
        if count is None or count > limit:
            raise DomainError(
                f"the inputs of {self.name} cannot be listed",
                got="infinitely many" if count is None else f"{count:,} inputs",
                expected=f"at most {limit:,}",
                fix="sample instead: draw counterfactuals, or declare smaller domains",
            )
        return self._checked.grid()

    # Identity and pictures

    def input_ids(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """A 64-bit id of every row's input, made of names and values alone.  # shape: (n,) uint64"""
        return _identity.input_ids(self._checked, as_inputs(self, columns))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the graph and of every mechanism's table: of what is computed, not how it is written."""
        return self._fingerprinted.digest

    @property
    def table_kinds(self) -> dict[str, str]:
        """Per variable with a mechanism: is its table in the fingerprint "complete" or "sampled"?"""
        return dict(self._fingerprinted.kinds)

    def graph(self) -> nx.DiGraph:
        """The graph, parents to children, with `kind` and `domain` on every node."""
        return _draw.graph(self)

    def mermaid(self) -> str:
        """The graph as Mermaid text."""
        return _draw.mermaid(self)

    def svg(self) -> str:
        """The graph as an SVG drawing, from the inputs at the left to the output at the right."""
        return _svg.svg(self)

    def __repr__(self) -> str:
        computed = (v for v in self._declared.values() if v.kind != "input")
        parts = [f"{variable.name}({', '.join(variable.parent_names)})" for variable in computed]
        return f"Algorithm({self.name!r}: {', '.join(parts) or 'no mechanisms yet'})"

    def _repr_svg_(self) -> str | None:
        """The drawing in a notebook; an algorithm that is not finished yet shows its `repr`."""
        try:
            return self.svg()
        except AlgorithmError:
            return None

    @property
    def _checked(self) -> Model:
        self.check()
        assert self._model is not None
        return self._model

    @property
    def _fingerprinted(self) -> _identity.Fingerprint:
        if self._fingerprint is None:
            self._fingerprint = _identity.fingerprint(self._checked)
        return self._fingerprint

    def _ordered(self, names: set[str]) -> tuple[Variable, ...]:
        return tuple(variable for variable in self.variables if variable.name in names)

    def _decorate(
        self, kind: Kind, f: Function | None, domain: object, name: str | None
    ) -> Variable | Callable[[Function], Variable]:
        def declare(function: Function, depth: int = 1) -> Variable:
            function = function.mechanism or function if isinstance(function, Variable) else function
            own_name = name if name is not None else getattr(function, "__name__", "")
            declared = declared_domain(own_name, function, domain, sys._getframe(depth).f_locals)
            return self._declare(own_name, kind, function, parameters(own_name, function), declared)

        return declare if f is None else declare(f, depth=3)

    def _declare(
        self,
        name: str,
        kind: Kind,
        function: Function | None,
        parents: tuple[str, ...],
        domain: Domain | None,
    ) -> Variable:
        admit(self, name, kind, tuple(self._declared.values()), frozen=self._model is not None)
        variable = Variable(name, kind, self, function, parents, domain)
        self._declared[name] = variable
        return variable
