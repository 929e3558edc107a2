"""Directed graphs as mappings from a name to the names of its parents: order, cycles, reachability."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Parents = Mapping[str, Sequence[str]]


def topological(parents: Parents) -> list[str]:
    """The names, parents before children, otherwise in the order in which they are listed.

    Names that lie on a cycle or behind one are left out.
    """
    order: list[str] = []
    placed: set[str] = set()
    waiting = list(parents)
    while waiting:
        ready = next((name for name in waiting if placed.issuperset(parents[name])), None)
        if ready is None:
            break
        waiting.remove(ready)
        order.append(ready)
        placed.add(ready)
    return order


def cycle(parents: Parents) -> list[str] | None:
    """A cycle, from parent to child, its first name repeated at the end; None where there is none."""
    stuck = set(parents).difference(topological(parents))
    if not stuck:
        return None
    walk = [next(name for name in parents if name in stuck)]
    while True:  # every stuck name has a stuck parent, so the walk must meet itself
        parent = next(name for name in parents[walk[-1]] if name in stuck)
        if parent in walk:
            return [parent, *reversed(walk[walk.index(parent) :])]
        walk.append(parent)


def upstream(parents: Parents, names: Iterable[str]) -> set[str]:
    """Everything from which one of `names` can be reached, themselves included."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(parents[name])
    return found


def children(parents: Parents) -> dict[str, list[str]]:
    """The same graph with its arrows reversed."""
    reverse: dict[str, list[str]] = {name: [] for name in parents}
    for name, its_parents in parents.items():
        for parent in its_parents:
            reverse[parent].append(name)
    return reverse
