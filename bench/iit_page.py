"""docs/iit.md from docs/iit.json; bench/iit.py makes both."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from commutes.stats import clopper_pearson

WORDS = {
    "task": "the task alone",
    "first": "V1",
    "elsewhere": "V1, and V2 in units 8 to 11",
    "both": "V1 and V2",
    "unit": "V1 and V2, strict by unit",
    "joint": "V1 and V2, strict jointly",
}
VARIABLES = ("left", "right")
LEAST, MOST = 0.99, 0.60


def page(result: Mapping[str, Any], course: Mapping[str, Any]) -> str:
    """docs/iit.md."""
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    config = result["config"]
    settings = config["settings"]
    lines = [
        "# Interchange-intervention training of a small network",
        "",
        f"Made by `{result['command']}`, torch {result['versions']['torch']}; SHA-256 of src/commutes and "
        f"algorithms/equality.py {result['code']['sha256'][:16]}. {result['seconds']:,} s of one core in all; the "
        "numbers are in `iit.json`.",
        "",
        "Hierarchical equality of four vectors of four real numbers, a 16-16-16-16-2 ReLU network, first hidden layer: "
        "V1, whether the first two vectors are equal, is to be in units 0 to 3; V2, whether the last two are, in units "
        "4 to 7. The loss is the cross-entropy of the answers after interchanges of the variables that are trained, "
        "plus that of the answers without, plus, where it says strict, that of the base's answers after units 8 to 15 "
        "were taken from another input: one of them, drawn for every pair, or all jointly. Every weight is 1 or 0. "
        f"{config['train']:,} pairs of {2 * config['train']:,} inputs train, {config['select']:,} on other inputs "
        f"choose the step, {config['test']:,} on others still are measured, half for each variable. "
        f"{settings['steps']:,} steps of {settings['batch']} pairs, Adam at {settings['lr']:g} falling to 0 by a "
        "cosine. Length, batch and rate were chosen on the seeds 10 to 13; the seeds below were not looked at for it.",
        "",
        "Training V1 alone leaves V2 to units 4 to 15, of which the negative control, units 4 to 7, is a third, and "
        "nothing keeps it out of them: what it reaches there is a matter of the seed. Where V2 is trained into units 8 "
        "to 11 it has no reason to be there.",
        "",
        "*accuracy*: without intervention, on the inputs of the test pairs. *natural*: IIA with the weights of random "
        "pairs, as the course has it; half of random pairs need no change, so that doing nothing has about .5. "
        "*worst*: the lowest of the four strata, each of "
        f"{config['test'] // 8:,} pairs. *stays jointly, by unit, worst unit*: how often the answer to a base stays "
        "when units 8 to 15 come from another input all at once, one drawn at random, or the one on which the answer "
        "hangs most, one of which holds V2 where that was trained into units 8 to 11. Brackets are 95 % intervals.",
        "",
        "| trained | seed | step | accuracy | V1 natural | V1 worst | V2 natural | V2 worst | stays jointly | by unit "
        "| worst unit |",
        "|---|--:|--:|---|---|---|---|---|---|---|---|",
        *(line(one) for one in rows),
        "",
        *summary(rows),
        "",
        *as_the_course(course),
        "",
        "With a network of your own:",
        "",
        "```python",
        'settings = cm.IIT(strict=1.0, strictness="joint")',
        "trained = cm.train_network(alignment, train, select=select, settings=settings, seed=0)",
        "print(cm.evaluate(trained.alignment, test))            # of trained.network, a copy; the old one is as it was",
        "print(cm.strictness(trained.alignment, test, seed=0))  # what stays when the other units come from elsewhere",
        "```",
        "",
    ]
    return "\n".join(lines)


def as_the_course(course: Mapping[str, Any]) -> list[str]:
    """The negative control where and as the course has it."""
    rows, settings = course["rows"], course["config"]["settings"]
    return [
        "## Where and as the course trains it",
        "",
        "The course's notebook reports an IIA of .53 for V2 after V1 alone was trained, of one network. It counts "
        "layers from 0, so that what it names layer 1 is the *second* hidden layer, and trains on batches of 1,028 for "
        "694 passes over 10,000 pairs, Adam at 1e-3, until the loss no longer falls. "
        f"`{course['command']}` does that ({settings['steps']:,} steps of {settings['batch']:,} pairs, a constant "
        "rate, the seeds on which length, batch and rate of the table above were chosen; code "
        f"{course['code']['sha256'][:16]}, {course['seconds']:,} s):",
        "",
        "| trained | seed | step | accuracy | V1 natural | V1 worst | V2 natural | V2 worst | stays jointly | by unit "
        "| worst unit |",
        "|---|--:|--:|---|---|---|---|---|---|---|---|",
        *(line(one) for one in rows),
        "",
        "| what | over the seeds: least, median, most | target | seeds that reach it |",
        "|---|---|---|---|",
        spread(
            "V2, natural (the negative control)",
            [row["variables"]["right"]["natural"]["rate"] for row in rows],
            f"<= {MOST}",
        ),
        "",
        "The notebook's .53 was not met again: four networks do not rule it out as one of many, but it is not what "
        "this setting usually gives. What is in units 4 to 7 without being put there is a matter of the seed in this "
        "layer as in the first one. (Batches are drawn anew here, and there are cut once; the step is chosen on other "
        "inputs here.)",
    ]


def line(one: Mapping[str, Any]) -> str:
    """A row of the table."""
    kept, found = one["strictness"], one["variables"]
    worst = min(kept["units"].values(), key=lambda rate: rate["rate"])
    cells = [
        WORDS[one["kind"]],
        str(one["seed"]),
        f"{one['chosen_step']:,}",
        interval(one["accuracy"]),
        *(interval(found[name][part]) for name in VARIABLES for part in ("natural", "worst")),
        *(interval(rate) for rate in (kept["joint"], kept["unit"], worst)),
    ]
    return f"| {' | '.join(cells)} |"


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was to be shown, and in how many seeds it is."""

    def natural(kind: str, name: str) -> list[float]:
        return [r["variables"][name]["natural"]["rate"] for r in rows if r["kind"] == kind]

    def accuracy(kind: str) -> list[float]:
        return [r["accuracy"]["rate"] for r in rows if r["kind"] == kind]

    def joint(kind: str) -> list[float]:
        return [r["strictness"]["joint"]["rate"] for r in rows if r["kind"] == kind]

    return [
        "| what | over the seeds: least, median, most | target | seeds that reach it |",
        "|---|---|---|---|",
        *(
            spread(words, values, target)
            for words, values, target in (
                ("the task alone: accuracy", accuracy("task"), None),
                ("the task alone: V1, natural", natural("task", "left"), None),
                ("the task alone: V2, natural", natural("task", "right"), None),
                ("V1 trained: accuracy", accuracy("first"), f">= {LEAST}"),
                ("V1 trained: V1, natural", natural("first", "left"), f">= {LEAST}"),
                ("V1 trained: V2, natural (the negative control)", natural("first", "right"), f"<= {MOST}"),
                ("V1 trained, V2 elsewhere: V2, natural", natural("elsewhere", "right"), f"<= {MOST}"),
                ("both trained: accuracy", accuracy("both"), f">= {LEAST}"),
                ("both trained: V1, natural", natural("both", "left"), f">= {LEAST}"),
                ("both trained: V2, natural", natural("both", "right"), f">= {LEAST}"),
                ("the task alone: stays jointly", joint("task"), None),
                ("both trained: stays jointly", joint("both"), None),
                ("both trained, strict by unit: stays jointly", joint("unit"), None),
                ("both trained, strict jointly: stays jointly", joint("joint"), None),
                (
                    "both trained, strict jointly: the lower of V1 and V2, natural",
                    list(map(min, natural("joint", "left"), natural("joint", "right"))),
                    None,
                ),
            )
            if values
        ),
    ]


def spread(words: str, values: Sequence[float], target: str | None) -> str:
    """A row of the second table."""
    three = ", ".join(share(f(values)) for f in (min, statistics.median, max))
    if target is None:
        return f"| {words} | {three} | | |"
    sign, bound = target.split()
    hits = sum(v >= float(bound) if sign == ">=" else v <= float(bound) for v in values)
    low, high = clopper_pearson(hits, len(values), alpha=0.025)
    limit = f"{'at least' if sign == '>=' else 'at most'} {share(float(bound), 2)}"
    return f"| {words} | {three} | {limit} | {hits} of {len(values)} [{share(low, 2)}, {share(high, 2)}] |"


def share(value: float, digits: int = 3) -> str:
    """.953; 1 as 1.000, and nothing below 1 rounded up to it."""
    text = f"{value:.{digits}f}"
    if value < 1 and float(text) == 1:
        return ">." + "9" * digits
    return text.removeprefix("0") if value < 1 else text


def interval(rate: Mapping[str, float]) -> str:
    """.953 [.941, .963]."""
    return f"{share(rate['rate'])} [{share(rate['low'])}, {share(rate['high'])}]"
