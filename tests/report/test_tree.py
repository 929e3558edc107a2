"""The tech tree: claims of a folder as a table and as a drawing."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from commutes.errors import ArtefactError
from commutes.report.tree import Point, points_of, tree_drawing, tree_table

ONE = Point("equality", "equality", "MLP", "R2", "supported", 2, 3, 9_730, "run C1 first")


@pytest.fixture
def folder(tmp_path, report) -> Path:
    runs = tmp_path / "runs"
    other = copy.deepcopy(report)
    other["claim"]["variables"] = other["claim"]["variables"][:1]
    for name, record in (("a/deep", report), ("b", other)):
        (runs / name).mkdir(parents=True)
        (runs / name / "report.json").write_text(json.dumps(record))
    return runs


def test_every_report_below_the_folder_is_a_point(folder, report):
    one, other = points_of(folder)
    assert (one.name, other.name) == ("a/deep", "b")
    assert (one.variables, other.variables) == (len(report["claim"]["variables"]), 1)
    assert one.interventions == len(report["evaluation"]["variables"])
    assert one.complexity == one.variables * one.interventions
    assert (one.level, one.next, one.parameters) == (report["level"], report["upgrade"], 9_730)


def test_a_folder_that_is_a_run_is_one_point(folder):
    (point,) = points_of(folder / "b")
    assert point.name == "b"


def test_links_are_not_followed(folder, tmp_path):
    (folder / "c").mkdir()
    (folder / "c" / "report.json").symlink_to(folder / "b" / "report.json")
    (folder / "d").symlink_to(folder / "a")
    assert [point.name for point in points_of(folder)] == ["a/deep", "b"]


def test_nothing_and_something_damaged_are_told(tmp_path, folder):
    with pytest.raises(ArtefactError, match="there is no report in this folder"):
        points_of(tmp_path / "nowhere")
    (folder / "b" / "report.json").write_text("{")
    with pytest.raises(ArtefactError, match="truncated"):
        points_of(folder)


def test_the_table_has_the_highest_first_and_every_next_step():
    low = replace(
        ONE, name="weak\x1b[2J", level="R0", verdict="refuted", parameters=None, next="change the claim " * 12
    )
    text = tree_table([low, ONE])
    lines = text.splitlines()
    assert lines[2].split() == ["equality", "R2", "supported", "2", "x", "3", "=", "6", "9,730"]
    assert lines[3] == "  next: run C1 first"
    assert "\x1b" not in text
    assert "not known" in lines[4]
    assert lines[5].startswith("  next: change the claim")
    assert lines[6].startswith("        ")
    assert max(map(len, lines)) <= 100


def test_the_drawing_is_the_same_bytes_and_names_every_claim(tmp_path):
    points = [
        ONE,
        replace(ONE, name="other", verdict="refuted"),
        replace(ONE, name="<b>", level="R4", parameters=None),
    ]
    for name in ("one.svg", "two.svg"):
        tree_drawing(points, tmp_path / name)
    text = (tmp_path / "one.svg").read_text()
    assert (tmp_path / "two.svg").read_text() == text
    for words in ("equality", "other", "&lt;b&gt;", "R5  discriminates and replicates"):
        assert words in text
    tree_drawing(points, tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
