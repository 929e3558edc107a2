"""An algorithm as an SVG drawing: one column per generation, from the inputs to the output."""

from __future__ import annotations

import html
import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from commutes.algorithm._algorithm import Algorithm
    from commutes.algorithm._variable import Variable

HEIGHT, GAP, AISLE, MARGIN, ARROW = 46.0, 20.0, 72.0, 16.0, 8.0
LANE = 14.0  # the height kept free for an edge that passes a generation
FONT = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
FILL = {"input": "#f5f6f8", "inner": "#e9f1fc", "output": "#e8f6ee"}
LINE = {"input": "#8b95a5", "inner": "#2f6fc4", "output": "#2c8a57"}


class Lane(NamedTuple):
    """The place at which the edge from `parent` to `child` passes a generation that lies between them."""

    parent: str
    child: str
    generation: int


Place = str | Lane


@dataclass(frozen=True)
class Box:
    """A rectangle: the left edge, the vertical middle, and the size."""

    left: float
    middle: float
    width: float
    height: float


def svg(algorithm: Algorithm) -> str:
    """The drawing as text; the size is in its `viewBox`."""
    routes = _routes(algorithm)
    boxes = _boxes(algorithm, routes)
    width = max(box.left + box.width for box in boxes.values()) + MARGIN
    top = min(box.middle - box.height / 2 for box in boxes.values()) - MARGIN
    height = max(box.middle + box.height / 2 for box in boxes.values()) + MARGIN - top
    name = html.escape("".join(letter if letter.isprintable() else " " for letter in algorithm.name))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {top:.1f} {width:.1f} {height:.1f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" '
        f'font-family="{FONT}" text-anchor="middle">',
        f"<title>{name}</title>",
        f'<rect x="0" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="#ffffff"/>',
    ]
    parts += [_edge([boxes[place] for place in route]) for route in routes]
    parts += [_node(algorithm, variable, boxes[variable.name]) for variable in algorithm.variables]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _routes(algorithm: Algorithm) -> list[list[Place]]:
    """Every edge as the places it passes: the parent, a lane in each generation between, the child."""
    generation: dict[str, int] = {}
    for variable in algorithm.variables:
        generation[variable.name] = 1 + max((generation[p.name] for p in variable.parents), default=-1)
    return [
        [
            parent.name,
            *(
                Lane(parent.name, child.name, between)
                for between in range(generation[parent.name] + 1, generation[child.name])
            ),
            child.name,
        ]
        for child in algorithm.variables
        for parent in child.parents
    ]


def _boxes(algorithm: Algorithm, routes: Sequence[Sequence[Place]]) -> dict[Place, Box]:
    """Where everything goes: each generation in the order of its parents, and as close to them as fits."""
    before: dict[Place, list[Place]] = {variable.name: [] for variable in algorithm.variables}
    for route in routes:
        for parent, child in itertools.pairwise(route):
            before.setdefault(child, []).append(parent)
    generations: list[list[Place]] = [[name for name, parents in before.items() if not parents]]
    placed = set(generations[0])
    while len(placed) < len(before):
        rest = [place for place in before if place not in placed]
        generations.append([place for place in rest if placed.issuperset(before[place])])
        placed.update(generations[-1])
    boxes: dict[Place, Box] = {}
    left = MARGIN
    for generation in generations:
        names = [place for place in generation if isinstance(place, str)]
        width = max(_width(algorithm, algorithm[name]) for name in names)
        wish = {
            place: sum(boxes[parent].middle for parent in before[place]) / max(len(before[place]), 1)
            for place in generation
        }
        boxes.update(_stack(wish, left, width))
        left += width + AISLE
    return boxes


def _stack(wish: Mapping[Place, float], left: float, width: float) -> dict[Place, Box]:
    """One generation, in the order of the wished heights, pushed apart where they overlap, and centred."""
    column: dict[Place, Box] = {}
    bottom = float("-inf")
    for place in sorted(wish, key=lambda place: wish[place]):
        height = HEIGHT if isinstance(place, str) else LANE
        middle = max(wish[place], bottom + GAP + height / 2)
        column[place] = Box(left, middle, width, height)
        bottom = middle + height / 2
    shift = sum(wish[place] - box.middle for place, box in column.items()) / len(column)
    return {place: Box(left, box.middle + shift, width, box.height) for place, box in column.items()}


def _edge(boxes: Sequence[Box]) -> str:
    """A smooth line from the right of the first box, across the lanes, to the left of the last one."""
    x, y = boxes[0].left + boxes[0].width, boxes[0].middle
    path = f"M{x:.1f} {y:.1f}"
    for box in boxes[1:]:
        last = box is boxes[-1]
        end = box.left - (ARROW if last else 0.0)
        half = (x + end) / 2
        path += f" C{half:.1f} {y:.1f} {half:.1f} {box.middle:.1f} {end:.1f} {box.middle:.1f}"
        if not last:
            path += f" H{box.left + box.width:.1f}"
        x, y = box.left + box.width, box.middle
    tip, middle = boxes[-1].left - 1.0, boxes[-1].middle
    head = f"M{tip:.1f} {middle:.1f} l-{ARROW:g} -4 v8 z"
    return (
        f'<path d="{path}" fill="none" stroke="#6b7687" stroke-width="1.4"/><path d="{head}" fill="#6b7687"/>'
    )


def _node(algorithm: Algorithm, variable: Variable, box: Box) -> str:
    fill, line = FILL[variable.kind], LINE[variable.kind]
    top, centre = box.middle - box.height / 2, box.left + box.width / 2
    radius = box.height / 2 if variable.kind == "input" else 8
    stroke = 2.2 if variable.kind == "output" else 1.3
    lines = [
        f'<rect x="{box.left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{radius:g}" fill="{fill}" stroke="{line}" stroke-width="{stroke:g}"/>',
        f'<text x="{centre:.1f}" y="{box.middle - 3:.1f}" font-size="14" font-weight="600" fill="#18202c">'
        f"{html.escape(variable.name)}</text>",
        f'<text x="{centre:.1f}" y="{box.middle + 13:.1f}" font-size="10.5" fill="#566172">'
        f"{html.escape(_caption(algorithm, variable))}</text>",
    ]
    return f"<g><title>{html.escape(_described(algorithm, variable))}</title>{''.join(lines)}</g>"


def _described(algorithm: Algorithm, variable: Variable) -> str:
    parents = ", ".join(variable.parent_names)
    call = variable.name if variable.kind == "input" else f"{variable.name}({parents})"
    return f"{call} in {algorithm.domain(variable).describe()}"


def _caption(algorithm: Algorithm, variable: Variable) -> str:
    domain = algorithm.domain(variable)
    text = domain.describe().removeprefix("{").removesuffix("}")
    if len(text) <= 28:
        return text
    return text[:27] + "…" if domain.size is None else f"{domain.size:,} values"


def _width(algorithm: Algorithm, variable: Variable) -> float:
    """Wide enough for both lines: no font is at hand to measure with, so letters count as wide ones."""
    return max(64.0, 8.6 * _cells(variable.name) + 28, 6.0 * _cells(_caption(algorithm, variable)) + 24)


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
