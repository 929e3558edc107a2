"""Language models of the Hugging Face library: prompts with slots, places by name, positions by meaning."""

from commutes.network.transformers._anatomy import Anatomy, anatomy
from commutes.network.transformers._answers import Spelt
from commutes.network.transformers._language import Language, language
from commutes.network.transformers._names import NAMES
from commutes.network.transformers._places import Head
from commutes.network.transformers._positions import Meaning, TokenPosition, token_position
from commutes.network.transformers._pretrained import pretrained
from commutes.network.transformers._prompt import Prompt, Tokens
from commutes.network.transformers._template import Template, template

__all__ = [
    "NAMES",
    "Anatomy",
    "Head",
    "Language",
    "Meaning",
    "Prompt",
    "Spelt",
    "Template",
    "TokenPosition",
    "Tokens",
    "anatomy",
    "language",
    "pretrained",
    "template",
    "token_position",
]
