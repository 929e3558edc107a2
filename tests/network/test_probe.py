from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from commutes.errors import NetworkError
from commutes.network import ModuleCall, Network
from commutes.network._probe import check_mode


class Zoo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(2, 2)
        self.idle = nn.Linear(2, 2)
        self.both = Both()
        self.best = Best()
        self.nothing = Nothing()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.cell(self.cell(x))
        self.best(x)
        self.nothing(x)
        return self.both(x)[0]


class Both(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return x, None


class Best(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.argmax(-1)


class Nothing(nn.Module):
    def forward(self, x: torch.Tensor) -> None:
        return None


class Attention(nn.Module):
    """As transformers write it: what is dropped is a number, and no module drops it."""

    def __init__(self, *, attention_dropout: float = 0.0, router_jitter_noise: float = 0.0) -> None:
        super().__init__()
        self.attention_dropout, self.router_jitter_noise = attention_dropout, router_jitter_noise

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, self.attention_dropout, self.training)


VALUES = {"i": np.arange(3)}


def _network(module: nn.Module) -> Network:
    return Network(module, encode=lambda v: torch.zeros(len(v["i"]), 2), answers=[0, 1])


def test_every_module_is_listed_with_its_calls_and_shapes() -> None:
    assert _network(Zoo()).probe(VALUES) == [
        ModuleCall("", "Zoo", 1, (3, 2)),
        ModuleCall("cell", "Linear", 2, (3, 2)),
        ModuleCall("idle", "Linear", 0, None, "does not run"),
        ModuleCall("both", "Both", 1, None, "a tuple of (3, 2), NoneType: choose with item="),
        ModuleCall("best", "Best", 1, (3,), "holds int64, no activations"),
        ModuleCall("nothing", "Nothing", 1, None, "returns NoneType"),
    ]


def test_probing_leaves_no_hooks_also_after_an_exception() -> None:
    module = Zoo()
    network = _network(module)
    network.probe(VALUES)
    module.both.forward = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        network.probe(VALUES)
    assert not any(m._forward_hooks for m in module.modules())


RANDOM: list[tuple[nn.Module, str]] = [
    (nn.Dropout(0.1), "Dropout"),
    (nn.Dropout2d(0.1), "Dropout2d"),
    (nn.AlphaDropout(0.1), "AlphaDropout"),
    (nn.BatchNorm1d(2), "BatchNorm1d"),
    (nn.InstanceNorm1d(2, track_running_stats=True), "InstanceNorm1d"),
    (nn.MultiheadAttention(2, 1, dropout=0.1), "MultiheadAttention"),
    (nn.GRU(2, 2, num_layers=2, dropout=0.1), "GRU"),
    (nn.RReLU(), "RReLU"),
    (Attention(attention_dropout=0.1), "Attention"),
    (Attention(router_jitter_noise=0.1), "Attention"),
]


@pytest.mark.parametrize(("part", "kind"), RANDOM, ids=[kind for _, kind in RANDOM])
def test_a_module_that_answers_at_random_is_refused_in_training_mode_only(part: nn.Module, kind: str) -> None:
    network = _network(nn.Sequential(nn.Identity(), part))
    with pytest.raises(NetworkError) as caught:
        network.probe(VALUES)
    assert str(caught.value) == (
        "the network is in training mode\n"
        "  where:    1\n"
        f"  got:      {kind} in training mode\n"
        "  expected: a network that gives the same answer twice\n"
        "  do:       call module.eval() first"
    )
    network.module.eval()
    network.check_mode()


@pytest.mark.parametrize(
    "part",
    [
        nn.Dropout(0.0),
        nn.InstanceNorm1d(2),
        nn.LayerNorm(2),
        nn.MultiheadAttention(2, 1),
        nn.GRU(2, 2),
        Attention(),
    ],
    ids=lambda part: type(part).__name__,
)
def test_training_mode_alone_is_no_fault(part: nn.Module) -> None:
    _network(nn.Sequential(part).train()).check_mode()


def test_batch_statistics_without_a_memory_are_refused_in_any_mode() -> None:
    for mode in (True, False):
        network = _network(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)).train(mode))
        with pytest.raises(NetworkError) as caught:
            network.check_mode()
        assert str(caught.value) == (
            "the network's answer to one input depends on the others in the batch\n"
            "  where:    0\n"
            "  got:      BatchNorm1d without running statistics\n"
            "  expected: a network that answers each input alone\n"
            "  do:       train it with track_running_stats=True"
        )


def test_probing_does_not_change_running_statistics() -> None:
    module: Any = nn.Sequential(nn.BatchNorm1d(2)).eval()
    before = module[0].running_mean.clone()
    _network(module).probe(VALUES)
    assert torch.equal(module[0].running_mean, before)
    assert int(module[0].num_batches_tracked) == 0


def test_weights_that_were_made_in_inference_mode_are_refused() -> None:
    with torch.inference_mode():
        module = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(NetworkError) as caught:
        check_mode(dict(module.named_modules()))
    assert str(caught.value) == (
        "the network's weights were made in inference mode\n"
        "  where:    0\n"
        "  got:      tensors of which torch keeps nothing that a gradient needs\n"
        "  expected: weights that were made or loaded outside torch.inference_mode()\n"
        "  do:       load the model outside of it; for runs without gradients torch.no_grad() is enough"
    )
