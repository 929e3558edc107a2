"""Strictness: does the answer stay when coordinates that carry no variable are taken from another input?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import Featurizer
from commutes.errors import DataError, FitError
from commutes.evaluation import Answers, answers_of, behaviour, label_of
from commutes.network import Network
from commutes.stats import Rate, rate
from commutes.training._iit_rest import Rest, rest_of, way_around, whole
from commutes.training._iit_runs import Encoded, clean_states, edited_logits, encoded, plain_logits
from commutes.training._settings import check_seed


@dataclass(frozen=True, eq=False)
class Strictness:
    """How often a network's answer to a base stays, by what was taken from another input. Every base is used once."""

    label: str
    """How the numbers may be read: "" for held-out inputs and variables on which the answer hangs alone."""
    joint: Rate
    """All coordinates that carry no variable at once."""
    unit: Rate
    """One of them, drawn for every base."""
    units: Mapping[str, Rate]
    """Each of them, for every base."""
    left_out: int
    """Units that were not measured one by one."""
    everything: Rate
    """All coordinates of the sites, variables too: what a network that heeds nothing but them would lose."""
    accuracy: Rate
    """The network against the algorithm without intervention: a constant answer stays whatever is taken."""

    @property
    def worst(self) -> tuple[str, Rate] | None:
        """The unit on which the answer hangs most; None where none was measured by itself."""
        return min(self.units.items(), key=lambda pair: pair[1].rate) if self.units else None

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "label": self.label,
            "joint": self.joint.as_dict(),
            "unit": self.unit.as_dict(),
            "units": {name: found.as_dict() for name, found in self.units.items()},
            "left_out": self.left_out,
            "everything": self.everything.as_dict(),
            "accuracy": self.accuracy.as_dict(),
        }

    def __str__(self) -> str:
        lines = [
            "The answer stays when this is taken from another input"
            + (f" ({self.label})" * bool(self.label)),
            f"  all coordinates that carry no variable   {self.joint}",
            f"  one of them                              {self.unit}",
        ]
        if self.worst is not None:
            beyond = f", {self.left_out} not measured" if self.left_out else ""
            lines.append(
                f"  the worst of {len(self.units)}{beyond}: {self.worst[0]}".ljust(42) + f" {self.worst[1]}"
            )
        lines.append(f"  all coordinates of the sites             {self.everything}")
        lines.append(f"accuracy without intervention              {self.accuracy}")
        return "\n".join(lines)


def strictness(alignment: Alignment, pairs: Counterfactuals, *, seed: int, units: int = 64) -> Strictness:
    """How often the network's answer stays when coordinates that carry no variable come from another input.

    Args:
        alignment: A fitted claim.
        pairs: Whose bases are used, each once as a base and once as the other input; what they swap is not.
        seed: Of which base takes from which, and of the units.
        units: How many units are measured one by one at most, drawn where there are more; each is a run of all bases.

    Raises:
        AlignmentError: The alignment is not fitted.
        DataError: The alignment was fitted, or its network trained, on inputs of the pairs; or there is one base only.
        FitError: The alignment leaves nothing over at its sites, or it is not known what.

    See Inducing Causal Structure for Interpretable Neural Networks, arXiv 2112.00826.
    """
    if isinstance(units, bool) or not isinstance(units, int) or units < 0:
        raise FitError("units is a count", got=repr(units), expected="a whole number from 0")
    check_seed(seed)
    words = [label_of(alignment, pairs, census=pairs.complete)]
    path = way_around(alignment)
    if path:
        words.append(f"{path} passes no aligned variable, so that the answer may change")
    label = ", ".join(filter(None, words))
    found = Resampling(alignment, pairs, seed=seed)
    total = found.rest.units
    rng = np.random.default_rng([seed, 2])
    measured = np.arange(total) if total <= units else np.sort(rng.choice(total, units, replace=False))
    return Strictness(
        label,
        found.joint(),
        found.one(),
        {found.rest.name(int(unit)): found.unit(int(unit)) for unit in measured},
        total - len(measured),
        found.everything(),
        rate(behaviour(alignment.network, pairs), census=pairs.complete),
    )


def donors(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each of n, another one of its group at random, such that each is taken once.  # shape: (n,)

    Args:
        group: Of each. One that is alone in its group gets itself.  # shape: (n,)
        rng: Of the order.
    """
    order = rng.permutation(len(group))
    order = order[np.argsort(group[order], kind="stable")]
    before, found = group[order], np.empty(len(group), np.int64)
    first = np.flatnonzero(np.r_[True, before[1:] != before[:-1]])
    sources = np.roll(order, 1)
    # The first of a group takes from its last.
    sources[first] = order[np.r_[first[1:], len(order)] - 1]
    found[order] = sources
    return found


class Resampling:
    """The bases of some pairs, each with another of them to take coordinates from.

    Args:
        alignment: A fitted claim; its network's weights are those of the moment.
        pairs: Whose bases.
        seed: Of which takes from which.
    """

    def __init__(self, alignment: Alignment, pairs: Counterfactuals, *, seed: int) -> None:
        self.network: Network = alignment.network
        self.maps: tuple[Featurizer, ...] = alignment.featurizers
        self.answers: Answers = answers_of(self.network, pairs.algorithm)
        bases = np.unique(pairs.base)
        if len(bases) < 2:
            raise DataError(
                "no base has another to take coordinates from",
                got=f"{len(pairs)} pairs of {len(bases)} base",
                expected="at least two different bases",
            )
        self._rng = np.random.default_rng([seed, 1])
        taken = donors(np.zeros(len(bases), np.int64), self._rng)
        # Every base is in two pairs, once in each role: the intervals allow for it.
        self.members = np.stack([np.arange(len(bases)), taken], axis=1)
        values = {name: column[bases] for name, column in pairs.algorithm.arrays(pairs.inputs).items()}
        self.part: Encoded = encoded(self.network, values, alignment.sites)
        self.rest: Rest = rest_of(alignment, self.part.plan, self.part.written)
        self._widths = [group.width for group in alignment.groups]
        self._clean = self._said(None, None)

    def joint(self) -> Rate:
        """All units at once."""
        return self._kept(self.rest.maps, None)

    def one(self) -> Rate:
        """One unit, drawn for every base."""
        drawn = self._rng.integers(self.rest.units, size=len(self.members))
        return self._kept(self.rest.maps, torch.from_numpy(drawn))

    def unit(self, unit: int) -> Rate:
        """This unit."""
        return self._kept(self.rest.maps, torch.full((len(self.members),), unit))

    def everything(self) -> Rate:
        """All coordinates of the sites, whether they carry a variable or not."""
        return self._kept(whole(self._widths, self.network.device), None)

    def _kept(self, maps: Sequence[Featurizer], chosen: torch.Tensor | None) -> Rate:
        hits = self._same(self._said(maps, chosen))
        return rate(hits, self.members)

    def _same(self, said: np.ndarray) -> np.ndarray:
        if self.answers.spelling is None:
            return self.answers.match(said, self._clean)
        return (said == self._clean).reshape(len(said), -1).all(axis=1)

    def _said(self, maps: Sequence[Featurizer] | None, chosen: torch.Tensor | None) -> np.ndarray:
        """What is answered: the likeliest columns, or what a custom `decode=` makes of the logits."""
        found, size = [], self.part.together
        with torch.no_grad():
            for start in range(0, len(self.members), size):
                rows = torch.arange(start, min(start + size, len(self.members)))
                logits = self._logits(rows, maps, None if chosen is None else chosen[rows])
                columns = self.answers.spelling is not None
                found.append(logits.argmax(dim=-1).cpu().numpy() if columns else self.answers.decode(logits))
        return np.concatenate(found)

    def _logits(
        self, rows: torch.Tensor, maps: Sequence[Featurizer] | None, chosen: torch.Tensor | None
    ) -> torch.Tensor:
        bases = self.part.rows(rows)
        if maps is None:
            return plain_logits(self.network, bases)
        donors = self.part.rows(torch.from_numpy(self.members[:, 1])[rows])
        states = [s.unsqueeze(1) for s in clean_states(self.network, donors, gradient=False)]
        whole = [torch.ones(len(rows), 1, s.shape[-1], dtype=torch.bool, device=s.device) for s in states]
        masks = (
            whole if maps is not self.rest.maps else self.rest.masks(chosen, len(rows), self.network.device)
        )
        return edited_logits(self.network, bases, maps, states, masks)
