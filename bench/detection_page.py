"""docs/detection.md from docs/detection.json; bench/detection.py makes both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detection_table import (
    ELSEWHERE,
    Row,
    Share,
    caught,
    counts,
    decided,
    grouped,
    rated,
    reached,
    refuted,
    splits,
    turned_down,
    wanted,
)
from detection_values import STATISTICS

from commutes.report import entry
from commutes.report.catalogue import FAMILIES

LEVELS = ("R1", "R2", "R3", "R4", "R5")
ENOUGH, MOST = 0.9, 0.05
"""What was to be shown: the share of decoys caught, at least, and of right claims alarmed about, at most."""
UNPOWERED = {
    "A5": "the closed form gives no map on an untrained network",
    "A6": "a complete domain that was fitted on leaves no input to hold out",
    "A9": "the coordinates move as far where the variable keeps its value, because they carry something else",
    "A4": "too few pairs whose source has a natural input beside it",
    "B1": "the closed form gives no map on an untrained network",
    "B2": "a variable has fewer than three admissible control functions",
    "C2": "one variable, or no set of which a swap tells more than a trivial rival",
    "C3": "the aligned variables do not determine the output, or nothing is outside",
    "D1": "the layer that reads has rank too low to leave anything unread",
    "D2": "no pair changes the variable and nothing else that enters the answer",
    "D3": "what is read beside the coordinates says the same, or they are all that varies",
    "D4": "a second place carries the variable, or the aligned variables do not determine the output",
    "E1": "every shift leaves the inputs as they are",
    "E3": "the closed form gives no map again",
    "E4": "the closed form gives no map on the other networks",
    "E5": "no other grouping of the inputs makes a rival",
}
"""Why a check has no power where it has none, in words."""


def page(result: Mapping[str, Any]) -> str:
    """docs/detection.md."""
    rows: list[Row] = result["rows"]
    checks: list[str] = result["config"]["checks"]
    odd = grouped(rated(rows))
    lines = [
        *_head(result, checks),
        *_together(odd, checks),
        *_overview(odd, checks),
        *_families(odd, checks),
        *_unpowered(odd, checks),
        *_thresholds(rows, checks),
        *_decided(rated(rows), checks),
        *_limits(result),
    ]
    return "\n".join(lines) + "\n"


def _head(result: Mapping[str, Any], checks: Sequence[str]) -> list[str]:
    config, rows = result["config"], result["rows"]
    return [
        "# Which wrong claims the checks catch",
        "",
        f"Made by `{result['command']}`, commutes {result['versions']['commutes']}, torch "
        f"{result['versions']['torch']}; SHA-256 of src/commutes and algorithms/equality.py {_code(result)}. "
        f"{result['seconds']:,} s of one core; every row is in `detection.json`.",
        "",
        "The zoo (`commutes.testing.zoo`) has networks that were written down, compiled or trained so that it is "
        "known what they compute and where, and claims about each: right ones, *decoys* (the network uses the "
        "variable elsewhere, or not at all) and claims that hold *in part* (the variable is there, but not all of it "
        "or not it alone). Every claim was challenged by `cm.challenge` as a user would, with "
        f"{config['pairs']:,} pairs of which .4 are for fitting and .6 are measured, or with all pairs of a domain "
        "that is small, and with the shifts of the inputs that its network survives. The checks are given the "
        "network and the claim, never its truth. Each row is a claim and a seed: the seed turns the basis in which "
        "the variables stand, draws gains and offsets, and draws the pairs.",
        "",
        f"{len(rows):,} claims in all, up to {max(config['seeds'].values())} seeds of a kind. The thresholds are those "
        "that were declared before; what is said of them below was looked at on even seeds, and **all rates are those "
        f"of odd seeds**, {len(rated(rows)):,} claims. Odd seeds are other bases, gains and pairs of the same "
        "constructions: checks were mended where a construction showed that they were wrong (D2 refuted right claims "
        "about compiled programs), so that the rates say nothing of constructions that nobody has planted.",
        "",
        'An *alarm* is the answer "refuted". On a decoy it is what was wanted; on a right claim it is a false '
        "alarm. *Vacuous* and *inconclusive* are no alarms, and never a pass either. Brackets are exact "
        "(Clopper-Pearson) 95 % intervals: they speak of other seeds of the same constructions, not of decoys that "
        "nobody has thought of, and rows of one seed are not quite independent of each other.",
        "",
        "*What is found again.* A told claim was not found by a fit. It is challenged as if the difference of "
        "means of its variables' values had found it, a closed form with an IIA of 1 in these networks: that "
        "is what is computed on untrained networks (B1, A5), for control tasks (B2), for rival algorithms "
        "(E5), on networks of other seeds (E4) and again on the same (E3); of "
        f"{' and '.join(config['refitted'])} networks only, since compiled ones are measured on all pairs. E3 "
        "then compares what is told with what that form computes: it refutes decoys, which nothing here has "
        "found, and also right claims where the form takes along what is moved and never read. That is no "
        "measure of E3 on claims that a procedure has found, and one that is drawn to a decoy would find it "
        "again: E3 stands apart here, and nothing below that speaks of several checks together counts it.",
        "",
    ]


def _code(result: Mapping[str, Any]) -> str:
    """Which code made the rows: where the families were made side by side, of each."""
    code = result["code"]
    families: dict[str, list[str]] = {}
    for name, digest in code.get("by_family", {}).items():
        families.setdefault(digest, []).append(name)
    if len(families) < 2:
        return code["sha256"][:16]
    return ", ".join(f"{digest[:16]} ({' and '.join(names)} networks)" for digest, names in families.items())


def _together(groups: Mapping[str, Sequence[Row]], checks: Sequence[str]) -> list[str]:
    """All checks as one: what a level catches, and what is done elsewhere."""
    head = [
        "claim",
        "n",
        *(f"refuted up to {level}" for level in LEVELS),
        "reaches R3",
        "reaches R4",
        *ELSEWHERE,
    ]
    lines = [
        "## All checks together",
        "",
        "How often some check up to a level refutes the claim, and how often the claim reaches R3 and R4, where all "
        "checks of the level were run: R4 asks for inputs that the algorithm says nothing about, and only one "
        'network of the zoo reads such (its claims are "off task" and a few right ones). The last three columns are '
        "what is done elsewhere, on the same pairs: a claim is turned down where its IIA over random pairs is not "
        "over .9; where its IIA is not over that of random subspaces of the same size; where, after a swap that "
        "should change the answer, the mean logit of the answer that is expected is not over that of the base's "
        "answer.",
        "",
        *_table(head, "lr" + "l" * (len(head) - 2)),
    ]
    for title, names in _titled(groups):
        lines.append(_line([f"**{title}**", *[""] * (len(head) - 1)]))
        for name in names:
            rows = groups[name]
            lines.append(
                _line(
                    [
                        name,
                        str(len(rows)),
                        *(_share(caught(rows, checks, level)) for level in LEVELS),
                        *(_share(reached(rows, checks, level)) for level in ("R3", "R4")),
                        *(_share(turned_down(rows, how)) for how in ELSEWHERE),
                    ]
                )
            )
    return [*lines, "", *_summary(groups, checks), ""]


def _summary(groups: Mapping[str, Sequence[Row]], checks: Sequence[str]) -> list[str]:
    to_catch = {name: rows for name, rows in groups.items() if wanted(rows)}
    missed = [name for name, rows in to_catch.items() if caught(rows, checks, "R4").rate < ENOUGH]
    right = [one for rows in groups.values() for one in rows if one["truth"] == "right"]
    alarms = caught(right, checks, "R4")
    words = f"caught at a rate of at least {_number(ENOUGH)}: {len(to_catch) - len(missed)} of {len(to_catch)} kinds"
    missing = f", all but {', '.join(missed)}" if missed else ""
    others = [
        f"{how} {sum(turned_down(rows, how).rate >= ENOUGH for rows in to_catch.values())} of {len(to_catch)}"
        for how in ELSEWHERE
    ]
    return [
        f"- Of the kinds that are to be caught, {words}{missing}. What is done elsewhere: {'; '.join(others)}.",
        f"- False alarms about right claims: {alarms.hits} of {alarms.n}, {_share(alarms)}; at most {_number(MOST)} "
        f"were to be allowed. By family: {'; '.join(_alarms(right, checks))}. Few networks are trained ones: that "
        "their rate is at most so large is not shown. The rows of a compiled program differ in a rotation only.",
        f"- With E3, which stands apart: {_plainly(caught(right, checks, 'R4', apart=()))} of the right claims.",
        "",
        "A claim that holds in part is scored apart. It is not true as it stands, so that a refutation is no "
        "false alarm; where the construction makes some check refute it, it counts among the kinds to be caught, "
        "and where it does not (a direction that is 15 degrees off, a place that has what it should and more that "
        "is idle, values that some readers have read before) a claim that passes is no miss.",
    ]


def _alarms(right: Sequence[Row], checks: Sequence[str]) -> list[str]:
    families: dict[str, list[Row]] = {}
    for one in right:
        families.setdefault(one["family"], []).append(one)
    return [f"{name} {_plainly(caught(rows, checks, 'R4'))}" for name, rows in families.items()]


def _plainly(share: Share) -> str:
    return f"{share.hits} of {share.n}, {_share(share)}"


def _titled(groups: Mapping[str, Sequence[Row]]) -> list[tuple[str, list[str]]]:
    titles = {
        "decoy": "decoys",
        "partial": "claims that hold in part",
        "right": "right claims (every alarm is false)",
    }
    return [
        (title, names)
        for truth, title in titles.items()
        if (names := [name for name, rows in groups.items() if rows[0]["truth"] == truth])
    ]


def _overview(groups: Mapping[str, Sequence[Row]], checks: Sequence[str]) -> list[str]:
    """The matrix of checks and claims, in two digits."""
    lines = [
        "## Check by check",
        "",
        "The rate of alarms. · is never, v vacuous on at least half of the claims and never an alarm, i "
        "inconclusive on at least half and never an alarm, an empty cell not run.",
        "",
        *_table(["claim", *checks], "l" + "r" * len(checks)),
    ]
    for title, names in _titled(groups):
        lines.append(_line([f"**{title}**", *[""] * len(checks)]))
        lines += [_line([name, *(_mark(groups[name], checks, c) for c in checks)]) for name in names]
    return [*lines, ""]


def _mark(rows: Sequence[Row], checks: Sequence[str], check: str) -> str:
    found, share = counts(rows, checks, check), refuted(rows, checks, check)
    if not share.n:
        return ""
    if share.hits:
        return _number(share.rate)
    return next((letter for letter in "vi" if 2 * found[letter] >= share.n), "·")


def _families(groups: Mapping[str, Sequence[Row]], checks: Sequence[str]) -> list[str]:
    lines = ["## With intervals", ""]
    for family, title in FAMILIES.items():
        own = [name for name in checks if name.startswith(family)]
        if not own:
            continue
        names = ", ".join(f"{name} {entry(name).name}" for name in own)
        lines += [
            f"### {family}. {title}",
            "",
            f"{names}.",
            "",
            *_table(["claim", *own], "l" * (1 + len(own))),
        ]
        for name, rows in groups.items():
            lines.append(_line([name, *(_share(refuted(rows, checks, c)) for c in own)]))
        lines.append("")
    return lines


def _unpowered(groups: Mapping[str, Sequence[Row]], checks: Sequence[str]) -> list[str]:
    """Where a check has no power, and why."""
    lines = [
        "## Where a check has no power",
        "",
        "A check that cannot tell says \"vacuous\", which never counts as a pass.",
        "",
        *_table(["check", "vacuous on right claims", "on wrong claims", "mostly on", "why"], "lllll"),
    ]  # fmt: skip
    for check in checks:
        parts = {
            truth: [r for rows in groups.values() for r in rows if (r["truth"] == "right") == truth]
            for truth in (True, False)
        }
        shares = {truth: _vacuous(rows, checks, check) for truth, rows in parts.items()}
        if not any(share.hits for share in shares.values()):
            continue
        mostly = [
            n for n, rows in groups.items() if (s := _vacuous(rows, checks, check)).n and 2 * s.hits >= s.n
        ]
        cells = [f"{check} {entry(check).name}", _share(shares[True]), _share(shares[False])]
        lines.append(_line([*cells, ", ".join(mostly), UNPOWERED.get(check, "")]))
    return [*lines, ""]


def _vacuous(rows: Iterable[Row], checks: Sequence[str], check: str) -> Share:
    found = counts(rows, checks, check)
    return Share(found["v"], found.total() - found["n"])


def _thresholds(rows: Sequence[Row], checks: Sequence[str]) -> list[str]:
    lines = [
        "## Thresholds",
        "",
        "The number that a check decides by, on even seeds: how far it strays among right claims, and the "
        "thresholds that tell them best from the claims that the check must refute by construction, where there "
        "are any; elsewhere a check is there for what nobody has planted for it alone, and only the right claims "
        "say something. The estimate itself is used; a gate takes a bound of it.",
        "",
        *_table(
            [
                "check", "number", "declared", "right claims, even seeds", "best thresholds, even seeds",
                "declared is one of them", "right that pass, wrong that do not: best, even seeds", "declared, "
                "even seeds",
                "declared, odd seeds",
            ],
            "lllllllll",
        ),
    ]  # fmt: skip
    for one in splits(rows, checks):
        statistic = STATISTICS[one.check]
        best = ["", "", "", _pair(*one.declared_even), _pair(*one.declared_odd)]
        if one.best is not None:
            low, high = one.best
            best[:3] = [
                _interval(low, high),
                "yes" if low <= one.declared <= high else "no",
                _pair(*one.best_even),
            ]
        sign = "at least" if statistic.least else "at most"
        strays = " to ".join(_number(value, 3) for value in one.right)
        lines.append(_line([one.check, statistic.words, f"{sign} {_number(one.declared)}", strays, *best]))
    return [*lines, ""]


def _interval(low: float, high: float) -> str:
    if math.isinf(low):
        return f"up to {_number(high, 3)}"
    return f"from {_number(low, 3)}" if math.isinf(high) else f"{_number(low, 3)} to {_number(high, 3)}"


def _pair(right: Share, wrong: Share) -> str:
    one, other = (f"{share.hits} of {share.n}" if share.n else "none" for share in (right, wrong))
    return f"{one}, {other}"


def _decided(rows: Sequence[Row], checks: Sequence[str]) -> list[str]:
    lines = [
        "## Where the construction decides the answer",
        "",
        "For some claims it follows from how the network was made what a check must answer. How often it does, on "
        "odd seeds:",
        "",
        *_table(["check", "must answer", "does", "what it answers otherwise"], "llll"),
    ]
    for one in decided(rows, checks):
        apart = "; ".join(f"{claim}: {answer} ({n})" for claim, answer, n in one.apart)
        lines.append(
            _line(
                [one.check, one.answer, f"{one.agreed.hits} of {one.agreed.n}, {_share(one.agreed)}", apart]
            )
        )
    return [*lines, ""]


def _limits(result: Mapping[str, Any]) -> list[str]:
    return [
        "## What the table does not say",
        "",
        "The networks are small, and most were written down by hand: a rate is the power of a check against a "
        "construction that is carried out cleanly. In a trained network a decoy is seldom so clean. The seeds of "
        "a compiled program differ only in the basis of its residual stream, and those of the trained networks in "
        "the basis and in which of four trainings is taken; their rows are few and alike.",
        "",
        f"No construction here is refuted by {_listed(_idle(result))}: what they are for (maps that align anything, "
        "claims that hold on fitted inputs alone, one of several components) is tried in their own tests, not in this "
        "table. E4 cannot refute with three other networks, and supports decoys that the closed form finds the truth "
        "for; E5 had the rivals that the library makes itself, which most of these algorithms have none of. E2 was "
        "asked whether a claim holds on every input (`every_input=True`), and E1 had the shifts of the zoo, among them "
        "for a shortcut and a gate the one that unties what is planted together: other shifts catch less. R4 is "
        "reached by right claims about the one network that has a second task; what else would pass there is not "
        "measured.",
        "",
        "The card of a challenge prints which of these kinds the checks that answered \"supported\" or "
        f"\"refuted\" catch together, where that is at least {_number(ENOUGH)} of the claims here: \"this run "
        "could have caught: ...\".",
    ]  # fmt: skip


def _idle(result: Mapping[str, Any]) -> list[str]:
    """Checks that refute at most one claim in all."""
    checks = result["config"]["checks"]
    return [name for name in checks if counts(result["rows"], checks, name)["r"] <= 1]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names) or "nothing"


def _table(head: Sequence[str], align: str) -> list[str]:
    rule = {"l": "---", "r": "--:"}
    return [_line(head), "|" + "|".join(rule[a] for a in align) + "|"]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _share(share: Share) -> str:
    if not share.n:
        return ""
    low, high = share.interval
    return f"{_number(share.rate)} [{_number(low)}, {_number(high)}]"


def _number(value: float, digits: int = 2) -> str:
    """.95; 1 as 1.00, nothing below 1 rounded up to it and nothing above 0 rounded down to it."""
    text = f"{value:.{digits}f}"
    if value < 1 and float(text) == 1:
        return ">." + "9" * digits
    if value > 0 and float(text) == 0:
        return "<." + "0" * (digits - 1) + "1"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
