"""Indirect object identification: in "When Mary and John went to the store, Mary gave a drink to", who is next?

The published circuit finds which name comes twice, and moves the other one to the end. What tells its last heads
where to look is said to be a position (was the subject named first or second?) and a name (which one is it?): two
hypotheses here. The claims are about sentences whose subject is one of the two, so a spec says
`data.distribution = "sentences"`.

See Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small, arXiv 2211.00593.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Distribution
from commutes.network import Network
from commutes.network.transformers import train_language, untrained_model, word_tokenizer

Progress = Callable[[int, int, dict[str, float]], None]

TEMPLATE = "When {first} and {second} went to the store, {subject} gave a drink to"
NAMES = (
    "Aaron", "Adam", "Alan", "Alice", "Amy", "Andrew", "Anna", "Anthony", "Arthur", "Ben", "Brian",
    "Carl", "Charles", "Claire", "Crystal", "Dan", "David", "Dean", "Edward", "Elizabeth", "Emily",
    "Eric", "Erin", "Frank", "Fred", "George", "Grace", "Harry", "Helen", "Henry", "Jack", "Jacob",
    "James", "Jane", "Jason", "John", "Joseph", "Julia", "Karen", "Kate", "Kevin", "Laura", "Leon",
    "Lisa", "Louis", "Maria", "Mark", "Martin", "Mary", "Max", "Michael", "Nina", "Oliver", "Paul",
    "Peter", "Rachel", "Robert", "Rose", "Ruth", "Simon",
)  # fmt: skip

# Sizes and steps were chosen on the network seed 0, by accuracy on held-out sentences.
STEPS, BATCH, RATE, DECAY = 500, 128, 2e-3, 0.1


def algorithm() -> Algorithm:
    """subject_first = (subject == first), recipient = second if subject_first else first: where the subject was."""
    hypothesis = _sentences("recipient by the subject's position")

    @hypothesis.variable
    def subject_first(first, subject) -> bool:
        return subject == first

    @hypothesis.output(domain=NAMES)
    def recipient(subject_first, first, second):
        return second if subject_first else first

    return hypothesis.check()


def rival() -> Algorithm:
    """repeated = subject, recipient = the other name: the same answers from the subject's name."""
    hypothesis = _sentences("recipient by the subject's name")

    @hypothesis.variable(domain=NAMES)
    def repeated(subject):
        return subject

    @hypothesis.output(domain=NAMES)
    def recipient(repeated, first, second):
        return second if repeated == first else first

    return hypothesis.check()


def control() -> Algorithm:
    """The name that comes first as a variable: what the network reads, not what it finds out about it."""
    hypothesis = _sentences("identity of the first name")

    @hypothesis.variable(domain=NAMES)
    def opening(first):
        return first

    @hypothesis.output(domain=NAMES)
    def recipient(opening, second, subject):
        return second if subject == opening else opening

    return hypothesis.check()


def _draw_sentences(rng: np.random.Generator, n: int) -> dict[str, list[str]]:
    first = rng.integers(len(NAMES), size=n)
    second = (first + rng.integers(1, len(NAMES), size=n)) % len(NAMES)
    subject = np.where(rng.random(n) < 0.5, first, second)
    columns = {"first": first, "second": second, "subject": subject}
    return {name: [NAMES[i] for i in column] for name, column in columns.items()}


sentences = Distribution("two different names, one of them the subject", _draw_sentences)
"""IOI sentences; in what else the inputs may hold, the subject need not be one of the two."""


def network(algorithm: Algorithm, *, seed: int, layers: int = 3, width: int = 64, heads: int = 4) -> Network:
    """An untrained GPT-2 over the words of these sentences."""
    from transformers import GPT2Config

    tokenizer = word_tokenizer([TEMPLATE.format(first="", second="", subject=""), *NAMES])
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=16,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        initializer_range=width**-0.5,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Network(
        untrained_model(config, seed=seed),
        tokenizer,
        template=TEMPLATE,
        answers=answers(),
        name="name-mover GPT-2",
    )


def train(
    network: Network, algorithm: Algorithm, *, seed: int, progress: Progress | None = None, steps: int = STEPS
) -> Network:
    """The network trained on nine tenths of the sentences."""
    return train_language(
        network,
        algorithm,
        steps=steps,
        batch=BATCH,
        lr=RATE,
        weight_decay=DECAY,
        distribution=sentences,
        seed=seed,
        progress=progress,
    )


def answers() -> dict[Hashable, str]:
    """The text of every name, as it follows the sentence."""
    return {name: f" {name}" for name in NAMES}


def _sentences(name: str) -> Algorithm:
    hypothesis = Algorithm(name)
    hypothesis.inputs("first second subject", domain=NAMES)
    return hypothesis
