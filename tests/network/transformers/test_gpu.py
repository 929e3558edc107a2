"""What needs an accelerator: the device follows the hooked tensor, also over several devices."""

from __future__ import annotations

import pytest
import torch

import commutes as cm
from commutes.engine import Edited, logits_together, prepare_all
from commutes.features import Subspace, orthonormal

from . import models as M

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def hypothesis() -> cm.Algorithm:
    algorithm = cm.Algorithm("last digit")
    a, b = algorithm.inputs("a b", domain=range(12))
    algorithm.add("left", a, f=lambda a: a % 5)
    algorithm.add("digit", "left", b, f=lambda left, b: (left + b) % 10, output=True)
    return algorithm


def on(device: object, family: str, dtype: torch.dtype) -> cm.Network:
    model = M.model(family, dtype=dtype)
    if isinstance(device, dict):
        from accelerate import dispatch_model

        model = dispatch_model(model, device_map=device)
    else:
        model = model.to(device)
    return cm.Network(model, M.fitting_tokenizer(family), template=M.prompt(family), answers=M.DIGITS)


def logits(network: cm.Network, algorithm: cm.Algorithm) -> list[torch.Tensor]:
    pairs = cm.counterfactuals(algorithm, 40, seed=0)
    sites = [[network.site("block_output", layer=layer, position="last")] for layer in range(3)]
    ready = prepare_all(network, algorithm.arrays(pairs.inputs), sites)
    device = network.device
    base, source = torch.from_numpy(pairs.base).to(device), torch.from_numpy(pairs.source).to(device)
    basis = orthonormal(torch.randn(16, 3, generator=torch.Generator().manual_seed(0))).to(device)
    mask = torch.ones(len(base), 1, 3, dtype=torch.bool, device=device)
    runs = [Edited(one, one.batch(base, source), [Subspace(basis, basis)], [mask]) for one in ready]
    with torch.no_grad():
        return [found.cpu().double() for found in logits_together(runs)]


@pytest.mark.parametrize("family", [f for f in M.FAMILIES if f != "gemma2"])
def test_an_accelerator_gives_what_the_processor_gives(family: str) -> None:
    algorithm = hypothesis()
    here, there = (logits(on(device, family, torch.float32), algorithm) for device in ("cpu", "cuda"))
    for one, other in zip(here, there, strict=True):
        assert (one - other).abs().max() < 1e-4


def test_half_precision_with_single_precision_subspaces_is_fitted_and_measured() -> None:
    algorithm, network = hypothesis(), on("cuda", "llama", torch.bfloat16)
    site = network.site("block_output", layer=1, position="last")
    claim = cm.Alignment(algorithm, {algorithm["left"]: cm.Rotation(site)[:2]})
    train, test = cm.counterfactuals(algorithm, 120, seed=1).split(train=0.5, test=0.5)
    fitted = cm.fit(claim, train, seed=0, steps=3, batch=8, starts=1)
    assert fitted.subspace(algorithm["left"]).reader.dtype == torch.float32
    assert 0 <= cm.evaluate(fitted, test).overall.rate <= 1


def test_a_model_over_several_devices_runs_where_its_blocks_are() -> None:
    algorithm = hypothesis()
    second = "cuda:1" if torch.cuda.device_count() > 1 else "cpu"
    places = {
        "model.embed_tokens": "cuda:0", "model.rotary_emb": "cuda:0", "model.layers.0": "cuda:0",
        "model.layers.1": second, "model.layers.2": second, "model.norm": second, "lm_head": second,
    }  # fmt: skip
    whole = logits(on("cpu", "llama", torch.float32), algorithm)
    for one, other in zip(whole, logits(on(places, "llama", torch.float32), algorithm), strict=True):
        assert (one - other).abs().max() < 1e-4
