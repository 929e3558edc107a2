"""Language models of the Hugging Face library: prompts with slots, places by name, positions by meaning."""

from commutes.network.transformers._anatomy import Anatomy, anatomy
from commutes.network.transformers._answers import Spelt
from commutes.network.transformers._language import Language, language
from commutes.network.transformers._names import NAMES
from commutes.network.transformers._places import Head
from commutes.network.transformers._positions import Meaning, TokenPosition, token_position
from commutes.network.transformers._pretrained import pretrained, save_pretrained
from commutes.network.transformers._prompt import Prompt, Tokens
from commutes.network.transformers._reread import reread
from commutes.network.transformers._sequences import answered, language_examples
from commutes.network.transformers._template import Template, template
from commutes.network.transformers._tokenizers import character_tokenizer, word_tokenizer
from commutes.network.transformers._training import held_out, train_language, untrained_model

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
    "answered",
    "character_tokenizer",
    "held_out",
    "language",
    "language_examples",
    "pretrained",
    "reread",
    "save_pretrained",
    "template",
    "token_position",
    "train_language",
    "untrained_model",
    "word_tokenizer",
]
