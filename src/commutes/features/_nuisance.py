"""Pairs that hold a variable and draw other things anew: what a contrast is made against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from commutes.algorithm import Algorithm, Columns, Variable
from commutes.errors import DataError


@dataclass(frozen=True, eq=False)
class HeldPairs:
    """Inputs two by two, in which one variable has the same value."""

    base: Columns
    """# shape: (n,) or (n, width) each"""
    source: Columns
    """# shape: (n,) or (n, width) each"""


def transitions(base: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The unordered pair of values that each controlled pair goes between, as a number.

    Args:
        base: The variable's codes in the bases, such as `pairs.base_value(v)`.  # shape: (n,)
        source: Those in the sources.  # shape: (n,)

    >>> transitions(np.array([0, 1, 2]), np.array([1, 0, 0])).tolist()
    [0, 0, 1]
    """
    ends = np.stack([np.minimum(base, source), np.maximum(base, source)], axis=1)
    return np.unique(ends, axis=0, return_inverse=True)[1].reshape(-1)


def nuisance_pairs(
    algorithm: Algorithm,
    variable: Variable | str,
    inputs: Columns,
    n: int,
    *,
    seed: int,
    nuisance: Literal["others", "all"] = "others",
    recombine: bool = False,
) -> HeldPairs:
    """n pairs in which the variable holds and the nuisance is drawn again.

    Args:
        algorithm: The hypothesis.
        variable: What is held.
        inputs: The inputs that may be used, as columns: those of the part that the map is fitted on.
        n: Pairs.
        seed: Of the drawing.
        nuisance: "others" draws again the inputs that are no ancestors of the variable; "all" does so in half of the
            pairs, and in the other half draws the variable's own ancestors again, among those that give its value.
        recombine: Whether a source may be put together from two inputs. Needed for real-valued inputs, of which no two
            agree in anything; the sources are then inputs that were in no part.

    Raises:
        DataError: Nothing that could be drawn again, or too few inputs that agree.
    """
    held = algorithm[variable]
    names = [v.name for v in algorithm.input_variables]
    above = [v.name for v in algorithm.input_variables if v in algorithm.ancestors(held) or v is held]
    others = [name for name in names if name not in above]
    if not others and nuisance == "others":
        raise DataError(
            "there is no nuisance but the variable's own ancestors",
            where=held.name,
            got=f"every input ({', '.join(names)}) is an ancestor of it",
            expected="an input that it does not depend on",
            fix='use nuisance="all", which draws the ancestors again and keeps the value',
        )
    rng = np.random.default_rng([seed, 41])
    plain = {name: inputs[name] for name in names}
    size = len(plain[names[0]])
    if not size:
        raise DataError(
            "there are no inputs to draw from",
            where=held.name,
            got="columns without a row",
            expected="the inputs of the part that the map is fitted on",
            fix="give inputs=part.inputs of a part that has pairs",
        )
    base = rng.integers(size, size=n)
    own = {name: column[base] for name, column in plain.items()}
    if nuisance == "others" or not others:
        kinds = [(above, others, n)] if nuisance == "others" else [([held.name], above, n)]
    else:
        kinds = [(above, others, n - n // 2), ([held.name, *others], above, n // 2)]
    values = {**plain, held.name: algorithm.run(plain)[held.name]}
    pieces, start = [], 0
    for kept, drawn, count in kinds:
        rows = base[start : start + count]
        # Putting inputs together keeps the kept ones by construction; the variable itself must still agree.
        agree = [name for name in kept if name == held.name] if recombine else kept
        partner = _partners(values, agree, rows, rng, held.name)
        taken = names if not recombine else drawn
        pieces.append({name: plain[name][partner if name in taken else rows] for name in names})
        start += count
    source = {name: np.concatenate([piece[name] for piece in pieces]) for name in names}
    return HeldPairs(own, source)


def _partners(
    values: Columns, agree: list[str], rows: np.ndarray, rng: np.random.Generator, held: str
) -> np.ndarray:
    """For each row another one, drawn among all that agree with it in these columns; NaN agrees with nothing."""
    size = len(next(iter(values.values())))
    code = np.zeros(size, dtype=np.int64)
    for name in agree:
        # Numbers in one column are sorted many times faster than rows.
        column = values[name].reshape(size, -1)
        single = column.shape[1] == 1
        own = np.unique(
            column[:, 0] if single else column,
            axis=None if single else 0,
            return_inverse=True,
            equal_nan=False,
        )[1].reshape(-1)
        code = np.unique(code * (int(own.max()) + 1) + own, return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    counts = np.bincount(code)
    first = np.cumsum(counts) - counts
    if not bool((counts[code[rows]] > 1).mean() > 0.5):
        raise DataError(
            "too few inputs agree for the variable to be held",
            where=held,
            got=f"{int((counts[code[rows]] > 1).sum()):,} of {len(rows):,} inputs have another one that agrees with "
            f"them in {', '.join(agree)}",
            expected="another one for more than half of them",
            fix="give more inputs, or recombine=True where inputs are real-valued",
        )
    place = (rng.random(len(rows)) * counts[code[rows]]).astype(np.int64)
    return order[first[code[rows]] + place]
