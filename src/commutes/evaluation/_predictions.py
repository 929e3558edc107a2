"""What the network answers, clean and after every pair's interchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import BUDGET, Featurizer, Prepared, forward, prepare
from commutes.errors import EngineError
from commutes.evaluation._answers import Answers, Outcome, answers_of, joined
from commutes.network import Inputs, Network


@dataclass(frozen=True, eq=False)
class Bench:
    """A network prepared for one set of pairs: every alignment at the same sites can be measured on it."""

    pairs: Counterfactuals
    prepared: Prepared
    answers: Answers
    masks: tuple[torch.Tensor, ...]
    unedited: Outcome
    """The network's own answer to every distinct input."""

    @property
    def clean(self) -> np.ndarray:
        """The network's own answer to every distinct input, as an output column.  # shape: (m,)"""
        return self.unedited.answered

    def outcome(self, featurizers: Sequence[Featurizer]) -> Outcome:
        """The network's answer to every pair after the interchange."""
        found = []
        base, source = torch.from_numpy(self.pairs.base), torch.from_numpy(self.pairs.source)
        chunk = self.prepared.network.chunk
        with torch.no_grad():
            for start in range(0, len(self.pairs), chunk):
                rows = slice(start, start + chunk)
                batch = self.prepared.batch(base[rows], source[rows])
                logits = self.prepared.logits(batch, featurizers, [m[rows] for m in self.masks])
                found.append(self.answers.outcome(logits))
        return joined(found)

    def answered(self, featurizers: Sequence[Featurizer]) -> np.ndarray:
        """The network's answer to every pair after the interchange, as an output column.  # shape: (n,)"""
        return self.outcome(featurizers).answered

    def hits(self, featurizers: Sequence[Featurizer]) -> np.ndarray:
        """Which pairs come out as the algorithm says.  # shape: (n,)"""
        return self.answers.match(self.answered(featurizers), self.pairs.expected)

    @property
    def right(self) -> np.ndarray:
        """Which distinct inputs the network answers as the algorithm does.  # shape: (m,)"""
        return self.answers.match(self.clean, self.pairs.answers)


def bench(alignment: Alignment, pairs: Counterfactuals, *, budget: int = BUDGET) -> Bench:
    """Prepare the alignment's network for the pairs and run every distinct input once, clean."""
    network = alignment.network
    prepared = prepare(network, alignment.algorithm.arrays(pairs.inputs), alignment.sites, budget=budget)
    answers = answers_of(network, alignment.algorithm)
    unedited = _unedited(network, prepared.inputs, answers)
    return Bench(pairs, prepared, answers, tuple(alignment.masks(pairs)), unedited)


def clean_answers(prepared: Prepared, answers: Answers) -> np.ndarray:
    """The network's own answer to every distinct input, as an output column.  # shape: (m,)

    Raises:
        EngineError: Logits that are not finite; the first such example is named.
    """
    return _unedited(prepared.network, prepared.inputs, answers).answered


def behaviour(network: Network, pairs: Counterfactuals) -> np.ndarray:
    """Which distinct inputs the network answers as the algorithm does, before anything is claimed.  # shape: (m,)

    Args:
        network: In evaluation mode.
        pairs: Whose inputs are meant; nothing is swapped.

    Raises:
        NetworkError: The network cannot answer what the algorithm expects, or is in training mode.
        EngineError: Logits that are not finite; the first such example is named.
    """
    network.check_mode()
    answers = answers_of(network, pairs.algorithm)
    inputs = network.encode(pairs.algorithm.arrays(pairs.inputs))
    return answers.match(_unedited(network, inputs, answers).answered, pairs.answers)


def check_finite_logits(logits: torch.Tensor, examples: torch.Tensor) -> None:
    """Refuse clean answers that are not finite.

    Args:
        logits: # shape: (n, ...)
        examples: Numbers of the inputs.  # shape: (n,)

    Raises:
        EngineError: NaN or infinity; the first such example is named.
    """
    bad = ~torch.isfinite(logits).flatten(1).all(dim=1)
    if bool(bad.any()):
        raise EngineError(
            "the network's clean answers are not finite",
            where=f"example {int(examples[int(torch.nonzero(bad)[0])])}",
            got="NaN or infinity in the logits",
            expected="finite logits",
            fix="run the network on that example alone; the intervention is not at fault",
        )


def _unedited(network: Network, inputs: Inputs, answers: Answers) -> Outcome:
    found, chunk = [], network.chunk
    with torch.no_grad():
        for start in range(0, inputs.n, chunk):
            rows = inputs.rows(torch.arange(start, min(start + chunk, inputs.n)))
            logits = forward(network, rows.args, rows.kwargs, taps={})
            check_finite_logits(logits, torch.arange(start, start + len(logits)))
            found.append(answers.outcome(logits))
    return joined(found)
