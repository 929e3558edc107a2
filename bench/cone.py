"""One training step of distributed alignment search on GPT-2's shape: this library beside pyvene, in one run.

Random weights, 16 pairs of 20 tokens, block output at the last position, k = 16, float32, one thread. A step is
forward, loss, gradient and Adam. Both sides must give the same logits before anything is timed.

like with like    both compute the last position's logits over the whole vocabulary (pyvene: logits_to_keep=1)
as called         pyvene computes the logits of all positions, as its examples do
candidates        the loss is over ten candidate answers; pyvene: logits_to_keep=1, then the ten columns

python bench/cone.py                 the tables
python bench/cone.py --json          the same as JSON
python bench/cone.py --write         and docs/cone.json, each part with the hash of its code
python bench/cone.py --only steps    one part: steps, kernels, cache, floor, scaling
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import transformers
from cone_peers import Peer
from provenance import ROOT, dumped, library_hash, provenance
from tokenizers import Tokenizer, models, pre_tokenizers

import commutes as cm
from commutes.engine import Cone, Edited, Prepared, logits_together, prepare_all
from commutes.engine._kept import Wanted, keep
from commutes.engine._products import fast_products
from commutes.features import Subspace
from commutes.training._cohort import Cohort, cohort

PAIRS, TOKENS, K, ANSWERS = 16, 20, 16, 10
LAYERS = (0, 6, 10)
STEPS, DATA = 500, 512
ANSWERS_FROM = 1
"""The token of the first answer; that of 0 is no word."""
CLOSE = 1e-5
STORED = ROOT / "docs" / "cone.json"


def gpt2(*, layers: int = 12, tokens: int = TOKENS, **changes: int) -> cm.Network:
    """GPT-2's shape with random weights, one word per token; the last two words are the algorithm's inputs."""
    config = transformers.GPT2Config(n_layer=layers, initializer_range=0.06, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config).eval()
    # A special token is cut out of any word that has it: it must be spelt like no part of one.
    spelt = {"[UNK]": 0} | {str(i): i for i in range(1, config.vocab_size)}
    core = Tokenizer(models.WordLevel(spelt, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[UNK]")
    prompt = " ".join(str(1000 + i) for i in range(tokens - 2))
    answers = {i: f" {ANSWERS_FROM + i}" for i in range(ANSWERS)}
    network = cm.Network(model, words, template=prompt + " {a} {b}", answers=answers, name="GPT-2's shape")
    one = network.encode({"a": np.array([10]), "b": np.array([11])})
    assert one.kwargs["input_ids"].shape == (1, tokens), one.kwargs["input_ids"].shape
    return network


def hypothesis() -> cm.Algorithm:
    algorithm = cm.Algorithm("last digit of a sum")
    a, b = algorithm.inputs("a b", domain=range(10, 110))
    digit = algorithm.add("digit", a, f=lambda a: a % ANSWERS, domain=range(ANSWERS))
    algorithm.add(
        "answer", digit, b, f=lambda digit, b: (digit + b) % ANSWERS, domain=range(ANSWERS), output=True
    )
    return algorithm


def claims(network: cm.Network, layers: Sequence[int], k: int = K) -> list[cm.Alignment]:
    algorithm = hypothesis()
    sites = [network.site("block_output", layer=layer, position="last") for layer in layers]
    return [cm.Alignment(algorithm, {algorithm["digit"]: cm.Rotation(site)[:k]}) for site in sites]


def pairs_for(alignments: Sequence[cm.Alignment], n: int) -> cm.Counterfactuals:
    return cm.counterfactuals(alignments[0].algorithm, n, seed=0)


class Step:
    """The library's own step of a fit: what `cm.fit_many` does between two measurements."""

    def __init__(self, alignments: Sequence[cm.Alignment], pairs: cm.Counterfactuals, objective: Any) -> None:
        self.cohort: Cohort = cohort(alignments, [pairs] * len(alignments), budget=2**34, objective=objective)
        self.raws = [
            part.start(0)[None].repeat(len(own), 1, 1).requires_grad_()
            for (_, part), own in zip(self.cohort.banks.parts, self.cohort.banks.claims, strict=True)
        ]
        self.adam = torch.optim.Adam(self.raws, lr=1e-3)
        self.generators = [torch.Generator().manual_seed(0) for _ in alignments]

    def __call__(self) -> None:
        _, gradients = self.cohort.step(self.raws, PAIRS, 1, self.generators)
        for raw, gradient in zip(self.raws, gradients, strict=True):
            raw.grad = gradient
        self.adam.step()


def milliseconds(
    sides: dict[str, Callable[[], object]], repeats: int, *, warm: bool = True
) -> dict[str, float]:
    """Medians behind one run each; the sides take turns, so that whatever else the machine does falls on all of them.

    Args:
        sides: By name; those that begin with "ours" are short, and measured five times in their turn.
        repeats: Turns.
        warm: Whether sides that are not ours have a run before, too.
    """
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for name, side in sides.items():
        if warm or name.startswith("ours"):
            side()
    for _ in range(repeats):
        for name, side in sides.items():
            # A short step is measured several times in its turn.
            for _ in range(5 if name.startswith("ours") else 1):
                begin = time.perf_counter()
                side()
                taken[name].append(1000 * (time.perf_counter() - begin))
    return {name: statistics.median(times) for name, times in taken.items()}


def agreement(network: cm.Network, layer: int) -> float:
    """Largest difference of a logit between the two sides for the same rotation, relative to the largest logit."""
    (alignment,) = claims(network, [layer])
    pairs = pairs_for([alignment], PAIRS)
    raw = torch.randn(768, K, generator=torch.Generator().manual_seed(1))
    (ready,) = prepare_all(network, alignment.algorithm.arrays(pairs.inputs), [alignment.sites])
    basis = torch.linalg.qr(raw).Q
    base, source = torch.from_numpy(pairs.base), torch.from_numpy(pairs.source)
    mask = torch.ones(PAIRS, 1, K, dtype=torch.bool)
    run = Edited(ready, ready.batch(base, source), [Subspace(basis, basis)], [mask])
    peer = Peer(network, pairs, layer, K, keep_last=True)
    with torch.no_grad():
        (ours,) = logits_together([run])
        theirs = peer.logits(basis)
    return float((ours - theirs).abs().max() / theirs.abs().max())


def steps(repeats: int, places: Sequence[str]) -> list[dict[str, Any]]:
    """The three comparisons at single layers and for the sweep over all."""
    network = gpt2()
    rows = []
    for place in places:
        layers = list(range(12)) if place == "sweep" else [int(place)]
        gap = max(agreement(network, layer) for layer in layers)
        if not gap <= CLOSE:
            raise SystemExit(f"the sides differ by {gap:.1g} at layers {layers}: nothing is timed")
        alignments = claims(network, layers)
        pairs = pairs_for(alignments, PAIRS)
        sides: dict[str, Callable[[], object]] = {
            "ours": Step(alignments, pairs, "vocabulary"),
            "ours, candidates": Step(alignments, pairs, "answers"),
        }
        last = [Peer(network, pairs, layer, K, keep_last=True) for layer in layers]
        every = [Peer(network, pairs, layer, K, keep_last=False) for layer in layers]
        some = [Peer(network, pairs, layer, K, keep_last=True, columns=ANSWERS) for layer in layers]
        sides |= {
            "pyvene": lambda last=last: [peer.step() for peer in last],
            "pyvene, candidates": lambda some=some: [peer.step() for peer in some],
            "pyvene as called": lambda every=every: [peer.step() for peer in every],
        }
        found = milliseconds(sides, repeats if len(layers) == 1 else max(1, repeats // 3))
        rows.append(
            {"layers": "sweep" if len(layers) > 1 else str(layers[0]), "gap": gap}
            | {name: round(ms, 2) for name, ms in found.items()}
            | {
                "like with like": round(found["pyvene"] / found["ours"], 1),
                "candidates": round(found["pyvene, candidates"] / found["ours, candidates"], 1),
                "as called": round(found["pyvene as called"] / found["ours"], 1),
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def kernels(repeats: int, places: Sequence[str]) -> list[dict[str, Any]]:
    """The same steps with the engine's products and with torch's own."""
    network = gpt2()
    rows = []
    for place in places:
        layers = list(range(12)) if place == "sweep" else [int(place)]
        alignments = claims(network, layers)
        pairs = pairs_for(alignments, PAIRS)
        all_words, some = (Step(alignments, pairs, objective) for objective in ("vocabulary", "answers"))

        def plain(step: Step) -> None:
            with patch.object(torch.backends.mkldnn, "is_available", lambda: False):
                step()

        found = milliseconds(
            {
                "ours": all_words,
                "ours, candidates": some,
                "ours, torch's products": lambda step=all_words: plain(step),
                "ours, candidates, torch's products": lambda step=some: plain(step),
            },
            repeats if len(layers) == 1 else max(1, repeats // 3),
        )
        rows.append({"layers": place} | {name: round(ms, 2) for name, ms in found.items()})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def cache(made: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What preparing costs, and the ratios over a whole fit with it."""
    network = gpt2()
    rows = []
    for entry in made:
        layers = list(range(12)) if entry["layers"] == "sweep" else [int(entry["layers"])]
        alignments = claims(network, layers)
        pairs = pairs_for(alignments, DATA)
        begin = time.perf_counter()
        Step(alignments, pairs, "vocabulary")
        seconds = time.perf_counter() - begin
        whole = {side: seconds + STEPS * entry[side] / 1000 for side in ("ours", "ours, candidates")}
        rows.append(
            {"layers": entry["layers"], "preparing, s": round(seconds, 2), "inputs": len(pairs.ids)}
            | {
                "like with like": round(STEPS * entry["pyvene"] / 1000 / whole["ours"], 1),
                "candidates": round(
                    STEPS * entry["pyvene, candidates"] / 1000 / whole["ours, candidates"], 1
                ),
                "as called": round(STEPS * entry["pyvene as called"] / 1000 / whole["ours"], 1),
            }
        )
    return rows


def floor(repeats: int, made: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Bytes of the touched weights over copy bandwidth, and multiply-adds over the rate of matrix products.

    The rate is the better one of torch's own products and of those that the engine makes; pyvene has torch's.
    """
    big = torch.randn(2**26)
    copy = torch.empty_like(big)
    gigabytes = 2 * big.numel() * 4 / 1e6 / milliseconds({"": lambda: copy.copy_(big)}, repeats)[""]
    layer, states = torch.nn.Linear(768, 3072).requires_grad_(False), torch.randn(1024, 768)
    with fast_products(layer):
        quick = layer.forward
    taken = milliseconds({"own": lambda: layer(states), "quick": lambda: quick(states)}, repeats)
    flops, own_flops = (2 * 1024 * 768 * 3072 / 1e6 / ms for ms in (min(taken.values()), taken["own"]))
    block, head = 12 * 768**2, 50257 * 768
    rows = []
    for entry in made:
        first = 0 if entry["layers"] == "sweep" else int(entry["layers"]) + 1
        lanes = 12 if entry["layers"] == "sweep" else 1
        blocks = range(max(first, 1), 12)
        # Forward and backward each read every weight once, and multiply each row with it once.
        bytes_read = 2 * 4 * (block * len(blocks) + head)
        multiplied = sum(PAIRS * (j if lanes > 1 else 1) * block for j in blocks) + PAIRS * lanes * head
        bandwidth, arithmetic = bytes_read / gigabytes / 1e6, 2 * 2 * multiplied / flops / 1e6
        # Per layer two forwards of all tokens, of source and base, and a backward from its site on; the head at one.
        behind = blocks if lanes == 1 else [j for start in range(12) for j in range(start + 1, 12)]
        theirs = PAIRS * TOKENS * block * (2 * 12 * lanes + len(behind)) + PAIRS * lanes * head * 3
        rows.append(
            {
                "layers": entry["layers"],
                "weights read, ms": round(bandwidth, 1),
                "multiply-adds, ms": round(arithmetic, 1),
                "measured, ms": entry["ours"],
                "over the larger": round(entry["ours"] / max(bandwidth, arithmetic), 2),
                "pyvene's multiply-adds, ms": round(2 * theirs / own_flops / 1e6, 1),
                "pyvene over its own": round(entry["pyvene"] / (2 * theirs / own_flops / 1e6), 2),
            }
        )
    return {
        "copy, GB/s": round(gigabytes, 1),
        "matrix products, GFLOP/s": round(flops, 1),
        "torch's own, GFLOP/s": round(own_flops, 1),
        "rows": rows,
    }


def suffix(ready: Prepared, alignment: cm.Alignment, pairs: cm.Counterfactuals) -> Prepared:
    """The same claim, resumed at its block with the whole sequence: the strongest other design in use."""
    assert ready.cone is not None
    block = ready.cone.block
    wanted = Wanted({block: 0} if block >= 0 else {}, (), 0)
    bases = torch.from_numpy(np.unique(pairs.base))
    kept = keep(alignment.network, ready.inputs, wanted, bases=bases, budget=2**34)
    return replace(ready, cone=Cone(kept, block, 0))


def one(network: cm.Network, layer: int, k: int, *, whole: bool) -> Step:
    """A step at one site by the engine alone: as a cone, or with the whole sequence through the suffix."""
    (alignment,) = claims(network, [layer], k)
    pairs = pairs_for([alignment], PAIRS)
    step = Step([alignment], pairs, "vocabulary")
    if whole:
        member = step.cohort.members[0]
        member = replace(member, prepared=suffix(member.prepared, alignment, pairs))
        step.cohort = replace(step.cohort, members=(member,))
    return step


def scaling(repeats: int) -> list[dict[str, Any]]:
    """How time grows with tokens, depth, k and sites."""
    rows = []
    cases: list[tuple[str, int, dict[str, int]]] = [
        *(("tokens", tokens, {"tokens": tokens}) for tokens in (20, 80, 320)),
        *(("depth", depth, {"layers": depth}) for depth in (6, 12, 24)),
        *(("k", k, {"k": k}) for k in (1, 16, 64)),
    ]
    for what, value, options in cases:
        network = gpt2(layers=options.get("layers", 12), tokens=options.get("tokens", TOKENS))
        layer, k = len(network.blocks) // 2, options.get("k", K)
        found = milliseconds(
            {
                "ours": one(network, layer, k, whole=False),
                "suffix": one(network, layer, k, whole=True),
            },
            # The longest sequences take minutes a step through the suffix.
            repeats if options.get("tokens", TOKENS) == TOKENS else 1,
            warm=False,
        )
        rows.append(
            {
                "grows": what,
                "to": value,
                "cone, ms": round(found["ours"], 1),
                "whole sequence through the suffix, ms": round(found["suffix"], 1),
                "ratio": round(found["suffix"] / found["ours"], 1),
            }
        )
    network = gpt2()
    for count in (1, 4, 12):
        layers = [round(i * 12 / count) for i in range(count)]
        alignments = claims(network, layers)
        pairs = pairs_for(alignments, PAIRS)
        alone = [Step([alignment], pairs, "vocabulary") for alignment in alignments]
        found = milliseconds(
            {
                "together": Step(alignments, pairs, "vocabulary"),
                "alone": lambda alone=alone: [step() for step in alone],
            },
            max(3, repeats // 3),
        )
        rows.append(
            {
                "grows": "sites",
                "to": count,
                "cone, ms": round(found["together"], 1),
                "one by one, ms": round(found["alone"], 1),
                "ratio": round(found["alone"] / found["together"], 1),
            }
        )
    return rows


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--json", action="store_true")
    asked.add_argument("--write", action="store_true")
    asked.add_argument("--repeats", type=int, default=15)
    asked.add_argument("--at", nargs="+", default=[*map(str, LAYERS), "sweep"])
    asked.add_argument("--only", choices=["steps", "kernels", "cache", "floor", "scaling"])
    chosen = asked.parse_args()
    torch.set_num_threads(1)
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    result: dict[str, Any] = {}

    def timed_steps() -> list[dict[str, Any]]:
        """Of this run, or else of the stored one: caches and floors are seen beside them."""
        if "steps" not in result and "steps" not in stored:
            raise SystemExit("there are no step times yet: run --only steps --write first")
        return (result if "steps" in result else stored)["steps"]["rows"]

    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "steps": lambda: {"rows": steps(chosen.repeats, chosen.at)},
        "kernels": lambda: {"rows": kernels(chosen.repeats, chosen.at)},
        "cache": lambda: {"rows": cache(timed_steps())},
        "floor": lambda: floor(chosen.repeats, timed_steps()),
        "scaling": lambda: {"rows": scaling(chosen.repeats)},
    }
    for name in parts if chosen.only is None else [chosen.only]:
        begin, code = time.perf_counter(), library_hash()
        found = parts[name]()
        before = stored.get(name, {})
        if name == "steps" and before.get("code", {}).get("sha256") == code:
            # Of the same code the rows of other places stand.
            places = {row["layers"]: row for row in (*before["rows"], *found["rows"])}
            found["rows"] = [places[place] for place in (*map(str, LAYERS), "sweep") if place in places]
        command = f"python bench/cone.py --only {name} --repeats {chosen.repeats} --write"
        result[name] = found | provenance(command, code, time.perf_counter() - begin)
        if chosen.write:
            # Each part as soon as it is done: together they take the better part of an hour.
            STORED.write_text(dumped(stored | result), encoding="utf-8")
    if chosen.json:
        print(json.dumps(result, indent=1))
        return
    for name, found in result.items():
        measured = {k: v for k, v in found.items() if "/s" in k}
        print(f"\n{name} {measured or ''}")
        for row in found["rows"]:
            print("  " + "  ".join(f"{what}: {value}" for what, value in row.items()))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "bench"))
    main()
