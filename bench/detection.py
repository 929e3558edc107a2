"""The detection table: what every check answers about right and wrong claims of which the truth is known.

One row per claim of the zoo and seed: the answer of every check that `challenge` runs up to level R4, the number that
each check decides by, and beside them what is done elsewhere (plain IIA, a random subspace, a logit difference).
Thresholds are looked at on even seeds, rates are those of odd ones.

    python bench/detection.py --out docs/detection.json         everything, on one core
    python bench/detection.py --out docs/detection.json --add   what is missing, where the same code made the rest
    python bench/detection.py --seeds 0 1 --members tilt        some rows, printed
    python bench/detection.py --smoke                           a small form; a test recomputes it
    python bench/detection.py --page --out docs/detection.json  only the page and the library's own table again
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detection_page import page
from detection_table import kind, packaged
from detection_values import rounded, value_of
from provenance import ROOT, dumped, library_hash, provenance, say

from commutes.evaluation import RANDOM, bench
from commutes.network import Network
from commutes.report import CATALOGUE
from commutes.robustness import CHECKS, Report, Shift, challenge
from commutes.testing.zoo import FAMILIES, Member, Told, as_fitted, linear, members, trained_member
from commutes.training import ClosedForm, Settings

COMMAND = "python bench/detection.py --out docs/detection.json"
STORED = ROOT / "docs" / "detection.json"
PACKAGED = ROOT / "src" / "commutes" / "report" / "detection.json"
LEVEL, HIGHEST = "R4", "R5"
"""How far a claim is tried, and how far one whose refits are run."""
LETTERS = {"supported": "s", "refuted": "r", "inconclusive": "i", "vacuous": "v", "not run": "n"}
# Refits and controls where there are any; a run without them has none.
REFITS, CONTROLS, NETWORKS = 5, 3, 3
# How every claim is as if it had been found, and is found again. A variable of one direction is found by a closed form,
# one that was trained into several units by none.
FOUND_BY = {
    "linear": ClosedForm("difference_of_means"),
    "trained": Settings(steps=200, lr=0.03, batch=128, starts=2, every=50),
    "compiled": ClosedForm("difference_of_means"),
}


@dataclass(frozen=True)
class Config:
    """What is run."""

    seeds: dict[str, int]
    """Family to how many seeds of every kind of wrong claim, from 0; claims of one kind share them."""
    right: dict[str, int]
    """Family to how many seeds of every right claim."""
    refitted: tuple[str, ...] = ("linear", "trained")
    """Families whose claims are found again: on untrained networks, for control tasks, for rivals, elsewhere."""
    pairs: int = 1_200
    """Per claim, split by input: .4 to fit on, of which a quarter to choose on where steps are taken, .6 to measure."""
    members: tuple[str, ...] = ()
    """Only these; all where it is empty."""


# The longest last: a run that is stopped has whole seeds of it.
FULL = Config({"trained": 16, "compiled": 4, "linear": 40}, {"trained": 4, "compiled": 4, "linear": 8})
SMOKE = Config({"linear": 2}, {"linear": 2}, members=("illusion", "shortcut", "random network"))


def checks() -> list[str]:
    """The checks that decide a level, cheapest first."""
    gates = {entry.id for entry in CATALOGUE if entry.level is not None}
    return [name for name in CHECKS if name in gates]


def planned(config: Config) -> dict[tuple[str, str, str], int]:
    """Family, member and claim to how many seeds: an even number, so that even and odd ones are as many."""
    claims = [
        (member, told) for member in members(seed=0, families=tuple(config.seeds)) for told in member.claims
    ]
    of_kind = Counter((member.family, kind(described(member, told))) for member, told in claims)
    found = {}
    for member, told in claims:
        shared = 1 if member.family == "compiled" else of_kind[member.family, kind(described(member, told))]
        most = config.right if told.truth == "right" else config.seeds
        share = 1 if told.truth == "right" else shared
        found[member.family, member.name, told.name] = 2 * math.ceil(most[member.family] / share / 2)
    return found


def chosen(config: Config) -> Iterator[tuple[Member, list[Told]]]:
    """The members, family by family and seed by seed, with the claims about each that are made."""
    seeds = planned(config)
    for family in config.seeds:
        for seed in range(max(n for (of, *_), n in seeds.items() if of == family)):
            for member in members(seed=seed, families=[family]):
                if not config.members or member.name in config.members:
                    yield member, [t for t in member.claims if seed < seeds[family, member.name, t.name]]


def described(member: Member, told: Told) -> dict[str, Any]:
    """What a row is about."""
    return {
        "family": member.family,
        "member": member.name,
        "claim": told.name,
        "seed": member.seed,
        "truth": told.truth,
        "kind": told.kind,
    }


def row(member: Member, told: Told, config: Config) -> dict[str, Any]:
    """Challenge one claim."""
    begin = time.process_time()
    refitted = member.family in config.refitted
    report = challenged(member, told, config, refitted=refitted)
    answers = {name: report.answers.get(name, "not run") for name in checks()}
    figures = {name: timed.outcome.figures for name, timed in report.outcomes.items()}
    return described(member, told) | {
        "refitted": refitted,
        "pairs": len(report.evaluation.pairs),
        "answers": "".join(LETTERS[word] for word in answers.values()),
        "ideal": "".join(LETTERS[str(told.ideal[name].value)] if name in told.ideal else "." for name in answers),
        "values": [value_of(name, word, figures.get(name, {})) for name, word in answers.items()],
        "elsewhere": elsewhere(report),
        "seconds": round(time.process_time() - begin, 2),
    }  # fmt: skip


def challenged(member: Member, told: Told, config: Config, *, refitted: bool) -> Report:
    """The card of the claim, as if it had been fitted on the training part."""
    pairs = member.pairs(told, config.pairs, seed=member.seed)
    found_by = FOUND_BY[member.family]
    # Where the domain is small a claim is fitted on all of it and measured on all of it.
    train, select, test = pairs, None, pairs
    if not pairs.complete and isinstance(found_by, Settings):
        train, select, test = pairs.split(train=0.3, select=0.1, test=0.6)
    elif not pairs.complete:
        train, test = pairs.split(train=0.4, test=0.6)
    return challenge(
        as_fitted(told.alignment, train, select, found_by),
        train=train,
        select=select,
        test=test,
        level=HIGHEST if refitted else LEVEL,
        refits=REFITS if refitted else 0,
        controls=CONTROLS if refitted else 0,
        shifts=[Shift(name, distribution=found) for name, found in member.shifts.items()],
        networks=others(member) if refitted else (),
        off_task=member.off_task,
        # What is planted or compiled is right on every input; what was trained nearly so.
        every_input=member.family != "trained",
        seed=member.seed,
    )


def others(member: Member) -> list[Network]:
    """Networks that were made in the same way, of seeds that are even or odd as the member's is."""
    seeds = [member.seed + 2 * (i + 1) for i in range(NETWORKS)]
    if member.family == "linear":
        return [linear(member.name, seed=seed).network for seed in seeds]
    task, arm = member.name.split(", ", 1)
    return [trained_member(task, arm, seed=seed).network for seed in seeds]


def elsewhere(report: Report) -> dict[str, float | None]:
    """What is measured elsewhere: IIA, that of random subspaces, the answer's logit over the base's after a swap."""
    found, claim = report.evaluation, report.alignment
    turned = np.nonzero(found.pairs.effective)[0]
    measured = bench(claim, found.pairs)
    logits = torch.cat(list(measured.edited(claim.featurizers, rows=turned)))
    places = torch.arange(len(turned))
    wanted = measured.answers.targets(found.pairs.expected[turned])
    before = measured.answers.targets(found.pairs.base_answer[turned])
    return {
        "iia": None if found.natural_mean is None else rounded(found.natural_mean[0]),
        "overall": rounded(found.overall.rate),
        "random": rounded(found.floors[RANDOM].rate),
        "logits": rounded(float((logits[places, wanted] - logits[places, before]).mean())),
    }


def key(one: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a row is known by."""
    return one["family"], one["seed"], one["member"], one["claim"]


def made(config: Config, known: dict[str, Any], out: Path | None) -> dict[str, Any]:
    """All rows, written as they come; those that are known are not made again."""
    code = library_hash()
    if known and (known["code"]["sha256"] != code or known["config"]["checks"] != checks()):
        raise SystemExit("the rows of the file were made by other code: make them all again")
    rows: list[dict[str, Any]] = known.get("rows", [])
    there = {key(one) for one in rows}
    result = known
    for member, claims in chosen(config):
        missing = [t for t in claims if key(described(member, t)) not in there]
        new = [row(member, told, config) for told in missing]
        if not new:
            continue
        rows = rows + new
        result = provenance(COMMAND, code, sum(one["seconds"] for one in rows))
        found_by = {family: asdict(how) for family, how in FOUND_BY.items()}
        result |= {"config": asdict(config) | {"checks": checks(), "found_by": found_by}, "rows": rows}
        if out is not None:
            replaced(out, dumped(result))
        for one in new:
            say(*key(one), one["truth"], one["answers"], f"{one['seconds']} s")
    return result


def joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tables of some families each, made side by side, as one; of every family the code that made its rows.

    Raises:
        SystemExit: A family is in two of them, or one was made with other checks.
    """
    families = [sorted({one["family"] for one in part["rows"]}) for part in parts]
    if len({name for own in families for name in own}) < sum(map(len, families)):
        raise SystemExit("a family is in two of the files")
    if any(part["config"]["checks"] != parts[0]["config"]["checks"] for part in parts):
        raise SystemExit("the files were made with different checks")
    result = dict(parts[0])
    code = {name: part["code"]["sha256"] for part, own in zip(parts, families, strict=True) for name in own}
    result["code"] = parts[0]["code"] | {"by_family": code}
    result["seconds"] = sum(part["seconds"] for part in parts)
    seeds, right = ({n: c for p in parts for n, c in p["config"][key].items()} for key in ("seeds", "right"))
    result["config"] = parts[0]["config"] | {"seeds": seeds, "right": right}
    return result | {"rows": [row for part in parts for row in part["rows"]]}


def replaced(path: Path, text: str) -> None:
    """Write the file in one step: a run that is stopped leaves what was there."""
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Write docs/detection.json, docs/detection.md and the library's own table."
    )
    parser.add_argument("--out", type=Path, help="the JSON file; the page goes beside it")
    parser.add_argument("--seeds", type=int, help="of every family, at most so many")
    parser.add_argument("--quick", action="store_true", help="without refits")
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=list(FULL.seeds))
    parser.add_argument("--members", nargs="*", default=[])
    parser.add_argument("--add", action="store_true", help="go on with the file, where the same code made it")
    parser.add_argument(
        "--join", nargs="+", type=Path, help="files of some --families each, instead of making them"
    )
    parser.add_argument("--smoke", action="store_true", help="print the rows of the small form")
    parser.add_argument("--page", action="store_true", help="only write again what is made of the JSON file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.smoke:
        print(dumped(made(SMOKE, {}, None)))
        return
    if not given.page:
        known = json.loads(given.out.read_text(encoding="utf-8")) if given.add and given.out.exists() else {}
        smoke = known.pop("smoke", None)
        if given.join:
            result = joined([json.loads(path.read_text(encoding="utf-8")) for path in given.join])
        else:
            result = made(_asked(given), known, given.out)
        if given.out is None:
            print(dumped(result))
            return
        result["smoke"] = smoke or {"rows": made(SMOKE, {}, None)["rows"]}
        replaced(given.out, dumped(result))
    result = json.loads(given.out.read_text(encoding="utf-8"))
    given.out.with_suffix(".md").write_text(page(result), encoding="utf-8")
    if given.out.resolve() == STORED:
        PACKAGED.write_text(dumped(packaged(result)), encoding="utf-8")


def _asked(given: argparse.Namespace) -> Config:
    def cut(known: Mapping[str, int]) -> dict[str, int]:
        return {n: known[n] if given.seeds is None else min(known[n], given.seeds) for n in given.families}

    refitted = tuple(name for name in FULL.refitted if not given.quick)
    return replace(
        FULL, seeds=cut(FULL.seeds), right=cut(FULL.right), refitted=refitted, members=tuple(given.members)
    )


if __name__ == "__main__":
    main()
