"""Figures as bytes: the same figure gives the same PNG and the same SVG, whatever the user has configured."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from commutes.report._files import write_bytes
from commutes.report._text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BLUE", "INK", "MUTED", "ORANGE", "PAPER", "drawing", "save", "shortened"]

INK, MUTED, PAPER = "#1c1f24", "#6a7078", "#ffffff"
BLUE, ORANGE = "#1f5fa8", "#c4560a"

_STYLE: dict[str, Any] = {
    # Text stays text, so that a figure can be searched and read aloud; the salt makes its ids repeat.
    "svg.fonttype": "none",
    "svg.hashsalt": "commutes",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#c9cdd2",
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
    "hatch.color": "#b4b9bf",
    "text.parse_math": False,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib's own defaults and this package's style, whatever the user's configuration says."""
    import matplotlib

    settings: Any = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    with matplotlib.rc_context(settings | _STYLE):
        yield


def save(figure: Figure, png: str | os.PathLike[str] | None, svg: str | os.PathLike[str] | None) -> None:
    """Write `figure` to the paths that are given, each in one step."""
    if png is not None:
        write_bytes(png, _bytes(figure, "png", {"Software": None}))
    if svg is not None:
        write_bytes(svg, _bytes(figure, "svg", {"Date": None, "Creator": None}))


def _bytes(figure: Figure, format: str, metadata: dict[str, None]) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=format, dpi=200, facecolor=PAPER, metadata=metadata)
    return stream.getvalue()


def shortened(label: str) -> str:
    """A label that fits beside a row: its two ends where it is long."""
    text = clean(label)
    return text if len(text) <= 34 else f"{text[:16]}…{text[-16:]}"
