"""An algorithm as a networkx graph and as Mermaid text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx

    from commutes.algorithm._algorithm import Algorithm


def graph(algorithm: Algorithm) -> nx.DiGraph:
    """The graph as networkx has it."""
    import networkx as nx

    result: nx.DiGraph = nx.DiGraph(name=algorithm.name)
    for variable in algorithm.variables:
        result.add_node(variable.name, kind=variable.kind, domain=algorithm.domain(variable).describe())
    for variable in algorithm.variables:
        result.add_edges_from((parent.name, variable.name) for parent in variable.parents)
    return result


def mermaid(algorithm: Algorithm) -> str:
    """The graph as a Mermaid flowchart; nodes are numbered, for `end` and others are words of Mermaid's."""
    number = {variable: f"v{i}" for i, variable in enumerate(algorithm.variables)}
    shapes = {"input": ("([", "])"), "inner": ("[", "]"), "output": ("[[", "]]")}
    lines = ["flowchart LR"]
    for variable in algorithm.variables:
        opening, closing = shapes[variable.kind]
        lines.append(f'  {number[variable]}{opening}"{variable.name}"{closing}')
    for variable in algorithm.variables:
        lines.extend(f"  {number[parent]} --> {number[variable]}" for parent in variable.parents)
    return "\n".join(lines) + "\n"
