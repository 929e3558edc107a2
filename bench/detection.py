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
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detection_page import page
from detection_table import packaged
from detection_values import rounded, value_of
from provenance import ROOT, dumped, library_hash, provenance, say

from commutes.evaluation import RANDOM, bench
from commutes.report import CATALOGUE
from commutes.robustness import CHECKS, Report, Shift, challenge
from commutes.testing.zoo import FAMILIES, Member, Told, as_fitted, members
from commutes.training import Settings

COMMAND = "python bench/detection.py --out docs/detection.json"
STORED = ROOT / "docs" / "detection.json"
PACKAGED = ROOT / "src" / "commutes" / "report" / "detection.json"
LEVEL = "R4"
LETTERS = {"supported": "s", "refuted": "r", "inconclusive": "i", "vacuous": "v", "not run": "n"}
# Refits and controls where there are any; a run without them has none.
REFITS, CONTROLS = 5, 3


SETTINGS = Settings(steps=60, lr=0.05, batch=64, starts=1, every=20)


@dataclass(frozen=True)
class Config:
    """What is run."""

    seeds: dict[str, int]
    """Family to how many seeds of it, from 0."""
    refitted: dict[str, int]
    """How many seeds' claims are refitted as well: on untrained networks, for control tasks, from other starts."""
    pairs: int = 1_600
    """Per claim, split by input: .4 to fit on, .6 to be measured."""
    settings: Settings = SETTINGS
    members: tuple[str, ...] = ()
    """Only these; all where it is empty."""


FULL = Config({"linear": 40, "compiled": 4, "trained": 16}, {"linear": 8, "compiled": 0, "trained": 8})
SMOKE = Config({"linear": 2}, {}, members=("inert copy", "illusion", "shortcut", "tilt", "random network"))


def checks() -> list[str]:
    """The checks that decide a level up to R4, cheapest first."""
    gates = {entry.id for entry in CATALOGUE if entry.level is not None and entry.level <= LEVEL}
    return [name for name in CHECKS if name in gates]


def chosen(config: Config) -> Iterator[Member]:
    """The members, family by family and seed by seed."""
    for family in FAMILIES:
        for seed in range(config.seeds.get(family, 0)):
            for member in members(seed=seed, families=[family]):
                if not config.members or member.name in config.members:
                    yield member


def row(member: Member, told: Told, config: Config) -> dict[str, Any]:
    """Challenge one claim."""
    begin = time.process_time()
    refitted = member.seed < config.refitted.get(member.family, 0)
    report = challenged(member, told, config, refitted=refitted)
    answers = {name: report.answers.get(name, "not run") for name in checks()}
    figures = {name: timed.outcome.figures for name, timed in report.outcomes.items()}
    return {
        "family": member.family,
        "member": member.name,
        "claim": told.name,
        "seed": member.seed,
        "truth": told.truth,
        "kind": told.kind,
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
    # Where the domain is small a claim is fitted on all of it and measured on all of it.
    train, test = (pairs, pairs) if pairs.complete else pairs.split(train=0.4, test=0.6)
    return challenge(
        as_fitted(told.alignment, train, None, config.settings),
        train=train,
        test=test,
        level=LEVEL,
        refits=REFITS if refitted else 0,
        controls=CONTROLS if refitted else 0,
        shifts=[Shift(name, distribution=found) for name, found in member.shifts.items()],
        # What is planted or compiled is right on every input; what was trained nearly so.
        every_input=member.family != "trained",
        seed=member.seed,
    )


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
    for member in chosen(config):
        new = [row(member, told, config) for told in member.claims if _key(member, told) not in there]
        if not new:
            continue
        rows = rows + new
        result = provenance(COMMAND, code, sum(one["seconds"] for one in rows))
        result |= {"config": asdict(config) | {"checks": checks(), "level": LEVEL}, "rows": rows}
        if out is not None:
            replaced(out, dumped(result))
        for one in new:
            say(*key(one), one["truth"], one["answers"], f"{one['seconds']} s")
    return result


def _key(member: Member, told: Told) -> tuple[Any, ...]:
    return member.family, member.seed, member.name, told.name


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
    parser.add_argument("--refitted", type=int, help="seeds whose claims are refitted")
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--members", nargs="*", default=[])
    parser.add_argument("--add", action="store_true", help="go on with the file, where the same code made it")
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
    def cut(known: Mapping[str, int], most: int | None) -> dict[str, int]:
        return {name: known[name] if most is None else min(known[name], most) for name in given.families}

    return replace(
        FULL,
        seeds=cut(FULL.seeds, given.seeds),
        refitted=cut(FULL.refitted, given.refitted),
        members=tuple(given.members),
    )


if __name__ == "__main__":
    main()
