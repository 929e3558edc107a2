"""A declared shift held against a claim: what is drawn, under which algorithm, and in which reading of the network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from commutes.algorithm import Algorithm, Columns, Finite
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals, Design, Distribution, input_sampler
from commutes.errors import AlgorithmError, AlignmentError, CommutesError, DataError, similar
from commutes.evaluation import answers_of
from commutes.robustness._claim import map_hash
from commutes.robustness._shift import Shift

# Inputs that a declared distribution is tried on, and by which the claim's hash knows it.
TRIED = 256

SwapNames = tuple[tuple[str, ...], bool]


@dataclass(frozen=True, eq=False)
class Rung:
    """A shift of a claim, before anything is drawn."""

    shift: Shift
    claim: Alignment
    alignment: Alignment
    """The claim's maps, under the shift's algorithm and in its reading of the network."""
    draws: tuple[tuple[tuple[SwapNames, ...], str | Distribution], ...]
    """Swapped sets and how their inputs are drawn; several where noise is another for each set."""

    def designs(self, like: Design, n: int, seed: int) -> list[Design]:
        """The recipes of about n pairs.

        Args:
            like: The claim's own, whose control of pairs is kept.
            n: Pairs over all swapped sets.
            seed: Of the drawing.
        """
        total = sum(len(swaps) for swaps, _ in self.draws)
        # Controlled pairs are those of variables that the shift's algorithm has, too.
        kept = set(like.flip or ()) | set(like.hold or ()) <= {
            v.name for v in self.alignment.algorithm.variables
        }
        return [
            replace(
                like, n=max(len(swaps), n * len(swaps) // total), swaps=swaps, distribution=distribution,
                seed=seed + number, partition=seed,
                flip=like.flip if kept else None, hold=like.hold if kept else None,
            )
            for number, (swaps, distribution) in enumerate(self.draws)
        ]  # fmt: skip

    def content(self) -> dict[str, Any]:
        """What the claim's hash holds of it: what is drawn and read, whatever the name of a function is."""
        algorithm = self.alignment.algorithm
        return {
            "name": self.shift.name,
            "kind": self.shift.kind,
            "algorithm": algorithm.fingerprint,
            "network": self.alignment.network.fingerprint,
            "places": sorted(f"{v.name} at {s.features.site}" for v, s in self.alignment.slices.items()),
            "draws": [[list(map(list, swaps)), _drawn_hash(algorithm, d)] for swaps, d in self.draws],
        }


def own_distribution(test: Counterfactuals) -> str | Distribution:
    """How the inputs of the claim's own pairs come about; those of a complete domain are all alike."""
    return "inputs" if test.complete else test.design.distribution


def rungs_of(shifts: Sequence[Shift], alignment: Alignment, test: Counterfactuals) -> list[Rung]:
    """The shifts of a claim, tried on labels and on how the network reads, and not on what it answers.

    Raises:
        DataError: A shift that this algorithm, network or data cannot make.
    """
    for number, shift in enumerate(shifts):
        if not isinstance(shift, Shift):
            raise DataError(
                "shifts= is a list of shifts",
                where=f"shifts[{number}]",
                got=f"{shift!r} ({type(shift).__name__})",
                expected="cm.Shift(name, ...)",
                fix='write cm.Shift("z always dark", distribution=...)',
            )
    names = [shift.name for shift in shifts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            "two shifts have one name", got=repr(twice), expected="a name for each", fix="rename one"
        )
    return [_rung(shift, alignment, test) for shift in shifts]


def moved(shift: Shift, alignment: Alignment) -> Alignment:
    """The claim's maps under the shift's algorithm and in its reading of the network.

    Raises:
        DataError: The algorithm, the network or the module is not one for this shift.
        AlignmentError: Maps that are not the claim's.
    """
    return _MOVES[shift.kind](shift, alignment)


def _rung(shift: Shift, alignment: Alignment, test: Counterfactuals) -> Rung:
    other = moved(shift, alignment)
    swaps = _swaps(other, test) if shift.kind == "alignment" else test.design.swaps
    base = own_distribution(test) if shift.distribution is None else shift.distribution
    if (
        shift.kind in ("domain", "alignment")
        and shift.distribution is None
        and isinstance(base, Distribution)
    ):
        raise DataError(
            "the claim's own distribution draws the claim's own inputs",
            where=f"shift {shift.name!r}",
            got=f"{shift.kind}= and the distribution {base.name!r} of the test pairs",
            expected="how the inputs of the shift are drawn",
            fix="add distribution=, such as distribution='inputs'",
        )
    draws: tuple[tuple[tuple[SwapNames, ...], str | Distribution], ...] = ((swaps, base),)
    if shift.kind == "independent":
        names = _inputs(shift, other.algorithm, shift.independent)
        draws = ((swaps, _apart(other.algorithm, base, names)),)
    if shift.kind == "resample":
        draws = _noise(shift, other.algorithm, base, swaps)
    for _, distribution in draws:
        _try(shift, other.algorithm, distribution)
    return Rung(shift, alignment, other, draws)


# Which algorithm, network and maps.


def _as_it_is(_: Shift, alignment: Alignment) -> Alignment:
    return alignment


def _larger(shift: Shift, alignment: Alignment) -> Alignment:
    """The claim under the same mechanisms over other values."""
    assert shift.domain is not None
    where, known = f"shift {shift.name!r}", alignment.algorithm
    domains = dict(zip(_inputs(shift, known, list(shift.domain)), shift.domain.values(), strict=True))
    try:
        other = Algorithm(f"{known.name}, {shift.name}")
        for v in known.variables:
            if v.mechanism is None:
                other.input(v.name, domain=domains.get(v.name, known.domain(v)))
            else:
                other.add(
                    v.name, *v.parent_names, f=v.mechanism, domain=v.declared, output=v.kind == "output"
                )
        other.check()
    except AlgorithmError as error:
        raise DataError(
            "the algorithm does not go as far as the shift",
            where=where,
            got=f"{error.what}" + (f" ({error.got})" if error.got else ""),
            expected="mechanisms and declared domains that take the shift's values",
            fix="give the shift other values, or the mechanisms larger domains",
        ) from error
    answers_of(alignment.network, other)
    rng = np.random.default_rng(0)
    some = {v.name: other.domain(v).sample(rng, TRIED) for v in other.input_variables}
    try:
        alignment.network.encode(other.arrays(some))
        extended = alignment.under(other)
    except CommutesError:
        raise
    except Exception as error:  # whatever the user's encode= or module does with values that it does not know
        raise DataError(
            "the network does not read the shift's inputs",
            where=where,
            got=f"{type(error).__name__}: {error}",
            expected="an encode= and a module that take these values",
            fix="shift to values that the network can be given",
        ) from error
    return _with_claims_maps(extended, alignment)


def _other_words(shift: Shift, alignment: Alignment) -> Alignment:
    from commutes.network.transformers import reread

    assert shift.template is not None
    return _with_claims_maps(alignment.on(reread(alignment.network, shift.template)), alignment)


def _other_reading(shift: Shift, alignment: Alignment) -> Alignment:
    assert shift.network is not None
    _check_module(shift, shift.network.module is alignment.network.module, shift.network.name)
    return _with_claims_maps(alignment.on(shift.network), alignment)


def _other_algorithm(shift: Shift, alignment: Alignment) -> Alignment:
    given = shift.alignment
    assert given is not None
    _check_module(shift, given.network.module is alignment.network.module, given.network.name)
    if not given.fitted:
        alike = [(g.width, g.dimension) for g in given.groups] == [
            (g.width, g.dimension) for g in alignment.groups
        ]
        if not alike:
            raise AlignmentError(
                "the claim's maps do not fit the shift's places",
                where=f"shift {shift.name!r}",
                got="; ".join(f"{g.dimension} of {g.width} coordinates at {g.site}" for g in given.groups),
                expected="; ".join(f"{g.dimension} of {g.width} at {g.site}" for g in alignment.groups),
                fix="say which map is where: alignment.with_maps([...]) with the claim's own featurizers",
            )
        return _with_claims_maps(given, alignment)
    own = {map_hash(None, featurizer) for featurizer in alignment.featurizers}
    for group, featurizer in zip(given.groups, given.featurizers, strict=True):
        if group.features.learnt and map_hash(None, featurizer) not in own:
            raise AlignmentError(
                "the shift has maps of its own",
                where=f"shift {shift.name!r}, {group.site}",
                got="a map that is not one of the claim's",
                expected="the claim's maps: a shift asks whether they hold elsewhere, not whether others can be found",
                fix="give the alignment without maps, or with_maps(claim.featurizers)",
            )
    return given.with_maps(
        given.featurizers, fitted_ids=alignment.fitted_ids, selected_ids=alignment.selected_ids
    )


_MOVES: Mapping[str, Callable[[Shift, Alignment], Alignment]] = {
    "distribution": _as_it_is,
    "independent": _as_it_is,
    "resample": _as_it_is,
    "domain": _larger,
    "template": _other_words,
    "network": _other_reading,
    "alignment": _other_algorithm,
}


def _with_claims_maps(other: Alignment, alignment: Alignment) -> Alignment:
    return other.with_maps(
        alignment.featurizers,
        fitted_ids=alignment.fitted_ids,
        selected_ids=alignment.selected_ids,
        history=alignment.history,
    )


def _check_module(shift: Shift, same: bool, name: str) -> None:
    if not same:
        raise DataError(
            "a shift is about the same network",
            where=f"shift {shift.name!r}",
            got=f"another module, {name}",
            expected="a Network of the very module that the claim is about",
            fix="wrap claim.network.module; another trained network is another claim",
        )


def _swaps(other: Alignment, test: Counterfactuals) -> tuple[SwapNames, ...]:
    """The claim's swapped sets where the other algorithm has all their variables, otherwise each variable alone."""
    names = {v.name for v in other.variables}
    if all(set(variables) <= names for variables, _ in test.design.swaps):
        return test.design.swaps
    return tuple(((v.name,), False) for v in other.variables)


# How inputs are drawn.


def _inputs(shift: Shift, algorithm: Algorithm, names: Sequence[Any]) -> list[str]:
    known = [v.name for v in algorithm.input_variables]
    for name in names:
        if name not in known:
            near = similar(str(name), known)
            raise DataError(
                f"the algorithm has no input {name!r}",
                where=f"shift {shift.name!r}, {shift.kind}=",
                got=repr(name),
                expected=f"one of {', '.join(known)}",
                fix=f"write {near!r}" if near else "name an input",
            )
    return list(names)


def plain_columns(algorithm: Algorithm, columns: Columns) -> dict[str, Any]:
    """Columns as a distribution gives them: values, and floats as they are."""
    return {
        name: algorithm.values(name, column) if isinstance(algorithm.domain(name), Finite) else column
        for name, column in columns.items()
    }


def _apart(algorithm: Algorithm, base: str | Distribution, names: Sequence[str]) -> Distribution:
    sampler = input_sampler(algorithm, base)

    def draw(rng: np.random.Generator, n: int) -> dict[str, Any]:
        columns = sampler(rng, n)
        # Of another draw each: as common as before, and tied to nothing.
        return plain_columns(algorithm, columns | {name: sampler(rng, n)[name] for name in names})

    return Distribution(f"{', '.join(names)} independent of the others", draw)


def _noise(
    shift: Shift, algorithm: Algorithm, base: str | Distribution, swaps: Sequence[SwapNames]
) -> tuple[tuple[tuple[SwapNames, ...], Distribution], ...]:
    """Per swapped set the named inputs that none of its variables is computed from; sets alike are drawn together."""
    names = _inputs(shift, algorithm, shift.resample)
    sampler = input_sampler(algorithm, base)
    found: dict[tuple[str, ...], list[SwapNames]] = {}
    for variables, shared in swaps:
        used = {a.name for v in variables for a in (*algorithm.ancestors(v), algorithm[v])}
        free = tuple(name for name in names if name not in used)
        if free:
            found.setdefault(free, []).append((variables, shared))
    if not found:
        raise DataError(
            "every swapped variable is computed from these inputs",
            where=f"shift {shift.name!r}, resample=",
            got=f"{', '.join(names)} for swaps of {', '.join('+'.join(v) for v, _ in swaps)}",
            expected="an input that some swapped variable is not computed from, so that it should not matter for it",
            fix=f"untie them instead: cm.Shift({shift.name!r}, independent={names!r})",
        )

    def draw(free: tuple[str, ...], rng: np.random.Generator, n: int) -> dict[str, Any]:
        columns = sampler(rng, n)
        anew = {name: algorithm.domain(name).sample(rng, n) for name in free}
        return plain_columns(algorithm, columns | anew)

    return tuple(
        (tuple(sets), Distribution(f"{', '.join(free)} drawn anew", partial(draw, free)))
        for free, sets in found.items()
    )


def _try(shift: Shift, algorithm: Algorithm, distribution: str | Distribution) -> None:
    """Refuse a distribution that cannot be drawn from, or that draws otherwise each time."""
    if not isinstance(distribution, Distribution):
        return
    where = f"shift {shift.name!r}, distribution {distribution.name!r}"
    try:
        first, again = (_drawn_hash(algorithm, distribution) for _ in range(2))
    except CommutesError as error:
        raise DataError(
            "the shift's distribution draws no inputs of the algorithm",
            where=where,
            got=f"{error.what}" + (f" ({error.got})" if error.got else ""),
            expected="draw(rng, n) with n values of every input",
            fix=error.fix or "look at what draw returns",
        ) from error
    except Exception as error:  # of the user's draw
        raise DataError(
            "the shift's distribution cannot be drawn from",
            where=where,
            got=f"{type(error).__name__}: {error}",
            expected="draw(rng, n) with n values of every input",
        ) from error
    if first != again:
        raise DataError(
            "the shift's distribution draws otherwise each time",
            where=where,
            got="two draws of one generator that differ",
            expected="all randomness from the generator that draw(rng, n) is given",
            fix="use rng for every draw",
        )


def _drawn_hash(algorithm: Algorithm, distribution: str | Distribution) -> str:
    if not isinstance(distribution, Distribution):
        return distribution
    columns = input_sampler(algorithm, distribution)(np.random.default_rng(0), TRIED)
    return hashlib.sha256(np.ascontiguousarray(algorithm.input_ids(columns)).tobytes()).hexdigest()
