"""What the network answers, clean and after every pair's interchange."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import (
    BUDGET,
    Batch,
    Featurizer,
    Prepared,
    clean_rows_within,
    forward,
    half,
    prepare,
    rows_within,
)
from commutes.errors import EngineError
from commutes.evaluation._answers import Answers, Outcome, answers_of, joined
from commutes.network import Inputs, Network

Alter = Callable[[Batch, slice], Batch]


@dataclass(frozen=True, eq=False)
class Bench:
    """A network prepared for one set of pairs: every alignment at the same sites can be measured on it."""

    pairs: Counterfactuals
    prepared: Prepared
    answers: Answers
    masks: tuple[torch.Tensor, ...]
    unedited: Outcome
    """The network's own answer to every distinct input."""
    room: int
    """Bytes that one forward may take."""

    @cached_property
    def at_once(self) -> int:
        """Pairs of one forward."""
        return rows_within(self.prepared, self.room, slots=self.pairs.source.shape[1])

    @property
    def clean(self) -> np.ndarray:
        """The network's own answer to every distinct input, as an output column.  # shape: (m,)"""
        return self.unedited.answered

    def edited(
        self,
        featurizers: Sequence[Featurizer],
        *,
        rows: np.ndarray | None = None,
        source: np.ndarray | None = None,
        masks: Sequence[torch.Tensor] | None = None,
        change: Alter | None = None,
    ) -> Iterator[torch.Tensor]:
        """Logits of the pairs' bases after an intervention, a few pairs at a time and in order.

        Args:
            featurizers: One map per site of what was prepared.
            rows: Which pairs, by their numbers; all by default.
            source: Other inputs to take coordinates from, for the chosen pairs.  # shape: (rows, slots)
            masks: Other tables of which coordinate comes from which source, for the chosen pairs; one per site.
            change: Given the tensors of some pairs and their places among the chosen ones, other tensors: states that
                no input has (a mean, zeros, noise).
        """
        chosen = np.arange(len(self.pairs)) if rows is None else rows
        base = torch.from_numpy(self.pairs.base[chosen])
        taken = torch.from_numpy(self.pairs.source[chosen] if source is None else source)
        tables = [m[torch.from_numpy(chosen).to(m.device)] for m in self.masks] if masks is None else masks
        with torch.no_grad():
            for start in range(0, len(chosen), self.at_once):
                own = slice(start, start + self.at_once)
                batch = self.prepared.batch(base[own], taken[own])
                batch = batch if change is None else change(batch, own)
                yield self.prepared.logits(batch, featurizers, [m[own] for m in tables])

    def outcome(self, featurizers: Sequence[Featurizer]) -> Outcome:
        """The network's answer to every pair after the interchange."""
        return joined([self.answers.outcome(logits) for logits in self.edited(featurizers)])

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
    """Prepare the alignment's network for the pairs and run every distinct input once, clean.

    Args:
        alignment: Whose network and sites are meant.
        pairs: That are to be measured.
        budget: Bytes, for what is kept of clean runs and for a forward in equal parts.
    """
    network = alignment.network
    arrays = alignment.algorithm.arrays(pairs.inputs)
    prepared = prepare(network, arrays, alignment.sites, budget=half(budget))
    answers = answers_of(network, alignment.algorithm)
    unedited = _unedited(network, prepared.inputs, answers, half(budget))
    return Bench(pairs, prepared, answers, tuple(alignment.masks(pairs)), unedited, half(budget))


def clean_answers(prepared: Prepared, answers: Answers, *, budget: int = BUDGET) -> np.ndarray:
    """The network's own answer to every distinct input, as an output column.  # shape: (m,)

    Args:
        prepared: Whose inputs are meant.
        answers: How logits are read.
        budget: Bytes of one forward.

    Raises:
        EngineError: Logits that are not finite; the first such example is named.
    """
    return _unedited(prepared.network, prepared.inputs, answers, budget).answered


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
    return answers.match(_unedited(network, inputs, answers, BUDGET).answered, pairs.answers)


def clean_logits(network: Network, inputs: Inputs, *, budget: int = BUDGET) -> Iterator[torch.Tensor]:
    """Logits without intervention, a few inputs at a time and in order.

    Args:
        network: In evaluation mode.
        inputs: As its `encode` returned them.
        budget: Bytes of one forward.

    Raises:
        EngineError: Logits that are not finite; the first such example is named.
    """
    chunk = clean_rows_within(network, inputs, budget)
    for start in range(0, inputs.n, chunk):
        rows = inputs.rows(torch.arange(start, min(start + chunk, inputs.n)))
        with torch.no_grad():
            logits = forward(network, rows.args, rows.kwargs, taps={})
        check_finite_logits(logits, torch.arange(start, start + len(logits)))
        yield logits


def fed_alike(network: Network, inputs: Inputs, others: Inputs) -> Inputs:
    """The inputs with the tokens of an answer that others are fed, where a model is fed any; as they are elsewhere.

    The second token of an answer is as likely as the first one makes it: runs are compared behind the same tokens.

    Args:
        network: Of both.
        inputs: To be run.
        others: As many, in order.
    """
    fed = 0 if network.language is None else network.language.prompt.fed
    if not fed:
        return inputs
    # Prompts are padded on the left, so that the answer's tokens are the last ones.
    ids = inputs.kwargs["input_ids"].clone()
    ids[:, -fed:] = others.kwargs["input_ids"][:, -fed:]
    return replace(inputs, kwargs={**inputs.kwargs, "input_ids": ids})


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


def _unedited(network: Network, inputs: Inputs, answers: Answers, budget: int) -> Outcome:
    return joined([answers.outcome(logits) for logits in clean_logits(network, inputs, budget=budget)])
