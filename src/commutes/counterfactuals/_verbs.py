"""The verb: drawing counterfactuals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from commutes.algorithm import Algorithm, Variable
from commutes.counterfactuals._design import (
    Design,
    Distribution,
    Reuse,
    check_count,
    check_distribution,
    check_seed,
)
from commutes.counterfactuals._swap import Swap, resolve_all, swap_sets
from commutes.counterfactuals._value import Counterfactuals, from_drawn
from commutes.errors import DataError

__all__ = ["SwapSets", "counterfactuals", "design_of"]

SwapSet = Swap | Variable | str | AbstractSet[Variable] | AbstractSet[str] | tuple[Variable | str, ...]
SwapSets = SwapSet | Sequence[SwapSet] | Sequence[set[Variable]] | None


def counterfactuals(
    algorithm: Algorithm,
    n: int,
    *,
    swap: SwapSets = None,
    flip: Iterable[Variable | str] | Variable | str | None = None,
    hold: Iterable[Variable | str] | Variable | str | None = None,
    distribution: str | Distribution = "values",
    reuse: Reuse = "auto",
    seed: int,
) -> Counterfactuals:
    """n interchange interventions, equally many per swap set, stratum and (if possible) answer.

    Within a cell of stratum and expected answer the pairs follow the distribution; where each input is used
    once they do so until the inputs of a kind are used up.

    Args:
        algorithm: The hypothesis.
        n: The number of pairs, over all swap sets.
        swap: The swap sets, in a list: a variable alone, a set of variables that are swapped at once, each
            from its own source, or `one_source(...)`. A set by itself is one joint swap. Default: each inner
            variable alone.
        flip: Controlled pairs: this variable changes between base and source (all of them, if several), the
            held ones do not; equal numbers per transition. It is then what is swapped.
        hold: What controlled pairs leave alone. Default: the inner variables that are no descendants of the
            flipped one and the inputs that are no ancestors of it. Pairs that had to move an ancestor of a
            held variable are marked in `moved`.
        distribution: How inputs are drawn: "values" (uniform over the joint values of the inner variables,
            then over the inputs that give them), "inputs" (uniform), or a `Distribution`.
        reuse: Whether inputs may recur: "auto" lets them in undivided data and in the part "train", and uses
            each once in other parts while the domain allows it; False never; True everywhere.
        seed: The same seed gives the same pairs, bit for bit, in every process.

    Returns:
        The labelled pairs.

    Raises:
        DataError: When the pairs cannot be drawn, or would test nothing.

    See Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations,
    arXiv:2303.02536.

    >>> from commutes import Algorithm, counterfactuals
    >>> gate = Algorithm("gate")
    >>> a, b, c = gate.inputs("a b c", domain=[0, 1])
    >>> both = gate.add("both", "a", "b", f=lambda a, b: a and b, domain=[0, 1])
    >>> _ = gate.add("out", "both", "c", f=lambda both, c: both or c, domain=[0, 1], output=True)
    >>> pairs = counterfactuals(gate, 600, seed=0)
    >>> len(pairs), len(pairs.ids), pairs.strata
    (600, 8, ('flip', 'placebo', 'novel', 'neutral'))
    """
    algorithm.check()
    design = design_of(algorithm, n, swap, flip, hold, distribution, reuse, seed)
    return from_drawn(algorithm, design, None)


def design_of(
    algorithm: Algorithm,
    n: int,
    swap: SwapSets,
    flip: Iterable[Variable | str] | Variable | str | None,
    hold: Iterable[Variable | str] | Variable | str | None,
    distribution: str | Distribution,
    reuse: Reuse,
    seed: int,
) -> Design:
    """The design with everything checked and named."""
    where = "counterfactuals"
    flipped = None if flip is None else resolve_all(algorithm, flip, "flip")
    held = None if hold is None else resolve_all(algorithm, hold, "hold")
    if flipped is not None:
        _check_control(algorithm, flipped, held)
        sets = (Swap(flipped, shared=len(flipped) > 1),) if swap is None else swap_sets(algorithm, swap)
        _check_one_source(algorithm, sets)
    elif held is not None:
        raise DataError(
            "hold= has a meaning only beside flip=",
            where=where,
            got=f"hold={', '.join(v.name for v in held) or 'nothing'} without flip",
            expected="flip={the variable that changes}",
            fix="name the variable that changes in flip=, or leave hold= out",
        )
    else:
        sets = swap_sets(algorithm, swap)
    if not (reuse is True or reuse is False or reuse == "auto"):
        raise DataError(
            f"reuse= cannot be {reuse!r}",
            where=where,
            got=f"{reuse!r} ({type(reuse).__name__})",
            expected="'auto', True or False",
            fix="leave it out: measured parts then use each input once while they can",
        )
    count = check_count(n, f"{where}, n")
    if count < len(sets):
        raise DataError(
            "fewer pairs than swap sets",
            where=where,
            got=f"n = {count} for {len(sets)} swap sets: {', '.join(s.label for s in sets)}",
            expected=f"at least {len(sets)}",
            fix="ask for at least 59 pairs per stratum of each set",
        )
    whole = check_seed(seed, f"{where}, seed")
    return Design(
        n=count,
        swaps=tuple((tuple(v.name for v in s.variables), s.shared) for s in sets),
        flip=None if flipped is None else tuple(v.name for v in flipped),
        hold=None if held is None else tuple(v.name for v in held),
        distribution=check_distribution(distribution, f"{where}, distribution"),
        reuse=reuse,
        seed=whole,
        partition=whole,
    )


def _check_control(
    algorithm: Algorithm, flip: tuple[Variable, ...], hold: tuple[Variable, ...] | None
) -> None:
    if not flip:
        raise DataError(
            "flip= is empty",
            where=f"algorithm {algorithm.name!r}",
            got="no variable",
            expected="the variable that changes",
            fix="write flip={left}, or leave flip= out",
        )
    both = [v.name for v in flip if hold is not None and v in hold]
    if both:
        raise DataError(
            f"{both[0]!r} is to change and to be held",
            where=f"algorithm {algorithm.name!r}, flip= and hold=",
            got=", ".join(both) + " in both",
            expected="a variable in one of them",
            fix=f"take {both[0]!r} out of hold=",
        )


def _check_one_source(algorithm: Algorithm, sets: tuple[Swap, ...]) -> None:
    for one in sets:
        if not one.one:
            raise DataError(
                "controlled pairs have one source",
                where=f"algorithm {algorithm.name!r}, swap set {one.label}",
                got=f"{len(one.slots)} sources",
                expected="sets with a single source beside flip=",
                fix=f"write one_source({', '.join(v.name for v in one.variables)})",
            )
