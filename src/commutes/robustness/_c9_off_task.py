"""C9: is behaviour that the claim says nothing about left as it was?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import log_softmax

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import BUDGET, Prepared, prepare, rows_within
from commutes.errors import NetworkError, SiteError
from commutes.evaluation import Answers, answers_of, clean_logits
from commutes.network import Network
from commutes.robustness._case import Case, Outcome, pairs_needed
from commutes.robustness._off_task import MOST, OffTask
from commutes.robustness._worst import Part, highest
from commutes.stats import Answer, Rate, gate, rate, show


@dataclass(frozen=True, eq=False)
class _Damage:
    """What the edits of one swapped set do to inputs that their claim says nothing about."""

    part: Part
    """Whether the network's answer became another."""
    divergence: np.ndarray | None
    """KL(clean || edited) over all that the network can answer, in nats; None with a custom `decode=`."""
    accuracy: tuple[Rate, Rate] | None
    """Before and after, against the algorithm that says what these inputs should be answered with."""
    passes: int

    def record(self) -> dict[str, Any]:
        """Plain values."""
        kl = self.divergence
        return {
            "changed": self.part.rate().as_dict(),
            "kl": None if kl is None else {"mean": float(kl.mean()), "most": float(kl.max())},
            "accuracy": None
            if self.accuracy is None
            else {"before": self.accuracy[0].as_dict(), "after": self.accuracy[1].as_dict()},
        }


def off_task(case: Case) -> Outcome:
    """Share of off-task inputs whose answer changes when coordinates of the claim's own sources are put in.

    Against the network's own clean answers: whether these are right is nothing to the claim. Of two claims about one
    network each is edited on the other's inputs. The worst swapped set decides.

    See RAVEL: Evaluating Interpretability Methods on Disentangling Language Model Representations, arXiv 2402.17700.
    """
    most, declared = case.thresholds.damage, case.declared.off_task
    if declared is None:
        reason = "no inputs that the claim says nothing about were declared (off_task=)"
        return Outcome(Answer.NOT_RUN, reason, reason=reason)
    try:
        found = _damaged(case.alignment, case.test, declared, seed=case.seed)
        if declared.claim is not None and declared.pairs is not None:
            own = OffTask(case.test.algorithm.arrays(case.test.inputs), case.test)
            of = f" of {declared.claim.algorithm.name} on inputs of {case.test.algorithm.name}"
            found += _damaged(declared.claim, declared.pairs, own, seed=case.seed, of=of)
    except SiteError as error:
        reason = f"{error.what}: {error.got}"
        return Outcome(Answer.VACUOUS, "these inputs cannot be edited as the claim's are", reason=reason)
    parts = [one.part for one in found]
    worst = highest(parts)
    answer = gate(worst.bounds, most, side="<=")
    deciding = next(one for one in found if one.part.name == worst.name)
    return Outcome(
        answer,
        _sentence(deciding, len(found), most),
        {"sets": {one.part.name: one.record() for one in found}, "worst": worst.name, "most": most},
        n_to_decide=pairs_needed(answer, most, worst.reached, worst.rate.n, complete=False),
        forward_passes=sum(one.passes for one in found),
        refuted_at=lambda alpha: gate(highest(parts, alpha).bounds, most, side="<=") is Answer.REFUTED,
    )


def _sentence(one: _Damage, count: int, most: float) -> str:
    of = f", the worst of {count} sets," if count > 1 else ""
    changed = one.part.rate()
    words = f"edits of {one.part.name}{of} change the answer to {changed} of off-task inputs, at most {show(most)}"
    if one.divergence is not None:
        words += f"; KL {show(float(one.divergence.mean()))} on average"
    if one.accuracy is not None:
        before, after = one.accuracy
        words += f"; accuracy {before} before and {after} after"
    return words


def _damaged(
    alignment: Alignment, pairs: Counterfactuals, off: OffTask, *, seed: int, of: str = ""
) -> list[_Damage]:
    """Per swapped set, what edits with sources of these pairs do to inputs that they are not about.

    Args:
        alignment: Whose coordinates are put in.
        pairs: Its own.
        off: The inputs that are edited.
        seed: Of which sources they get.
        of: What the names of the sets need beside them.
    """
    rng = np.random.default_rng([seed, 81])
    chosen = np.sort(rng.permutation(off.n)[:MOST])
    n = len(chosen)
    donors = {
        # Each pair gives its sources once while there are enough of them.
        swap.label: np.resize(rng.permutation(np.nonzero(pairs.swap == index)[0]), n)
        for index, swap in enumerate(pairs.swaps)
        if (pairs.swap == index).any()
    }
    prepared, place = _together(alignment, pairs, off, chosen, np.concatenate(list(donors.values())))
    sources = {name: place[pairs.source[rows]] for name, rows in donors.items()}
    tables = alignment.masks(pairs)
    masks = {
        name: [table[torch.from_numpy(rows).to(table.device)] for table in tables]
        for name, rows in donors.items()
    }
    reading = _Reading(alignment, answered_as(alignment.network, off), off, chosen)
    found: dict[str, list[np.ndarray]] = {name: [] for name in donors}
    at_once = rows_within(prepared, BUDGET, slots=pairs.source.shape[1])
    for rows in torch.arange(n).split(at_once):
        before = torch.cat(list(clean_logits(alignment.network, prepared.inputs.rows(rows))))
        for name, table in found.items():
            batch = prepared.batch(rows, torch.from_numpy(sources[name])[rows])
            taken = [mask[rows.to(mask.device)] for mask in masks[name]]
            with torch.no_grad():
                after = prepared.logits(batch, alignment.featurizers, taken)
            table.append(reading.compared(before, after, rows.numpy()))
    members = {name: np.column_stack([np.arange(n), own]) for name, own in sources.items()}
    # Each set has a run of its own, and all of them the clean one.
    return [
        _as_damage(name + of, np.concatenate(parts), members[name], n if i else 2 * n)
        for i, (name, parts) in enumerate(found.items())
    ]


def _together(
    alignment: Alignment, pairs: Counterfactuals, off: OffTask, chosen: np.ndarray, rows: np.ndarray
) -> tuple[Prepared, np.ndarray]:
    """Off-task inputs as bases and the sources of these pairs behind them; where each input of the pairs is, or -1."""
    used = np.unique(pairs.source[rows])
    used = used[used >= 0]
    own = pairs.algorithm.arrays({name: column[used] for name, column in pairs.inputs.items()})
    values = {name: np.concatenate([off.values[name][chosen], column]) for name, column in own.items()}
    n = len(chosen)
    sources = n + np.arange(len(used))
    # One more place, for slots that are empty: -1 is the last.
    place = np.full(len(pairs.ids) + 1, -1)
    place[used] = sources
    return prepare(alignment.network, values, alignment.sites, bases=np.arange(n), sources=sources), place


@dataclass(frozen=True, eq=False)
class _Reading:
    """How clean and edited logits of off-task inputs are compared."""

    alignment: Alignment
    answers: Answers | None
    """How the algorithm that these inputs are of reads them; None where there is none that the network can answer."""
    off: OffTask
    chosen: np.ndarray

    def compared(self, before: torch.Tensor, after: torch.Tensor, rows: np.ndarray) -> np.ndarray:
        """Whether the answer changed, the divergence, and whether it was right before and after.  # shape: (n, 4)

        A number that is not known is nan.
        """
        found = np.full((len(rows), 4), np.nan)
        network = self.alignment.network
        if network.decode is None:
            # Over everything that the network can say: what it answers here need not be an answer of the algorithm's.
            other = before.argmax(dim=-1) != after.argmax(dim=-1)
            found[:, 0] = other.reshape(len(rows), -1).any(dim=1).cpu().numpy()
            p, q = (_log_probabilities(logits) for logits in (before, after))
            found[:, 1] = (p.exp() * (p - q)).sum(dim=(1, 2)).clamp(min=0).cpu().numpy()
        else:
            one, two = (list(network.decode(logits)) for logits in (before, after))
            found[:, 0] = [
                bool(np.any(np.asarray(a) != np.asarray(b))) for a, b in zip(one, two, strict=True)
            ]
        if self.answers is not None and self.off.pairs is not None:
            expected = self.off.pairs.answers[self.chosen[rows]]
            for column, logits in ((2, before), (3, after)):
                found[:, column] = self.answers.match(self.answers.decode(logits), expected)
        return found


def answered_as(network: Network, off: OffTask) -> Answers | None:
    """How the off-task inputs' own algorithm reads the network; None where there is none, or it cannot be answered."""
    try:
        return None if off.pairs is None else answers_of(network, off.pairs.algorithm)
    except NetworkError:
        return None


def _log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Of every answer at every token, in a precision in which sums over a vocabulary mean something."""
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return log_softmax(exact.unsqueeze(1) if exact.ndim == 2 else exact, dim=-1)


def _as_damage(name: str, found: np.ndarray, members: np.ndarray, passes: int) -> _Damage:
    changed, divergence, before, after = found.T
    known = not np.isnan(before).any()
    right = (rate(before > 0), rate(after > 0, members)) if known else None
    return _Damage(
        Part(name, changed > 0, members), None if np.isnan(divergence).any() else divergence, right, passes
    )
