"""From logits to the algorithm's output values, and whether they are the expected ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from commutes.algorithm import Algorithm, Finite
from commutes.errors import NetworkError
from commutes.evaluation._cross_entropy import cross_entropies
from commutes.evaluation._scores import answer_scores
from commutes.network import Network

# An answer of the network that is no value of the algorithm's output: never a hit.
OTHER = -1


class Outcome(NamedTuple):
    """What a network answered."""

    answered: np.ndarray
    """As an output column, by the argmax over everything that the network can answer.  # shape: (n,)"""
    among: np.ndarray | None
    """By the argmax over the candidate answers alone; None where the network can say nothing else."""

    def take(self, rows: np.ndarray) -> Outcome:
        """The answers at `rows`."""
        return Outcome(self.answered[rows], None if self.among is None else self.among[rows])


def joined(parts: Sequence[Outcome]) -> Outcome:
    """Outcomes one after the other."""
    among = [part.among for part in parts if part.among is not None]
    return Outcome(
        np.concatenate([part.answered for part in parts]), np.concatenate(among) if among else None
    )


@dataclass(frozen=True, eq=False)
class Answers:
    """How a network's logits are read as values of an algorithm's output, by the argmax over all that it can answer."""

    algorithm: Algorithm
    network: Network
    spelling: np.ndarray | None
    """Columns of the logits that spell each output code, one per token of the answer.  # shape: (codes, tokens)

    None where the network has a custom `decode=`.
    """

    def decode(self, logits: torch.Tensor) -> np.ndarray:
        """The answers as an output column: codes, or numbers where the output is real-valued.  # shape: (n,)"""
        if self.spelling is not None:
            return _read(logits.argmax(dim=-1).cpu().numpy(), self.spelling)
        assert self.network.decode is not None
        values = list(self.network.decode(logits))
        if len(values) != logits.shape[0]:
            raise NetworkError(
                "decode must return one value per example",
                got=str(len(values)),
                expected=str(logits.shape[0]),
            )
        domain = self.algorithm.domain(self.algorithm.output_variable)
        if isinstance(domain, Finite):
            return np.array([domain.code(v) if v in domain else OTHER for v in values], np.int64)
        return np.asarray(values, np.float64)

    def among(self, logits: torch.Tensor) -> np.ndarray | None:
        """The code of the candidate answer with the highest score, all its tokens together.  # shape: (n,)

        None where the candidates are all that the network can say, or it has a custom `decode=`.
        """
        if self.spelling is None or self.network.language is None:
            return None
        spelling = torch.from_numpy(self.spelling).to(logits.device)
        return answer_scores(logits, spelling).argmax(dim=-1).cpu().numpy()

    def outcome(self, logits: torch.Tensor) -> Outcome:
        """Both readings of the same logits."""
        return Outcome(self.decode(logits), self.among(logits))

    def match(self, answered: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Which answers are right.  # shape: (n,)"""
        domain = self.algorithm.domain(self.algorithm.output_variable)
        if isinstance(domain, Finite):
            return answered == expected
        tolerance = getattr(domain, "tolerance", None) or 0.0
        close = np.asarray(np.abs(answered - expected) <= tolerance)
        return np.asarray(close.reshape(len(close), -1).all(axis=1))

    def targets(self, expected: np.ndarray) -> np.ndarray:
        """The columns that spell each expected code.  # shape: (n,), or (n, tokens) for answers of several

        Raises:
            NetworkError: The network has a custom decode=, which allows evaluation, not fitting.
        """
        if self.spelling is None:
            raise NetworkError(
                "a network with a custom decode= can be evaluated, not fitted",
                where=self.network.name,
                got="decode=",
                expected="answers=, the output values in the order of the logits",
            )
        found = self.spelling[expected]
        return found[:, 0] if found.shape[1] == 1 else found


@dataclass(frozen=True, eq=False)
class Candidates:
    """The output values as the only answers: the columns of the logits that any of them needs."""

    columns: torch.Tensor
    """Ascending.  # shape: (columns,)"""
    index: torch.Tensor
    """Which of `columns` spell each output code.  # shape: (codes, tokens)"""

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits of the answers: over the tokens of each they add up.  # shape: (n, codes)

        Args:
            logits: Of `columns` only, (n, columns) or (n, tokens, columns).
        """
        return answer_scores(logits, self.index.to(logits.device))

    def losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of every row to its output code, over the answers alone.  # shape: (n,)"""
        return cross_entropy(self.scores(logits), codes, reduction="none")


def candidates_of(answers: Answers) -> Candidates:
    """The answers that are values of the output.

    Raises:
        NetworkError: The network has a custom decode=.
    """
    domain = answers.algorithm.domain(answers.algorithm.output_variable)
    spelling = answers.targets(np.arange(domain.size if isinstance(domain, Finite) else 0))
    columns, index = np.unique(spelling, return_inverse=True)
    return Candidates(torch.from_numpy(columns), torch.from_numpy(index.reshape(len(spelling), -1)))


def losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of every row, summed over the tokens of its answer.  # shape: (n,)

    Args:
        logits: (n, columns), or (n, tokens, columns) for answers of several tokens.
        targets: Columns, (n,) or (n, tokens).
    """
    per_token = cross_entropies(logits.flatten(0, -2), targets.flatten())
    return per_token.reshape(len(targets), -1).sum(dim=1)


def hits(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Whether every token of the answer is the argmax over all columns.  # shapes as in `losses`"""
    return (logits.argmax(dim=-1) == targets).reshape(len(targets), -1).all(dim=1)


def _read(columns: np.ndarray, spelling: np.ndarray) -> np.ndarray:
    """The code that each row of columns spells, OTHER for none.  # (n,) or (n, tokens) -> (n,)"""
    number = np.concatenate([spelling, columns.reshape(len(columns), -1)])
    if number.shape[1] > 1:
        # Each row becomes one number: its place among all distinct rows.
        number = np.unique(number, axis=0, return_inverse=True)[1]
    number = number.reshape(-1)
    code_of = np.full(int(number.max()) + 1, OTHER, np.int64)
    code_of[number[: len(spelling)]] = np.arange(len(spelling))
    return code_of[number[len(spelling) :]]


def answers_of(network: Network, algorithm: Algorithm) -> Answers:
    """Match the network's answers with the algorithm's output domain.

    Args:
        network: With `answers=` or `decode=`.
        algorithm: Whose output is meant.

    Raises:
        NetworkError: An output value that the network cannot answer.
    """
    if network.answers is None:
        return Answers(algorithm, network, None)
    output = algorithm.output_variable
    domain = algorithm.domain(output)
    if not isinstance(domain, Finite):
        raise NetworkError(
            "answers= lists values, but the algorithm's output is real-valued",
            where=output.name,
            got=f"{len(network.answers)} answers",
            expected="decode=, from logits to numbers",
        )
    given = {(type(a), a): i for i, a in enumerate(network.answers)}
    missing = [v for v in domain.values if (type(v), v) not in given]
    if missing:
        raise NetworkError(
            "the network has no answer for a value of the algorithm's output",
            where=f"{output.name} of {algorithm.name}",
            got=f"answers {list(network.answers)!r}",
            expected=f"{missing[0]!r} ({type(missing[0]).__name__}) among them",
            fix="give Network(answers=...) every value of the output, of the same type",
        )
    rows = [given[type(value), value] for value in domain.values]
    assert network.spelling is not None
    return Answers(algorithm, network, network.spelling[rows])
