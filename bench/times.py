"""Times of what users wait for, each beside something that it can be compared with, in one run.

python bench/times.py          prints the table
python bench/times.py --json   the same as JSON
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import commutes as cm

PAIRS = 1_000_000


def equality() -> cm.Algorithm:
    algorithm = cm.Algorithm("hierarchical equality")
    algorithm.inputs("w x y z", domain=range(20))
    algorithm.add("left", "w", "x", f=lambda w, x: w == x, domain=[False, True])
    algorithm.add("right", "y", "z", f=lambda y, z: y == z, domain=[False, True])
    algorithm.add(
        "same", "left", "right", f=lambda left, right: left == right, domain=[False, True], output=True
    )
    return algorithm


def seconds(function: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def loop(algorithm: cm.Algorithm, pairs: cm.Counterfactuals, rows: int) -> None:
    """The labels by a plain Python loop over pairs: what columns are compared with."""
    values = {name: algorithm.values(algorithm[name], pairs.inputs[name]) for name in ("w", "x", "y", "z")}
    base, source = pairs.base[:rows].tolist(), pairs.source[:rows, 0].tolist()
    swaps = [swap.label for swap in pairs.swaps]
    for b, s, swap in zip(base, source, pairs.swap[:rows].tolist(), strict=True):
        left = values["w"][b] == values["x"][b]
        right = values["y"][b] == values["z"][b]
        if swaps[swap] == "left":
            left = values["w"][s] == values["x"][s]
        else:
            right = values["y"][s] == values["z"][s]
        _ = left == right


def process(*words: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    drawn = seconds(lambda: cm.counterfactuals(equality(), PAIRS, seed=0), 3)
    algorithm = equality()
    pairs = cm.counterfactuals(algorithm, PAIRS, seed=0)
    looped = 10 * seconds(lambda: loop(algorithm, pairs, PAIRS // 10), 3)
    help_, nothing = seconds(process("-m", "commutes", "--help"), 7), seconds(process("-c", "pass"), 7)
    imported = seconds(process("-c", "import commutes"), 7)
    torch = seconds(process("-c", "import torch"), 3)
    rows = [
        ("draw and label 1,000,000 pairs (inputs recur)", drawn, "label them in a Python loop", looped),
        ("commutes --help", help_, "python -c pass", nothing),
        ("import commutes", imported, "import torch", torch),
    ]
    if parser.parse_args().json:
        names = ("what", "seconds", "beside", "seconds beside")
        print(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1))
        return
    print("| what | s | beside | s | ratio |\n|---|---|---|---|---|")
    for what, taken, beside, other in rows:
        print(f"| {what} | {taken:.2f} | {beside} | {other:.2f} | {taken / other:.2f} |")


if __name__ == "__main__":
    main()
