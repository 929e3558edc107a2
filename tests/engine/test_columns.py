"""Columns of the logits: the head answers with these rows only, where nobody means all of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from commutes import Network
from commutes.engine import forward
from commutes.features import Neurons
from commutes.network import Moment
from tests.network.transformers import models as M

from . import cones as C
from . import nets, zoo
from .cones import CLOSE

COLUMNS = torch.tensor([9, 3, 17, 3])


def both(network: Network, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Selected by the forward, and from all."""
    kwargs = network.encode(C.values(False)).kwargs
    options = {"taps": {}, **options}
    with torch.no_grad():
        found = forward(network, (), kwargs, columns=COLUMNS, **options)
        return found, forward(network, (), kwargs, **options)[..., COLUMNS]


def same(network: Network, **options: Any) -> bool:
    found, expected = both(network, **options)
    assert found.shape == expected.shape
    return bool((found - expected).abs().max() < CLOSE)


@pytest.mark.parametrize("family", M.FAMILIES)
def test_columns_are_columns_of_the_logits(family: str) -> None:
    """Scaled, capped or tied, of a decoder or a masked model."""
    assert same(M.network(family))
    if family != "bert":
        assert same(M.network(family, tie_word_embeddings=True))


@pytest.mark.parametrize("kind", ["cohere2", "granite", "gptj"])
def test_columns_of_further_heads(kind: str) -> None:
    assert same(zoo.network(kind))


def test_of_several_tokens() -> None:
    network = Network(
        M.model("llama"),
        M.fitting_tokenizer("llama"),
        template=M.PROMPT,
        answers={i: f"{i}" for i in range(10, 30)},
    )
    found, expected = both(network)
    assert found.shape == (4, 2, 4)
    assert (found - expected).abs().max() < CLOSE


def test_with_other_weights_than_the_modules_own() -> None:
    network = C.network("llama")
    weights = {name: 1.5 * p.detach() + 0.1 for name, p in network.module.named_parameters()}
    assert same(network, weights=weights)
    assert (both(network, weights=weights)[0] - both(network)[0]).abs().max() > 1e-2


def test_where_the_head_itself_is_edited() -> None:
    """Features 0 and 1 of the head are not the first columns that are asked for."""
    network = C.network("llama")
    moment = Moment("lm_head", "output", None, None)

    def edit(logits: torch.Tensor) -> torch.Tensor:
        logits = logits.clone()
        logits[..., [3, 9]] += 100
        return logits

    assert same(network, taps={moment: edit})
    site = network.site("lm_head", part=[3, 9])
    (prepared,), _ = C.ready(network, C.values(False), [[site]])
    batch = prepared.batch(torch.tensor([0, 1]), torch.tensor([[1], [0]]))
    masks, neurons = [torch.ones(2, 1, 2, dtype=torch.bool)], [Neurons(torch.tensor([0, 1]))]
    with torch.no_grad():
        full = prepared.logits(batch, neurons, masks)
        assert torch.equal(prepared.logits(batch, neurons, masks, columns=COLUMNS), full[:, COLUMNS])


class Louder(nn.Linear):
    """A head of another making, such as one of fewer bits."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 3 * super().forward(input)


@pytest.mark.parametrize("how", ["its own class", "its own forward", "a hook", "another module"])
def test_a_head_of_the_users_own_is_honoured(how: str) -> None:
    network = M.network("llama")
    model: Any = network.module
    plain = both(network)[1]
    if how == "its own class":
        model.lm_head.__class__ = Louder
    elif how == "its own forward":
        own = model.lm_head.forward
        model.lm_head.forward = lambda state: 3 * own(state)
    elif how == "a hook":
        model.lm_head.register_forward_hook(lambda _m, _a, out: 3 * out)
    else:
        model.lm_head = nn.Sequential(model.lm_head, nn.Hardtanh(-1e9, 1e9))
        assert same(Network(model, M.fitting_tokenizer("llama"), template=M.PROMPT, answers=M.DIGITS))
        return
    assert same(network)
    assert (both(network)[0] - 3 * plain).abs().max() < CLOSE


def test_of_any_other_network() -> None:
    network = nets.mlp().network()
    inputs = network.encode(nets.values())
    columns = torch.tensor([1, 0])
    with torch.no_grad():
        full = forward(network, inputs.args, inputs.kwargs, taps={})
        found = forward(network, inputs.args, inputs.kwargs, taps={}, columns=columns)
    assert torch.equal(found, full[:, columns])
