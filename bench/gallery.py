"""A gallery of cards: claims of which the truth is known, fitted or handed over, and challenged as a user would.

generalises   a fit about a network that computes what is claimed, and does something else where it is not asked to
illusion      a direction of IIA 1.00 that joins an inert copy with a direction that nothing moves
shift         given directions that hold on the data, in which what the network reads goes with what is claimed
few_pairs     the first claim again, with too few pairs to tell

python bench/gallery.py                    alignments/gallery, a folder for each card
python bench/gallery.py --only illusion    one card, printed
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from provenance import ROOT, dumped, library_hash, provenance, say

import commutes as cm
from commutes.robustness import Report
from commutes.testing.zoo import Member, linear

FOLDER = ROOT / "alignments" / "gallery"
COMMAND = "python bench/gallery.py"
SEED = 1


def shifts(member: Member) -> list[cm.Shift]:
    """The other distributions of inputs that the zoo has for a network."""
    return [cm.Shift(name, distribution=inputs) for name, inputs in member.shifts.items()]


def found(name: str, pairs: int) -> Report:
    """A claim that is found by descent, on other inputs than it is chosen and measured on."""
    member = linear(name, seed=SEED)
    told, algorithm = member.claims[0], member.algorithm
    (group,) = told.alignment.groups
    rotation = cm.Rotation(group.site)
    claim = cm.Alignment(algorithm, {algorithm["left"]: rotation[:1], algorithm["right"]: rotation[1:2]})
    drawn = member.pairs(told, pairs, seed=SEED)
    train, select, test = drawn.split(train=0.4, select=0.2, test=0.4)
    fitted = cm.fit(claim, train, select=select, seed=0, steps=400, lr=0.05, batch=128, starts=2, threads=1)
    return cm.challenge(
        fitted, train=train, select=select, test=test, level="R4", off_task=member.off_task,
        shifts=shifts(member), seed=SEED, reproduce=COMMAND,
    )  # fmt: skip


def handed_over(name: str, claim: str, pairs: int) -> Report:
    """A claim about directions that somebody names: nothing is learnt."""
    member = linear(name, seed=SEED)
    (told,) = [one for one in member.claims if one.name == claim]
    (group,), (subspace,) = told.alignment.groups, told.alignment.featurizers
    assert isinstance(subspace, cm.Subspace)
    directions = cm.Directions(group.site, subspace)
    given = cm.Alignment(member.algorithm, {v: directions[list(c)] for v, c in group.columns.items()})
    train, test = member.pairs(told, pairs, seed=SEED).split(train=0.4, test=0.6)
    return cm.challenge(
        given, train=train, test=test, level="R4", shifts=shifts(member), seed=SEED, reproduce=COMMAND
    )


CARDS: dict[str, tuple[str, Callable[[], Report]]] = {
    "generalises": (
        "A fit about a network that computes what is claimed, and something else where it is asked something else.",
        lambda: found("asleep", 6_000),
    ),
    "illusion": (
        "A given direction whose swap is right in every pair. It joins a copy of the variable that nothing reads with "
        "a direction that is read and that no input moves.",
        lambda: handed_over("illusion", "copy and dormant direction", 4_000),
    ),
    "shift": (
        "Given directions that hold on the data, where two symbols have one shade exactly when they are the same. The "
        "network compares shades.",
        lambda: handed_over("shortcut", "shades", 4_000),
    ),
    "few_pairs": (
        "The first claim again, just as right, with a fifteenth of the pairs.",
        lambda: found("asleep", 400),
    ),
}
"""By folder: what is claimed, in words, and the challenge."""


def page(headlines: Mapping[str, str]) -> str:
    """The gallery's README."""
    lines = [
        "# Four claims whose truth is known",
        "",
        f"Made by `{COMMAND}`. The networks are members of `commutes.testing.zoo`: what they compute, and where, is "
        "planted; `challenge` is told nothing of it. Each folder holds the card as text, the record, the "
        "alignment and the outcome of every pair; `commutes show alignments/gallery/illusion` prints a card, "
        "`commutes tree alignments/gallery` compares them. A counterexample comes again by",
        "",
        "```python",
        "import json",
        "",
        "import commutes as cm",
        "from commutes.testing.zoo import linear",
        "",
        'member = linear("shortcut", seed=1)',
        'claim = cm.load("alignments/gallery/shift", algorithm=member.algorithm, network=member.network)',
        'checks = json.load(open("alignments/gallery/shift/report.json"))["checks"]',
        'figures = next(one["figures"] for one in checks if one["id"] == "E2")',
        'print(cm.replay(claim, figures["counterexample"]))',
        "```",
        "",
    ]
    for name, (about, _) in CARDS.items():
        lines += [
            f"## {name.replace('_', ' ')}",
            "",
            about,
            "",
            f"> {headlines[name]}",
            "",
            f"[The card]({name}/card.txt)",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", choices=list(CARDS))
    asked.add_argument("--out", type=Path, default=FOLDER)
    chosen = asked.parse_args()
    torch.set_num_threads(1)
    if chosen.only:
        print(CARDS[chosen.only][1]())
        return
    headlines, code, begin = {}, library_hash(), time.perf_counter()
    for name, (_, make) in CARDS.items():
        report = make()
        folder = report.save(chosen.out / name)
        # The page is made of the record and the library's template: four copies of it would go stale.
        (folder / "report.html").unlink()
        (folder / "card.txt").write_text(f"{report}\n", encoding="utf-8")
        headlines[name] = report.record()["headline"]
        say(name, headlines[name])
    made = provenance(COMMAND, code, time.perf_counter() - begin) | {"headlines": headlines}
    (chosen.out / "gallery.json").write_text(dumped(made), encoding="utf-8")
    (chosen.out / "README.md").write_text(page(headlines), encoding="utf-8")


if __name__ == "__main__":
    main()
