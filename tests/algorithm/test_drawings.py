from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from commutes.algorithm import Algorithm, reals

SVG = "{http://www.w3.org/2000/svg}"


def adder(digits: int = 3) -> Algorithm:
    a = Algorithm("an <adder> & its carries \x07\u202e")
    for i in range(digits):
        a.inputs(f"a{i} b{i}", domain=range(10))
    for i in range(digits):
        parents = [f"a{i}", f"b{i}", *([f"c{i}"] if i else [])]
        a.add(f"s{i}", *parents, f=lambda *v: sum(v) % 10)
        a.add(f"c{i + 1}", *parents, f=lambda *v: sum(v) >= 10, domain=bool)
    a.add("total", *(f"s{i}" for i in range(digits)), f"c{digits}", f=lambda *v: v, output=True)
    return a


def test_networkx(equality):
    graph = equality.graph()
    assert graph.name == "hierarchical equality"
    assert list(graph) == ["w", "x", "y", "z", "left", "right", "same"]
    assert set(graph.edges) == {
        ("w", "left"),
        ("x", "left"),
        ("y", "right"),
        ("z", "right"),
        ("left", "same"),
        ("right", "same"),
    }
    assert graph.nodes["left"] == {"kind": "inner", "domain": "{False, True}"}
    assert graph.nodes["w"] == {"kind": "input", "domain": "{0, 1, 2, ..., 19}"}


def test_mermaid():
    a = Algorithm("m")
    a.inputs("x end", domain=range(2))
    a.add("graph", "x", "end", f=lambda x, e: x + e)
    a.add("out", "graph", f=lambda g: g, output=True)
    assert a.mermaid() == (
        "flowchart LR\n"
        '  v0(["x"])\n'
        '  v1(["end"])\n'
        '  v2["graph"]\n'
        '  v3[["out"]]\n'
        "  v0 --> v2\n"
        "  v1 --> v2\n"
        "  v2 --> v3\n"
    )


def boxes(root: ET.Element) -> dict[str, tuple[float, float, float, float]]:
    found = {}
    for group in root.iter(f"{SVG}g"):
        rect, text = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert rect is not None
        assert text is not None
        found[text.text] = tuple(float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
    return found


def test_svg_is_well_formed_escaped_and_complete():
    root = ET.fromstring(adder().svg())
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == "an <adder> & its carries   "
    assert set(boxes(root)) == {variable.name for variable in adder().variables}
    edges = [path for path in root.iter(f"{SVG}path") if path.attrib["fill"] == "none"]
    assert len(edges) == sum(len(variable.parents) for variable in adder().variables)


def test_svg_draws_generations_from_left_to_right_without_overlap():
    a = adder()
    root = ET.fromstring(a.svg())
    places = boxes(root)
    for variable in a.variables:
        for parent in variable.parents:
            assert places[parent.name][0] + places[parent.name][2] < places[variable.name][0]
    names = list(places)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            (x, y, w, h), (u, v, k, j) = places[first], places[second]
            assert x + w <= u or u + k <= x or y + h <= v or v + j <= y
    x, y, width, height = map(float, root.attrib["viewBox"].split())
    for left, top, wide, high in places.values():
        assert x <= left
        assert left + wide <= x + width
        assert y <= top
        assert top + high <= y + height


def test_svg_edges_pass_beside_the_boxes():
    root = ET.fromstring(adder().svg())
    for path in root.iter(f"{SVG}path"):
        for x, level in re.findall(r"([-\d.]+) H([-\d.]+)", path.attrib["d"]):
            for left, top, width, height in boxes(root).values():
                if left <= float(level) <= left + width:
                    assert not top < float(x) < top + height


def test_svg_tells_the_kinds_apart_without_colour(equality):
    root = ET.fromstring(equality.svg())
    shapes = {}
    for group in root.iter(f"{SVG}g"):
        rect, text = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert rect is not None
        assert text is not None
        shapes[text.text] = (rect.attrib["rx"], rect.attrib["stroke-width"])
    assert len({shapes["w"], shapes["left"], shapes["same"]}) == 3


def test_svg_shortens_large_domains_and_names_infinite_ones():
    a = Algorithm("d")
    a.input("x", domain=[f"a rather long value {i}" for i in range(1_234)])
    a.input("r", domain=reals())
    a.add("out", "x", "r", f=lambda x, r: r > 0 and x.endswith("0"), domain=bool, output=True)
    text = a.svg()
    assert ">1,234 values<" in text
    assert ">real numbers<" in text
    assert ">False, True<" in text


def test_notebooks_show_the_drawing(equality):
    assert equality._repr_svg_() == equality.svg()
    assert Algorithm("unfinished")._repr_svg_() is None


def chain(n: int) -> Algorithm:
    a = Algorithm("chain")
    a.input("x0", domain=range(3))
    for i in range(n):
        a.add(f"x{i + 1}", f"x{i}", f=lambda v: (v + 1) % 3, output=i == n - 1)
    return a


@pytest.mark.parametrize("algorithm", [adder(1), adder(2), chain(1), chain(30)], ids=repr)
def test_svg_of_other_sizes(algorithm):
    places = boxes(ET.fromstring(algorithm.svg()))
    assert len(places) == len(algorithm.variables)
    assert max(places, key=lambda name: places[name][0]) == algorithm.output_variable.name
