"""What `commutes sites` lists of a language model: its places by name, and the tokens of a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from commutes.errors import SiteError

if TYPE_CHECKING:
    from commutes.network import Network, Site

__all__ = ["NamedPlace", "PromptToken", "named_places", "prompt_tokens"]


@dataclass(frozen=True)
class NamedPlace:
    """A place that every layer has, as the first layer has it."""

    name: str
    width: int | None
    """Coordinates at one token, of one head where the name is that of a head; None where the model has it not."""
    heads: int | None
    module: str
    """The module in the first layer, and whether its input is meant."""
    hook: str
    """What TransformerLens calls the same in layer N; empty where it has no name for it."""
    note: str = ""
    """Why the model has not got it."""


@dataclass(frozen=True)
class PromptToken:
    """One token of a prompt, and how a spec may name it."""

    text: str
    number: int | None
    """Its place, counted from the end: the same in every prompt whose end is the same. None behind the prompt."""
    words: tuple[str, ...]
    """Positions in words that mean this token, the plainest first."""


def named_places(network: Network, values: Mapping[str, np.ndarray]) -> list[NamedPlace]:
    """Every name of a place with its width in the first layer.

    Args:
        network: A language model.
        values: One input; the widths are read off a run of it.
    """
    from commutes.engine import layouts

    language = network.language
    assert language is not None, "only a language model has places by name"
    found: dict[str, Site | SiteError] = {}
    for name in language.names:
        head = 0 if name.startswith("head_") else None
        try:
            found[name] = network.site(name, layer=0, head=head, position="last")
        except SiteError as error:
            found[name] = error
    sites = [site for site in found.values() if not isinstance(site, SiteError)]
    widths = layouts(network, network.encode(values), sites)
    return [
        NamedPlace(name, None, language.heads(name), "", language.hook(name), site.what)
        if isinstance(site, SiteError)
        else NamedPlace(name, widths[site].width, language.heads(name), _module(site), language.hook(name))
        for name, site in found.items()
    ]


def _module(site: Site) -> str:
    moment = site.places[0].moment
    return moment.path + (" (its input)" if moment.side == "input" else "")


def prompt_tokens(network: Network, values: Mapping[str, np.ndarray]) -> list[PromptToken]:
    """The tokens of the first input's prompt and of the answer that is fed, each with what it can be called.

    Args:
        network: A language model.
        values: Inputs; the first is shown.
    """
    language = network.language
    assert language is not None, "only a language model reads a prompt"
    prompt = language.prompt
    tokens = prompt.tokens({name: column[:1] for name, column in values.items()})[0]
    texts = prompt.tokenizer.convert_ids_to_tokens(list(tokens.ids))
    total = len(tokens.ids)
    words: list[list[str]] = [[] for _ in tokens.ids]
    for slot in prompt.template.slots:
        for occurrence, piece in enumerate(prompt.template.pieces_of(slot), start=1):
            inside = [i for i, pieces in enumerate(tokens.pieces) if pieces == (piece,)]
            for i, word in _words_of(slot, occurrence, len(prompt.template.pieces_of(slot)), inside):
                words[i].append(word)
    words[total - 1].append("last")
    found = [PromptToken(str(texts[i]), i - total, tuple(words[i])) for i in range(total)]
    return found + [PromptToken("", None, (f"answer[{i}]",)) for i in range(prompt.fed)]


def _words_of(slot: str, occurrence: int, times: int, inside: list[int]) -> list[tuple[int, str]]:
    name = slot if times == 1 else f"{slot}@{occurrence}"
    if len(inside) == 1:
        return [(inside[0], f"{{{name}}}")]
    last = len(inside) - 1
    which = {0: "first", last: "last"}
    return [(i, f"{{{name}[{which.get(order, order)}]}}") for order, i in enumerate(inside)]
