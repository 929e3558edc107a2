"""The measurement in lines: rates by swapped set and stratum beside their floors, and what sums them up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from commutes.report._schema import CellRecord, CheckRecord, EvaluationRecord, RateRecord, TransitionRecord
from commutes.report._text import (
    breakable,
    clean,
    count,
    interval,
    paint,
    plural,
    share,
    table,
    width_of,
    wrap,
)

__all__ = [
    "cell_lines",
    "companion_lines",
    "data_words",
    "floor_names",
    "measure",
    "rate_words",
    "untrained_rows",
    "value_words",
]

INDENT = "  "
_SHORT = {"do nothing": "nothing", "best constant": "constant", "random subspace": "random"}
# Self-checks that are a largest difference of a logit; the others are shares.
_DIFFERENCES = ("base onto itself", "edited runs beside whole ones", "pyvene beside this engine")
_FLOOR_WORDS = {
    "do nothing": "the base's own answer",
    "best constant": "the commonest expected answer",
    "random subspace": "as many random coordinates",
}
# Both tables begin their figures in the same column, so that the eye can run down all rates.
_NAMES = 24
_IIA, _INTERVAL, _N = 5, 14, 7
_RIVAL = "what a rival scores"
# A variable of many values has hundreds of transitions; the lowest are the ones to look at.
_MOST = 8


def rate_words(rate: RateRecord | None) -> str:
    """A share with its interval and n, in words."""
    if rate is None or rate.n == 0:
        return "not measured, n = 0"
    bracket = "complete domain" if rate.method == "census" else interval(rate.low, rate.high)
    return f"{share(rate.rate)} {bracket}, n = {count(rate.n)}"


def value_words(value: JsonValue) -> str:
    """A value of a variable or of the output as it reads in Python."""
    if isinstance(value, list):
        return "(" + ", ".join(value_words(item) for item in value) + ")"
    return clean(value)


def measure(e: EvaluationRecord) -> str:
    """What the rates are: "IIA", or "Agreement" where the output is a number, which has no strata."""
    return "Agreement" if e.cells and all(cell.stratum == "agreement" for cell in e.cells) else "IIA"


def data_words(e: EvaluationRecord, *, distribution: bool = True) -> str:
    """On what the measurement was made: part, pairs, inputs and, where asked, their distribution."""
    part = f"{clean(e.part)} split" if e.part else "one part"
    domain = ", complete domain" if e.census else ""
    drawn = f"; inputs: {clean(e.distribution)}" if distribution else ""
    return f"{part}, {plural(e.n, 'pair')} over {plural(e.distinct_inputs, 'distinct input')}{domain}{drawn}"


def self_check_words(e: EvaluationRecord) -> str:
    """The engine's own checks: what swapping nothing changed, and what swapping everything gave."""
    parts: list[str] = []
    for name, value in e.self_checks.items():
        if isinstance(value, RateRecord):
            shown = rate_words(value)
        elif value is None:
            shown = "not run"
        elif name in _DIFFERENCES:
            shown = f"largest difference {value:.3g}"
        else:
            shown = share(value)
        parts.append(f"{clean(name)}, {shown}")
    return "; ".join(parts) or "none ran"


def floor_names(e: EvaluationRecord) -> list[str]:
    """The floors that any cell names: the usual three first, others after them."""
    named = dict.fromkeys(name for cell in e.cells for name in cell.floors)
    return [name for name in _SHORT if name in named] + [name for name in named if name not in _SHORT]


def cell_lines(e: EvaluationRecord, width: int, colour: bool) -> list[str]:
    """The table of swapped set by stratum, the worst cell marked."""
    floors = floor_names(e)
    # Where every input is used once, the number of inputs says nothing that n does not.
    with_inputs = any(cell.rate is not None and cell.rate.method != "disjoint" for cell in e.cells)
    head = ["swap", "stratum", "IIA" if measure(e) == "IIA" else "share", "95 % interval", "n"] + (
        ["inputs"] if with_inputs else []
    )
    rows = [[*head, *(clean(_SHORT.get(name, name)) for name in floors), ""]]
    previous = None
    for cell in e.cells:
        row = ["" if cell.swap == previous else clean(cell.swap), clean(cell.stratum), *_cell_figures(cell)]
        row += [count(cell.inputs)] if with_inputs else []
        row += [share(cell.floors.get(name)) for name in floors]
        rows.append([*row, _mark(cell, e)])
        previous = cell.swap
    lines = _laid_out(rows, width)
    # Above the floors, unless the heading itself had to be broken.
    start = lines[0].find(rows[0][len(head)]) if floors else -1
    if start >= 0 and start + len(_RIVAL) <= width:
        lines = [" " * start + _RIVAL, *lines]
    return [paint(line, _style(line, i < len(lines) - len(rows) + 1), colour) for i, line in enumerate(lines)]


def _style(line: str, heading: bool) -> str:
    return "dim" if heading else "bold" if line.endswith("← worst") else ""


def _cell_figures(cell: CellRecord) -> list[str]:
    if cell.rate is None or cell.rate.n == 0:
        return ["—", "impossible" if cell.status == "impossible" else "no pairs", "0"]
    return _figures(cell.rate)


def _mark(cell: CellRecord, e: EvaluationRecord) -> str:
    gated = [one.rate.rate or 0.0 for one in e.cells if one.status == "gated" and one.rate is not None]
    # Where all gated cells are alike none of them is the worst.
    if _is_worst(cell, e) and min(gated, default=0.0) < max(gated, default=0.0):
        return "← worst"
    return "too small" if cell.status == "too small" else ""


def _is_worst(cell: CellRecord, e: EvaluationRecord) -> bool:
    return e.worst is not None and (cell.swap, cell.stratum) == (e.worst.swap, e.worst.stratum)


def _laid_out(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The rows as lines of at most `width`: figures keep their widths, the two names share the rest."""
    widths = [max(width_of(row[i]) for row in rows) for i in range(len(rows[0]))]
    gap, least = "  ", {2: _IIA, 3: _INTERVAL, 4: _N}
    room = _room(widths, least, gap, width)
    # A label of several variables may break behind its "+", never inside a name while there is room for one.
    longest = min(16, max((width_of(part) for row in rows for part in breakable(row[0])), default=0))
    if room < max(16, longest + min(widths[1], 16)):  # a narrow terminal, counts in the millions, long names
        gap, least = " ", {}
        room = max(13, _room(widths, least, gap, width))
    stratum = min(widths[1], max(7, room - max(6, longest)))
    swap = min(widths[0], room - stratum)
    if gap == "  ":
        least[1] = max(stratum, min(_NAMES - 2, room) - swap)
    limits = {0: swap, 1: max(stratum, least.get(1, 0))} | dict.fromkeys(range(2, len(widths)), 14)
    return _grid(_spread(rows, swap), limits, least, right=range(4, len(widths) - 1), gap=gap)


def _spread(rows: Sequence[Sequence[str]], columns: int) -> list[list[str]]:
    """A name too long for its column goes on beside the further strata of its swapped set."""
    spread = [list(row) for row in rows]
    starts = [i for i, row in enumerate(rows) if row[0]]
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        parts = wrap(rows[start][0], columns)
        last = end - start - 1
        for i, part in enumerate(parts):
            place = spread[start + min(i, last)]
            place[0] = f"{place[0]} {part}" if i > last else part
    return spread


def _room(widths: Sequence[int], least: dict[int, int], gap: str, width: int) -> int:
    figures = sum(max(min(w, 14), least.get(i, 0)) for i, w in enumerate(widths) if i >= 2)
    return width - len(INDENT) - figures - len(gap) * (len(widths) - 1)


def _grid(
    rows: Sequence[Sequence[str]],
    limits: dict[int, int],
    least: dict[int, int],
    *,
    right: Iterable[int],
    gap: str = "  ",
) -> list[str]:
    """Rows in columns of at least and at most so many characters."""
    # A first row of no-break spaces holds the columns open, and is taken away again.
    ruler = ["\u00a0" * least.get(i, 0) for i in range(len(rows[0]) if rows else 0)]
    return [INDENT + line for line in table([ruler, *rows], right=right, limits=limits, gap=gap)[1:]]


def companion_lines(
    e: EvaluationRecord, width: int, *, untrained: Sequence[Sequence[str]] = (), full: bool = False
) -> list[str]:
    """Behaviour, the worst cell, overall, natural, effective, each variable and the floors, one to a line.

    Args:
        e: The evaluation.
        width: The widest line.
        untrained: Further rows, of refits on untrained networks.
        full: Whether every change of value is listed, or only the lowest of each swapped set.
    """
    groups = companion_rows(e, untrained=untrained, full=full)
    least = {0: _NAMES, 1: _IIA, 2: _INTERVAL, 3: _N}
    limits = {0: _NAMES, 4: max(16, width - len(INDENT) - sum(least.values()) - 8)}
    lines: list[str] = []
    for group in groups:
        lines += ["", *_grid(group, limits, least, right=[3])] if group else []
    for swap, names in e.not_excluded.items():
        if names:
            rivals = ", ".join(clean(name) for name in names)
            words = f"swap {clean(swap)}: this data does not exclude {rivals}"
            lines += [INDENT + line for line in wrap(words, width - len(INDENT))]
    return lines


def companion_rows(
    e: EvaluationRecord, *, untrained: Sequence[Sequence[str]] = (), full: bool = False, changes: bool = True
) -> list[list[list[str]]]:
    """The rows of `companion_lines` in three groups: name, rate, interval, n, words. The card and the page share them.

    Args:
        e: The evaluation.
        untrained: Further rows, of refits on untrained networks.
        full: Whether every change of value is listed, or only the lowest of each swapped set.
        changes: Whether changes of value are listed at all.
    """
    swaps = [*_swap_rows(e), *(_change_rows(e, full) if changes else [])]
    return [_summary_rows(e), swaps, [*_floor_rows(e), *(list(row) for row in untrained)]]


def _summary_rows(e: EvaluationRecord) -> list[list[str]]:
    rows = [["behaviour", *_figures(e.accuracy), "nothing swapped: the network's accuracy"]]
    if e.worst is not None:
        where = f"{clean(e.worst.swap)} · {clean(e.worst.stratum)}"
        bounds = interval(e.worst.low, e.worst.high, exact=e.census)
        n = next((cell.rate.n for cell in e.cells if _is_worst(cell, e) and cell.rate is not None), 0)
        words = f"{where}, lowest of {plural(e.worst.cells, 'gated cell')}"
        if e.worst.too_small:
            words += f"; {e.worst.too_small} more {'is' if e.worst.too_small == 1 else 'are'} too small"
        # Bounds of a minimum, each one-sided: no 95 % interval, though it stands below one.
        words = words if e.census else f"one-sided bounds; {words}"
        rows.append(["worst cell (headline)", share(e.worst.rate), bounds, count(n), words])
    natural = [share(e.natural.rate), interval(e.natural.low, e.natural.high, exact=e.census), count(e.n)]
    return [
        *rows,
        ["overall", *_figures(e.overall), "all pairs as drawn"],
        ["natural", *natural, "weighted as the distribution has them"],
        ["effective", *_figures(e.effective), "pairs whose answer the swap must change"],
        *_candidate_rows(e),
    ]


def _candidate_rows(e: EvaluationRecord) -> list[list[str]]:
    """The same by argmax over the candidate answers, where the network can say more than these."""
    found = e.candidates
    if found is None:
        return []
    told = {"effective": found.effective, "behaviour": found.accuracy, **found.floors}
    beside = ", ".join(f"{clean(name)} {share(one.rate)}" for name, one in told.items() if one is not None)
    words = f"no IIA: by argmax over the {plural(found.answers, 'candidate answer')}, all pairs; {beside}"
    return [["among candidates", *_figures(found.overall), words]]


def _swap_rows(e: EvaluationRecord) -> list[list[str]]:
    return [
        [f"swap {clean(v.swap)}", *_figures(v.rate), f"all its strata; natural {share(v.natural)}"]
        for v in e.variables
    ]


def _floor_rows(e: EvaluationRecord) -> list[list[str]]:
    return [_floor_row(name, rate, e.n) for name, rate in e.floors.items()]


def _floor_row(name: str, rate: RateRecord | None, n: int) -> list[str]:
    figures, words = _figures(rate), _FLOOR_WORDS.get(name, "")
    draws = rate.n // n if rate is not None and n else 1
    if draws > 1:  # every pair was measured in each of so many draws: they are what varies
        figures, words = [*figures[:2], count(draws)], f"{words}, {draws} draws"
    return [f"floor: {clean(name)}", *figures, words]


def _change_rows(e: EvaluationRecord, full: bool) -> list[list[str]]:
    rows: list[list[str]] = []
    for what, records in (("value", e.transitions), ("answer", e.directions)):
        for swap in dict.fromkeys(record.swap for record in records):
            own = [record for record in records if record.swap == swap]
            rows += _lowest_rows(what, own, _MOST if full else 1)
    return rows


def _lowest_rows(what: str, own: Sequence[TransitionRecord], most: int) -> list[list[str]]:
    measured = [record for record in own if record.rate.rate is not None]
    lowest = sorted(measured, key=lambda record: (record.rate.rate or 0.0, record.rate.n))[:most]
    note = (
        f", {'lowest' if most == 1 else 'among the lowest'} of {len(own)}" if len(lowest) < len(own) else ""
    )
    return [_change_row(what, record, note) for record in lowest]


def _change_row(what: str, record: TransitionRecord, note: str) -> list[str]:
    name = f"{clean(record.swap)}, by {what}"
    change = f"{value_words(record.from_)} to {value_words(record.to)}"
    return [name, *_figures(record.rate), change + note]


def _figures(rate: RateRecord | None) -> list[str]:
    if rate is None or rate.n == 0:
        return ["—", "not measured", "0"]
    exact = rate.method == "census"
    return [share(rate.rate), interval(rate.low, rate.high, exact=exact), count(rate.n)]


def untrained_rows(checks: Sequence[CheckRecord]) -> list[list[str]]:
    """A row of B1's refits: their mean with its interval, and every one of them beside it.

    Read from the check's figures: `refits`, a list of rates, or of mappings whose `rate` is one; and `null`,
    whose `low` and `high` are the bounds of their mean.
    """
    b1 = next((check for check in checks if check.id == "B1"), None)
    refits = b1.figures.get("refits") if b1 is not None else None
    if b1 is None or b1.answer == "not run" or not isinstance(refits, list) or not refits:
        return [["untrained networks", "—", "not run", "0", "refits of the same procedure"]]
    rates = [_rate_of(item) for item in refits]
    shown = " ".join(share(rate) for rate, _ in rates)
    sizes = sorted({n for _, n in rates if n is not None})
    each = (
        f", n = {' to '.join(count(n) for n in dict.fromkeys((sizes[0], sizes[-1])))} each" if sizes else ""
    )
    known = [rate for rate, _ in rates if rate is not None]
    mean = sum(known) / len(known) if known else None
    null = b1.figures.get("null")
    bounds = null if isinstance(null, dict) else {}
    bracket = interval(_float(bounds.get("low")), _float(bounds.get("high")))
    words = f"{shown}: {plural(len(rates), 'refit')}{each}"
    return [["untrained networks", share(mean), bracket, str(len(rates)), words]]


def _rate_of(item: Any) -> tuple[float | None, int | None]:
    """The rate and n of a refit that is written as a number, as a rate, or as a mapping that holds one."""
    if isinstance(item, Mapping):
        inner = item.get("rate")
        if isinstance(inner, Mapping):
            return _rate_of(inner)
        n = item.get("n")
        return _float(inner), n if isinstance(n, int) else None
    return _float(item), None


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
