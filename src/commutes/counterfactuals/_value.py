"""The data set: columns of base inputs, sources, expected answers and strata, over the distinct inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from commutes.algorithm import Algorithm, Columns, Space, Variable
from commutes.counterfactuals._admit import check_split, refuse_other_inputs, rows_of
from commutes.counterfactuals._design import Design, check_count, check_seed, words
from commutes.counterfactuals._draw import Drawn, draw
from commutes.counterfactuals._natural import natural_cells, natural_shares
from commutes.counterfactuals._pool import Reservoir
from commutes.counterfactuals._strata import Strata, differs
from commutes.counterfactuals._swap import Swap
from commutes.errors import AlgorithmError, DataError

if TYPE_CHECKING:
    from commutes.counterfactuals._coverage import Coverage

__all__ = ["Counterfactuals", "from_drawn"]


@dataclass(frozen=True, eq=False, repr=False)
class Counterfactuals:
    """Interchange interventions under an algorithm: n pairs over m distinct inputs, labelled.

    Made by `counterfactuals` and `census`. Columns of variables with finitely many values hold codes into the
    domain's values; `algorithm.values(v, column)` decodes them.

    See Causal Abstractions of Neural Networks, arXiv:2106.02997.
    """

    algorithm: Algorithm
    """The hypothesis under which the answers are expected."""
    design: Design
    """The recipe: everything needed to draw it again."""
    part: str | None
    """Which part of a split this is; None for undivided data."""
    inputs: Columns
    """The distinct inputs (input variables only).  # shape: (m,) or (m, width) each"""
    ids: np.ndarray
    """Their ids.  # shape: (m,) uint64"""
    base: np.ndarray
    """The base of each pair, as an index into `inputs`.  # shape: (n,)"""
    source: np.ndarray
    """The source in each slot, -1 where the swap set has fewer slots.  # shape: (n, S)"""
    swap: np.ndarray
    """The swap set of each pair, as an index into `swaps`.  # shape: (n,)"""
    swaps: tuple[Swap, ...]
    """The swap sets."""
    expected: np.ndarray
    """The answer that the algorithm gives.  # shape: (n,) codes; floats where the output is real-valued"""
    stratum: np.ndarray
    """The stratum of each pair, as an index into `strata`.  # shape: (n,)"""
    strata: Strata
    """The names of the strata; ("agreement",) alone where the output is real-valued."""
    moved: np.ndarray
    """Controlled pairs that had to move an ancestor of a held variable.  # shape: (n,) bool"""
    complete: bool
    """True for a census: all pairs of the domain."""
    weights: Mapping[tuple[str, str], float]
    """(swap label, stratum) -> its weight in the undivided distribution; sums to 1 per swap set."""
    weight_draws: int
    """How many draws stand behind `weights`; 0 where they are exact."""
    reused: bool
    """True where an input occurs more than once."""
    balanced_weights: Mapping[tuple[str, str, tuple[int, ...]], float] = field(default_factory=dict)
    """`weights` divided further: (swap label, stratum, codes of what is balanced within it) -> weight. That is the
    expected answer; of controlled pairs the values of the flipped variables, base and source in turn. Empty where
    nothing is balanced within a stratum."""
    _reservoir: Reservoir | None = field(default=None, repr=False)
    _picked: bool = field(default=False, repr=False)

    def __len__(self) -> int:
        return len(self.base)

    @cached_property
    def columns(self) -> Columns:
        """All variables' clean values on the distinct inputs.  # shape: (m,) or (m, width) each"""
        return self.algorithm.run(self.inputs)

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """Every variable that some swap set has, in the algorithm's order."""
        used = {v for swap in self.swaps for v in swap.variables}
        return tuple(v for v in self.algorithm.variables if v in used)

    @cached_property
    def answers(self) -> np.ndarray:
        """The algorithm's answer to each distinct input.  # shape: (m,)"""
        return self.columns[self.algorithm.output_variable.name]

    @cached_property
    def base_answer(self) -> np.ndarray:
        """y_b, the answer to each pair's base.  # shape: (n,)"""
        return self.answers[self.base]

    @cached_property
    def source_answer(self) -> np.ndarray:
        """y_s, the answer to each source; -1 (nan) where there is none.  # shape: (n, S)"""
        answer = self.answers[self.source]
        answer[self.source < 0] = np.nan if answer.dtype.kind == "f" else -1
        return answer

    @cached_property
    def effective(self) -> np.ndarray:
        """Where the expected answer is not the base's, so that doing nothing is wrong.  # shape: (n,) bool"""
        return differs(self.expected, self.base_answer, self._tolerance)

    @property
    def _tolerance(self) -> float | None:
        domain = self.algorithm.domain(self.algorithm.output_variable)
        return domain.tolerance if isinstance(domain, Space) else None

    @cached_property
    def natural_cell(self) -> np.ndarray:
        """The cell of each pair, within which pairs follow the distribution: see `balanced_weights`.  # shape: (n,)"""
        return natural_cells(self)

    @cached_property
    def natural_weight(self) -> np.ndarray:
        """The weight of each pair, its cell's over all pairs there; sums to 1 per swap set.  # shape: (n,)

        nan throughout a swap set that lacks a cell to which the distribution gives weight.
        """
        return natural_shares(self)

    @cached_property
    def members(self) -> np.ndarray:
        """The inputs of each pair, base first, -1 where a slot is empty.  # shape: (n, 1 + S)"""
        return np.concatenate([self.base[:, None], self.source], axis=1)

    @cached_property
    def input_ids(self) -> np.ndarray:
        """The ids of all inputs that occur, sorted.  # shape: (m,) uint64"""
        return np.unique(self.ids)

    @property
    def distribution(self) -> str:
        """The words for how the inputs were drawn, to be printed beside every number."""
        return words(self.algorithm, self.design.distribution)

    def swapped(self, variable: Variable | str) -> np.ndarray:
        """Where this variable is swapped.  # shape: (n,) bool"""
        return self.slot_of(variable) >= 0

    def slot_of(self, variable: Variable | str) -> np.ndarray:
        """The source slot that supplies this variable, -1 where it is not swapped.  # shape: (n,)"""
        wanted = self.algorithm[variable]
        per_swap = [
            next((slot for slot, variables in enumerate(swap.slots) if wanted in variables), -1)
            for swap in self.swaps
        ]
        return np.array(per_swap, dtype=np.int64)[self.swap]

    def source_of(self, variable: Variable | str) -> np.ndarray:
        """The input that supplies this variable, -1 where it is not swapped.  # shape: (n,)"""
        slot = self.slot_of(variable)
        return np.where(slot < 0, -1, self.source[np.arange(len(self)), slot])

    def base_value(self, variable: Variable | str) -> np.ndarray:
        """The variable's clean value in each base.  # shape: (n,) or (n, width)"""
        return self.columns[self.algorithm[variable].name][self.base]

    def source_value(self, variable: Variable | str) -> np.ndarray:
        """The value swapped in; -1 (nan) where it is not swapped.  # shape: (n,) or (n, width)"""
        source = self.source_of(variable)
        value = self.columns[self.algorithm[variable].name][source]
        value[source < 0] = np.nan if value.dtype.kind == "f" else -1
        return value

    def subset(self, rows: Sequence[int] | np.ndarray) -> Counterfactuals:
        """These pairs only (a mask of n, or indices); of a census still one if every cell is whole or gone.

        Raises:
            DataError: When a row does not exist, or none is left.
        """
        picked = rows_of(rows, len(self))
        members = self.members[picked]
        kept = np.unique(members[members >= 0])
        place = np.full(len(self.ids) + 1, -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        times = np.bincount(members[members >= 0])
        return replace(
            self,
            design=replace(self.design, n=len(picked)),
            inputs={name: column[kept] for name, column in self.inputs.items()},
            ids=self.ids[kept],
            base=place[self.base[picked]],
            source=place[self.source[picked]],
            swap=self.swap[picked],
            expected=self.expected[picked],
            stratum=self.stratum[picked],
            moved=self.moved[picked],
            complete=self.complete and self._whole_cells(picked),
            reused=bool((times > 1).any()),
            _picked=True,
        )

    def _whole_cells(self, picked: np.ndarray) -> bool:
        cell = self.swap * len(self.strata) + self.stratum
        size = np.bincount(cell)
        there = np.bincount(cell[np.unique(picked)], minlength=len(size))
        return bool((there[there > 0] == size[there > 0]).all())

    def split(self, **shares: float) -> tuple[Counterfactuals, ...]:
        """Parts that share no input: each part's pairs are drawn from its own inputs.

        An input's part depends on its id and the design's seed alone, so that it works for infinite domains
        too. The part named "train" lets inputs recur; every other part uses each input once while it can.

        Args:
            **shares: Each part's share of the inputs (and of the n pairs), positive, summing to at most 1.

        Raises:
            DataError: For a census, a subset or a part of a split; for wrong shares; when a part has too few
                inputs for a stratum that is possible.
        """
        kind = (
            "a census" if self.design.complete
            else f"the part {self.part!r} of a split" if self.part is not None
            else "a subset" if self._picked
            else None
        )  # fmt: skip
        check_split(kind, len(self), shares)
        bounds = np.rint(self.design.n * np.cumsum([0.0, *shares.values()])).astype(int)
        parts: list[Counterfactuals] = []
        for index, name in enumerate(shares):
            n = max(int(bounds[index + 1] - bounds[index]), 1)
            design = replace(self.design, n=n, shares=tuple(shares.items()), part=name)
            parts.append(from_drawn(self.algorithm, design, self._reservoir))
        return tuple(parts)

    def replicate(self, seed: int, n: int | None = None) -> Counterfactuals:
        """The same design and part with another seed; the partition by input stays as it is.

        Args:
            seed: The seed of the new drawing.
            n: The number of pairs; as many as before by default.

        Raises:
            DataError: For a census, of which there is only one.
        """
        if self.design.complete:
            raise DataError(
                "a census cannot be replicated",
                where="replicate",
                got=f"the complete domain, {len(self):,} pairs",
                expected="sampled pairs",
                fix="sample them: counterfactuals(algorithm, n, seed=...)",
            )
        count = self.design.n if n is None else check_count(n, "replicate(n=)")
        design = replace(self.design, seed=check_seed(seed, "replicate(seed)"), n=count)
        return from_drawn(self.algorithm, design, None)

    def for_algorithm(self, other: Algorithm, *, names: Mapping[str, str] | None = None) -> Counterfactuals:
        """The same design, part and partition by input under another algorithm with the same inputs.

        Swapped variables are found by name; strata and expected answers are the other algorithm's own.

        Args:
            other: With the same inputs.
            names: Which of its variables stands for each swapped one, where they are called otherwise; swap sets with
                a variable for which none stands are left out.

        Raises:
            DataError: When the inputs differ, or the other algorithm lacks a swapped variable.
        """
        other.check()
        refuse_other_inputs(self.algorithm, other, "for_algorithm")
        design = self.design if names is None else self.design.under(names)
        try:
            swaps = design.swaps_of(other)
        except AlgorithmError as error:
            raise DataError(
                f"the algorithm {other.name!r} lacks a variable that is swapped",
                where="for_algorithm",
                got=f"variables {', '.join(v.name for v in other.variables)}",
                expected=f"variables {', '.join(v.name for v in self.variables)}",
                fix="give the other algorithm's variables the same names",
            ) from error
        if not swaps:
            raise DataError(
                f"nothing of {other.name!r} stands for what is swapped",
                where="for_algorithm(names=)",
                got=", ".join(f"{ours}: {theirs}" for ours, theirs in (names or {}).items()) or "no name",
                expected=f"a variable for each of {self.swaps[0].label}, or of another swap set",
                fix="name them in names=",
            )
        if design.complete:
            from commutes.counterfactuals._census import census

            return census(other, swap=list(swaps))
        return from_drawn(other, design, None)

    def coverage(
        self,
        rivals: Mapping[str, Algorithm] | None = None,
        *,
        against: Mapping[str, Mapping[str, str | Sequence[str]]] | None = None,
    ) -> Coverage:
        """On which pairs each rival of the claim expects another answer: what the data can tell apart.

        Args:
            rivals: Other algorithms over the same inputs, by name.
            against: Per rival, which of its variables stand against a variable of the claim that it lacks.
                Without an entry such a rival changes nothing for that variable and keeps its answer for the
                base.
        """
        from commutes.counterfactuals._coverage import coverage_of

        return coverage_of(self, rivals or {}, against or {})

    def __repr__(self) -> str:
        return f"<Counterfactuals {self.algorithm.name!r}: {len(self):,} pairs of {len(self.ids):,} inputs>"

    def __str__(self) -> str:
        part = f", part {self.part!r}" if self.part is not None else ""
        kind = "complete domain" if self.complete else f"inputs {'recur' if self.reused else 'used once'}"
        width = max(len(s) for s in (*self.strata, "swap"))
        label = max(len(s.label) for s in self.swaps)
        lines = [
            f"{len(self):,} pairs of {len(self.ids):,} distinct inputs under {self.algorithm.name!r}{part} "
            f"({kind})",
            f"inputs {self.distribution}",
        ]
        for index, swap in enumerate(self.swaps):
            for place, stratum in enumerate(self.strata):
                weight = self.weights.get((swap.label, stratum))
                if weight is not None:
                    count = int(((self.swap == index) & (self.stratum == place)).sum())
                    lines.append(
                        f"  {swap.label:<{label}}  {stratum:<{width}}  {count:>9,}  weight {weight:.4f}"
                    )
        return "\n".join(lines)


def from_drawn(algorithm: Algorithm, design: Design, reservoir: Reservoir | None) -> Counterfactuals:
    """The data set of a design; `reservoir` spares drawing the inputs again."""
    reservoir = reservoir or Reservoir(algorithm, design)
    drawn = draw(algorithm, design, reservoir)
    return assembled(algorithm, design, drawn, reservoir)


def assembled(
    algorithm: Algorithm, design: Design, drawn: Drawn, reservoir: Reservoir | None
) -> Counterfactuals:
    """The value with these columns."""
    return Counterfactuals(
        algorithm=algorithm,
        design=design,
        part=design.part,
        inputs=drawn.inputs,
        ids=drawn.ids,
        base=drawn.base,
        source=drawn.source,
        swap=drawn.swap,
        swaps=design.swaps_of(algorithm),
        expected=drawn.expected,
        stratum=drawn.stratum,
        strata=drawn.strata,
        moved=drawn.moved,
        complete=design.complete,
        weights=drawn.natural.weights,
        weight_draws=drawn.natural.draws,
        reused=drawn.reused,
        balanced_weights=drawn.natural.balanced,
        _reservoir=reservoir,
    )
