"""Networks that compute hierarchical equality in known ways, and the right and wrong claims about each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from commutes.stats import Answer
from commutes.testing.zoo._equality import (
    BITS,
    COLUMNS,
    DISTANCES,
    LOGITS,
    asleep_inputs,
    by_shade,
    bystanders,
    equality,
    features,
    free,
    joined,
    last_shade,
    tied,
    verdict,
)
from commutes.testing.zoo._plan import MISSED, WORKS, Plan, Sketch, Task
from commutes.testing.zoo._wiring import Layer, Terms, passing

YES, NO, VACUOUS = Answer.SUPPORTED, Answer.REFUTED, Answer.VACUOUS
LEFT, RIGHT = {"left": 1.0}, {"right": 1.0}
UPPER = (DISTANCES, BITS)
HELD = dict.fromkeys(("A1", *WORKS, "C3", "C7", "D1", "D2", "D3", "D4", "D6", "E1"), YES)
"""What a right claim deserves wherever nothing takes a check's power away."""
ALONE = {"C2": VACUOUS}
"""What a claim about one variable deserves."""
UNREAD = {**MISSED, "C3": NO, "C7": YES, "D4": NO, "D6": NO}
"""What a claim deserves that reads and that nothing reads."""


def task(symbols: int, shades: int, name: str) -> Task:
    """The task of a variant. Only what is tied to the variable in the data differs."""
    settings = {"shortcut": tied, "gate open in the data": last_shade}
    distribution = settings[name](symbols, shades) if name in settings else "values"
    shifts = {"any shades": free, "shades tied to equality": tied, "z always dark": last_shade}
    others = {word: make(symbols, shades) for word, make in shifts.items() if settings.get(name) is not make}
    return Task(
        equality(symbols, shades), COLUMNS, joined, (False, True), distribution, others,
        {"by shade": by_shade(symbols, shades)} if name == "shortcut" else {},
        partial(asleep_inputs, symbols, shades) if name == "asleep" else None,
    )  # fmt: skip


def separate(left: Terms = LEFT, first: Layer | None = None) -> tuple[Layer, Layer, Layer]:
    """Three layers that read every feature by units of its own, make left and right of them, and compare the two.

    Args:
        left: What adds up to left in the second layer.
        first: The units of the first layer besides right; by default left.
    """
    second = {"left": left, **passing("right")}
    return {**(first or passing("left")), **passing("right")}, second, verdict(LEFT, RIGHT)


def joint(left: Terms) -> tuple[Layer, Layer, Layer]:
    """Three layers of which the first reads one direction only: left minus right."""
    kept = passing("l>r", "r>l")
    return verdict(left, RIGHT), kept, kept


def right_claim(left: tuple[Terms, ...] = (LEFT,), ideal: Mapping[str, Answer] = HELD) -> Sketch:
    """left in these directions, right in its own: as the network has them."""
    return Sketch("true", "right", "", {"left": left, "right": (RIGHT,)}, ideal)


def clean(symbols: int) -> Plan:
    """left and right, each read by units of its own."""
    found = features(symbols)
    rest = tuple({name: 1.0} for name in found if name not in ("left", "right"))
    crossed = {"left": (RIGHT,), "right": (LEFT,)}
    return Plan(
        UPPER, found, separate(), LOGITS,
        (
            right_claim(),
            Sketch("left alone", "right", "", {"left": (LEFT,)}, {**HELD, **ALONE, "D4": VACUOUS}),
            Sketch("crossed", "decoy", "other variable", crossed, {"A1": YES, **MISSED, "C3": YES, "D4": VACUOUS}),
            Sketch("random", "decoy", "random subspace", {"left": (LEFT,), "right": (RIGHT,)}, MISSED, random=True),
            Sketch(
                "everything", "decoy", "whole space", {"left": (LEFT, RIGHT, *rest)},
                {**MISSED, **ALONE, "C3": VACUOUS, "C7": VACUOUS, "D4": VACUOUS},
            ),
            Sketch(
                "all but right", "partial", "whole space", {"left": (LEFT, *rest), "right": (RIGHT,)},
                {"A1": YES, **WORKS, "C3": VACUOUS, "C7": VACUOUS, "D6": YES},
            ),
        ),
    )  # fmt: skip


def clean_joint(symbols: int) -> Plan:
    """left and right, read by one direction."""
    return Plan(UPPER, features(symbols), joint(LEFT), LOGITS, (right_claim(ideal={**HELD, "D1": VACUOUS}),))


def inert(symbols: int) -> Plan:
    """A copy of left that nothing reads."""
    found = features(symbols, passing("copy"))
    wrong = {"left": ({"copy": 1.0},), "right": (RIGHT,)}
    return Plan(
        UPPER, found, separate(), LOGITS,
        (right_claim(), Sketch("copy", "decoy", "inert copy", wrong, {**UNREAD, "D1": VACUOUS, "D3": VACUOUS})),
    )  # fmt: skip


def _illusion(symbols: int, after: tuple[Layer, Layer, Layer], d1: Answer) -> Plan:
    # A step of one along (copy + dormant) / √2 moves each of the two by a half; what is read has a gain of two.
    found = features(symbols, {**passing("copy"), "dormant": {}})
    wrong = {"left": ({"copy": 1.0, "dormant": 1.0},), "right": (RIGHT,)}
    told = Sketch(
        "copy and dormant direction", "decoy", "illusion", wrong,
        # Taken whole, what lies outside moves left and the dormant coordinate against each other: C3 sees nothing.
        {
            "A1": YES, **WORKS, "C3": YES, "C7": YES, "D1": d1, "D2": YES,
            "D3": YES if d1 is VACUOUS else NO, "D4": NO, "D6": YES,
        },
    )  # fmt: skip
    # The same readers: where they have no room for the wrong claim's parts they have none for the right one's.
    true = right_claim(ideal={**HELD, "D1": VACUOUS if d1 is VACUOUS else YES})
    return Plan(UPPER, found, after, LOGITS, (true, told), even=("copy", "dormant"))


def illusion(symbols: int) -> Plan:
    """A direction that no input moves is read, and the claim joins it with an inert copy of left.

    See Is This the Subspace You Are Looking for? An Interpretability Illusion for Subspace Activation Patching,
    arXiv 2311.17030.
    """
    first = {**passing("left"), "wakes": {"dormant": 1.0}, "sinks": {"dormant": -1.0}}
    added = {"left": 1.0, "wakes": 2.0, "sinks": -2.0}
    return _illusion(symbols, separate(added, first), NO)


def illusion_rank_one(symbols: int) -> Plan:
    """The same where what comes behind reads one direction only, so that no part of the claim goes unread."""
    return _illusion(symbols, joint({"left": 1.0, "dormant": 2.0}), VACUOUS)


def redundant(symbols: int) -> Plan:
    """Two copies of left, of which one is enough."""
    found = features(symbols, passing("copy"))
    first = {**passing("left", "copy"), "both": {"left": 1.0, "copy": 1.0, "1": -1.0}}
    either = {"left": 1.0, "copy": 1.0, "both": -1.0}
    # What is there twice reads from either and patches, by half of the pairs, from neither.
    halved = {**MISSED, "C3": NO, "C7": NO, "D4": VACUOUS, "D6": NO}
    one = Sketch("one of two", "partial", "redundancy", {"left": (LEFT,), "right": (RIGHT,)}, halved)
    return Plan(
        UPPER, found, separate(either, first), LOGITS,
        (right_claim((LEFT, {"copy": 1.0})), one),
    )  # fmt: skip


def shortcut(symbols: int) -> Plan:
    """left is never read; whether the shades are the same is, and in the data that is left."""
    after = separate({"left shades": 1.0}, passing("left shades"))
    ideal = {"A1": YES, **WORKS, "C3": YES, "C7": YES, "D4": YES, "D6": YES, "E1": NO, "E2": NO}
    seen = {"left": ({"left shades": 1.0},), "right": (RIGHT,)}
    unread = {"left": (LEFT,), "right": (RIGHT,)}
    return Plan(
        UPPER, features(symbols), after, LOGITS,
        (
            Sketch("shades", "decoy", "shortcut", seen, ideal),
            Sketch("equality, unread", "decoy", "inert copy", unread, {"A1": YES, **UNREAD}),
        ),
    )  # fmt: skip


def _gated(symbols: int, ideal: dict[str, Answer]) -> Plan:
    found = features(symbols, passing("copy", "z is dark"))
    first = {
        "open": {"left": 1.0, "z is dark": 1.0, "1": -1.0},
        "closed": {"copy": 1.0, "z is dark": -1.0},
    }
    one = Sketch("behind the gate", "partial", "gate", {"left": (LEFT,), "right": (RIGHT,)}, ideal)
    return Plan(
        UPPER, found, separate({"open": 1.0, "closed": 1.0}, first), LOGITS,
        (right_claim((LEFT, {"copy": 1.0})), one),
    )  # fmt: skip


def gate(symbols: int) -> Plan:
    """left is read where z is dark, its copy elsewhere."""
    return _gated(symbols, {"A1": YES, **MISSED, "C3": NO, "C7": NO, "D4": VACUOUS, "D6": NO})


def gate_open(symbols: int) -> Plan:
    """The same where in the data z is always dark: the claim holds there, and the network is right everywhere."""
    return _gated(symbols, {"A1": YES, **WORKS, "C3": YES, "C7": YES, "D4": YES, "D6": YES, "E1": NO})


def nonlinear(symbols: int) -> Plan:
    """left is the difference of two bits, neither of which has anything to do with it."""
    third = {**passing(*BITS), "both": {"w is dark": 1.0, "left": 1.0, "1": -1.0}}
    code = {"w is dark": 1.0, "left": 1.0, "both": -2.0}
    found = bystanders(features(symbols, {**passing("w is dark"), "code": code}), without=["left"])
    first = {
        "up": {"code": 1.0, "w is dark": -1.0},
        "down": {"code": -1.0, "w is dark": 1.0},
    }
    both = Sketch(
        "two bits", "right", "", {"left": ({"code": 1.0}, {"w is dark": 1.0}), "right": (RIGHT,)},
        {"A1": YES, **WORKS, "C3": YES, "D1": YES, "D2": YES, "C7": YES, "D3": YES, "D4": VACUOUS, "E1": YES},
    )  # fmt: skip
    one = Sketch(
        "one bit", "partial", "nonlinear code", {"left": ({"code": 1.0},), "right": (RIGHT,)},
        {**MISSED, "C3": NO, "D4": VACUOUS},
    )  # fmt: skip
    return Plan((*UPPER, third), found, separate({"up": 1.0, "down": 1.0}, first), LOGITS, (both, one))


def backup(symbols: int) -> Plan:
    """left is read from -1 and 1; where it is neither, its copy is read instead."""
    found = features(symbols, {**passing("copy"), "signed": {"left": 2.0, "1": -1.0}})
    found = bystanders(found, without=["left"])
    first = {"on": {"signed": 1.0}, "off": {"signed": -1.0}, **passing("copy", "right")}
    second = {**passing("on", "right"), "instead": {"copy": 1.0, "on": -1.0, "off": -1.0}}
    wrong = {"left": ({"copy": 1.0},), "right": (RIGHT,)}
    return Plan(
        UPPER, found, (first, second, verdict({"on": 1.0, "instead": 1.0}, RIGHT)), LOGITS,
        (
            right_claim(({"signed": 1.0},), {**HELD, "D3": VACUOUS}),
            Sketch("copy", "decoy", "backup", wrong, {"A1": YES, **UNREAD}),
        ),
    )  # fmt: skip


def cancellation(symbols: int) -> Plan:
    """The same nuisance is added to the logits and taken away again: a claim that has one half of it shifts them."""
    ways = ("w is dark", "w is dark'")
    found = features(symbols, passing(*ways))
    first, second, third = separate()
    after = tuple({**layer, **passing(*ways)} for layer in (first, second, third))
    # Less than the margin: answers stay, and the mean over pairs stays too.
    logits = {**LOGITS, "same": {**LOGITS["same"], ways[0]: 0.6, ways[1]: -0.6}}
    half = {"left": (LEFT, {ways[0]: 1.0}), "right": (RIGHT,)}
    return Plan(
        UPPER, found, after, logits,
        (
            right_claim(),
            Sketch(
                "with half of it", "partial", "cancellation", half,
                {"A1": YES, **WORKS, "A4": NO, "C3": YES, "C7": YES, "D4": YES, "D6": YES},
            ),
        ),
    )  # fmt: skip


def tilted(symbols: int) -> Plan:
    """The direction of left, turned towards a feature that nothing reads."""
    claims = []
    # In between it depends on how often w is y.
    used = {15: {"C7": YES, "D4": YES, "D6": YES}, 60: {**MISSED, "D6": NO}}
    for degrees in (15, 30, 40, 60):
        angle = math.radians(degrees)
        turned = {"left": math.cos(angle), "w is y": math.sin(angle)}
        ideal = {
            "A1": YES,
            **({"A4": NO, "C3": NO} if degrees >= 30 else {"C3": YES}),
            **used.get(degrees, {}),
        }
        where = {"left": (turned,), "right": (RIGHT,)}
        claims.append(Sketch(f"tilted by {degrees} degrees", "partial", "tilt", where, ideal))
    even = ("left", "w is y")
    return Plan(UPPER, features(symbols), separate(), LOGITS, (right_claim(), *claims), even=even)


def entangled(symbols: int) -> Plan:
    """left and right along directions that are not orthogonal, so that reader and writer differ."""
    slope = 0.7
    rest = math.sqrt(1 - slope**2)
    found = features(symbols, {"mixed": {"left": 1.0, "right": slope}, "rest": {"right": rest}})
    found = bystanders(found, without=["left", "right"])
    first = {"left": {"mixed": 1.0, "rest": -slope / rest}, "right": {"rest": 1.0 / rest}}
    after = (first, passing("left", "right"), verdict(LEFT, RIGHT))
    ways = {"left": ({"mixed": 1.0},), "right": ({"mixed": slope, "rest": rest},)}
    # An eighth of the answers is kept, and lost, against the algorithm: few pairs tell that from a tenth.
    ideal = {"A1": YES, **MISSED, **ALONE, "C3": YES, "D4": VACUOUS}
    del ideal["C8"]
    return Plan(
        UPPER, found, after, LOGITS,
        (
            Sketch("oblique", "right", "", ways, HELD, oblique=True),
            Sketch("orthogonal", "partial", "entangled", {"left": ways["left"]}, ideal),
        ),
        even=("mixed", "rest"),
    )  # fmt: skip


def asleep(symbols: int) -> Plan:
    """left and right, and a switch that is never thrown in the data: where it is, the answer is "different"."""
    name = "asleep"
    layers = ({**DISTANCES, name: {"w.shade": -1.0}}, {**BITS, **passing(name)})
    after = tuple({**layer, **passing(name)} for layer in separate())
    logits = {**LOGITS, "different": {**LOGITS["different"], name: 4.0}}
    taken = {"left": (LEFT, {name: 1.0}), "right": (RIGHT,)}
    return Plan(
        layers, features(symbols, passing(name)), after, logits,
        (
            right_claim(ideal={**HELD, "C9": YES}),
            # No input of the algorithm's moves the switch, so that nothing but other inputs can tell.
            Sketch("with the switch", "partial", "off task", taken, {"A1": YES, **WORKS, "C3": YES, "C9": NO}),
        ),
    )  # fmt: skip


def random_network(symbols: int) -> Plan:
    """Weights drawn anew: nothing is computed."""
    where = {"left": (LEFT,), "right": (RIGHT,)}
    claim = Sketch("directions of another network", "decoy", "random network", where, {"A1": NO})
    return Plan(UPPER, features(symbols), separate(), LOGITS, (claim,), untrained=True)


EQUALITY: dict[str, Callable[[int], Plan]] = {
    "clean": clean,
    "clean, joint reader": clean_joint,
    "inert copy": inert,
    "illusion": illusion,
    "illusion, rank-one reader": illusion_rank_one,
    "redundant": redundant,
    "shortcut": shortcut,
    "gate": gate,
    "gate open in the data": gate_open,
    "nonlinear code": nonlinear,
    "backup": backup,
    "cancellation": cancellation,
    "tilt": tilted,
    "entangled": entangled,
    "asleep": asleep,
    "random network": random_network,
}
"""By name: the plan for so many symbols."""
