"""Drawn decoders, prompts, sites and pairs: cones are whole runs, whatever the configuration says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commutes import Network
from commutes.engine import cone_certificate, logits_together
from tests.network.transformers import models as M

from . import cones as C
from .cones import CLOSE

# Of a rope that is stretched everything but the type is drawn small: prompts have 4 to 8 tokens.
ROPES = ("default", "linear", "yarn", "llama3", "longrope")
SWITCH = "original_max_position_embeddings"
ROTARY = ("llama", "mistral", "qwen2", "qwen3", "olmo2", "phi3")


@dataclass(frozen=True)
class Drawn:
    """Everything that a case is made of; printed by hypothesis where one fails."""

    family: str
    changes: dict[str, Any]
    a: tuple[int, ...]
    b: tuple[int, ...]
    cases: tuple[tuple[str, int, Any], ...]
    base: tuple[int, ...]
    source: tuple[tuple[int, int], ...]


def rope(draw: Any, kinds: tuple[str, ...], width: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(kinds))
    more: dict[str, dict[str, Any]] = {
        "default": {},
        "linear": {"factor": 2.5},
        "yarn": {"factor": 2.0, "original_max_position_embeddings": 4},
        "llama3": {
            "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8,
        },
        "longrope": {
            "short_factor": [1.0 + i / 4 for i in range(width // 2)],
            "long_factor": [2.0 + i for i in range(width // 2)],
            SWITCH: draw(st.sampled_from((3, 5, 9))),
            "factor": 2.0,
        },
    }  # fmt: skip
    return {"rope_type": kind, "rope_theta": 100.0, **more[kind]}


def changes(draw: Any, family: str) -> dict[str, Any]:
    """A configuration of the family."""
    depth, flag = draw(st.integers(1, 4)), st.booleans()
    window = st.sampled_from((1, 2, 3, 5, 40))
    if family == "gpt2":
        return {
            "n_layer": depth, "n_head": draw(st.sampled_from((1, 2, 4))), "scale_attn_weights": draw(flag),
            "scale_attn_by_inverse_layer_idx": draw(flag), "tie_word_embeddings": draw(flag),
        }  # fmt: skip
    heads = draw(st.sampled_from((1, 2, 4)))
    found: dict[str, Any] = {"num_hidden_layers": depth, "num_attention_heads": heads}
    if family == "gpt_neox":
        pct = {
            "rope_type": "default",
            "rope_theta": 100.0,
            "partial_rotary_factor": draw(st.sampled_from((0.5, 1.0))),
        }
        return found | {
            "rope_parameters": pct, "use_parallel_residual": draw(flag), "tie_word_embeddings": draw(flag),
        }  # fmt: skip
    found["num_key_value_heads"] = draw(st.sampled_from([n for n in (1, 2, 4) if heads % n == 0]))
    found["tie_word_embeddings"] = draw(flag)
    width: int = 16 // heads
    if family in ("llama", "qwen3", "gemma2", "gemma3_text"):
        width = draw(st.sampled_from((4, 6, 8)))
        found["head_dim"] = width
    if family in ROTARY:
        # Phi-3 knows of no other.
        found["rope_parameters"] = rope(draw, ("default", "longrope") if family == "phi3" else ROPES, width)
        if family == "phi3":
            found["original_max_position_embeddings"] = found["rope_parameters"].get(SWITCH, 24)
    if family in ("llama", "qwen3", "olmo2"):
        found["attention_bias"] = draw(flag)
    if family == "llama":
        found["mlp_bias"] = draw(flag)
    if family in ("mistral", "phi3"):
        found["sliding_window"] = draw(st.none() | window)
    if family in ("qwen2", "qwen3"):
        use = draw(flag)
        found |= {
            "use_sliding_window": use, "sliding_window": draw(window) if use else None,
            "max_window_layers": draw(st.integers(0, depth)), "layer_types": None,
        }  # fmt: skip
    if family in ("gemma2", "gemma3_text"):
        found |= {"sliding_window": draw(window), "query_pre_attn_scalar": draw(st.sampled_from((4, 16)))}
        found["final_logit_softcapping"] = draw(st.none() | st.just(2.0))
        found["layer_types"] = draw(
            st.lists(st.sampled_from(("sliding_attention", "full_attention")), min_size=depth, max_size=depth)
        )
    if family == "gemma2":
        found["attn_logit_softcapping"] = draw(st.none() | st.just(1.5))
    return found


@st.composite
def drawn(draw: Any) -> Drawn:
    family = draw(st.sampled_from(C.DECODERS))
    change = changes(draw, family)
    depth: int = change["n_layer" if family == "gpt2" else "num_hidden_layers"]
    n = draw(st.integers(1, 4))
    digits = 3 if family in C.PADDED else 0
    a, b = (tuple(draw(st.integers(0, 999 if digits else 9)) for _ in range(n)) for _ in range(2))
    case = st.tuples(
        st.sampled_from(C.NAMES),
        st.integers(0, depth - 1),
        st.sampled_from(("last", "{a[first]}", "{b[last]}", -2)),
    )
    cases = tuple(draw(st.lists(case, min_size=1, max_size=4)))
    row = st.integers(0, n - 1)
    base = tuple(draw(st.lists(row, min_size=1, max_size=5)))
    source = tuple((draw(row), draw(row)) for _ in base)
    return Drawn(family, change, a, b, cases, base, source)


def check(case: Drawn) -> None:
    network = Network(
        M.model(case.family, **case.changes),
        M.fitting_tokenizer(case.family),
        template=M.PROMPT,
        answers=M.DIGITS,
    )
    inputs = {"a": np.array(case.a), "b": np.array(case.b)}
    found = cone_certificate(network, network.encode(inputs))
    lengths = {len(str(a)) + len(str(b)) for a, b in zip(case.a, case.b, strict=True)}
    if "longrope" in str(case.changes) and len(lengths) > 1 and not found.holds:
        assert "longrope" in found.reason
        return
    assert found.holds, found.reason
    prepared, parameters = C.ready(network, inputs, [[C.site(network, *one)] for one in case.cases])
    runs = [C.edited(p, raws, case.base, case.source) for p, raws in zip(prepared, parameters, strict=True)]
    with torch.no_grad():
        for run, logits in zip(runs, logits_together(runs), strict=True):
            assert (logits - C.whole(run)).abs().max() < CLOSE


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Configurations that are drawn deserve the library's remarks."""
    before = hf.logging.get_verbosity()
    hf.logging.set_verbosity_error()
    yield
    hf.logging.set_verbosity(before)


SETTINGS = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@settings(SETTINGS, max_examples=25)
@given(drawn())
def test_drawn_decoders(case: Drawn) -> None:
    check(case)


@pytest.mark.slow
@settings(SETTINGS, max_examples=120)
@given(drawn())
def test_many_drawn_decoders(case: Drawn) -> None:
    check(case)
