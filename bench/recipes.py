"""Language models that are trained here, on inputs that their training never saw.

Of each recipe of algorithms/ the network of seed 0 is trained as the file does it, and answers the distinct inputs, of
all or of a draw, that `held_out` names: right where all tokens are, by the argmax over the whole vocabulary.

python bench/recipes.py --out docs/recipes.json
python bench/recipes.py --only "modular addition"       one of them, printed
python bench/recipes.py --page --out docs/recipes.json  the rows of docs/language_models.md again, printed
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from provenance import ROOT, code_hash, dumped, provenance, say
from shipped import shipped

import commutes as cm
from commutes.algorithm import Columns
from commutes.network import draw_inputs
from commutes.network.transformers import answered, held_out
from commutes.stats import clopper_pearson, show

SEED, DRAWN, DRAWS, MOST = 0, 123, 2**16, 5_000


@dataclass(frozen=True)
class Recipe:
    """How a file makes its network, and how the page tells of it."""

    file: str
    told: str
    task: str
    model: str
    make: Callable[[ModuleType, cm.Algorithm], tuple[cm.Network, int]]
    """The trained network, and its steps."""
    digits: int | None = None
    distribution: str | None = None
    """The name in the file of what inputs are drawn from; "values" by default."""

    def algorithm(self, module: ModuleType) -> cm.Algorithm:
        """The hypothesis of the file."""
        return module.algorithm() if self.digits is None else module.algorithm(self.digits)


def _own(module: ModuleType, algorithm: cm.Algorithm) -> tuple[cm.Network, int]:
    network = module.train(module.network(algorithm, seed=SEED), algorithm, seed=SEED)
    steps = module.STEPS
    return network, steps[len(algorithm.input_variables) // 2] if isinstance(steps, dict) else steps


def _modular(module: ModuleType, algorithm: cm.Algorithm) -> tuple[cm.Network, int]:
    network = module.language_network(algorithm, seed=SEED)
    return module.language_train(network, algorithm, seed=SEED), module.LANGUAGE_STEPS


RECIPES = {
    "two-digit addition": Recipe(
        "addition",
        "`algorithms/addition.py`",
        '"27+19=" to "046", with carries',
        "GPT-2, 3 layers of 128",
        _own,
        2,
    ),
    "three-digit addition": Recipe(
        "addition", "the same, `digits=3`", '"127+919=" to "1046"', "the same", _own, 3
    ),
    "modular addition": Recipe(
        "modular_addition",
        "`algorithms/modular_addition.py` (`language_network`)",
        '"12+34=" to "46", modulo 59',
        "Llama, 2 layers of 64",
        _modular,
    ),
    "name mover": Recipe(
        "name_mover",
        "`algorithms/name_mover.py`",
        '"When Mary and John went to the store, Mary gave a drink to"',
        "GPT-2, 3 layers of 64",
        _own,
        distribution="sentences",
    ),
    "multiple choice": Recipe(
        "multiple_choice",
        "`algorithms/multiple_choice.py`",
        "which letter stands beside the right colour",
        "Llama, 3 layers of 64",
        _own,
        distribution="questions",
    ),
}


def row(name: str) -> dict[str, Any]:
    """Train one, and count what it answers rightly."""
    recipe = RECIPES[name]
    module = shipped(recipe.file)
    algorithm = recipe.algorithm(module)
    begin = time.process_time()
    network, steps = recipe.make(module, algorithm)
    seconds = time.process_time() - begin
    drawn = inputs(recipe, module, algorithm)
    ids = algorithm.input_ids(drawn)
    unseen = np.sort(np.unique(ids, return_index=True)[1])
    unseen = unseen[held_out(algorithm, drawn, seed=SEED)[unseen]][:MOST]
    right = answered(network, algorithm, {key: column[unseen] for key, column in drawn.items()})
    return {
        "recipe": name,
        "steps": steps,
        "training, s": round(seconds),
        "right": int(right.sum()),
        "n": len(right),
    }


def inputs(recipe: Recipe, module: ModuleType, algorithm: cm.Algorithm) -> Columns:
    """All there are, or a draw of them where these are too many or come from a distribution of their own."""
    if recipe.distribution is not None:
        return draw_inputs(algorithm, DRAWS, seed=DRAWN, distribution=getattr(module, recipe.distribution))
    sizes = [algorithm.domain(v).size for v in algorithm.input_variables]
    if math.prod(size or DRAWS for size in sizes) < DRAWS:
        return algorithm.enumerate_inputs()
    return draw_inputs(algorithm, DRAWS, seed=DRAWN)


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows of docs/language_models.md."""
    lines = []
    for found in rows:
        recipe, right, n = RECIPES[found["recipe"]], found["right"], found["n"]
        low, high = clopper_pearson(right, n)
        interval = f"[{show(low)}, {'1' if right == n else show(high)}]"
        lines.append(
            f"| {recipe.told} | {recipe.task} | {recipe.model} | {found['steps']:,} | {right:,} of {n:,} {interval} |"
        )
    return lines


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--out", type=Path)
    asked.add_argument("--only", choices=list(RECIPES), nargs="+", default=list(RECIPES))
    asked.add_argument("--page", action="store_true", help="only print the rows of the file")
    chosen = asked.parse_args()
    if chosen.page:
        print("\n".join(table(json.loads(chosen.out.read_text(encoding="utf-8"))["rows"])))
        return
    torch.set_num_threads(1)
    begin = time.process_time()
    paths = [*(ROOT / "src" / "commutes").rglob("*.py"), *(ROOT / "algorithms").glob("*.py")]
    code = code_hash(paths)
    rows = []
    for name in chosen.only:
        rows.append(row(name))
        say(rows[-1])
    made = provenance("python bench/recipes.py --out docs/recipes.json", code, time.process_time() - begin)
    made["code"]["of"] = "src/commutes/**/*.py and algorithms/*.py"
    result = {"network seed": SEED, "drawn with": DRAWN, "rows": rows} | made
    if chosen.out is None:
        print(dumped(result))
    else:
        chosen.out.write_text(dumped(result), encoding="utf-8")


if __name__ == "__main__":
    main()
