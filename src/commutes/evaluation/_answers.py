"""From logits to the algorithm's output values, and whether they are the expected ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from commutes.algorithm import Algorithm, Finite
from commutes.errors import NetworkError
from commutes.network import Network

# An answer of the network that is no value of the algorithm's output: never a hit.
OTHER = -1


@dataclass(frozen=True, eq=False)
class Answers:
    """How a network's logits are read as values of an algorithm's output."""

    algorithm: Algorithm
    network: Network
    codes: np.ndarray | None
    """Code of the output value that each logit stands for, OTHER for none; None where `decode` is used."""

    def decode(self, logits: torch.Tensor) -> np.ndarray:
        """The answers as an output column: codes, or numbers where the output is real-valued.  # shape: (n,)"""
        if self.codes is not None:
            return self.codes[logits.argmax(dim=1).cpu().numpy()]
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

    def match(self, answered: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Which answers are right.  # shape: (n,)"""
        domain = self.algorithm.domain(self.algorithm.output_variable)
        if isinstance(domain, Finite):
            return answered == expected
        tolerance = getattr(domain, "tolerance", None) or 0.0
        close = np.asarray(np.abs(answered - expected) <= tolerance)
        return np.asarray(close.reshape(len(close), -1).all(axis=1))

    def targets(self, expected: np.ndarray) -> np.ndarray:
        """The logit that stands for each expected code.  # shape: (n,)

        Raises:
            NetworkError: The network has a custom decode=, which allows evaluation, not fitting.
        """
        if self.codes is None:
            raise NetworkError(
                "a network with a custom decode= can be evaluated, not fitted",
                where=self.network.name,
                got="decode=",
                expected="answers=, the output values in the order of the logits",
            )
        logit_of = np.full(int(self.codes.max()) + 1, -1, np.int64)
        known = np.nonzero(self.codes >= 0)[0]
        logit_of[self.codes[known]] = known
        return logit_of[expected]


def answers_of(network: Network, algorithm: Algorithm, logits: int) -> Answers:
    """Match the network's answers with the algorithm's output domain.

    Args:
        network: With `answers=` or `decode=`.
        algorithm: Whose output is meant.
        logits: How many logits the network has; those beyond `answers` are answers that are never right.

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
    codes = np.full(max(logits, len(network.answers)), OTHER, np.int64)
    for code, value in enumerate(domain.values):
        codes[given[type(value), value]] = code
    return Answers(algorithm, network, codes)
