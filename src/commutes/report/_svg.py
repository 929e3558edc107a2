"""Drawings made fit to stand inside a page: shapes and text only, nothing that runs or loads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from commutes.errors import ArtefactError
from commutes.report._text import clean

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["inline_svg"]

_SVG = "http://www.w3.org/2000/svg"
_ALLOWED = frozenset(
    [
        "svg",
        "g",
        "defs",
        "path",
        "rect",
        "circle",
        "ellipse",
        "line",
        "polyline",
        "polygon",
        "text",
        "tspan",
        "title",
        "desc",
        "use",
        "clipPath",
        "marker",
        "pattern",
        "linearGradient",
        "radialGradient",
        "stop",
        "symbol",
    ]
)
_UNSAFE_STYLE = re.compile(r"url\(\s*['\"]?(?!#)|expression|@import|javascript:", re.IGNORECASE)
_NO_TYPE = re.compile(r"<!DOCTYPE[^>\[]*>")


def inline_svg(text: str, *, name: str) -> str:
    """`text` as one `<svg>` element that can be put into a page.

    Elements that run, load or style what is outside the drawing are left out, and so are event attributes
    and references out of the drawing; every id is prefixed with `name`, so that two drawings do not mix.

    Args:
        text: An SVG document.
        name: A short word that no other drawing of the page has.

    Raises:
        ArtefactError: `text` is not SVG.
    """
    from xml.etree import ElementTree

    # What a document type could still declare are entities, and no figure of ours has any.
    body = _NO_TYPE.sub("", text, count=1)
    if "<!DOCTYPE" in body or "<!ENTITY" in body:
        raise _not_svg(name, "a document type with declarations of its own")
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as problem:
        raise _not_svg(name, f"{problem}") from problem
    if root.tag != f"{{{_SVG}}}svg":
        raise _not_svg(name, f"the element {clean(root.tag)}")
    _strip(root, name)
    root.set("xmlns", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _strip(element: Element, name: str) -> None:
    # Bare names: a page knows svg and its href without their namespaces.
    element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
    kept = {key.rsplit("}", 1)[-1]: _attribute(key, value, name) for key, value in element.attrib.items()}
    element.attrib.clear()
    element.attrib.update({key: value for key, value in kept.items() if value is not None})
    for child in list(element):
        if isinstance(child.tag, str) and child.tag.removeprefix(f"{{{_SVG}}}") in _ALLOWED:
            _strip(child, name)
        else:
            element.remove(child)


def _attribute(key: str, value: str, name: str) -> str | None:
    local = key.rsplit("}", 1)[-1].lower()
    if local.startswith("on") or _UNSAFE_STYLE.search(value):
        return None
    if local == "href":
        return f"#{name}-{value[1:]}" if value.startswith("#") else None
    if local == "id":
        return f"{name}-{value}"
    return re.sub(r"url\(\s*['\"]?#([^)'\"]*)['\"]?\s*\)", rf"url(#{name}-\1)", value)


def _not_svg(name: str, got: str) -> ArtefactError:
    return ArtefactError(
        "a figure of the report is not SVG",
        where=name,
        got=clean(got)[:160],
        expected="an SVG document",
        fix="pass the text of the SVG file",
    )
