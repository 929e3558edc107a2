"""Two published networks that add modulo 59 by different algorithms, and what tells the algorithms apart.

Of the two networks of The Clock and the Pizza (arXiv 2306.17844), read from a folder that the caller names: accuracy,
the paper's two measures from their definitions, and the two algorithms as rivals with soft outputs: "the correct logit
depends on |cos(w (a - b) / 2)|" (pizza) against "it does not" (clock), by regression on held-out inputs and by
interchanges in which the difference of a and b comes from another input and their sum stays.

    python bench/published.py FOLDER --out docs/published.json           both networks, about a minute on one core
    python bench/published.py FOLDER --networks mod59_a.pt --quick       a row without gradients, printed
    python bench/published.py --page --out docs/published.json           only the page again
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from provenance import ROOT, code_hash, dumped, provenance, say
from published_page import page
from shipped import shipped

import commutes as cm
from commutes.engine import capture
from commutes.evaluation import bench
from commutes.features import Subspace
from commutes.stats import gate

COMMAND = "python bench/published.py FOLDER --out docs/published.json"
NETWORKS = {"mod59_a.pt": "constant", "mod59_b.pt": "softmax"}
MODULUS = 59
SITE = "blocks.0.middle"
# The pizza is kept where most of the variance is explained, the clock where next to nothing is. Set after a first look
# at these two networks; the page says so.
MOST, NOTHING = 0.5, 0.1
SPLITS, DRAWS, OTHERS, HUNDREDS = 10, 1_000, 20, 10_000
PAIRS = MODULUS * (MODULUS // 2)
"""Controlled pairs over all inputs, each used once: as many as there can be."""


@dataclass(frozen=True, eq=False)
class Table:
    """A network on all of its inputs."""

    network: cm.Network
    a: np.ndarray
    b: np.ndarray
    logits: np.ndarray
    """# shape: (inputs, classes), float64"""

    @property
    def total(self) -> np.ndarray:
        """The right answer to every input."""
        return (self.a + self.b) % MODULUS

    @property
    def height(self) -> np.ndarray:
        """The correct logit, centred: without the mean over classes, which no answer depends on."""
        centred = self.logits - self.logits.mean(axis=1, keepdims=True)
        return centred[np.arange(len(centred)), self.total]

    @property
    def unordered(self) -> np.ndarray:
        """One number for (a, b) and (b, a): what an input is as a unit of drawing."""
        return np.minimum(self.a, self.b) * MODULUS + np.maximum(self.a, self.b)

    def closeness(self, frequencies: Sequence[int]) -> np.ndarray:
        """|cos(w (a - b) / 2)| for each frequency.  # shape: (inputs, frequencies)"""
        return closeness(self.a - self.b, frequencies)


def closeness(difference: np.ndarray, frequencies: Sequence[int]) -> np.ndarray:
    """|cos(w d / 2)|, w = 2 pi k / modulus.  # shape: (n, frequencies)"""
    return np.abs(np.cos(np.pi * np.outer(difference, frequencies) / MODULUS))


def table(path: Path, attention: str) -> Table:
    """The network of a file, run on all inputs in float64."""
    known = shipped("modular_addition").load(path, attention=attention)
    network = known.with_module(known.module.double())
    a, b = (codes.reshape(-1) for codes in np.indices((MODULUS, MODULUS)))
    with torch.no_grad():
        logits = network.logits_of(network.module(network.encode({"a": a, "b": b}).args[0]))
    return Table(network, a, b, logits.numpy())


# The paper's measures.


def distance_irrelevance(one: Table) -> float:
    """Mean over d of the spread of the correct logit at a - b = d, over its whole spread."""
    correct = one.logits[np.arange(len(one.logits)), one.total]
    difference = (one.a - one.b) % MODULUS
    return float(np.mean([correct[difference == d].std() for d in range(MODULUS)]) / correct.std())


def gradient_symmetricity(one: Table) -> dict[str, float]:
    """Cosine of a logit's gradients by the two embeddings: over all triples, and what means of 100 of them are."""
    module: Any = one.network.module
    with torch.no_grad():
        embedded = module.embed(one.network.encode({"a": one.a, "b": one.b}).args[0])
    embedded = embedded.clone().requires_grad_()
    stream = embedded
    for block in module.blocks:
        stream = block(stream)
    logits = one.network.logits_of(module.unembed(stream))
    cosines = np.zeros((len(one.a), MODULUS))
    for k in range(MODULUS):
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), embedded, retain_graph=True)
        cosines[:, k] = torch.nn.functional.cosine_similarity(gradient[:, 0], gradient[:, 1], dim=1).numpy()
    rng = np.random.default_rng([0, 200])
    means = cosines.reshape(-1)[rng.integers(cosines.size, size=(HUNDREDS, 100))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"all": float(cosines.mean()), "triples": cosines.size, "low": float(low), "high": float(high)}


def key_frequencies(one: Table) -> tuple[list[int], list[float]]:
    """Frequencies of the embedding before the steepest fall of its spectrum, and the share of power of each."""
    module: Any = one.network.module
    embedding = module.embed.tokens.weight.detach().numpy()
    power = (np.abs(np.fft.rfft(embedding, axis=0)[1:]) ** 2).sum(axis=1)
    order = np.argsort(-power)
    falls = power[order[:-1]] / power[order[1:]]
    kept = order[: int(falls.argmax()) + 1]
    return [int(k) + 1 for k in kept], [float(p) for p in power[kept] / power.sum()]


# The rivals.


def explained(values: np.ndarray, expected: np.ndarray) -> float:
    """R²: what of the variance is explained, below 0 where the mean would do better."""
    return float(1 - ((values - expected) ** 2).sum() / ((values - values.mean()) ** 2).sum())


def interval(values: np.ndarray, expected: np.ndarray, units: np.ndarray, seed: int) -> dict[str, float]:
    """R² with percentile bounds of a bootstrap over units: two-sided at .95, one-sided at .05."""
    names, unit = np.unique(units, return_inverse=True)
    rows = [np.flatnonzero(unit == i) for i in range(len(names))]
    rng, found = np.random.default_rng([seed, 201]), []
    for _ in range(DRAWS):
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        found.append(explained(values[drawn], expected[drawn]))
    low, lower, upper, high = np.quantile(found, [0.025, 0.05, 0.95, 0.975])
    return {
        "r2": explained(values, expected),
        "low": float(low), "high": float(high), "lower": float(lower), "upper": float(upper),
        "n": len(values), "units": len(names),
    }  # fmt: skip


def fitted(regressors: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Offset and slopes by least squares.  # shape: (1 + regressors,)"""
    design = np.column_stack([np.ones(len(values)), regressors])
    return np.linalg.lstsq(design, values, rcond=None)[0]


def of(regressors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What a regression says."""
    return weights[0] + regressors @ weights[1:]


def held_out(one: Table, seed: int) -> np.ndarray:
    """Half of the inputs, (a, b) and (b, a) always on the same side.  # shape: (inputs,) bool"""
    drawn = np.random.default_rng([seed, 202]).random(MODULUS**2) < 0.5
    return drawn[one.unordered]


def by_regression(one: Table, frequencies: Sequence[int]) -> dict[str, Any]:
    """What the closeness says of the correct logit on inputs that the regression did not see."""

    def r2(regressors: np.ndarray, seed: int) -> float:
        test = held_out(one, seed)
        weights = fitted(regressors[~test], one.height[~test])
        return explained(one.height[test], of(regressors[test], weights))

    near = one.closeness(frequencies)
    test = held_out(one, 0)
    expected = of(near[test], fitted(near[~test], one.height[~test]))
    apart = (one.a - one.b) % MODULUS
    every = np.eye(MODULUS)[np.minimum(apart, MODULUS - apart)][:, 1 : MODULUS // 2 + 1]
    rng = np.random.default_rng([0, 203])
    rest = [k for k in range(1, MODULUS // 2 + 1) if k not in frequencies]
    others = [rng.choice(rest, size=len(frequencies), replace=False) for _ in range(OTHERS)]
    return {
        **interval(one.height[test], expected, one.unordered[test], 0),
        "train": int((~test).sum()),
        "splits": [r2(near, seed) for seed in range(SPLITS)],
        "other frequencies": [r2(one.closeness(list(ks)), 0) for ks in others],
        "any function of the distance": r2(every, 0),
    }


def pizza(frequencies: Sequence[int], weights: np.ndarray) -> cm.Algorithm:
    """total, closeness -> (twice the total, height of its logit): soft, so that what is measured is agreement."""
    found = cm.Algorithm("pizza")
    found.inputs("a b", domain=range(MODULUS))
    found.add("total", "a", "b", f=lambda a, b: (a + b) % MODULUS, domain=range(MODULUS))

    def near(a: int, b: int) -> tuple[float, ...]:
        return tuple(closeness(np.array([a - b]), frequencies)[0].tolist())

    found.add("closeness", "a", "b", f=near, domain=cm.vectors(len(frequencies), 0.0, 1.0))

    def said(total: int, closeness: tuple[float, ...]) -> tuple[float, float]:
        return 2.0 * total, float(of(np.array(closeness), weights))

    # Totals are a step of two apart, so that within a tolerance of one the total is right and the height near.
    answers = cm.Space(
        "twice the total, and the height of its logit",
        draw=lambda rng, n: rng.uniform(0, 2 * MODULUS, (n, 2)),
        contains=lambda _: True,
        width=2,
        tolerance=1.0,
    )
    found.add("said", "total", "closeness", f=said, domain=answers, output=True)
    return found.check()


def decoded(logits: torch.Tensor) -> list[tuple[float, float]]:
    """What `pizza` answers in, of a network's logits."""
    best = logits.max(dim=1)
    heights = best.values - logits.mean(dim=1)
    return [(2.0 * int(k), float(h)) for k, h in zip(best.indices, heights, strict=True)]


def waves(one: Table, states: torch.Tensor, frequencies: Sequence[int], train: np.ndarray) -> Subspace:
    """The planes in which a site holds cos(w a) + cos(w b) and sin(w a) + sin(w b), by least squares on states."""
    angles = 2 * np.pi / MODULUS * np.stack([np.outer(x, frequencies) for x in (one.a, one.b)])
    sums = np.concatenate([np.cos(angles).sum(axis=0), np.sin(angles).sum(axis=0)], axis=1)
    slopes = np.column_stack([fitted(sums[train], column) for column in states[train].numpy().T])[1:]
    writer = np.linalg.qr(slopes.T)[0]
    return as_map(torch.from_numpy(writer))


def as_map(basis: torch.Tensor) -> Subspace:
    """The orthogonal projection onto these directions."""
    return Subspace(basis.contiguous(), basis.contiguous())


def by_interchange(one: Table, frequencies: Sequence[int]) -> list[dict[str, Any]]:
    """What the correct logit is after the difference came from another input and the sum stayed, by place."""
    test = held_out(one, 0)
    near = one.closeness(frequencies)
    weights = fitted(near[~test], one.height[~test])
    algorithm = pizza(frequencies, weights)

    def encoded(values: Mapping[str, np.ndarray]) -> torch.Tensor:
        return one.network.encode(values).args[0]

    network = cm.Network(
        one.network.module,
        encode=encoded,
        decode=decoded,
        read=-1,
        blocks="blocks",
        name="published",
    )
    site = network.site(SITE, position=-1)
    states = capture(network, {"a": one.a, "b": one.b}, [site])[site][:, 0]
    drawn = cm.counterfactuals(
        algorithm, PAIRS, flip={"closeness"}, hold={"total"}, reuse=False, distribution="inputs", seed=0
    )
    place = {name: codes.astype(int) for name, codes in drawn.inputs.items()}
    held = test[place["a"] * MODULUS + place["b"]]
    pairs = drawn.subset(held[drawn.base] & held[drawn.source[:, 0]])
    planes = waves(one, states, frequencies, ~test)
    k, width = planes.reader.shape[1], states.shape[1]
    rng = np.random.default_rng([0, 204])
    turned = torch.from_numpy(np.linalg.qr(rng.standard_normal((width, width)))[0])
    rest = torch.linalg.qr(torch.cat([planes.reader, turned], dim=1)).Q[:, k:width]
    maps = {
        "the waves": planes,
        "the whole site": as_map(torch.eye(width, dtype=torch.float64)),
        "all but the waves": as_map(rest),
        "as many random directions": as_map(turned[:, :k]),
    }
    return [after(one, algorithm, pairs, cm.Rotation(site), name, found, weights, frequencies)
            for name, found in maps.items()]  # fmt: skip


def after(
    one: Table,
    algorithm: cm.Algorithm,
    pairs: cm.Counterfactuals,
    rotation: cm.Rotation,
    name: str,
    found: Subspace,
    weights: np.ndarray,
    frequencies: Sequence[int],
) -> dict[str, Any]:
    """One place's row."""
    k = found.reader.shape[1]
    alignment = cm.Alignment(algorithm, {algorithm["closeness"]: rotation[:k]}).with_maps([found])
    # Agreement is the library's own; the height of the base's total after the edit is read off the edited logits.
    agreement = cm.evaluate(alignment, pairs).overall
    prepared = bench(alignment, pairs)
    logits = torch.cat(list(prepared.edited(alignment.featurizers))).numpy()
    a, b = (pairs.inputs[x].astype(int) for x in "ab")
    total = (a + b)[pairs.base] % MODULUS
    height = (logits - logits.mean(axis=1, keepdims=True))[np.arange(len(logits)), total]
    near = closeness(a - b, frequencies)
    source, base = near[pairs.source[:, 0]], near[pairs.base]
    clean = one.height[(a * MODULUS + b)[pairs.base]]
    units = np.arange(len(pairs))
    half = np.random.default_rng([0, 205]).random(len(pairs)) < 0.5
    anew = np.zeros(len(pairs))
    for part in (half, ~half):
        anew[part] = of(source[part], fitted(source[~part], height[~part]))
    return {
        "what": name,
        "k": k,
        "right": float((logits.argmax(axis=1) == total).mean()),
        "agreement": agreement.as_dict(),
        "constant agreement": float(
            ((logits.argmax(axis=1) == total) & (np.abs(height - one.height.mean()) <= 1)).mean()
        ),
        "moved": float(np.sqrt(np.mean((height - clean) ** 2))),
        "source": interval(height, of(source, weights), units, 1),
        "base": interval(height, of(base, weights), units, 2),
        "anew": interval(height, anew, units, 3),
    }


def answers(
    regression: Mapping[str, Any], interchange: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    """What every kind of evidence says of either algorithm."""
    found = {"regression": (regression, regression)}
    found |= {one["what"]: (one["source"], one["anew"]) for one in interchange[:2]}
    return {
        "pizza": {
            name: gate((own["lower"], own["upper"]), MOST, side=">").value for name, (own, _) in found.items()
        },
        "clock": {
            name: gate((anew["lower"], anew["upper"]), NOTHING, side="<").value
            for name, (_, anew) in found.items()
        },
    }


def row(folder: Path, name: str, *, quick: bool = False) -> dict[str, Any]:
    """All that is measured of one network."""
    begin = time.process_time()
    one = table(folder / name, NETWORKS[name])
    frequencies, power = key_frequencies(one)
    regression, interchange = by_regression(one, frequencies), by_interchange(one, frequencies)
    return {
        "network": name,
        "attention": NETWORKS[name],
        "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        "right": int((one.logits.argmax(axis=1) == one.total).sum()),
        "inputs": len(one.total),
        "distance irrelevance": distance_irrelevance(one),
        "gradient symmetricity": None if quick else gradient_symmetricity(one),
        "frequencies": frequencies,
        "power": power,
        "height": {"mean": float(one.height.mean()), "spread": float(one.height.std())},
        "regression": regression,
        "interchange": interchange,
        "answers": answers(regression, interchange),
        "seconds": round(time.process_time() - begin, 1),
    }


def code() -> str:
    """Of what decides the numbers."""
    return code_hash([
        *(ROOT / "src" / "commutes").rglob("*.py"),
        ROOT / "algorithms" / "modular_addition.py",
        ROOT / "bench" / "published.py",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/published.json and docs/published.md.")
    parser.add_argument("folder", type=Path, nargs="?", help="where the networks' files are")
    parser.add_argument("--out", type=Path, help="the JSON file; the page goes beside it")
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--quick", action="store_true", help="leave the gradients out")
    parser.add_argument("--page", action="store_true", help="only write the page of the JSON file again")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.page:
        hashed = code()
        rows = []
        for name in given.networks:
            rows.append(row(given.folder, name, quick=given.quick))
            say(name, f"{rows[-1]['seconds']} s")
        if given.out is None:
            print(dumped({"rows": rows}))
            return
        result = provenance(COMMAND, hashed, sum(one["seconds"] for one in rows))
        result["code"]["of"] = "src/commutes/**/*.py, algorithms/modular_addition.py and bench/published.py"
        result |= {
            "seeds": "0 everywhere; splits 0 to 9",
            "gates": {"pizza": MOST, "clock": NOTHING},
            "rows": rows,
        }
        given.out.write_text(dumped(result), encoding="utf-8")
    result = json.loads(given.out.read_text(encoding="utf-8"))
    given.out.with_suffix(".md").write_text(page(result), encoding="utf-8")


if __name__ == "__main__":
    main()
