"""Tiny random transformers of every family, and fast tokenizers made here: nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers as hf
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

from commutes import Network

SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "[EOS]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (
    *(str(d) for d in range(10)),
    "+",
    "=",
    " ",
    "a",
    "b",
    "plus",
    "is",
    "Paris",
    "Rome",
    "x",
    "y",
    ":",
    "#",
)
VOCABULARY = len(SPECIAL) + len(WORDS)

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 24,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
_SHARED = {**_SIZES, "num_key_value_heads": 2}

# Each with its awkward options on: explicit head widths, shared heads, windows shorter than the prompt.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2Config",
        {
            "vocab_size": VOCABULARY,
            "n_embd": 16,
            "n_layer": 3,
            "n_head": 4,
            "n_positions": 24,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "initializer_range": 0.3,
        },
    ),
    "gpt_neox": ("GPTNeoXConfig", _SIZES),
    "llama": ("LlamaConfig", {**_SHARED, "head_dim": 6, "attention_bias": True}),
    "mistral": ("MistralConfig", {**_SHARED, "sliding_window": 4}),
    "qwen2": (
        "Qwen2Config",
        {**_SHARED, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {**_SHARED, "head_dim": 6}),
    "gemma2": (
        "Gemma2Config",
        {**_SHARED, "head_dim": 6, "sliding_window": 4, "query_pre_attn_scalar": 6},
    ),
    "gemma3_text": (
        "Gemma3TextConfig",
        {**_SHARED, "head_dim": 6, "sliding_window": 4, "sliding_window_pattern": 2},
    ),
    "olmo2": ("Olmo2Config", _SHARED),
    "phi3": ("Phi3Config", {**_SHARED, "sliding_window": 4}),
    "bert": ("BertConfig", _SIZES),
}
FAMILIES = tuple(CONFIGS)
# Gemma 2 attends eagerly only, and eager attention in float64 is NaN where a prompt is padded: its mask is made
# of float64's minimum, its softmax is taken in float32.
PADDED = tuple(f for f in FAMILIES if f != "gemma2")


def model(family: str, *, dtype: torch.dtype = torch.float64, **changes: Any) -> Any:
    """A random model in evaluation mode; the global generator stays as it was."""
    kind, options = CONFIGS[family]
    config = getattr(hf, kind)(**{**options, **changes})
    make = hf.AutoModelForMaskedLM if family == "bert" else hf.AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return make.from_config(config).to(dtype).eval()


def tokenizer(
    *, words: Sequence[str] = WORDS, ends: str | None = None, specials: Sequence[str] = SPECIAL
) -> Any:
    """One token per digit, word, sign and blank; `ends` says which special tokens surround the prompt."""
    vocabulary = {word: i for i, word in enumerate((*specials, *words))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d|[A-Za-z]+|[^A-Za-z\d]"), "isolated")
    if ends is not None:
        core.post_processor = processors.TemplateProcessing(
            single=ends, special_tokens=[(s, vocabulary[s]) for s in specials if s in ends]
        )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", bos_token="[BOS]", eos_token="[EOS]",
        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def fitting_tokenizer(family: str) -> Any:
    """The tokenizer in the family's own manner: BERT surrounds the prompt, some decoders begin it."""
    if family == "bert":
        return tokenizer(ends="[CLS] $A [SEP]")
    return tokenizer(ends="[BOS] $A") if family in ("llama", "gemma2") else tokenizer()


PROMPT = "{a}+{b}="
DIGITS = {i: str(i) for i in range(10)}


def prompt(family: str) -> str:
    return PROMPT + "[MASK]" if family == "bert" else PROMPT


def network(family: str, **changes: Any) -> Network:
    return Network(
        model(family, **changes), fitting_tokenizer(family), template=prompt(family), answers=DIGITS
    )
