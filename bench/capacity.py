"""What maps can do by themselves: two algorithms with one function, through ever more powerful families of maps.

Small networks are trained on (a and b) or (a and c), which is a and (b or c). Each algorithm is claimed of the first
hidden layer, in four of its eight dimensions, and fitted on all pairs of the eight inputs:
in-sample, on purpose, as it is capacity that is asked about. Beside each accuracy stands what the same fit reaches on
five untrained networks, and what check A5 says of it.

python bench/capacity.py --networks 5 --out docs/capacity.json
python bench/capacity.py --networks 1 --family rotation       a part, printed
python bench/capacity.py --page --out docs/capacity.json      the table of docs/fitting.md again, printed
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from provenance import dumped, library_hash, provenance, say
from shipped import shipped

import commutes as cm
from commutes.evaluation import bench
from commutes.features import Affine, Features, Oblique, Reversible, Rotation
from commutes.network import Network, Site
from commutes.robustness import CHECKS, Case, Thresholds, refits
from commutes.robustness._a3_adequacy import adequacy_of
from commutes.stats import show
from commutes.training import Settings, fit_many

FAMILIES: dict[str, type[Rotation] | type[Oblique] | type[Affine] | type[Reversible]] = {
    "rotation": Rotation,
    "oblique": Oblique,
    "affine": Affine,
    "reversible": Reversible,
}
SETTINGS = Settings(steps=500, lr=1e-2, batch=64, starts=5)
WIDTH, DIMENSIONS, UNTRAINED = 8, 4, 5


def claim(algorithm: cm.Algorithm, site: Site, family: str) -> cm.Alignment:
    """The inner variables in equal shares of four dimensions."""
    features: Features = FAMILIES[family](site)
    variables = algorithm.inner_variables
    k = DIMENSIONS // len(variables)
    return cm.Alignment(algorithm, {v: features[i * k : (i + 1) * k] for i, v in enumerate(variables)})


def row(network: Network, seed: int, name: str, algorithm: cm.Algorithm, family: str) -> dict[str, Any]:
    """One claim, its nulls, and what A5 says."""
    pairs = cm.census(algorithm)
    asked = claim(algorithm, network.site("layers.0"), family)
    (found,) = fit_many([asked], [pairs], seed=0, settings=SETTINGS)
    twins = [asked.on(network.reinitialised(100 + i)) for i in range(UNTRAINED)]
    nulls = refits(twins, [pairs] * UNTRAINED, None, [pairs] * UNTRAINED, settings=SETTINGS, seed=0)
    evaluation = cm.evaluate(found, pairs, census=True)
    thresholds = Thresholds()
    outcome = CHECKS["A5"](
        Case(
            found, pairs, None, pairs, thresholds, SETTINGS, 0, UNTRAINED, 3, bench(found, pairs), evaluation,
            adequacy_of(pairs, thresholds.adequacy), lambda: nulls, list, None,
        )
    )  # fmt: skip
    return {
        "network": seed,
        "algorithm": name,
        "family": family,
        "iia": round(evaluation.overall.rate, 4),
        "effective": round(float(evaluation.hits[pairs.effective].mean()), 4),
        "untrained": [round(one.overall.rate, 4) for one in nulls],
        "untrained, effective": [round(float(one.hits[pairs.effective].mean()), 4) for one in nulls],
        "A5": str(outcome.answer.value),
        "words": outcome.sentence,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of docs/fitting.md: what each family reaches on each network, the mean of untrained ones, and A5."""
    names = list(dict.fromkeys(row["algorithm"] for row in rows))
    lines = [f"| family | {' | '.join(names)} | A5 |", f"|---|{'---|' * len(names)}---|"]
    for family in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == family]
        cells = []
        for name in names:
            same = [row for row in own if row["algorithm"] == name]
            null = statistics.mean(rate for row in same for rate in row["untrained, effective"])
            cells.append(f"{', '.join(show(row['effective']) for row in same)} ({show(null)})")
        said = Counter(row["A5"] for row in own)
        cells.append(", ".join(f"{answer} {count} of {len(own)}" for answer, count in said.items()))
        lines.append(f"| {family} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--out", type=Path)
    asked.add_argument("--networks", type=int, default=2)
    asked.add_argument("--family", choices=list(FAMILIES), nargs="+", default=list(FAMILIES))
    asked.add_argument("--page", action="store_true", help="only print the table of the file")
    chosen = asked.parse_args()
    if chosen.page:
        print("\n".join(table(json.loads(chosen.out.read_text(encoding="utf-8"))["rows"])))
        return
    torch.set_num_threads(1)
    begin, code, module = time.perf_counter(), library_hash(), shipped("boolean")
    algorithms = {"(a and b) or (a and c)": module.algorithm(), "a and (b or c)": module.rival()}
    rows: list[dict[str, Any]] = []
    for seed in range(chosen.networks):
        first = next(iter(algorithms.values()))
        network = module.train(module.network(first, seed=seed, width=WIDTH), first, seed=seed)
        for family in chosen.family:
            for name, algorithm in algorithms.items():
                rows.append(row(network, seed, name, algorithm, family))
                say(rows[-1])
    result = {"settings": asdict(SETTINGS), "rows": rows}
    command = f"python bench/capacity.py --networks {chosen.networks} --out docs/capacity.json"
    result |= provenance(command, code, time.perf_counter() - begin)
    if chosen.out is None:
        print(dumped(result))
    else:
        chosen.out.write_text(dumped(result), encoding="utf-8")


if __name__ == "__main__":
    main()
