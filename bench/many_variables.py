"""Algorithms of dozens of variables, fitted jointly: what each part of the work costs as variables become more.

A sentence of 2^m words is read by a tree of operators, as quantifiers, negations and verbs are in natural logic
inference: every node combines what its two children say into one of three relations, by a table of its own in which
every row and column has all three, so that no node can be left out. All nodes but the root are variables: 6, 14, 30 or
62 of them. The network computes the tree level by level in one-hot codes of a random basis, so that the truth is known:
a node needs two dimensions of its level.

python bench/many_variables.py --out docs/many_variables.json     everything, on one core
python bench/many_variables.py --words 8 16                       some sizes, printed
python bench/many_variables.py --page --out docs/many_variables.json     the tables of docs/fitting.md again, printed
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from provenance import dumped, library_hash, provenance, say
from torch import nn

import commutes as cm
from commutes.evaluation import Evaluation
from commutes.network import Network
from commutes.stats import Rate, show
from commutes.training import Settings, closed_form, fit_many

COMMAND = "python bench/many_variables.py --out docs/many_variables.json"
VALUES = 3
WORDS = (8, 16, 32, 64)
PER_VARIABLE = 300
"""Pairs of each variable, over all parts."""
SETTINGS = Settings(steps=300, lr=2e-2, batch=256, starts=1, every=100)
TIMED = 40
# A map of a level of 32 nodes has 192 numbers for each of them: more pairs than that are needed, and a step that has
# some of each.
MORE, MORE_STEPS, MORE_A_STEP = 2_000, 1_200, 32
"""Pairs of each variable over all parts, steps, and pairs of each variable in a step, of the longer fit."""


def tables(words: int, seed: int = 0) -> list[np.ndarray]:
    """Of every level the operators' tables, Latin squares.  # shape of each: (nodes, 3, 3)"""
    rng = np.random.default_rng([seed, words])
    found = []
    while words > 1:
        words //= 2
        level = []
        for _ in range(words):
            rows, columns, values = (rng.permutation(VALUES) for _ in range(3))
            level.append(values[(rows[:, None] + columns[None, :]) % VALUES])
        found.append(np.stack(level))
    return found


def algorithm(words: int, seed: int = 0) -> cm.Algorithm:
    """The tree: word_0, ..., then level_0_0, ..., and the root."""
    tree = cm.Algorithm(f"a tree over {words} words")
    below = [f"word_{i}" for i in range(words)]
    tree.inputs(below, domain=range(VALUES))
    for number, level in enumerate(tables(words, seed)):
        root = len(level) == 1
        names = ["root"] if root else [f"level_{number}_{i}" for i in range(len(level))]
        for i, name in enumerate(names):
            tree.add(
                name, *below[2 * i : 2 * i + 2], f=_operator(level[i]), domain=range(VALUES), output=root
            )
        below = names
    return tree.check()


def _operator(table: np.ndarray) -> Callable[[int, int], int]:
    return lambda one, other: int(table[one, other])


class Level(nn.Module):
    """One-hot codes of the nodes below to those of this level, in a random basis of its own."""

    def __init__(self, level: np.ndarray, before: torch.Tensor | None, basis: torch.Tensor) -> None:
        super().__init__()
        nodes = len(level)
        table = np.zeros((nodes, VALUES, VALUES, VALUES), np.float32)
        one, other = np.indices((VALUES, VALUES))
        for node in range(nodes):
            table[node, one, other, level[node]] = 1.0
        self.table = nn.Parameter(torch.from_numpy(table))
        self.basis = nn.Parameter(basis)
        self.before = None if before is None else nn.Parameter(before)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """# shape: (n, 6 nodes) -> (n, 3 nodes)"""
        u = x if self.before is None else x @ self.before
        pairs = u.reshape(len(x), -1, 2, VALUES)
        codes = torch.einsum("nia,nib,iabc->nic", pairs[:, :, 0], pairs[:, :, 1], self.table)
        return codes.flatten(1) @ self.basis.T


class Tree(nn.Module):
    """The whole network; the last level's codes are the logits."""

    def __init__(self, words: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        found = tables(words, seed)
        bases = [torch.eye(VALUES)]
        for level in reversed(found[:-1]):
            size = VALUES * len(level)
            drawn = torch.randn(size, size, generator=generator, dtype=torch.float64)
            bases.insert(0, torch.linalg.qr(drawn).Q.float())
        levels = [Level(found[0], None, bases[0])]
        levels += [
            Level(level, before, after)
            for level, (before, after) in zip(found[1:], pairwise(bases), strict=True)
        ]
        self.levels = nn.ModuleList(levels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """# shape: (n, 3 words) -> (n, 3)"""
        for level in self.levels:
            x = level(x)
        return 8 * x


def network(words: int, seed: int = 0) -> Network:
    """The tree as a network with a site behind every level."""

    def encode(values: Mapping[str, np.ndarray]) -> torch.Tensor:
        codes = np.stack([values[f"word_{i}"] for i in range(words)], axis=1)
        return nn.functional.one_hot(torch.from_numpy(codes.astype(np.int64)), VALUES).flatten(1).float()

    return Network(
        Tree(words, seed),
        encode=encode,
        answers=range(VALUES),
        blocks="levels",
        name=f"tree of {words} words",
    )


def claim(words: int, seed: int = 0) -> cm.Alignment:
    """Every node but the root in two dimensions of an oblique map of its level."""
    tree, net = algorithm(words, seed), network(words, seed)
    slices = {}
    for number, level in enumerate(tables(words, seed)[:-1]):
        hidden = cm.Oblique(net.site(f"levels.{number}"))
        for i in range(len(level)):
            slices[tree[f"level_{number}_{i}"]] = hidden[2 * i : 2 * i + 2]
    return cm.Alignment(tree, slices)


def row(words: int) -> dict[str, Any]:
    """What each part costs, in seconds of processor time, and what the joint fit reaches."""
    found: dict[str, Any] = {"words": words, "variables": words - 2}
    spent = time.process_time()

    def done(what: str) -> None:
        nonlocal spent
        now = time.process_time()
        found[what] = round(now - spent, 3)
        spent = now

    aligned = claim(words)
    done("writing it down")
    pairs = cm.counterfactuals(aligned.algorithm, PER_VARIABLE * (words - 2), seed=1)
    done("drawing pairs")
    train, select, test = pairs.split(train=0.6, select=0.2, test=0.2)
    done("splitting")
    for steps in (1, 1 + TIMED):
        settings = replace(SETTINGS, steps=steps, every=steps)
        fit_many([aligned], [train], seed=0, settings=settings)
        done(f"{steps} steps")
    found["ms a step"] = round(1e3 * (found.pop(f"{1 + TIMED} steps") - found["1 steps"]) / TIMED, 2)
    found["preparing a fit"] = found.pop("1 steps")
    (fitted,) = fit_many([aligned], [train], selects=[select], seed=0, settings=SETTINGS)
    done("a fit")
    measured = cm.evaluate(fitted, test)
    done("measuring")
    solved = closed_form(aligned, train, method="lda", seed=0)
    done("lda")
    try:
        closed_form(aligned, train, method="contrast", seed=0)
    except cm.errors.CommutesError as error:
        say(error.what)
    done("contrast")
    found["forward"] = round(1e6 * _forward(aligned.network), 1)
    longer = _longer(words)
    done("a longer fit")
    of_lda = cm.evaluate(solved, test)
    found["IIA"] = {
        "overall": measured.overall.as_dict(),
        "worst variable": _worst(measured).as_dict(),
        "LDA": of_lda.overall.as_dict(),
        "longer": longer.overall.as_dict(),
        "longer, worst variable": _worst(longer).as_dict(),
    }
    return found


def _longer(words: int) -> Evaluation:
    """The same claim fitted on more pairs, in more and larger steps."""
    aligned, variables = claim(words), words - 2
    pairs = cm.counterfactuals(aligned.algorithm, MORE * variables, seed=1)
    train, select, test = pairs.split(train=0.6, select=0.2, test=0.2)
    settings = replace(SETTINGS, steps=MORE_STEPS, batch=MORE_A_STEP * variables)
    (fitted,) = fit_many([aligned], [train], selects=[select], seed=0, settings=settings)
    return cm.evaluate(fitted, test)


def _worst(measured: Evaluation) -> Rate:
    return min(measured.variables.values(), key=lambda rate: rate.rate)


def _forward(net: Network) -> float:
    """Seconds of a pair's plain forward, in batches of 256."""
    x = torch.zeros(256, net.module.levels[0].table.shape[0] * 2 * VALUES)  # pyright: ignore
    with torch.no_grad():
        net.module(x)
        begin = time.process_time()
        for _ in range(20):
            net.module(x)
    return (time.process_time() - begin) / 20 / 256


PARTS = (
    "drawing pairs",
    "splitting",
    "preparing a fit",
    "a fit",
    "a longer fit",
    "measuring",
    "lda",
    "contrast",
)
REACHED = ("overall", "worst variable", "longer", "longer, worst variable", "LDA")


def costs(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first table of docs/fitting.md: milliseconds of each part for every variable."""
    heads = ["variables", "a forward, µs a pair", "ms a step", *(f"{part}, ms a variable" for part in PARTS)]
    lines = [f"| {' | '.join(heads)} |", f"|{'--:|' * len(heads)}"]
    for one in rows:
        cells = [str(one["variables"]), f"{one['forward']:.1f}", f"{one['ms a step']:.1f}"]
        cells += [f"{1e3 * one[part] / one['variables']:,.0f}" for part in PARTS]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def reached(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The second one: what the fits come to."""
    heads = ["variables", "DAS", "its worst variable", "longer DAS", "its worst variable", "LDA"]
    lines = [f"| {' | '.join(heads)} |", f"|--:|{'---|' * len(REACHED)}"]
    for one in rows:
        cells = [str(one["variables"]), *(interval(one["IIA"][what]) for what in REACHED)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def interval(rate: Mapping[str, Any]) -> str:
    """.953 [.941, .963] of 1,200"""
    return f"{show(rate['rate'])} [{show(rate['low'])}, {show(rate['high'])}] of {rate['n']:,}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="written as it goes")
    parser.add_argument("--words", type=int, nargs="+", default=WORDS)
    parser.add_argument("--page", action="store_true", help="only print the tables of the file")
    given = parser.parse_args()
    if given.page:
        found = json.loads(given.out.read_text(encoding="utf-8"))["rows"]
        print("\n".join([*costs(found), "", *reached(found)]))
        return
    torch.set_num_threads(1)
    begin, code = time.process_time(), library_hash()
    # The first fit of a process loads what all later ones use.
    row(8)
    rows = []
    for words in given.words:
        rows.append(row(words))
        say(rows[-1])
        result: dict[str, Any] = {
            "settings": asdict(SETTINGS),
            "pairs of each variable": PER_VARIABLE,
            "longer": {
                "pairs of each variable": MORE,
                "steps": MORE_STEPS,
                "of each variable in a step": MORE_A_STEP,
            },
            "rows": rows,
        }
        result |= provenance(COMMAND, code, time.process_time() - begin)
        if given.out is not None:
            given.out.write_text(dumped(result), encoding="utf-8")


if __name__ == "__main__":
    main()
