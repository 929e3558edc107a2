"""What is swapped: sets of variables, each variable from its own source unless one source is shared."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from commutes.algorithm import Algorithm, Variable
from commutes.errors import DataError, similar

__all__ = ["Swap", "one_source", "resolve", "swap_sets"]


@dataclass(frozen=True)
class Swap:
    """A set of variables that are swapped at once.

    Args:
        variables: The variables, in the order of their source slots.
        shared: True where all of them take their value from one and the same source.
    """

    variables: tuple[Variable, ...]
    shared: bool = False

    @property
    def label(self) -> str:
        """The variables' names joined by +, with "(one source)" where they share one."""
        joined = "+".join(v.name for v in self.variables)
        return f"{joined} (one source)" if self.one and len(self.variables) > 1 else joined

    @property
    def one(self) -> bool:
        """True where there is a single source."""
        return self.shared or len(self.variables) == 1

    @property
    def slots(self) -> tuple[tuple[Variable, ...], ...]:
        """The variables that each source slot supplies."""
        return (self.variables,) if self.one else tuple((v,) for v in self.variables)

    def __str__(self) -> str:
        return self.label


def one_source(*variables: Variable) -> Swap:
    """The joint swap in which all `variables` take their values from one shared source.

    Raises:
        DataError: Without any variable, or with one named twice.
    """
    if not variables:
        raise DataError(
            "one_source was given no variable",
            expected="the variables to swap",
            fix="write one_source(left, right)",
        )
    if len(set(variables)) < len(variables):
        raise DataError(
            "a variable is swapped twice at once",
            where="one_source",
            got=", ".join(v.name for v in variables),
            expected="each variable once",
            fix="remove the repetition",
        )
    return Swap(variables, shared=len(variables) > 1)


def resolve(algorithm: Algorithm, name: object, purpose: str) -> Variable:
    """The variable of `algorithm` that `name` means and that may be used for `purpose`, such as "swap"."""
    allowed = [v.name for v in algorithm.variables if v is not algorithm.output_variable]
    where = f"{purpose}= of algorithm {algorithm.name!r}"
    expected = "one of " + ", ".join(allowed)
    if isinstance(name, Variable):
        variable = algorithm[name]
    elif isinstance(name, str):
        if name not in {v.name for v in algorithm.variables}:
            close = similar(name, allowed)
            raise DataError(
                f"no variable {name!r} to {purpose}",
                where=where,
                got=repr(name),
                expected=expected,
                fix=f"write {close!r}" if close else "name one of the variables",
            )
        variable = algorithm[name]
    else:
        raise DataError(
            f"{purpose}= takes variables or their names",
            where=where,
            got=f"{name!r} ({type(name).__name__})",
            expected=expected,
            fix="pass the variable itself, as in {left}",
        )
    if variable is algorithm.output_variable:
        raise DataError(
            f"the output {variable.name!r} cannot be used for {purpose}=",
            where=where,
            got=variable.name,
            expected=expected,
            fix="choose a variable that lies before the output",
        )
    return variable


def resolve_all(algorithm: Algorithm, names: object, purpose: str) -> tuple[Variable, ...]:
    """The variables that `names` (one, or a collection) means, in the algorithm's order, each once."""
    listed = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    wanted = {resolve(algorithm, name, purpose) for name in listed}
    return tuple(v for v in algorithm.variables if v in wanted)


def _one_set(algorithm: Algorithm, item: object) -> Swap:
    shared = False
    members: object = item
    if isinstance(item, Swap):
        shared, members = item.shared, item.variables
    if isinstance(members, Iterable) and not isinstance(members, str):
        listed = list(members)
        if not listed:
            raise DataError(
                "an empty set of variables to swap",
                where=f"swap= of algorithm {algorithm.name!r}",
                got=repr(item),
                expected="at least one variable in every set",
                fix="remove the empty set",
            )
        members = listed
    variables = resolve_all(algorithm, members, "swap")
    return Swap(variables, shared=shared and len(variables) > 1)


def swap_sets(algorithm: Algorithm, swap: object) -> tuple[Swap, ...]:
    """The swap sets that `swap=` means: None is each inner variable alone; a set is one joint swap."""
    if swap is None:
        if not algorithm.inner_variables:
            raise DataError(
                "there is nothing to swap",
                where=f"algorithm {algorithm.name!r}",
                got="no inner variable",
                expected="at least one variable between the inputs and the output",
                fix="declare the variables that the network is said to compute, or name inputs in swap=",
            )
        return tuple(Swap((v,)) for v in algorithm.inner_variables)
    single = isinstance(swap, str | Variable | Swap | AbstractSet)
    items: list[object] = [swap] if single or not isinstance(swap, Iterable) else list(swap)
    if not items:
        raise DataError(
            "swap= is empty",
            where=f"algorithm {algorithm.name!r}",
            got=repr(swap),
            expected="at least one set of variables",
            fix="leave swap= out for each inner variable alone",
        )
    sets = tuple(_one_set(algorithm, item) for item in items)
    for i, one in enumerate(sets):
        if one in sets[:i]:
            raise DataError(
                f"the swap set {one.label} is listed twice",
                where=f"swap= of algorithm {algorithm.name!r}, entries {sets.index(one) + 1} and {i + 1}",
                got=", ".join(s.label for s in sets),
                expected="each set once",
                fix="remove the repetition",
            )
    return sets
