"""What may be asked of pairs that are drawn already: rows, shares, other algorithms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from commutes.algorithm import Algorithm
from commutes.errors import DataError

__all__ = ["check_split", "refuse_other_inputs", "rows_of"]


def check_split(kind: str | None, n: int, shares: Mapping[str, float]) -> None:
    """Refuses to split what is no undivided sample (`kind` says what it is), and shares that are none."""
    if kind is not None:
        raise DataError(
            f"{kind} cannot be split",
            where="split",
            got=f"{n:,} pairs of {kind}",
            expected="undivided pairs, as counterfactuals(algorithm, n, seed=...) gives them",
            fix="split the undivided pairs once, into all the parts that are needed",
        )
    example = "split(train=0.5, select=0.2, test=0.3)"
    if not shares:
        what = "split needs the parts and their shares"
        raise DataError(what, got="none", expected=example, fix=f"write {example}")
    for name, share in shares.items():
        number = isinstance(share, int | float | np.number) and not isinstance(share, bool)
        if not number or not 0 < share <= 1:
            raise DataError(
                f"the share of part {name!r} is not a share",
                where="split",
                got=f"{name} = {share!r}",
                expected="a number above 0 and at most 1",
                fix=f"write {example}",
            )
    total = sum(shares.values())
    if total > 1 + 1e-9:
        raise DataError(
            "the shares sum to more than 1",
            where="split",
            got=" + ".join(f"{share:g}" for share in shares.values()) + f" = {total:g}",
            expected="at most 1, since no input may be in two parts",
            fix=f"write {example}",
        )


def rows_of(rows: Sequence[int] | np.ndarray, n: int) -> np.ndarray:
    """The rows that a mask of n, or indices, picks."""
    given = np.asarray(rows)
    mask = given.dtype == bool
    whole = mask or given.dtype.kind in "iu"
    fits = given.ndim == 1 and (len(given) == n if mask else True)
    picked = np.flatnonzero(given) if mask and fits else given
    if not len(given) or (whole and fits and not len(picked)):
        raise DataError(
            "no pairs are left", where="subset", got="no row", expected="one row or more", fix="pick rows"
        )
    if not whole or not fits or picked.min() < -n or picked.max() >= n:
        raise DataError(
            "these rows are not rows of the data",
            where="subset",
            got=f"{given.dtype} of shape {given.shape}"
            + ("" if mask or not whole else f", up to {given.max()}"),
            expected=f"a mask of {n:,} or indices below {n:,}",
            fix="pass a mask such as pairs.effective",
        )
    return np.arange(n)[picked]


def refuse_other_inputs(algorithm: Algorithm, other: Algorithm, where: str) -> None:
    """Refuses an algorithm whose inputs or their domains are not those of `algorithm`."""

    def described(one: Algorithm) -> dict[str, str]:
        return {v.name: one.domain(v).describe() for v in one.input_variables}

    def exact(one: Algorithm) -> dict[str, object]:
        domains = {v.name: one.domain(v) for v in one.input_variables}
        return {
            name: getattr(domain, "values", None) or domain.describe() for name, domain in domains.items()
        }

    if exact(algorithm) != exact(other):
        raise DataError(
            f"the algorithms {algorithm.name!r} and {other.name!r} have different inputs",
            where=where,
            got=", ".join(f"{name} in {domain}" for name, domain in described(other).items()),
            expected=", ".join(f"{name} in {domain}" for name, domain in described(algorithm).items()),
            fix="declare the same inputs with the same domains in both",
        )
