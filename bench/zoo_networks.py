"""Trains the zoo's networks that implement one of two algorithms, and measures them on all pairs of inputs.

    python bench/zoo_networks.py

writes networks.safetensors and networks.json into src/commutes/testing/zoo. Sixteen networks, twenty to fifty seconds
each on one core.
"""

from __future__ import annotations

import hashlib
import json
import time

import torch
from safetensors.torch import save

from commutes import census
from commutes.evaluation import bench
from commutes.network import MLP, Network
from commutes.testing.zoo._arms import LAYER, UNITS, Arm, OneHot, arms, rival
from commutes.testing.zoo._interchange_training import BATCH, RATE, STEPS, trained
from commutes.testing.zoo._trained import FOLDER, RECORD, SEEDS, TENSORS, claim, key, turned


def kept(arm: Arm, module: MLP) -> float:
    """Share of all pairs in which the answer stays when every unit that carries no variable is the source's."""
    encoded = OneHot(arm.inputs, arm.size)(arm.algorithm.arrays(arm.algorithm.enumerate_inputs()))
    rest = slice(len(arm.variables) * UNITS, None)
    with torch.no_grad():
        states = module.layers[0](encoded)
        for layer in module.layers[1 : LAYER + 1]:
            states = layer(states)
        plain = module(encoded).argmax(dim=1)
        same = 0
        for base, answer in zip(states, plain, strict=True):
            mixed = states.clone()
            mixed[:, : rest.start] = base[: rest.start]
            for layer in module.layers[LAYER + 1 :]:
                mixed = layer(mixed)
            same += int((module.head(mixed).argmax(dim=1) == answer).sum())
    return same / len(states) ** 2


def measured(arm: Arm, module: MLP) -> dict[str, object]:
    """Shares of right answers: plain, and per swapped set of the arm's variables and of the rival's."""
    turned_module, basis = turned(module, seed=0)
    encode = OneHot(arm.inputs, arm.size)
    network = Network(turned_module, encode=encode, answers=(False, True), blocks="layers")
    found: dict[str, object] = {}
    for word, one in (("own", arm), ("rival", rival(arm))):
        told = claim(one, network, basis)
        prepared = bench(told, census(one.algorithm, swap=[{v} for v in told.variables]))
        hits = prepared.hits(told.featurizers)
        found[word] = {"accuracy": float(prepared.right.mean())} | {
            swap.label: float(hits[prepared.pairs.swap == i].mean())
            for i, swap in enumerate(prepared.pairs.swaps)
        }
    return found


def main() -> None:
    torch.set_num_threads(1)
    tensors, reached = {}, {}
    for arm in arms():
        for seed in SEEDS:
            start = time.perf_counter()
            module = trained(arm, seed=seed)
            name = key(arm, seed)
            tensors |= {f"{name}/{path}": t.detach().contiguous() for path, t in module.state_dict().items()}
            reached[name] = {**measured(arm, module), "other units": kept(arm, module)}
            print(f"{name}: {time.perf_counter() - start:.0f} s, {reached[name]}", flush=True)
    data = save(tensors)
    record = {
        "command": "python bench/zoo_networks.py",
        "settings": {"steps": STEPS, "batch": BATCH, "lr": RATE, "torch": torch.__version__},
        "sha256": hashlib.sha256(data).hexdigest(),
        "reached": reached,
    }
    (FOLDER / TENSORS).write_bytes(data)
    (FOLDER / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
