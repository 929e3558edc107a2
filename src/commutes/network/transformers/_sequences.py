"""Prompts with their answers behind them, as a language model is trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from commutes.errors import FitError

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm
    from commutes.network._network import Network
    from commutes.network.transformers._language import Language

# The class of positions without a target: what torch's cross-entropy leaves out.
NOTHING = -100

# Rows that are answered at once.
_ROWS = 512


def language_examples(
    network: Network, algorithm: Algorithm, inputs: Mapping[str, np.ndarray], *, whole: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a language model is fed and the tokens that are to follow, for columns of the algorithm's inputs.

    Args:
        network: A language model that continues prompts.
        algorithm: That says the answers.
        inputs: Columns of its inputs.
        whole: The targets are the next tokens everywhere, the prompt's own too; otherwise the answer's alone.

    Returns:
        Tokens, which of them count, and, where the model takes them, positions, padded on the left and without the
        answer's last token (n, 3 or 2, length); the targets at the last positions (n, tokens of an answer), or at
        all (n, length).

    Raises:
        FitError: Not such a model, or an output that is not among its answers.
        NetworkError: A prompt that cannot be fed, such as one with a part that the tokenizer does not know.
    """
    language = continuing(network)
    columns = dict(inputs)
    prompts = language.prompts(algorithm.arrays(columns))
    answers = _answers(network, language, algorithm, columns)
    fed = language.prompt.padded([row.ids + a[:-1] for row, a in zip(prompts, answers, strict=True)])
    parts = list(fed.values())
    targets = torch.tensor(answers)
    if whole:
        shifted = torch.cat([parts[0][:, 1:], targets[:, -1:]], dim=1)
        targets = torch.where(parts[1] == 1, shifted, NOTHING)
    return torch.stack(parts, dim=1).to(network.device), targets.to(network.device)


def read_sequences(model: Any, fed: torch.Tensor, kept: int, options: Mapping[str, object]) -> torch.Tensor:
    """Logits at the last `kept` positions.  # shape: (n, 3 or 2, length) -> (n, kept, vocabulary)"""
    given = dict(zip(("input_ids", "attention_mask", "position_ids"), fed.unbind(dim=1), strict=False))
    chosen = {name: kept if name == "logits_to_keep" else value for name, value in options.items()}
    returned = model(**given, **chosen)
    return returned.logits[:, -kept:]


def answered(network: Network, algorithm: Algorithm, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether a language model answers as the algorithm does: every token the likeliest of the vocabulary.

    A model that is fed the right answer and finds each of its tokens the likeliest would have written it, and
    the other way round: one run tells what greedy decoding gives.

    Args:
        network: A language model that continues prompts, in evaluation mode.
        algorithm: That says what is right.
        inputs: Columns of its inputs.

    Returns:
        One truth value per input.  # shape: (n,)

    Raises:
        FitError: As in `language_examples`.
        NetworkError: The network is in training mode.
    """
    network.check_mode()
    fed, targets = language_examples(network, algorithm, inputs)
    return right(network.module, fed, targets, network.options)


def right(model: Any, fed: torch.Tensor, targets: torch.Tensor, options: Mapping[str, object]) -> np.ndarray:
    """Whether all targets are the likeliest tokens, by row.  # shape: (n,)"""
    found = []
    with torch.no_grad():
        for rows, asked in zip(fed.split(_ROWS), targets.split(_ROWS), strict=True):
            logits = read_sequences(model, rows, asked.shape[1], options)
            found.append((logits.argmax(dim=-1) == asked).all(dim=1))
    return torch.cat(found).cpu().numpy()


def continuing(network: Network) -> Language:
    """The network's language.

    Raises:
        FitError: It is no language model, or one that answers in place of a mask.
    """
    language = network.language
    if language is None or language.prompt.mask is not None:
        raise FitError(
            "this is for language models that continue a prompt",
            where=network.name,
            got="a network without a tokenizer" if language is None else "a model that fills in a mask",
            expected="Network(model, tokenizer, template=..., answers=...) of a causal language model",
            fix="train other networks with commutes.network.train",
        )
    return language


def _answers(
    network: Network, language: Language, algorithm: Algorithm, columns: dict[str, np.ndarray]
) -> list[tuple[int, ...]]:
    tokens = {(type(value), value): ids for value, ids in language.tokens.items()}
    output = algorithm.output_variable
    values = algorithm.values(output, algorithm.run(columns)[output.name])
    missing = next((value for value in values if (type(value), value) not in tokens), None)
    if missing is not None:
        raise FitError(
            "the network has no answer for an output of the algorithm",
            where=f"{output.name} of {algorithm.name}",
            got=repr(missing),
            expected=f"one of its {len(tokens)} answers: {', '.join(map(repr, list(language.tokens)[:8]))}"
            + (", ..." if len(tokens) > 8 else ""),
            fix="give Network answers= with a text for every value of the output",
        )
    return [tokens[type(value), value] for value in values]
