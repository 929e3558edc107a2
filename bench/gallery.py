"""A gallery of cards: claims of which the truth is known, as a user would challenge them.

controls    a fitted claim about a network that computes what is claimed, as far as R4
illusion    a direction of IIA 1.00 that joins an inert copy with a dormant direction
shift       a claim that holds on the data and fails where what was the same all through the data varies
few pairs   the first claim again, with too few pairs to tell

    python bench/gallery.py                    alignments/gallery, one folder a card
    python bench/gallery.py --only illusion    one card, printed
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from provenance import ROOT, say

import commutes as cm
from commutes.robustness import Report, challenge
from commutes.testing.zoo import Member, as_fitted, linear
from commutes.training import Settings

FOLDER = ROOT / "alignments" / "gallery"
SETTINGS = Settings(steps=300, lr=0.05, batch=128, starts=2, every=50)
SEED = 1


def shifts(member: Member) -> list[cm.Shift]:
    """The other distributions that the zoo has for a network."""
    return [cm.Shift(name, distribution=drawn) for name, drawn in member.shifts.items()]


def fitted(pairs: int) -> Report:
    """A claim that is found by descent, split by inputs, and challenged up to R4."""
    member = linear("clean", seed=SEED)
    algorithm = member.algorithm
    (told, *_) = member.claims
    (group,) = told.alignment.groups
    rotation = cm.Rotation(group.site)
    claim = cm.Alignment(algorithm, {algorithm["left"]: rotation[:1], algorithm["right"]: rotation[1:2]})
    drawn = member.pairs(told, pairs, seed=SEED)
    train, select, test = drawn.split(train=0.4, select=0.2, test=0.4)
    claim = cm.fit(claim, train, select=select, seed=0, settings=SETTINGS)
    return challenge(
        claim, train=train, select=select, test=test, level="R4", shifts=shifts(member), seed=SEED,
        reproduce=_command(),
    )  # fmt: skip


def told(name: str, claim: str, pairs: int) -> Report:
    """A claim that was written down, as if it had been fitted."""
    member = linear(name, seed=SEED)
    (found,) = [one for one in member.claims if one.name == claim]
    train, test = member.pairs(found, pairs, seed=SEED).split(train=0.4, test=0.6)
    return challenge(
        as_fitted(found.alignment, train, None, SETTINGS),
        train=train, test=test, level="R4", shifts=shifts(member), seed=SEED, reproduce=_command(),
    )  # fmt: skip


def _command() -> str:
    return "python bench/gallery.py"


CARDS: dict[str, Callable[[], Report]] = {
    "controls": lambda: fitted(8_000),
    "illusion": lambda: told("illusion", "copy and dormant direction", 4_000),
    "shift": lambda: told("gate open in the data", "behind the gate", 4_000),
    "few pairs": lambda: fitted(600),
}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", choices=list(CARDS))
    asked.add_argument("--out", type=Path, default=FOLDER)
    chosen = asked.parse_args()
    torch.set_num_threads(1)
    if chosen.only:
        print(CARDS[chosen.only]())
        return
    for name, make in CARDS.items():
        report = make()
        folder = report.save(chosen.out / name.replace(" ", "_"))
        (folder / "card.txt").write_text(f"{report}\n", encoding="utf-8")
        say(name, report.record()["headline"])


if __name__ == "__main__":
    main()
