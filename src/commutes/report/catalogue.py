"""Every check by name, the levels they decide, and the words for where a claim stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from commutes.report._checks import CATALOGUE, FAMILIES, CatalogueEntry
from commutes.report._text import count

__all__ = [
    "CATALOGUE",
    "FAMILIES",
    "LEVELS",
    "CatalogueEntry",
    "Level",
    "entry",
    "exit_status",
    "headline",
    "level_of",
    "requirements",
    "settled",
    "upgrade",
    "verdict",
]


@dataclass(frozen=True)
class Level:
    """One rung: what a claim may say once it stands there."""

    name: str
    """R0 to R5."""
    word: str
    """What the network is said to do at this level, in one word."""
    says: str
    """The sentence that a claim earns at this level."""
    lacks: str
    """What is not shown while the level is not reached: "is not shown to ..."."""
    requires: tuple[tuple[str, ...], ...]
    """Check ids; each group needs one supported member."""


def _each(ids: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group.split("|")) for group in ids.split())


LEVELS: tuple[Level, ...] = (
    Level("R0", "described", "the claim is written down; nothing is shown yet", "be described", ()),
    Level(
        "R1", "behaves", "the network answers as the algorithm does, on data that can tell", "behave",
        _each("A1 A3"),
    ),
    Level(
        "R2", "controls", "swapping the aligned coordinates makes the network answer as the algorithm says",
        "control", _each("A2 A5 A6 A9 B1 B2"),
    ),
    Level(
        "R3", "mediates", "the network is consistent with the mechanism that the algorithm describes",
        "mediate", _each("A4 C1 C3 C8 D4|D1 D6"),
    ),
    Level(
        "R4", "generalises", "consistent with the mechanism beyond the data and the fit it was found with",
        "generalise", _each("E1 E2 A7 C9 E3"),
    ),
    Level(
        "R5", "discriminates and replicates",
        "consistent with this algorithm and not with its rivals, on the declared share of other trained networks",
        "discriminate and replicate", _each("E5 E4"),
    ),
)  # fmt: skip

# Low accuracy under swaps says nothing where the swap moved nothing: these answers rest on it.
_RESTS_ON_REACH = ("A2", "B1", "B2", "C1")


def entry(id: str) -> CatalogueEntry:
    """The catalogue's entry with this id.

    >>> entry("A2").name
    'stratified IIA'
    """
    return _BY_ID[id]


_BY_ID = {item.id: item for item in CATALOGUE}


def requirements(level: str) -> tuple[tuple[str, ...], ...]:
    """The groups of checks that `level` adds to the one below it; each group needs one supported member.

    >>> requirements("R1")
    (('A1',), ('A3',))
    """
    return LEVELS[_rank(level)].requires


def settled(answers: Mapping[str, str]) -> dict[str, str]:
    """`answers` as plain words, every check of the catalogue present, after A9's rule.

    Where the edit is shown not to reach anything (A9 refuted), a refutation that rests on the swap's
    effect is a null result without power: vacuous.

    >>> settled({"A2": "refuted", "A9": "refuted"})["A2"]
    'vacuous'
    """
    words = dict.fromkeys(_BY_ID, "not run") | {id: _word(answer) for id, answer in answers.items()}
    if words["A9"] == "refuted":
        words |= {id: "vacuous" for id in _RESTS_ON_REACH if words[id] == "refuted"}
    return words


def level_of(answers: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The level reached, weakest link first, and the checks that keep the claim from the next one.

    Only "supported" counts for a level. A refuted check caps the level below its own, also where the level
    could be had without it; R5 needs in addition that no gate is left vacuous.

    >>> level_of({"A1": "supported", "A3": "supported", "A2": "refuted"})
    ('R1', ('A2', 'A5', 'A6', 'A9', 'B1', 'B2'))
    """
    words = settled(answers)
    for below, level in pairwise(LEVELS):
        blocking = _blocking(level, words)
        if blocking:
            return below.name, blocking
    return LEVELS[-1].name, ()


def _blocking(level: Level, words: Mapping[str, str]) -> tuple[str, ...]:
    unmet = [id for group in level.requires if not _met(group, words) for id in group]
    caps = [item.id for item in CATALOGUE if item.level == level.name and words[item.id] == "refuted"]
    vacuous = _left_vacuous(words) if level.name == "R5" else []
    ranked = sorted(dict.fromkeys([*unmet, *caps, *vacuous]), key=list(_BY_ID).index)
    return tuple(sorted(ranked, key=lambda id: words[id] != "refuted"))


def _met(group: tuple[str, ...], words: Mapping[str, str]) -> bool:
    return any(words[id] == "supported" for id in group)


def _left_vacuous(words: Mapping[str, str]) -> list[str]:
    excused = {
        id for level in LEVELS for group in level.requires if _met(group, words) for id in group
    }  # an alternative without power is made up for by the one that has it
    return [i.id for i in CATALOGUE if i.level and words[i.id] == "vacuous" and i.id not in excused]


def verdict(answers: Mapping[str, str], sought: str) -> str:
    """Where the claim stands against the level `sought`, in one of the five answers.

    >>> verdict({"A1": "supported", "A3": "supported"}, "R1"), verdict({"A1": "supported"}, "R1")
    ('supported', 'not run')
    """
    if _rank(level_of(answers)[0]) >= _rank(sought):
        return "supported"
    words = settled(answers)
    open_words = {words[id] for level in LEVELS[1 : _rank(sought) + 1] for id in _blocking(level, words)}
    if _refuted_up_to(words, sought):
        return "refuted"
    # A check without power is not mended by more data, so it weighs more than one that lacks n.
    return next((w for w in ("vacuous", "inconclusive") if w in open_words), "not run")


def exit_status(level: str, sought: str, answers: Mapping[str, str]) -> int:
    """0 where `level` is at least `sought`, 1 where a check up to `sought` is refuted, 4 otherwise.

    >>> exit_status("R1", "R2", {"A2": "refuted"}), exit_status("R1", "R2", {"A2": "vacuous"})
    (1, 4)
    """
    if _rank(level) >= _rank(sought):
        return 0
    return 1 if _refuted_up_to(settled(answers), sought) else 4


def _refuted_up_to(words: Mapping[str, str], sought: str) -> list[str]:
    gating = [
        item.id
        for item in CATALOGUE
        # An edit that reaches nothing takes the test's power; it does not speak against the claim.
        if item.id != "A9" and item.level and _rank(item.level) <= _rank(sought)
    ]
    return [id for id in gating if words[id] == "refuted"]


def headline(answers: Mapping[str, str], sought: str, *, details: Mapping[str, str] | None = None) -> str:
    """The card's first line: the level in words, then what keeps the claim from the next one.

    Args:
        answers: Check id to answer.
        sought: The level that was asked for.
        details: Check id to a few words about its figures ("worst cell left · flip .41 [.38, .44]").

    >>> headline({"A1": "supported", "A3": "supported", "A2": "refuted"}, "R2")
    'R1, behaves, but is not shown to control: A2 stratified IIA is refuted'
    """
    words = settled(answers)
    level, blocking = level_of(answers)
    here = LEVELS[_rank(level)]
    refuted = [item.id for item in CATALOGUE if item.level and words[item.id] == "refuted"]
    if not blocking or (_rank(level) >= _rank(sought) and not refuted):
        return f"{level}, {here.word}: {here.says}"
    above = LEVELS[_rank(level) + 1]
    first = f"{level}, {here.word}, but is not shown to {above.lacks}: " + _why(
        blocking, words, details or {}
    )
    further = tuple(id for id in refuted if id not in blocking)
    return first + ("; further up, " + _why(further, words, details or {}) if further else "")


def _why(blocking: tuple[str, ...], words: Mapping[str, str], details: Mapping[str, str]) -> str:
    for word in ("refuted", "vacuous", "inconclusive", "not run"):
        ids = [id for id in blocking if words[id] == word]
        if not ids:
            continue
        if len(ids) > 1 and not any(id in details for id in ids):
            return f"{_listed(ids)} are {word}"
        notes = [
            f"{id} {_BY_ID[id].name} is {word}" + (f" ({details[id]})" if id in details else "") for id in ids
        ]
        return "; ".join(notes)
    raise AssertionError("a level is blocked by a check that is supported")


def upgrade(
    answers: Mapping[str, str],
    *,
    n_to_decide: Mapping[str, int | None] | None = None,
    reasons: Mapping[str, str | None] | None = None,
) -> str:
    """The cheapest next step that could raise the level, in one sentence.

    Args:
        answers: Check id to answer.
        n_to_decide: Check id to the number of pairs that would decide it.
        reasons: Check id to why it is vacuous.

    >>> upgrade({"A1": "supported", "A3": "inconclusive"}, n_to_decide={"A3": 240})
    'to reach R1 (behaves): decide A3 adequacy of the data with about 240 pairs'
    """
    words = settled(answers)
    level, blocking = level_of(answers)
    if not blocking:
        return "nothing: this is the highest level; replicate it elsewhere"
    above = LEVELS[_rank(level) + 1]
    goal = f"to reach {above.name} ({above.word}): "
    cheapest = min(blocking, key=lambda id: (_ORDER[words[id]], _BY_ID[id].effort))
    name = f"{cheapest} {_BY_ID[cheapest].name}"
    others = [id for id in blocking if id != cheapest and not _alternative(id, cheapest)]
    rest = f"; then {_listed(others)}" if others else ""
    if words["A1"] == "refuted":
        return goal + f"{name} is refuted, so train the network further, or ask it only what it can answer"
    if words[cheapest] == "refuted":
        return goal + f"{name} is refuted, so change the claim (another site, size or grouping) and fit again"
    if words[cheapest] == "vacuous":
        reason = (reasons or {}).get(cheapest)
        return goal + f"give {name} power" + (f" ({reason})" if reason else "") + rest
    if words[cheapest] == "inconclusive":
        n = (n_to_decide or {}).get(cheapest)
        return goal + f"decide {name} with " + (f"about {count(n)} pairs" if n else "more pairs") + rest
    return goal + f"run {name} first, the cheapest ({_BY_ID[cheapest].cost})" + rest


def _alternative(id: str, other: str) -> bool:
    return any(id in group and other in group for level in LEVELS for group in level.requires)


def _listed(ids: list[str]) -> str:
    """Ids with "or" between those of which one is enough."""
    shown: list[str] = []
    for id in ids:
        partner = next((i for i, text in enumerate(shown) if _alternative(id, text.split(" ")[0])), None)
        if partner is None:
            shown.append(id)
        else:
            shown[partner] += f" or {id}"
    return ", ".join(shown)


# A refuted check stands in the way of everything else; then what is mended by data alone, then what was
# never run, then what needs another design.
_ORDER = {"refuted": 0, "inconclusive": 1, "not run": 2, "vacuous": 3, "supported": 4}


def _rank(level: str) -> int:
    return [item.name for item in LEVELS].index(level)


def _word(answer: str) -> str:
    # An Answer is a str whose str() is its qualified name on some versions; its value is what is meant.
    return str(getattr(answer, "value", answer))
