"""What a program computes at every position: domains, what depends on what, and the algorithm of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

from commutes.algorithm import Algorithm
from commutes.algorithm._values import key, show
from commutes.errors import AlgorithmError
from commutes.testing.compiler._program import (
    Aggregate,
    Indices,
    Map,
    Program,
    Select,
    SelectorWidth,
    SequenceMap,
    SOp,
    Tokens,
)

Node = tuple[SOp, int]
"""An operation at a position."""
Lookup = Callable[[SOp, int], Any]


@dataclass(frozen=True, eq=False)
class Graph:
    """The nodes that the answer needs, their values and their parents."""

    program: Program
    domains: Mapping[Node, tuple[Any, ...]]
    """The values of each node, each operation's behind those that it reads."""
    parents: Mapping[Node, tuple[Node, ...]]
    """Per node, those that its value depends on and that can have more than one value."""

    def varies(self, node: Node) -> bool:
        """Whether the node can have more than one value: only then is it a variable."""
        return len(self.domains[node]) > 1

    def values(self, op: SOp) -> tuple[Any, ...]:
        """The values of an operation over all positions; numbers in ascending order."""
        if isinstance(op, Indices):
            return tuple(range(self.program.length))
        found = _distinct(itertools.chain(*(d for (o, _), d in self.domains.items() if o is op)))
        return tuple(sorted(found)) if op.numerical else found

    def answers(self) -> tuple[Any, ...]:
        """Every answer that the domains of the outputs allow."""
        domains = [self.domains[node] for node in self.program.outputs]
        return domains[0] if len(domains) == 1 else tuple(itertools.product(*domains))


def variable_name(node: Node) -> str:
    """What the algorithm calls a node.

    >>> variable_name((Tokens(), 2))
    'token_2'
    """
    return f"{node[0].name}_{node[1]}"


def graph_of(program: Program) -> Graph:
    """Find the nodes, their domains and their parents.

    Raises:
        AlgorithmError: A mean of what is no number, or nothing to take the mean of and no default.
    """
    found = _Search(program)
    for node in program.outputs:
        found.visit(node)
    order = {op: i for i, op in enumerate(program.operations)}

    def place(node: Node) -> tuple[int, int]:
        return order[node[0]], node[1]

    domains = {node: found.domains[node] for node in sorted(found.domains, key=place)}
    needed = sorted(found.above(program.outputs), key=place)
    return Graph(program, domains, {node: found.parents[node] for node in needed})


def algorithm_of(graph: Graph) -> Algorithm:
    """The causal model: one variable per node that varies, and the answer."""
    program = graph.program
    algorithm = Algorithm(program.name)
    for node in graph.parents:
        if isinstance(node[0], Tokens):
            algorithm.input(variable_name(node), domain=program.alphabet)
    for node, parents in graph.parents.items():
        if not isinstance(node[0], Tokens) and graph.varies(node):
            algorithm.add(
                variable_name(node),
                *map(variable_name, parents),
                f=partial(_mechanism, graph, node, parents),
                domain=graph.domains[node],
            )
    nodes = tuple(dict.fromkeys(node for node in program.outputs if graph.varies(node)))
    answer = partial(_answer, graph, nodes)
    algorithm.add("answer", *map(variable_name, nodes), f=answer, domain=graph.answers(), output=True)
    return algorithm.check()


def _mechanism(graph: Graph, node: Node, parents: tuple[Node, ...], *given: Any) -> Any:
    return _value(graph.program, node, _lookup(graph.domains, parents, given))


def _answer(graph: Graph, parents: tuple[Node, ...], *given: Any) -> Any:
    look = _lookup(graph.domains, parents, given)
    values = tuple(look(*node) for node in graph.program.outputs)
    return values[0] if len(values) == 1 else values


def _lookup(
    domains: Mapping[Node, tuple[Any, ...]], nodes: tuple[Node, ...], given: tuple[Any, ...]
) -> Lookup:
    known = dict(zip(nodes, given, strict=True))
    # What is not given can have one value only.
    return lambda op, position: known[op, position] if (op, position) in known else domains[op, position][0]


def _value(program: Program, node: Node, look: Lookup) -> Any:
    """The value of a node, given those of the nodes that it reads."""
    op, position = node
    if isinstance(op, Indices):
        return position
    if isinstance(op, Map):
        return op.f(look(op.of, position))
    if isinstance(op, SequenceMap):
        return op.f(*(look(operand, position) for operand in op.of))
    assert isinstance(op, Aggregate | SelectorWidth)
    chosen = _chosen(program, op.selector, position, look)
    if isinstance(op, SelectorWidth):
        return len(chosen)
    if not chosen:
        return op.default
    if op.numerical:
        return mean([look(op.values, k) for k in chosen])
    return look(op.values, chosen[0])


def _chosen(program: Program, selector: Select, position: int, look: Lookup) -> list[int]:
    query = look(selector.queries, position)
    return [k for k in program.reach(position) if selector.predicate(look(selector.keys, k), query)]


def mean(values: Iterable[Any]) -> float:
    """The mean, rounded once: the same for every order of the same numbers."""
    exact = [Fraction(value) for value in values]
    return float(sum(exact) / len(exact))


class _Search:
    """Domains and parents of nodes, found from the outputs backwards: what is not needed is never asked for a value."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.domains: dict[Node, tuple[Any, ...]] = {}
        self.parents: dict[Node, tuple[Node, ...]] = {}

    def visit(self, node: Node) -> tuple[Any, ...]:
        """The node's domain; everything that it reads is visited first."""
        if node not in self.domains:
            if isinstance(node[0], Aggregate | SelectorWidth):
                domain, read = self._selecting(node[0], node[1])
            else:
                domain, read = self._local(node)
            self.domains[node] = domain
            self.parents[node] = tuple(n for n in dict.fromkeys(read) if len(self.domains[n]) > 1)
        return self.domains[node]

    def above(self, nodes: Iterable[Node]) -> set[Node]:
        """These nodes and all on which they depend."""
        found: set[Node] = set()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting += self.parents[node]
        return found

    def _local(self, node: Node) -> tuple[tuple[Any, ...], list[Node]]:
        op, position = node
        if isinstance(op, Tokens):
            return tuple(self.program.alphabet), []
        read = [(operand, position) for operand in op.operands]
        rows = itertools.product(*map(self.visit, read))
        values = (_value(self.program, node, _lookup(self.domains, tuple(read), row)) for row in rows)
        return _distinct(values), read

    def _selecting(self, op: Aggregate | SelectorWidth, position: int) -> tuple[tuple[Any, ...], list[Node]]:
        outcomes = {k: self._outcomes(op.selector, position, k) for k in self.program.reach(position)}
        first = isinstance(op, Aggregate) and not op.numerical
        sure = next((k for k, found in outcomes.items() if found == {True}), None)
        if first and sure is not None:
            # What comes behind a position that is always selected is never looked at.
            outcomes = {k: found for k, found in outcomes.items() if k <= sure}
        possible = [k for k, found in outcomes.items() if True in found]
        open_ = [k for k in possible if False in outcomes[k]]
        read = [(op.selector.keys, k) for k in open_] + [(op.selector.queries, position)] * bool(open_)
        counts = range(len(possible) - len(open_), len(possible) + 1)
        if isinstance(op, SelectorWidth):
            return tuple(counts), read
        there = [(op.values, k) for k in possible]
        values = _distinct(itertools.chain(*map(self.visit, there)))
        default = [op.default] if 0 in counts else []
        domain = _distinct([*values, *default]) if first else _means(op, position, counts, values, default)
        return domain, [*read, *there]

    def _outcomes(self, selector: Select, position: int, k: int) -> set[bool]:
        """Whether position k may be selected, and whether it may not."""
        keys, queries = self.visit((selector.keys, k)), self.visit((selector.queries, position))
        return {bool(selector.predicate(one, other)) for one in keys for other in queries}


def _means(
    op: Aggregate, position: int, counts: range, values: tuple[Any, ...], default: list[Any]
) -> tuple[Any, ...]:
    wrong = [v for v in [*values, *default] if not isinstance(v, int | float)]
    if wrong:
        raise AlgorithmError(
            "a mean is taken of numbers",
            where=f"{op.name} at position {position}",
            got=show(wrong[0]),
            expected="numbers, and a number as default where nothing may be selected",
            fix="give default=0, say, or leave number=True out to read one position's value",
        )
    found = (
        mean(rows)
        for count in counts
        if count
        for rows in itertools.combinations_with_replacement(values, count)
    )
    return tuple(sorted(_distinct([*found, *map(float, default)])))


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values in the order of their first appearance; True and 1 are two."""
    return tuple({key(value): value for value in values}.values())
