"""Figures as bytes: the same figure gives the same PNG and the same SVG, whatever the user has configured."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from commutes.report._files import write_bytes
from commutes.report._text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "BLUES",
    "GREENS",
    "HOLE",
    "INK",
    "MUTED",
    "ORANGE",
    "PAPER",
    "colour_bar",
    "colours",
    "drawing",
    "readable",
    "save",
    "shortened",
]

INK, MUTED, PAPER = "#1c1f24", "#6a7078", "#ffffff"
BLUE, ORANGE = "#1f5fa8", "#c4560a"
HOLE = "#eceef0"

# One hue from paper to ink, even in lightness, so that it also reads in grey and to colour-blind eyes. A hue for
# each of two quantities: how far a rate is above its floor, and a rate itself.
BLUES = ("#f3f6fa", "#c9dcef", "#8fb9de", "#4c8ec6", "#1f5fa8", "#0c2f63")
GREENS = ("#f4f7f2", "#cfe6d6", "#95cbb0", "#4fa98a", "#1c7d67", "#0b4540")

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


def colours(stops: Sequence[str]) -> Any:
    """The scale from 0 to 1 through these colours."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("commutes", list(stops))


def readable(background: Sequence[float]) -> str:
    """White or ink, whichever has the greater contrast (WCAG's relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in background[:3]]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if 1.05 / (light + 0.05) > (light + 0.05) / 0.062 else INK


def colour_bar(axes: Axes, stops: Sequence[str], words: str) -> None:
    """The scale from 0 to 1 with what it shows."""
    from matplotlib.patches import Rectangle

    # Rectangles, not matplotlib's colour bar, which would put a picture of pixels into the SVG.
    steps, scale = 64, colours(stops)
    for i in range(steps):
        colour = scale((i + 0.5) / steps)
        axes.add_patch(
            Rectangle((i / steps, 0), 1 / steps, 1, facecolor=colour, edgecolor=colour, linewidth=0.3)
        )
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.tick_params(length=0, labelsize=7.5, pad=2, colors=MUTED)
    axes.set_title(words, fontsize=7.5, color=MUTED, pad=3, loc="left")
    for spine in axes.spines.values():
        spine.set_visible(False)
