"""Peak resident memory of a sweep over twelve sites of GPT-2's shape, beside the budget that it was given.

Every budget has a process of its own, which loads the model, fits a claim about a model of one narrow block and few
words, so that what libraries load at their first use is there, runs the longest prompt once, and notes what is
resident. Then 32 pairs of 20 tokens are fitted at twelve blocks together for a few steps, selection among them, and
the highest resident memory is read. What is above the note is the sweep: what is kept, gradients, and what the
allocator does not give back.

python bench/cone_memory.py            Linux only
python bench/cone_memory.py --write    and docs/cone_memory.json
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from cone import claims, gpt2
from provenance import ROOT, dumped, library_hash, provenance, say

import commutes as cm
from commutes.training import Settings, fit_many

BUDGETS = (128, 256, 512)
PAIRS, STEPS = 32, 3
MEGABYTE = 2**20


def resident(field: str) -> float:
    """Megabytes: VmRSS is now, VmHWM the highest since the process began or `forget`."""
    (kilobytes,) = re.findall(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(kilobytes) / 1024


def forget() -> None:
    """Begin to note the highest resident memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


def fitted(network: cm.Network, alignments: Sequence[cm.Alignment], megabytes: int) -> Callable[[], object]:
    """A sweep over these claims, ready to begin."""
    drawn = cm.counterfactuals(alignments[0].algorithm, 2 * PAIRS, seed=0)
    pairs, select = drawn.split(train=0.5, select=0.25)
    settings = Settings(steps=STEPS, lr=1e-2, batch=16, starts=1)
    count = len(alignments)
    one = {name: column[:1] for name, column in pairs.algorithm.arrays(pairs.inputs).items()}
    with torch.no_grad():
        network.module(**network.encode(one).kwargs)
    return lambda: fit_many(
        alignments,
        [pairs] * count,
        selects=[select] * count,
        seed=0,
        settings=settings,
        budget=megabytes * MEGABYTE,
    )


def sweep(megabytes: int) -> dict[str, float]:
    """One sweep with this budget, in this process."""
    network = gpt2()
    narrow = gpt2(layers=1, n_embd=12, vocab_size=2048)
    fitted(narrow, claims(narrow, [0], k=2), 64)()
    run = fitted(network, claims(network, range(12)), megabytes)
    forget()
    before = resident("VmRSS")
    run()
    peak = resident("VmHWM") - before
    return {
        "budget, MB": megabytes,
        "model and libraries, MB": round(before),
        "above it at most, MB": round(peak),
        "share of the budget": round(peak / megabytes, 2),
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--write", action="store_true")
    asked.add_argument("--budget", type=int, help="megabytes of one sweep, in this process")
    chosen = asked.parse_args()
    torch.set_num_threads(1)
    if chosen.budget is not None:
        print(json.dumps(sweep(chosen.budget)))
        return
    begin, code = time.perf_counter(), library_hash()
    rows = []
    for megabytes in BUDGETS:
        command = [sys.executable, __file__, "--budget", str(megabytes)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        say(rows[-1])
    if chosen.write:
        made = provenance("python bench/cone_memory.py --write", code, time.perf_counter() - begin)
        (ROOT / "docs" / "cone_memory.json").write_text(dumped({"rows": rows} | made), encoding="utf-8")


if __name__ == "__main__":
    main()
