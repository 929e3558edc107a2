"""Maps that are computed and not descended to: every closed form of `commutes.features` behind one verb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch

from commutes.alignment import Alignment, Group
from commutes.counterfactuals import Counterfactuals
from commutes.engine import Featurizer
from commutes.errors import AlignmentError, CommutesError, DataError, FitError, NetworkError, similar
from commutes.features import Oblique, Rotation
from commutes.training._closed_data import Activations, Nuisance
from commutes.training._closed_maps import group_map
from commutes.training._closed_material import Material
from commutes.training._closed_methods import METHODS, Method

__all__ = ["ClosedForm", "Method", "Nuisance", "closed_form", "closed_forms"]

_SAYS = (AlignmentError, DataError, FitError, NetworkError)


@dataclass(frozen=True)
class ClosedForm:
    """How the maps of a claim are computed. Nulls are computed in the very same way."""

    method: Method
    nuisance: Nuisance = "all"
    size: int | None = None

    def maps(self, alignment: Alignment, pairs: Counterfactuals, *, seed: int) -> Alignment:
        """The claim with maps that are computed from these pairs; errors as of `closed_form`."""
        return closed_form(
            alignment, pairs, method=self.method, nuisance=self.nuisance, size=self.size, seed=seed
        )


def closed_form(
    alignment: Alignment,
    pairs: Counterfactuals,
    *,
    method: Method = "contrast",
    nuisance: Nuisance = "all",
    size: int | None = None,
    seed: int,
) -> Alignment:
    """A new alignment whose learnt maps are computed from moments of states, without a gradient step.

    A `Rotation` gets the orthogonal form of the method, an `Oblique` the oblique one. Variables that share a map each
    get their own columns, made to leave each other alone: with D (EᵀD)^-1 for writers, or by the nearest orthonormal
    matrix (Löwdin). Methods that know nothing of variables (pca, pca_of_differences, active_subspace) find directions
    for all of a map together, and each goes to the variable that explains most of it. A method that gives fewer
    directions than a variable has columns (of c classes means, LDA and LEACE give c - 1) is completed by the principal
    components of controlled flips outside of what was found, and the history says how many.

    Everything comes from the inputs of `pairs` and from controlled pairs of the same part of the split; all of these
    inputs are in `fitted_ids`. Beyond 256 coordinates, where there are fewer than four states for each, the method
    works among the leading principal components (256, or twice the columns if that is more).

    Args:
        alignment: The claim; slices of `Coordinates` stay as they are.
        pairs: The part that it is fitted on.
        method: "contrast", "difference_of_means", "lda", "leace", "pca", "pca_of_differences", "pca_of_flips",
            "active_subspace" or "attribution" (over controlled pairs).
        nuisance: Of the contrast: what is drawn again while the variable holds, "others" (inputs that it does not
            depend on) or "all" (its own ancestors, too).
        size: Controlled pairs of each variable (1,024 by default) and as many that hold it; inputs or pairs of other
            methods (all by default).
        seed: Of everything that is drawn. The same seed gives the same bits, whatever the order of the variables.

    Returns:
        A fitted alignment. `history` has, per map and variable, the spectrum and what was found and completed.

    Raises:
        FitError: No learnt map, a family without a closed form, a constant variable, or states that do not allow it.
        DataError: Controlled pairs that cannot be drawn.
        AlignmentError: Pairs of another algorithm, or variables whose subspaces overlap.

    See Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations,
    arXiv 2303.02536, for what is sought; each method's own reference stands in `commutes.features`.
    """
    return _work(alignment, pairs, (method,), nuisance, size, seed).found(method)


def closed_forms(
    alignment: Alignment,
    pairs: Counterfactuals,
    methods: Sequence[Method] = METHODS,
    *,
    nuisance: Nuisance = "all",
    size: int | None = None,
    seed: int,
) -> dict[Method, Alignment | CommutesError]:
    """`closed_form` by several methods, on states that are captured and pairs that are drawn once.

    The maps are those of each method alone but for rounding: inputs are run in other batches.

    Args:
        alignment: The claim.
        pairs: The part that it is fitted on.
        methods: Which; all by default.
        nuisance: As for `closed_form`.
        size: As for `closed_form`.
        seed: As for `closed_form`.

    Returns:
        By method the fitted alignment, or the error of one that cannot be had here. All of them know every input that
        any of them has seen.

    Raises:
        FitError: No learnt map, a family without a closed form, or a constant variable.
        AlignmentError: Pairs of another algorithm.
    """
    work = _work(alignment, pairs, methods, nuisance, size, seed)
    found: dict[Method, Alignment | CommutesError] = {}
    for method in methods:
        try:
            found[method] = work.found(method)
        except _SAYS as error:
            found[method] = error
    return {
        m: a.with_maps(a.featurizers, fitted_ids=work.activations.ids, history=a.history)
        if isinstance(a, Alignment)
        else a
        for m, a in found.items()
    }


@dataclass(frozen=True, eq=False)
class _Work:
    """Where the maps of a claim are found; what one method has drawn and run serves the next."""

    alignment: Alignment
    pairs: Counterfactuals
    activations: Activations
    materials: Mapping[Group, Material]

    def found(self, method: Method) -> Alignment:
        """The claim with the maps of one method."""
        dtype, device = _dtype(self.alignment), self.alignment.network.device
        maps: list[Featurizer] = []
        said: list[dict[str, Any]] = []
        for group, given in zip(self.alignment.groups, self.alignment.maps, strict=True):
            if group not in self.materials:
                assert given is not None
                maps.append(given)
                continue
            where = f"{', '.join(v.name for v in group.columns)} at {group.site}"
            try:
                found, notes = group_map(self.materials[group], method)
            except _SAYS as error:
                if error.where is not None:
                    raise
                raise _at(error, where) from error
            maps.append(found.to(dtype=dtype, device=device).checked(where))
            said.append(notes)
        first = next(iter(self.materials.values()))
        nuisance = first.nuisance if method == "contrast" else None
        return self.alignment.with_maps(
            maps,
            fitted_ids=np.union1d(self.pairs.input_ids, self.activations.ids),
            history={
                "method": method,
                "nuisance": nuisance,
                "size": first.size,
                "seed": first.seed,
                "maps": said,
            },
        )


def _work(
    alignment: Alignment,
    pairs: Counterfactuals,
    methods: Sequence[Method],
    nuisance: Nuisance,
    size: int | None,
    seed: int,
) -> _Work:
    _check(methods, nuisance, size, seed)
    _refuse_others(alignment, pairs)
    learnt = _learnt(alignment)
    _refuse_constant(learnt, pairs)
    activations = Activations(pairs.algorithm, alignment.network, [g.site for g in learnt])
    materials = {
        group: Material(
            pairs, group, activations,
            "orthogonal" if isinstance(group.features, Rotation) else "oblique",
            nuisance, size, seed,
        )
        for group in learnt
    }  # fmt: skip
    return _Work(alignment, pairs, activations, materials)


def _at(error: CommutesError, where: str) -> CommutesError:
    return type(error)(error.what, where=where, got=error.got, expected=error.expected, fix=error.fix)


def _learnt(alignment: Alignment) -> list[Group]:
    learnt = [g for g in alignment.groups if g.features.learnt]
    if not learnt:
        raise FitError(
            "there is nothing to learn",
            where=repr(alignment),
            got="only slices of Coordinates",
            expected="at least one slice of a Rotation or an Oblique",
            fix="evaluate it as it is: neurons need no fit",
        )
    for group in learnt:
        if not isinstance(group.features, Rotation | Oblique):
            raise FitError(
                "maps of this family have no closed form",
                where=str(group.site),
                got=str(group.features),
                expected="a Rotation or an Oblique",
                fix="declare one of these, or fit it by descent: cm.fit",
            )
    return learnt


def _refuse_others(alignment: Alignment, pairs: Counterfactuals) -> None:
    if pairs.algorithm is not alignment.algorithm:
        raise AlignmentError(
            "the pairs were drawn under another algorithm than the aligned one",
            got=f"pairs of {pairs.algorithm.name!r}",
            expected=f"pairs of {alignment.algorithm.name!r}, of the very same object",
            fix="draw them under alignment.algorithm, or use pairs.for_algorithm(alignment.algorithm)",
        )


def _refuse_constant(learnt: list[Group], pairs: Counterfactuals) -> None:
    for variable in (v for group in learnt for v in group.columns):
        column = pairs.columns[variable.name]
        if bool((column == column[:1]).all()):
            value = pairs.algorithm.values(variable, column[:1])[0]
            raise FitError(
                "the variable is constant on the pairs",
                where=variable.name,
                got=f"{variable.name} = {value!r} in all {len(column):,} inputs",
                expected="inputs with at least two of its values",
                fix="draw pairs in which it changes, or leave it out of the alignment",
            )


def _dtype(alignment: Alignment) -> torch.dtype:
    """Of the maps: that of the network's weights, but single precision at least."""
    weights = [w.dtype for w in alignment.network.module.state_dict().values() if w.is_floating_point()]
    return torch.promote_types(torch.float32, weights[0]) if weights else torch.float32


def _check(methods: Sequence[object], nuisance: object, size: object, seed: object) -> None:
    named = [("method", method, METHODS) for method in methods]
    for name, value, allowed in [*named, ("nuisance", nuisance, get_args(Nuisance))]:
        if value not in allowed:
            near = similar(value, allowed) if isinstance(value, str) else None
            raise FitError(
                f"no such {name}",
                got=repr(value),
                expected=" or ".join(map(repr, allowed)),
                fix=f"write {near!r}" if near else None,
            )
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 2):
        raise FitError("size is a number of pairs", got=repr(size), expected="a whole number from 2")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise FitError("seed is a whole number from 0", got=repr(seed), expected="such as seed=0")
