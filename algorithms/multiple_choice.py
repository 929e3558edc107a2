"""Multiple choice: which letter stands beside the right colour? A small Llama that binds symbols to choices.

The box's colour is among four choices, each behind a letter; letters are drawn anew for every question, so the letter
of a place says nothing by itself. A network may point at the place of the right choice and then fetch the letter that
is there, or carry the letter alone: two hypotheses here. The claims are about questions with one right choice and four
different letters, so a spec says `data.distribution = "questions"`.

See MIB: A Mechanistic Interpretability Benchmark, arXiv 2504.13151.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Distribution
from commutes.network import Network
from commutes.network.transformers import train_language, untrained_model, word_tokenizer

Progress = Callable[[int, int, dict[str, float]], None]

TEMPLATE = "The box is {colour}. What colour is it? {p}: {w} {q}: {x} {r}: {y} {s}: {z} Answer:"
COLOURS = ("black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "white")
LETTERS = tuple("ABCDEFGH")
CHOICES, SYMBOLS = tuple("wxyz"), tuple("pqrs")

# Sizes and steps were chosen on the network seed 0, by accuracy on held-out questions.
STEPS, BATCH, RATE, DECAY = 1_500, 128, 2e-3, 0.1


def algorithm() -> Algorithm:
    """right = place of the colour among the choices w, x, y, z; letter = (p, q, r, s)[right]: a pointer."""
    hypothesis = _questions("letter by the place of the right choice")

    @hypothesis.variable(domain=range(4))
    def right(colour, w, x, y, z):
        return _place(colour, w, x, y, z)

    @hypothesis.output(domain=LETTERS)
    def letter(right, p, q, r, s):
        return (p, q, r, s)[right]

    return hypothesis.check()


def rival() -> Algorithm:
    """symbol = the letter beside the right choice, letter = symbol: the same answers with the letter carried."""
    hypothesis = _questions("letter of the right choice")

    @hypothesis.variable(domain=LETTERS)
    def symbol(colour, w, x, y, z, p, q, r, s):
        return (p, q, r, s)[_place(colour, w, x, y, z)]

    @hypothesis.output(domain=LETTERS)
    def letter(symbol):
        return symbol

    return hypothesis.check()


def control() -> Algorithm:
    """The colour of the first choice as a variable: what the network reads, not what it finds out about it."""
    hypothesis = _questions("identity of the first choice")

    @hypothesis.variable(domain=COLOURS)
    def opening(w):
        return w

    @hypothesis.output(domain=LETTERS)
    def letter(opening, colour, x, y, z, p, q, r, s):
        return (p, q, r, s)[_place(colour, opening, x, y, z)]

    return hypothesis.check()


def _draw_questions(rng: np.random.Generator, n: int) -> dict[str, list[str]]:
    chosen = rng.permuted(np.tile(np.arange(len(COLOURS)), (n, 1)), axis=1)[:, : len(CHOICES)]
    letters = rng.permuted(np.tile(np.arange(len(LETTERS)), (n, 1)), axis=1)[:, : len(SYMBOLS)]
    asked = chosen[np.arange(n), rng.integers(len(CHOICES), size=n)]
    drawn = {"colour": [COLOURS[i] for i in asked]}
    drawn |= {name: [COLOURS[i] for i in column] for name, column in zip(CHOICES, chosen.T, strict=True)}
    return drawn | {
        name: [LETTERS[i] for i in column] for name, column in zip(SYMBOLS, letters.T, strict=True)
    }


questions = Distribution(
    "four different colours, one of them the box's, behind four different letters", _draw_questions
)
"""Proper questions; of whatever else the inputs may hold the first right choice counts, or w where none is right."""


def network(algorithm: Algorithm, *, seed: int, layers: int = 3, width: int = 64, heads: int = 4) -> Network:
    """An untrained Llama over the words of these questions."""
    from transformers import LlamaConfig

    words = TEMPLATE.format(**dict.fromkeys(("colour", *CHOICES, *SYMBOLS), ""))
    tokenizer = word_tokenizer([words, *COLOURS, *LETTERS], begin=True)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        initializer_range=width**-0.5,
        max_position_embeddings=32,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Network(
        untrained_model(config, seed=seed),
        tokenizer,
        template=TEMPLATE,
        answers=answers(),
        name="multiple-choice Llama",
    )


def train(
    network: Network, algorithm: Algorithm, *, seed: int, progress: Progress | None = None, steps: int = STEPS
) -> Network:
    """The network trained on nine tenths of the questions."""
    return train_language(
        network,
        algorithm,
        steps=steps,
        batch=BATCH,
        lr=RATE,
        weight_decay=DECAY,
        distribution=questions,
        seed=seed,
        progress=progress,
    )


def answers() -> dict[Hashable, str]:
    """The text of every letter, as it follows the question."""
    return {letter: f" {letter}" for letter in LETTERS}


def _place(colour: str, *choices: str) -> int:
    return choices.index(colour) if colour in choices else 0


def _questions(name: str) -> Algorithm:
    hypothesis = Algorithm(name)
    hypothesis.input("colour", domain=COLOURS)
    hypothesis.inputs(CHOICES, domain=COLOURS)
    hypothesis.inputs(SYMBOLS, domain=LETTERS)
    return hypothesis
