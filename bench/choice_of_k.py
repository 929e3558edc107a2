"""How many dimensions does a variable need? What two rules say on networks of which it is known.

The truth is of the construction: the number of dimensions in which the told directions of a right claim move over the
inputs. Copies that always move together are one dimension, c values of which each has its direction are c - 1.

spectrum    `choose_size`: the largest drop of the contrast's spectrum against a permutation null
selection   `smallest_size`: the fewest dimensions with which a fit does as well as with more, on other inputs

python bench/choice_of_k.py --out docs/choice_of_k.json     everything, on one core
python bench/choice_of_k.py --only "clean" "sort"           some networks, printed
python bench/choice_of_k.py --page --out docs/choice_of_k.json     the table of docs/subspaces.md again, printed
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from provenance import dumped, library_hash, provenance, say

import commutes as cm
from commutes.engine import capture
from commutes.errors import CommutesError
from commutes.features import Subspace, choose_size
from commutes.network import Network, Site
from commutes.testing import zoo
from commutes.testing.compiler import compile_program, program
from commutes.training import Settings, smallest_size
from commutes.training._closed_data import Activations, seeded
from commutes.training._closed_material import Material

COMMAND = "python bench/choice_of_k.py --out docs/choice_of_k.json"
LINEAR = (
    ("clean", 4), ("clean, joint reader", 4), ("redundant", 4), ("gate", 4), ("entangled", 4), ("nonlinear code", 4),
    ("many values in one number", 4), ("many values", 4), ("many values", 6),
)  # fmt: skip
PROGRAMS = (
    ("duplicate", 5, ("seen_1", "again_1")),
    ("sort", 5, ("place_0", "place_2")),
    ("addition", 6, ("partner_0",)),
)
SETTINGS = Settings(steps=300, lr=1e-2, batch=128, starts=2, init=("auto",), every=50)
FOUND = 0.9
"""Where no size reaches this on the selection split, nothing was found whose size could be chosen."""
PAIRS, BEYOND = 1_500, 2


@dataclass(frozen=True, eq=False)
class Case:
    """A variable with the directions that are known to carry it."""

    name: str
    variable: str
    algorithm: cm.Algorithm
    network: Network
    site: Site
    told: Subspace
    distribution: Any


def cases() -> Iterator[Case]:
    """All of them."""
    for name, symbols in LINEAR:
        member = zoo.linear(name, seed=0, symbols=symbols)
        claim = next(
            c.alignment
            for c in member.claims
            if c.truth == "right" and c.alignment.algorithm is member.algorithm
        )
        for variable in claim.variables:
            yield Case(
                name if symbols == 4 else f"{name}, {symbols} of them", variable.name, member.algorithm,
                member.network, claim.groups[0].site, claim.subspace(variable), member.distribution,
            )  # fmt: skip
    for name, symbols, variables in PROGRAMS:
        made = compile_program(program(name, symbols=symbols), rotation=0)
        for variable in variables:
            home = made.true_home(variable)
            yield Case(
                f"program {name}", variable, made.algorithm, made.network, made.site(home),
                made.subspace(home.columns), "values",
            )  # fmt: skip


def truth(case: Case, pairs: cm.Counterfactuals) -> int:
    """Dimensions in which the told directions move over the inputs of these pairs."""
    states = capture(case.network, case.algorithm.arrays(pairs.inputs), [case.site])[case.site].flatten(0, 1)
    read = case.told.read(states).double()
    sizes = torch.linalg.svdvals(read - read.mean(dim=0))
    return int((sizes > 1e-4 * sizes[0]).sum())


def spectrum(case: Case, pairs: cm.Counterfactuals) -> dict[str, Any]:
    """What the spectrum of the contrast suggests, and how many of its values exceed the null."""
    features = cm.Oblique(case.site)
    variable = case.algorithm[case.variable]
    (group,) = cm.Alignment(case.algorithm, {variable: features[:1]}).groups
    data = Material(
        pairs, group, Activations(case.algorithm, case.network, [case.site]), "oblique", "all", None, 0
    )
    try:
        found = choose_size(
            data.of_flips(variable), data.of_held(variable), labels=data.flips(variable)[0].labels,
            seed=seeded(0, 4, data.number(variable)),
        )  # fmt: skip
    except CommutesError as error:
        return {"spectrum": None, "above the null": None, "why": error.what}
    return {"spectrum": found.k, "above the null": found.above}


def row(case: Case) -> dict[str, Any]:
    """Both rules on one variable."""
    begin = time.process_time()
    variable = case.algorithm[case.variable]
    pairs = cm.counterfactuals(
        case.algorithm, PAIRS, swap=[{variable}], distribution=case.distribution, seed=1
    )
    train, select = pairs.split(train=0.6, select=0.4)
    true = truth(case, train)
    said: dict[str, Any] = {
        "network": case.name,
        "variable": case.variable,
        "d": len(case.told.reader),
        "truth": true,
    }
    said |= spectrum(case, train)
    features = cm.Oblique(case.site)
    sizes = range(1, min(true + BEYOND, len(case.told.reader)) + 1)
    claims = {k: cm.Alignment(case.algorithm, {variable: features[:k]}) for k in sizes}
    found = smallest_size(claims, train, select=select, seed=0, settings=SETTINGS)
    scores = {str(k): [round(mean, 3), round(worst, 3)] for k, (mean, worst) in found.scores.items()}
    said |= {"selection": found.size, "scores": scores, "n": len(select)}
    return said | {"seconds": round(time.process_time() - begin, 1)}


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of docs/subspaces.md, and how far either rule is off."""
    lines = [
        "| network | variable | width | truth | spectrum | selection split |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for one in rows:
        guess = "none" if one["spectrum"] is None else str(one["spectrum"])
        cells = [one["network"], f"`{one['variable']}`", str(one["d"]), str(one["truth"]), guess]
        lines.append(f"| {' | '.join([*cells, str(one['selection']) if found(one) else 'none'])} |")
    return [*lines, "", words(rows)]


def found(one: Mapping[str, Any]) -> bool:
    """Whether some size does what is asked at all."""
    return max(mean for mean, _ in one["scores"].values()) >= FOUND


def words(rows: Sequence[Mapping[str, Any]]) -> str:
    """How often either rule is within one of the truth."""
    said = []
    for rule, usable in (("spectrum", lambda one: one["spectrum"] is not None), ("selection", found)):
        gaps = [abs(one[rule] - one["truth"]) for one in rows if usable(one)]
        within = sum(gap <= 1 for gap in gaps)
        said.append(
            f"{within} of {len(gaps)} (at most {max(gaps)} off, {len(rows) - len(gaps)} without an answer)"
        )
    return f"Within one of the truth: the spectrum {said[0]}, the selection split {said[1]}."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="+", help="networks whose names have one of these in them")
    parser.add_argument("--add", action="store_true", help="go on with the file, where the same code made it")
    parser.add_argument("--page", action="store_true", help="only print the table of the file")
    given = parser.parse_args()
    if given.page:
        print("\n".join(table(json.loads(given.out.read_text(encoding="utf-8"))["rows"])))
        return
    torch.set_num_threads(1)
    code = library_hash()
    known = json.loads(given.out.read_text(encoding="utf-8")) if given.add and given.out.exists() else {}
    if known and known["code"]["sha256"] != code:
        raise SystemExit("the rows of the file were made by other code: make them all again")
    rows: list[dict[str, Any]] = known.get("rows", [])
    done = {(one["network"], one["variable"]) for one in rows}
    for case in cases():
        left_out = given.only and not any(word in case.name for word in given.only)
        if left_out or (case.name, case.variable) in done:
            continue
        rows.append(row(case))
        say(rows[-1])
        result: dict[str, Any] = {"settings": asdict(SETTINGS), "pairs": PAIRS, "rows": rows}
        result |= provenance(COMMAND, code, sum(one["seconds"] for one in rows))
        if given.out is not None:
            given.out.write_text(dumped(result), encoding="utf-8")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
