"""From what a method says of each variable to one map for a group: completed, apart from each other, in its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from commutes.algorithm import Variable
from commutes.errors import FitError
from commutes.features import Subspace, joint, lift, moments
from commutes.features._spectra import Map, leading
from commutes.training._closed_material import Material
from commutes.training._closed_methods import BLIND, BY_VARIABLE, Found, Method

__all__ = ["group_map", "together"]

SHOWN = 32
"""Eigenvalues that the history keeps."""


def group_map(data: Material, method: Method) -> tuple[Subspace, dict[str, Any]]:
    """The map of one group in double precision, its columns in the group's order, and what is to be said of it."""
    sizes = {v: len(columns) for v, columns in _in_order(data).items()}
    if method in BLIND:
        found = _shared(data, BLIND[method](data, sum(sizes.values())), sizes)
    else:
        found = {v: BY_VARIABLE[method](data, v, k) for v, k in sizes.items()}
    parts = together([f.subspace for f in found.values()], data.map)
    short = {v: k - p.dimension for (v, k), p in zip(sizes.items(), parts, strict=True)}
    if any(short.values()):
        more: list[Subspace | None] = []
        for variable, n in short.items():
            # Outside of what completes the others, too: where most of what changes with two variables goes one way,
            # both would be given it.
            taken = [*parts, *(one for one in more if one is not None)]
            more.append(_completion(data, variable, taken, n) if n else None)
        parts = together(
            [p if m is None else _beside(p, m) for p, m in zip(parts, more, strict=True)], data.map
        )
    notes = {v.name: _notes(data, v, f, sizes[v], short[v]) for v, f in found.items()}
    said = {
        "site": str(data.group.site),
        "map": data.map,
        "components": None if data.basis is None else data.basis.shape[1],
        "variables": notes,
    }
    return _placed(data, dict(zip(sizes, parts, strict=True))), said


def together(parts: Sequence[Subspace], map: Map) -> list[Subspace]:
    """Subspaces of one site that leave each other alone.

    Oblique: `joint`, which keeps the readers. Orthogonal: B (BᵀB)^(-1/2) over the columns of all, the orthonormal
    matrix nearest to B (Löwdin), which favours no variable, whereas a QR would keep the first one's and bend the rest.

    Raises:
        AlignmentError: They overlap.
    """
    apart = joint(parts)
    if map == "oblique":
        return apart
    columns = torch.cat([p.reader for p in parts], dim=1)
    values, axes = torch.linalg.eigh(columns.T @ columns)
    basis = columns @ (axes * values.rsqrt()) @ axes.T
    bases = [b.contiguous() for b in basis.split([p.dimension for p in parts], dim=1)]
    return [Subspace(b, b, p.centre) for b, p in zip(bases, parts, strict=True)]


def _in_order(data: Material) -> dict[Variable, tuple[int, ...]]:
    """The group's variables in the algorithm's order: what is found does not depend on the order of the claim."""
    return dict(sorted(data.group.columns.items(), key=lambda item: data.number(item[0])))


def _completion(data: Material, variable: Variable, found: Sequence[Subspace], k: int) -> Subspace:
    """k directions in which most of what changes with the variable, and was not found, goes.

    The leading eigenvectors C of (I - P) S1 (I - P)ᵀ, S1 = E[delta deltaᵀ] over controlled pairs and P the projector
    of all that was found at the site; they are read by (I - P)ᵀ C, which reads nothing of what was found.
    """
    reader = torch.cat([s.reader for s in found], dim=1)
    writer = torch.cat([s.writer for s in found], dim=1)
    second = moments(data.of_flips(variable)).second
    rest = torch.eye(len(second), dtype=second.dtype) - writer @ reader.T
    left = rest @ second @ rest.T
    try:
        columns = leading(
            (left + left.T) / 2, k, what="what changes with the variable, beside what was found,"
        )
    except FitError as error:
        raise FitError(
            "the method finds fewer dimensions than were asked for, and nothing else changes with the variable",
            got=f"{k} more asked for; {error.got}",
            expected=error.expected,
            fix="give the variable fewer dimensions",
        ) from error
    return Subspace((rest.T @ columns).contiguous(), columns)


def _beside(first: Subspace, second: Subspace) -> Subspace:
    reader = torch.cat([first.reader, second.reader], dim=1)
    one = first.reader is first.writer and torch.allclose(second.reader, second.writer, atol=1e-12)
    return Subspace(reader, reader if one else torch.cat([first.writer, second.writer], dim=1), first.centre)


def _shared(data: Material, found: Found, sizes: Mapping[Variable, int]) -> dict[Variable, Found]:
    """Directions that were found without regard to variables, dealt out to those of the group.

    Each variable gets as many as it has columns, such that the correlation ratios (the share of a direction's variance
    that lies between the variable's classes) sum to the most.
    """
    if len(sizes) == 1:
        return dict.fromkeys(sizes, found)
    if found.subspace.dimension < len(sizes):
        raise FitError(
            "the method finds fewer directions than there are variables to share them",
            got=f"{found.subspace.dimension} for {', '.join(v.name for v in sizes)}",
            expected=f"at least {len(sizes)}",
            fix='use a method that looks at each variable, such as "contrast"',
        )
    from scipy.optimize import linear_sum_assignment

    ratios = []
    for variable, k in sizes.items():
        by_class = data.of_classes(variable)
        basis = found.subspace.reader
        between, all_of_it = (
            (basis.T @ m @ basis).diagonal() for m in (by_class.between, by_class.covariance)
        )
        ratios += [between / all_of_it.clamp(min=torch.finfo(torch.float64).tiny)] * k
    rows, columns = linear_sum_assignment(torch.stack(ratios).numpy(), maximize=True)
    dealt, start = {}, 0
    for variable, k in sizes.items():
        mine = sorted(int(c) for r, c in zip(rows, columns, strict=True) if start <= r < start + k)
        notes = found.notes | {"components_taken": mine}
        dealt[variable] = Found(found.subspace[mine], found.values, notes)
        start += k
    return dealt


def _notes(data: Material, variable: Variable, found: Found, k: int, short: int) -> dict[str, Any]:
    completed: dict[str, Any] = {"completed": short}
    if short:
        flips, held = data.flips(variable)
        completed |= {
            "completed_by": "pca_of_flips",
            "completing_pairs": len(flips.pairs),
            "held": list(held),
        }
    spectrum = [float(v) for v in found.values[:SHOWN]]
    return {"size": k, "found": k - short, "spectrum": spectrum} | found.notes | completed


def _placed(data: Material, parts: Mapping[Variable, Subspace]) -> Subspace:
    """One pair with everybody's columns in their places, in the site's own coordinates, centred at its mean state."""
    columns = [c for v in parts for c in data.group.columns[v]]
    order = torch.tensor(columns).argsort()
    reader = torch.cat([p.reader for p in parts.values()], dim=1)[:, order].contiguous()
    writer = torch.cat([p.writer for p in parts.values()], dim=1)[:, order].contiguous()
    whole = Subspace(reader, reader if data.map == "orthogonal" else writer)
    if data.basis is not None:
        whole = lift(whole, data.basis)
    return whole.centred(data.whole.double().flatten(0, 1).mean(dim=0))
