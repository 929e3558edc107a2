"""What linear maps find in networks that were never trained: nothing, if what they find elsewhere is to count.

Networks of the shape of the published equality experiment (16-16-16-16-2, ReLU), first weights, first hidden layer,
both equalities in k dimensions each: every closed form, and DAS through orthogonal and oblique maps, on held-out pairs
beside the highest of the floors (doing nothing, the best constant answer, a random subspace of the same size).

python bench/untrained.py --out docs/untrained.json      everything, on one core
python bench/untrained.py --page --out docs/untrained.json     the table of docs/fitting.md again, printed
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from provenance import dumped, library_hash, provenance, say
from shipped import shipped

import commutes as cm
from commutes.features import Oblique, Rotation
from commutes.stats import mean_interval, show
from commutes.training import Settings, closed_forms, fit_many
from commutes.training._closed_methods import METHODS

COMMAND = "python bench/untrained.py --out docs/untrained.json"
MAPS: dict[str, type[Rotation] | type[Oblique]] = {"orthogonal": Rotation, "oblique": Oblique}
NETWORKS, SIZES, PAIRS = 5, (1, 4), 3_000
SETTINGS = Settings(steps=300, lr=1e-2, batch=128, starts=2, every=100)
NEAR = 0.1
"""How far above its floor a linear method may come."""


def rows(
    map: str, k: int, networks: Sequence[int] = range(NETWORKS), *, das: bool = True
) -> Iterator[dict[str, Any]]:
    """All methods on these networks."""
    eq = shipped("equality")
    algorithm = eq.anchor_algorithm()
    claims, parts = [], []
    for seed in networks:
        hidden = MAPS[map](eq.anchor_network(algorithm, seed=seed).site("layers.0"))
        slices = {algorithm["left"]: hidden[:k], algorithm["right"]: hidden[k : 2 * k]}
        claims.append(cm.Alignment(algorithm, slices))
        drawn = cm.counterfactuals(algorithm, PAIRS, distribution=eq.anchor_distribution(), seed=seed)
        parts.append(drawn.split(train=0.5, select=0.2, test=0.3))
    for seed, claim, (train, _, test) in zip(networks, claims, parts, strict=True):
        for method, found in closed_forms(claim, train, METHODS, seed=0).items():
            where = {"method": method, "map": map, "k": k, "network": seed}
            if isinstance(found, cm.Alignment):
                yield where | measured(found, test)
            else:
                yield where | {"why": found.what}
    if das:
        fitted = fit_many(
            claims,
            [train for train, *_ in parts],
            selects=[select for _, select, _ in parts],
            seed=0,
            settings=SETTINGS,
        )
        for seed, found, (*_, test) in zip(networks, fitted, parts, strict=True):
            yield {"method": "das", "map": map, "k": k, "network": seed} | measured(found, test)


def measured(found: cm.Alignment, test: cm.Counterfactuals) -> dict[str, Any]:
    """Held-out accuracy, and the highest floor."""
    iia = cm.evaluate(found, test)
    name = max(iia.floors, key=lambda floor: iia.floors[floor].rate)
    return {
        "iia": round(iia.overall.rate, 4),
        "floor": round(iia.floors[name].rate, 4),
        "of": name,
        "n": len(test),
    }


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Means over networks of accuracy and of what it is above its floor."""
    kinds: dict[tuple[str, int], dict[str, list[Mapping[str, Any]]]] = {}
    for row in found:
        if "iia" in row:
            kinds.setdefault((row["map"], row["k"]), {}).setdefault(row["method"], []).append(row)
    heads = [f"{map}, k = {k}" for map, k in kinds]
    lines = [f"| method | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for method in dict.fromkeys(row["method"] for row in found):
        cells = [cell(own[method]) if method in own else "" for own in kinds.values()]
        lines.append(f"| {'DAS' if method == 'das' else f'`{method}`'} | {' | '.join(cells)} |")
    return lines


def cell(own: Sequence[Mapping[str, Any]]) -> str:
    """The mean accuracy, and the mean and the most of what it is above the floor."""
    above = [row["iia"] - row["floor"] for row in own]
    gap = mean_interval(above)
    text = f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}], most {max(above):+.3f}".replace("0.", ".")
    return f"{show(sum(row['iia'] for row in own) / len(own))}: {text}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", action="store_true", help="only print the table of the file")
    given = parser.parse_args()
    if not given.page:
        torch.set_num_threads(1)
        begin, code = time.process_time(), library_hash()
        found: list[dict[str, Any]] = []
        for map in MAPS:
            for k in SIZES:
                found += rows(map, k)
                say(f"{map}, k = {k}: {time.process_time() - begin:.0f} s")
                told = {"settings": asdict(SETTINGS), "pairs": PAIRS, "rows": found}
                told |= provenance(COMMAND, code, time.process_time() - begin)
                given.out.write_text(dumped(told), encoding="utf-8")
    print("\n".join(table(json.loads(given.out.read_text(encoding="utf-8"))["rows"])))


if __name__ == "__main__":
    main()
