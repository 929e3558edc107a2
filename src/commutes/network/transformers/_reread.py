"""The same model, read through another template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from commutes.errors import NetworkError

if TYPE_CHECKING:
    from commutes.network._network import Network


def reread(network: Network, template: str | Sequence[Mapping[str, str]]) -> Network:
    """The network with another prompt: the same model, and the same tokens for every answer.

    Args:
        network: Of a language model.
        template: The other prompt, with the same inputs as slots.

    Raises:
        NetworkError: The network is read by `encode=`, or the prompt cannot be used.
    """
    from commutes.network._network import Network

    if network.language is None:
        raise NetworkError(
            "a template is how a language model is read",
            where=network.name,
            got="a network with encode=",
            expected="Network(model, tokenizer, template=..., answers=...)",
            fix="make a second Network of the same module with another encode=",
        )
    return Network(
        network.module,
        network.language.prompt.tokenizer,
        template=template,
        answers=dict(network.language.tokens),
        blocks=network.blocks,
        name=network.name,
    )
