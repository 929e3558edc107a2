"""The same training step through pyvene, by its public interface."""

from __future__ import annotations

import contextlib
import copy
import io
import weakref
from typing import Any

import torch
from torch.nn.functional import cross_entropy

import commutes as cm
from commutes.evaluation import answers_of

_models: weakref.WeakKeyDictionary[cm.Network, Any] = weakref.WeakKeyDictionary()


def _own(network: cm.Network) -> Any:
    """A copy of the model for pyvene, which hooks what it is given and switches its gradients off."""
    if network not in _models:
        _models[network] = copy.deepcopy(network.module)
    return _models[network]


class Peer:
    """A low-rank rotated-space intervention at one block's output and the last position."""

    def __init__(
        self,
        network: cm.Network,
        pairs: cm.Counterfactuals,
        layer: int,
        k: int,
        *,
        keep_last: bool,
        columns: int | None = None,
    ) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            import pyvene

        inputs = network.encode(pairs.algorithm.arrays(pairs.inputs))
        base, source = torch.from_numpy(pairs.base), torch.from_numpy(pairs.source[:, 0])
        self.base, self.source = ({k: t[rows] for k, t in inputs.kwargs.items()} for rows in (base, source))
        if keep_last:
            self.base |= {"logits_to_keep": 1}
            self.source |= {"logits_to_keep": 1}
        tokens = inputs.kwargs["input_ids"].shape[1]
        self.where: Any = [[[tokens - 1]] * len(base)]
        representation = pyvene.RepresentationConfig(layer, "block_output", "pos", 1, low_rank_dimension=k)
        kind: Any = pyvene.LowRankRotatedSpaceIntervention
        config = pyvene.IntervenableConfig([representation], kind)
        self.model: Any = pyvene.IntervenableModel(config, _own(network))
        self.model.disable_model_gradients()
        (self.intervention,) = self.model.interventions.values()
        self.adam = torch.optim.Adam(self.intervention.rotate_layer.parameters(), lr=1e-3)
        self.columns = columns
        spelt = torch.from_numpy(answers_of(network, pairs.algorithm).targets(pairs.expected))
        self.targets = spelt
        if columns is not None:
            assert network.spelling is not None
            self.kept = torch.from_numpy(network.spelling[:, 0])
            self.targets = (spelt[:, None] == self.kept).nonzero()[:, 1]

    def run(self) -> torch.Tensor:
        _, found = self.model(self.base, [self.source], {"sources->base": (self.where, self.where)})
        return found.logits[:, -1]

    def logits(self, basis: torch.Tensor) -> torch.Tensor:
        self.intervention.rotate_layer.weight = basis
        return self.run()

    def step(self) -> None:
        self.adam.zero_grad()
        logits = self.run()
        if self.columns is not None:
            logits = logits[:, self.kept]
        cross_entropy(logits, self.targets).backward()
        self.adam.step()
