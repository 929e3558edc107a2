"""The card: what a claim is, what was measured, every attempt to break it, and what never ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from commutes.report._detection import POWER, parted
from commutes.report._measured import (
    INDENT,
    cell_lines,
    companion_lines,
    data_words,
    measure,
    self_check_words,
    untrained_rows,
)
from commutes.report._schema import CheckRecord, EvaluationRecord, ReportRecord
from commutes.report._sought import sought_lines
from commutes.report._text import clean, count, number, pad, paint, plural, width_of, wrap
from commutes.report.catalogue import LEVELS, entry
from commutes.report.record import as_evaluation, as_report

__all__ = ["card", "evaluation_table"]

_COLOURS = {
    "supported": "green",
    "refuted": "red",
    "inconclusive": "yellow",
    "vacuous": "yellow",
    "not run": "dim",
}
_NARROWEST = 80
_LABEL = 12


def card(record: Mapping[str, Any] | ReportRecord, *, width: int = 100, colour: bool = False) -> str:
    """The report as plain text: the verdict first, the upgrade path last, nothing hidden in between.

    Args:
        record: A report's record.
        width: The widest line, in columns; at least 80.
        colour: Whether to colour the answers for a terminal.

    Raises:
        ArtefactError: The record is not a report's.
    """
    r, width = as_report(record), max(width, _NARROWEST)
    style = "bold " + _COLOURS[r.verdict].replace("dim", "yellow")
    lines = [paint(line, style, colour) for line in wrap(clean(r.headline), width)]
    lines += [*wrap(_verdict_line(r), width), "─" * width]
    lines += _claim_lines(r, width)
    if r.evaluation is not None:
        untrained = untrained_rows(r.checks)
        drawn = r.claim.distribution
        lines += ["", *_measurement(r.evaluation, width, colour, untrained=untrained, drawn=drawn)]
    if r.selection is not None and r.selection.cells:
        first, *rest = sought_lines(r.selection, width)
        lines += ["", paint(first, "bold", colour), *rest]
    lines += ["", *_check_lines(r, width, colour)]
    lines += ["─" * width, *_closing_lines(r, width)]
    return "\n".join(line.rstrip() for line in lines)


def evaluation_table(
    record: Mapping[str, Any] | EvaluationRecord, *, width: int = 100, colour: bool = False
) -> str:
    """An evaluation as plain text: what `print(evaluation)` shows.

    Args:
        record: An evaluation's record.
        width: The widest line, in columns; at least 80.
        colour: Whether to colour the worst cell for a terminal.

    Raises:
        ArtefactError: The record is not an evaluation's.
    """
    e, width = as_evaluation(record), max(width, _NARROWEST)
    lines = _measurement(e, width, colour, full=True)
    return "\n".join(line.rstrip() for line in lines)


def _verdict_line(r: ReportRecord) -> str:
    tally = {word: sum(check.answer == word for check in r.checks) for word in _COLOURS}
    words = ", ".join(f"{n} {word}" for word, n in tally.items())
    return f"{r.sought} was sought: {r.verdict} · checks: {words}"


def _labelled(label: str, text: str, width: int) -> list[str]:
    parts = wrap(text, width - _LABEL)
    return [f"{label if i == 0 else '':<{_LABEL}}{part}" for i, part in enumerate(parts)]


def _claim_lines(r: ReportRecord, width: int) -> list[str]:
    c = r.claim
    places = [
        f"{clean(v.name)} at {clean(v.site)}, {clean(v.featurizer)}, "
        f"{plural(v.k, 'coordinate')}: {_coordinates(v.coordinates)}"
        for v in c.variables
    ]
    scope = _dotted(f"{clean(key)}: {clean(value)}" for key, value in c.scope.items())
    opened = {0: "not opened yet", 1: "opened once"}.get(c.opened, f"opened {count(c.opened)} times")
    lines = _labelled("Claim", clean(c.words), width)
    for i, place in enumerate(places):
        lines += _labelled("Where" if i == 0 else "", place, width)
    lines += _labelled(
        "Hypothesis", f"{clean(c.algorithm)}, fingerprint {_short(c.algorithm_fingerprint)}", width
    )
    lines += _labelled("Network", f"{clean(c.network)}, fingerprint {_short(c.network_fingerprint)}", width)
    lines += _labelled("Mode", clean(c.mode), width)
    lines += _labelled("Inputs", clean(c.distribution), width)
    lines += _labelled("Scope", scope or "not stated", width)
    fixed = f"claim {_short(c.fingerprint)}, fixed before the test split was opened; {opened}"
    nothing = "nothing was fitted, and the test split was not opened"
    return lines + _labelled("Fixed", fixed if c.variables else nothing, width)


def _coordinates(coordinates: str | tuple[int, ...]) -> str:
    """The coordinates with runs of three and more folded.

    >>> _coordinates((0, 1, 2, 3, 7, 9, 10))
    '0 to 3, 7, 9, 10'
    """
    if isinstance(coordinates, str):
        return clean(coordinates)
    runs: list[list[int]] = []
    for i in coordinates:
        if runs and i == runs[-1][-1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    words = [f"{r[0]} to {r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs]
    return ", ".join(words)


def _short(fingerprint: str) -> str:
    return clean(fingerprint)[:12]


def _measurement(
    e: EvaluationRecord,
    width: int,
    colour: bool,
    *,
    untrained: Sequence[Sequence[str]] = (),
    full: bool = False,
    drawn: str | None = None,
) -> list[str]:
    title = f"{measure(e)}, the share of pairs answered as the algorithm answers after the same swap"
    lines = [paint(title, "bold", colour)]
    if e.label:
        label = wrap(clean(e.label).upper(), width - 2)
        lines += [INDENT + paint(line, "bold yellow", colour) for line in label]
    lines += [INDENT + line for line in wrap(data_words(e, distribution=e.distribution != drawn), width - 2)]
    lines += ["", *cell_lines(e, width, colour)]
    lines += companion_lines(e, width, untrained=untrained, full=full)
    return [*lines, "", *(INDENT + line for line in wrap(f"self checks: {self_check_words(e)}", width - 2))]


def _check_lines(r: ReportRecord, width: int, colour: bool) -> list[str]:
    sought = [level.name for level in LEVELS].index(r.sought)
    lines = [paint("Checks, each an attempt to break the claim; not run is never a pass", "bold", colour)]
    for rank, level in enumerate(LEVELS[1:], start=1):
        members = [check for check in r.checks if _level_of_check(check.id) == level.name]
        needed = {id for group in level.requires for id in group} if rank <= sought else set()
        own = [check for check in members if check.answer != "not run" or check.id in needed]
        rest = [check for check in members if check not in own]
        lines.append(f"{level.name} {level.word}")
        lines += _rows(own, width, colour) + _not_run(rest, width, colour)
    others = [check for check in r.checks if _level_of_check(check.id) is None]
    ran = [check for check in others if check.answer != "not run"]
    lines.append("Floors and diagnostics, which never gate")
    return lines + _rows(ran, width, colour) + _not_run([c for c in others if c not in ran], width, colour)


def _level_of_check(id: str) -> str | None:
    try:
        return entry(id).level
    except KeyError:
        return None


def _rows(checks: Sequence[CheckRecord], width: int, colour: bool) -> list[str]:
    lines: list[str] = []
    indent = 2 + 4 + 24 + 2 + 12 + 2
    for check in checks:
        said = wrap(_sentence(check), width - indent)
        name = wrap(clean(check.name), 24)
        for i in range(max(len(said), len(name))):
            id = clean(check.id) if i == 0 else ""
            left = name[i] if i < len(name) else ""
            answer = f"{check.answer:<12}" if i == 0 else " " * 12
            text = said[i] if i < len(said) else ""
            painted = paint(answer, _COLOURS[check.answer], colour and i == 0)
            lines.append(f"  {id:<4}{pad(left, 24)}  {painted}  {text}")
    return lines


def _sentence(check: CheckRecord) -> str:
    parts = [clean(check.sentence)] if check.sentence else []
    if check.reason and check.answer in ("vacuous", "not run"):
        parts.append(clean(check.reason))
    if check.answer == "inconclusive":
        n = check.n_to_decide
        parts.append(f"about {count(n)} pairs would decide" if n else "the n that would decide is not known")
    return "; ".join(dict.fromkeys(parts)) or "no figures"


def _not_run(checks: Sequence[CheckRecord], width: int, colour: bool) -> list[str]:
    if not checks:
        return []
    listed = _dotted(f"{clean(check.id)} {clean(check.name)}" for check in checks)
    return [paint(f"  {line}", "dim", colour) for line in wrap(f"not run: {listed}", width - 2)]


def _closing_lines(r: ReportRecord, width: int) -> list[str]:
    thresholds = _dotted(f"{clean(k).replace('_', ' ')} {number(v)}" for k, v in r.thresholds.items())
    lines = _labelled("Thresholds", thresholds or "none declared", width)
    lines += _labelled("Not tested", _not_tested(r), width)
    lines += _power_lines(r, width)
    lines += _labelled("Cost", _cost(r.cost), width)
    lines += _labelled("Seeds", _pairs(r.seeds), width)
    lines += _labelled("Made with", _dotted([f"commutes {clean(r.commutes)}", _pairs(r.environment)]), width)
    lines += _labelled("Reproduce", clean(r.reproduce), width)
    return lines + _labelled("Next", clean(r.upgrade), width)


def _power_lines(r: ReportRecord, width: int) -> list[str]:
    """Which kinds of decoy the checks that decided something could have caught, and which they could not."""
    if not r.could_have_caught:
        return []
    caught, missed = (
        _dotted(f"{clean(one.kind)} {one.caught} of {one.n}" for one in part)
        for part in parted(r.could_have_caught)
    )
    lines = _labelled("Power", f"this run could have caught: {caught or 'no kind of decoy'}", width)
    if missed:
        lines += _labelled("", f"and not: {missed}", width)
    source = "so many planted wrong claims of each kind are refuted by the checks that are supported or refuted above"
    if any(one.id == "E1" and one.answer in POWER for one in r.checks):
        source += "; E1's by shifts that untie what was planted together, which other shifts need not"
    return lines + _labelled("", f"({source})", width)


def _cost(cost: Mapping[str, Any]) -> str:
    shown = []
    for name, value in cost.items():
        words = clean(name).replace("_", " ")
        shown.append(
            f"{number(value)} {words}" if isinstance(value, int | float) else f"{words} {_plain(value)}"
        )
    return _dotted(shown) or "not recorded"


def _pairs(values: Mapping[str, Any]) -> str:
    shown = [f"{clean(name).replace('_', ' ')} {_plain(value)}" for name, value in values.items()]
    return _dotted(shown) or "not recorded"


def _dotted(items: Iterable[str]) -> str:
    """Items with dots between; no-break spaces keep a short one on its line until `wrap` takes them away."""
    glued = (item.replace(" ", "\u00a0") if width_of(item) <= 40 else item for item in items)
    return "\u00a0· ".join(glued)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{clean(key)} {_plain(item)}" for key, item in value.items())
    return str(value) if isinstance(value, int) else number(value)


def _not_tested(r: ReportRecord) -> str:
    answered = {check.id for check in r.checks if check.answer != "not run"}
    parts = []
    for level in LEVELS[1:]:
        missing = [group for group in level.requires if not answered.intersection(group)]
        if len(missing) == len(level.requires):
            parts.append(f"{level.name} {level.word} (nothing ran)")
        elif missing:
            parts.append(f"{level.name} {level.word} ({', '.join(' or '.join(g) for g in missing)})")
    return "; ".join(parts) or "every check that a level needs was run"
