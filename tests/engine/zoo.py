"""Tiny random models of further types, to be run exactly or refused with a reason."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from commutes import Network
from tests.network.transformers import models as M

V = M.VOCABULARY
_GPT: dict[str, Any] = {
    "vocab_size": V, "n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 24, "initializer_range": 0.3,
    "bos_token_id": 2, "eos_token_id": 3,
}  # fmt: skip
_SHARED = M.CONFIGS["olmo2"][1]
_OWN = {name: value for name, value in _SHARED.items() if name != "num_key_value_heads"}
_EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 10}
_LINEAR = {
    "linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 4, "linear_value_head_dim": 4,
}  # fmt: skip
_MAMBA = {
    "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 4, "mamba_n_groups": 1, "mamba_d_ssm": 32,
}  # fmt: skip

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("BloomConfig", {**_GPT, "hidden_size": 16}),
    "falcon": ("FalconConfig", _OWN),
    "falcon alibi": ("FalconConfig", {**_OWN, "alibi": True}),
    "opt": ("OPTConfig", {**_OWN, "ffn_dim": 20, "init_std": 0.3, "word_embed_proj_dim": 16}),
    "gpt_neo": (
        "GPTNeoConfig",
        {
            **_OWN, "num_layers": 3, "num_heads": 4, "attention_types": [[["global", "local", "global"], 1]],
            "window_size": 4,
        },
    ),
    "gptj": ("GPTJConfig", {**_GPT, "rotary_dim": 2}),
    "cohere2": ("Cohere2Config", {**_SHARED, "sliding_window": 4}),
    "stablelm": ("StableLmConfig", _SHARED),
    "mixtral": ("MixtralConfig", {**_SHARED, **_EXPERTS, "sliding_window": 4}),
    "qwen3_moe": ("Qwen3MoeConfig", {**_SHARED, **_EXPERTS, "head_dim": 6}),
    "gpt_oss": (
        "GptOssConfig",
        {
            **_SHARED, **_EXPERTS, "head_dim": 6, "sliding_window": 4,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
        },
    ),
    "mpt": ("MptConfig", {"vocab_size": V, "d_model": 16, "n_layers": 3, "n_heads": 4, "max_seq_len": 24}),
    "codegen": ("CodeGenConfig", {**_GPT, "rotary_dim": 2}),
    "gpt_bigcode": ("GPTBigCodeConfig", _GPT),
    "ctrl": ("CTRLConfig", {**_GPT, "dff": 20}),
    "cohere": ("CohereConfig", _SHARED),
    "gemma": ("GemmaConfig", {**_SHARED, "head_dim": 6}),
    "glm": ("GlmConfig", {**_SHARED, "head_dim": 4}),
    "granite": ("GraniteConfig", _SHARED),
    "nemotron": ("NemotronConfig", _SHARED),
    "olmo3": ("Olmo3Config", {**_SHARED, "sliding_window": 4}),
    "phi": ("PhiConfig", _OWN),
    "starcoder2": ("Starcoder2Config", {**_SHARED, "sliding_window": 4}),
    "mamba": ("MambaConfig", {**_OWN, "state_size": 4}),
    "recurrent_gemma": ("RecurrentGemmaConfig", {**_SHARED, "attention_window_size": 4, "lru_width": 16}),
    "jamba": (
        "JambaConfig",
        {
            **_SHARED, **_EXPERTS, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4,
            "mamba_dt_rank": 2, "use_mamba_kernels": False,
        },
    ),
    "qwen3_next": (
        "Qwen3NextConfig",
        {
            **_SHARED, **_EXPERTS, **_LINEAR, "num_hidden_layers": 4, "head_dim": 8,
            "shared_expert_intermediate_size": 10,
        },
    ),
    "lfm2": ("Lfm2Config", {**_SHARED, "layer_types": ["conv", "full_attention", "conv"]}),
    "bamba": ("BambaConfig", {**_SHARED, **_MAMBA, "attn_layer_indices": [1]}),
    "gemma3n": (
        "Gemma3nTextConfig",
        {
            **_SHARED, "num_hidden_layers": 4, "head_dim": 8, "num_kv_shared_layers": 2, "sliding_window": 4,
            "vocab_size_per_layer_input": V, "hidden_size_per_layer_input": 4, "laurel_rank": 4,
            "layer_types": ["sliding_attention", "full_attention"] * 2, "activation_sparsity_pattern": [0.0] * 4,
        },
    ),
}  # fmt: skip


def model(kind: str, *, dtype: torch.dtype = torch.float64) -> Any:
    name, options = CONFIGS[kind]
    config = getattr(hf, name)(**options)
    # The experts' product of groups is not there in float64.
    more = {"experts_implementation": "eager"} if "num_experts" in options else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return hf.AutoModelForCausalLM.from_config(config, **more).to(dtype).eval()


def network(kind: str) -> Network:
    return Network(model(kind), M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
