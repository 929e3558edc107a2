"""The measurement in lines: rates by swapped set and stratum beside their floors, and what sums them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from commutes.report._schema import CellRecord, EvaluationRecord, RateRecord, TransitionRecord
from commutes.report._text import clean, count, interval, paint, plural, share, table, width_of

__all__ = ["cell_lines", "companion_lines", "data_words", "floor_names", "rate_words", "value_words"]

_SHORT = {"do nothing": "nothing", "best constant": "constant", "random subspace": "random"}
INDENT = "  "


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


def data_words(e: EvaluationRecord) -> str:
    """On what the measurement was made: pairs, inputs, part, distribution."""
    part = f"{clean(e.part)} split" if e.part else "one part"
    domain = ", complete domain" if e.census else ""
    return (
        f"{part}, {plural(e.n, 'pair')} over {plural(e.distinct_inputs, 'distinct input')}{domain}; "
        f"inputs drawn {clean(e.distribution)}"
    )


def floor_names(e: EvaluationRecord) -> list[str]:
    """The floors that any cell names: the usual three first, others after them."""
    named = dict.fromkeys(name for cell in e.cells for name in cell.floors)
    return [name for name in _SHORT if name in named] + [name for name in named if name not in _SHORT]


def cell_lines(e: EvaluationRecord, width: int, colour: bool) -> list[str]:
    """The table of swapped set by stratum, the worst cell marked."""
    floors = floor_names(e)
    # Where every input is used once, the number of inputs says nothing that n does not.
    with_inputs = any(cell.rate is not None and cell.rate.method != "disjoint" for cell in e.cells)
    head = ["swap", "stratum", "IIA", "95 % interval", "n"] + (["inputs"] if with_inputs else [])
    head += [clean(_SHORT.get(name, name)) for name in floors] + [""]
    rows = [head]
    previous = None
    for cell in e.cells:
        mark = _is_worst(cell, e)
        row = ["" if cell.swap == previous else clean(cell.swap), clean(cell.stratum)]
        row += _rate_cells(cell) + ([count(cell.inputs)] if with_inputs else [])
        row += [share(cell.floors.get(name)) for name in floors]
        rows.append([*row, "← worst" if mark else _status(cell)])
        previous = cell.swap
    return _emphasised(_laid_out(rows, width), colour)


def _rate_cells(cell: CellRecord) -> list[str]:
    if cell.rate is None or cell.rate.n == 0:
        return ["—", "impossible" if cell.status == "impossible" else "no pairs", "0"]
    exact = cell.rate.method == "census"
    return [share(cell.rate.rate), interval(cell.rate.low, cell.rate.high, exact=exact), count(cell.rate.n)]


def _status(cell: CellRecord) -> str:
    return "too small" if cell.status == "too small" else ""


def _is_worst(cell: CellRecord, e: EvaluationRecord) -> bool:
    return e.worst is not None and (cell.swap, cell.stratum) == (e.worst.swap, e.worst.stratum)


def _laid_out(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The rows as lines of at most `width`: names share what the figures leave."""
    widths = [max(width_of(row[i]) for row in rows) for i in range(len(rows[0]))]
    figures = sum(min(w, 14) for w in widths[2:]) + 2 * (len(widths) - 1)
    room = max(16, width - len(INDENT) - figures)
    # The stratum's name is the one that has few forms; the swapped set gives way first.
    stratum = min(widths[1], max(8, room - 8))
    limits = {0: max(6, room - stratum), 1: stratum} | dict.fromkeys(range(2, len(widths)), 14)
    lines = table(rows, right=range(4, len(widths) - 1), limits=limits)
    return [INDENT + line for line in lines]


def _emphasised(lines: list[str], colour: bool) -> list[str]:
    styled = []
    for i, line in enumerate(lines):
        style = "dim" if i == 0 else "bold" if line.endswith("← worst") else ""
        styled.append(paint(line, style, colour))
    return styled


def companion_lines(
    e: EvaluationRecord, width: int, *, untrained: Sequence[Sequence[str]] = (), full: bool = False
) -> list[str]:
    """Behaviour, the worst cell, overall, natural, effective, each variable and the floors, one to a line.

    Args:
        e: The evaluation.
        width: The widest line.
        untrained: Further rows, of refits on untrained networks.
        full: Whether every transition is listed, or only the lowest of each swapped set.
    """
    rows = [["behaviour", *_figures(e.accuracy), "answers equal to the algorithm's, nothing swapped"]]
    if e.worst is not None:
        where = f"{clean(e.worst.swap)} · {clean(e.worst.stratum)}"
        words = f"the headline: {where}, the lowest of {plural(e.worst.cells, 'gated cell')}"
        bounds = interval(e.worst.low, e.worst.high, exact=e.census)
        rows.append(["worst cell", share(e.worst.rate), bounds, _n_of_worst(e), words])
    rows.append(["overall", *_figures(e.overall), "all pairs, as they were drawn"])
    natural = interval(e.natural.low, e.natural.high, exact=e.census)
    rows.append(
        [
            "natural",
            share(e.natural.rate),
            natural,
            count(e.n),
            "strata weighted as the distribution has them",
        ]
    )
    rows.append(["effective", *_figures(e.effective), "pairs whose answer the swap should change"])
    for item in e.variables:
        words = f"all strata of {clean(item.swap)}; natural {share(item.natural)}"
        rows.append([f"swap {clean(item.swap)}", *_figures(item.rate), words])
    rows += [
        [f"floor: {clean(name)}", *_figures(rate), _FLOOR.get(name, "")] for name, rate in e.floors.items()
    ]
    rows += [list(row) for row in untrained]
    lines = [INDENT + line for line in table(rows, right=[3], limits={0: 24, 4: max(20, width - 60)})]
    return lines + _excluded_lines(e) + _change_lines(e, full)


_FLOOR = {
    "do nothing": "the base's own answer",
    "best constant": "the commonest expected answer",
    "random subspace": "as many random coordinates at the same place",
}


def _figures(rate: RateRecord | None) -> list[str]:
    if rate is None or rate.n == 0:
        return ["—", "not measured", "0"]
    exact = rate.method == "census"
    return [share(rate.rate), interval(rate.low, rate.high, exact=exact), count(rate.n)]


def _n_of_worst(e: EvaluationRecord) -> str:
    rate = next((cell.rate for cell in e.cells if _is_worst(cell, e)), None)
    return count(rate.n) if rate is not None else "—"


def _excluded_lines(e: EvaluationRecord) -> list[str]:
    return [
        f"{INDENT}not excluded by this data, swap {clean(swap)}: {', '.join(clean(name) for name in names)}"
        for swap, names in e.not_excluded.items()
        if names
    ]


def _change_lines(e: EvaluationRecord, full: bool) -> list[str]:
    lines: list[str] = []
    for title, records in (("change of value", e.transitions), ("change of answer", e.directions)):
        grouped: dict[str, list[TransitionRecord]] = {}
        for record in records:
            grouped.setdefault(record.swap, []).append(record)
        rows = [_change_row(title, swap, record) for swap, record in _picked(grouped, full)]
        lines += [INDENT + line for line in table(rows, right=[4], limits={0: 24, 1: 30})]
    return lines


def _picked(grouped: Mapping[str, list[TransitionRecord]], full: bool) -> list[tuple[str, TransitionRecord]]:
    picked: list[tuple[str, TransitionRecord]] = []
    for swap, records in grouped.items():
        measured = [r for r in records if r.rate.rate is not None]
        if full:
            picked += [(swap, record) for record in records]
        elif measured:
            picked.append((swap, min(measured, key=lambda r: (r.rate.rate or 0.0, r.rate.n))))
    return picked


def _change_row(title: str, swap: str, record: TransitionRecord) -> list[str]:
    change = f"{clean(swap)}: {value_words(record.from_)} to {value_words(record.to)}"
    return [title, change, *_figures(record.rate)]
