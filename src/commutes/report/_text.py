"""Plain text in columns: numbers, widths, wrapping, and characters that a terminal must not receive."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = [
    "breakable",
    "clean",
    "count",
    "interval",
    "number",
    "pad",
    "paint",
    "plural",
    "share",
    "table",
    "width_of",
    "wrap",
]

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
# Controls, format characters (bidirectional marks among them), surrogates, private use, unassigned,
# line and paragraph separators.
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def clean(text: object) -> str:
    r"""`text` with every character that could steer a terminal written as its escape.

    >>> clean("left\x1b[31m")
    'left\\x1b[31m'
    """
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSAFE else c for c in str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def share(value: float | None, digits: int = 3) -> str:
    """A share to `digits` decimals without its leading zero; only an exact 1 is shown as 1.000.

    >>> share(0.953), share(1.0), share(0.99996), share(0.0), share(0.0001), share(None)
    ('.953', '1.000', '>.999', '.000', '<.001', '—')
    """
    if value is None or math.isnan(value):
        return "—"
    text = f"{value:.{digits}f}"
    magnitude = text.lstrip("-")
    if 0 < abs(value) < 1 and float(magnitude) == 1:
        magnitude = ">." + "9" * digits
    elif value != 0 and float(magnitude) == 0:
        magnitude = "<." + "0" * (digits - 1) + "1"
    elif magnitude.startswith("0."):
        magnitude = magnitude[1:]
    return ("-" if value < 0 else "") + magnitude


def interval(low: float | None, high: float | None, *, exact: bool = False) -> str:
    """An interval in brackets; "exact" where a complete domain leaves nothing to estimate.

    >>> interval(0.941, 0.963), interval(1.0, 1.0, exact=True), interval(None, None)
    ('[.941, .963]', 'exact', '—')
    """
    if exact:
        return "exact"
    if low is None or high is None:
        return "—"
    return f"[{share(low)}, {share(high)}]"


def count(value: int) -> str:
    """A count with its thousands marked.

    >>> count(1_048_576)
    '1,048,576'
    """
    return f"{value:,}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "pair"), plural(2400, "pair")
    ('1 pair', '2,400 pairs')
    """
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def width_of(text: str) -> int:
    """The number of columns that `text` takes on a terminal.

    >>> width_of("left"), width_of("語")
    (4, 2)
    """
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """`text` filled up with spaces to `columns`, on the left where `right`."""
    blank = " " * max(0, columns - width_of(text))
    return blank + text if right else text + blank


def wrap(text: str, columns: int) -> list[str]:
    """`text` in lines of at most `columns`, broken at spaces, within a word only where it is too long.

    >>> wrap("one two three", 8)
    ['one two', 'three']
    """
    lines: list[str] = []
    line = ""
    for word in re.split(r"[ ]+", _FIGURE.sub(_glued, text.strip(" "))):
        candidate = f"{line} {word}" if line else word
        if width_of(candidate) <= columns:
            line = candidate
            continue
        if line:
            lines.append(line)
        *full, line = _cut(word, columns)
        lines.extend(full)
    return [part.replace(_GLUE, " ") for part in ([*lines, line] if line or not lines else lines)]


# An interval, or a number with what it counts, is read as one; a line does not break inside it.
_GLUE = "\u00a0"
_FIGURE = re.compile(r"\[[^\[\] ]{1,8}, [^\[\] ]{1,8}\]|\bn = (?=\d)|(?<=\d) %")


def _glued(match: re.Match[str]) -> str:
    return match[0].replace(" ", _GLUE)


def breakable(text: str) -> list[str]:
    """The parts between which a line may end: words, and in a word behind each "+".

    >>> breakable("left+right (one source)")
    ['left+', 'right', '(one', 'source)']
    """
    return re.findall(r"[^ +]*\+|[^ +]+", text)


def _cut(word: str, columns: int) -> list[str]:
    """A word that is too long: broken behind a "+" where that serves, anywhere where it does not."""
    pieces = [""]
    for part in breakable(word):
        whole = width_of(part) <= columns
        for some in [part] if whole else part:
            if pieces[-1] and width_of(pieces[-1] + some) > columns:
                pieces.append("")
            pieces[-1] += some
    return pieces


def paint(text: str, style: str, on: bool) -> str:
    """`text` in one of a few terminal styles ("bold red", say), unchanged where `on` is false."""
    if not on or not style:
        return text
    codes = ";".join(_STYLES[word] for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m"


def table(
    rows: Sequence[Sequence[str]],
    *,
    right: Iterable[int] = (),
    limits: dict[int, int] | None = None,
    gap: str = "  ",
) -> list[str]:
    """Rows of cells as aligned lines; a cell longer than its column's limit goes on in further lines.

    Args:
        rows: Cells, already cleaned; a missing cell is empty.
        right: The columns that are flush right.
        limits: The greatest width of a column.
        gap: What stands between columns.

    >>> table([["a", "1"], ["bcd", "20"]], right=[1])
    ['a     1', 'bcd  20']
    """
    limits = limits or {}
    flush = set(right)
    columns = max((len(row) for row in rows), default=0)
    wrapped = [
        [wrap(cell, limits[i]) if i in limits else [cell] for i, cell in enumerate(row)] for row in rows
    ]
    widths = [
        max((width_of(part) for row in wrapped if i < len(row) for part in row[i]), default=0)
        for i in range(columns)
    ]
    lines: list[str] = []
    for row in wrapped:
        for depth in range(max((len(cell) for cell in row), default=1)):
            parts = [
                pad(cell[depth] if depth < len(cell) else "", widths[i], right=i in flush)
                for i, cell in enumerate(row)
            ]
            lines.append(gap.join(parts).rstrip())
    return lines


def number(value: object) -> str:
    """A plain value for a line of provenance: shares without the leading zero, counts with thousands.

    >>> number(0.9), number(1e-3), number(2400), number(38.25), number(True), number(None)
    ('.90', '.001', '2,400', '38.2', 'True', '—')
    """
    if value is None:
        return "—"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value)
    if isinstance(value, int):
        return count(value)
    if 0.001 <= abs(value) < 1:
        digits = f"{value:.3f}".rstrip("0")
        return digits.replace("0.", ".", 1).ljust(3 + (value < 0), "0")
    return f"{value:,.1f}" if 1 <= abs(value) < 1e6 else f"{value:.3g}"
