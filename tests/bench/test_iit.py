"""The stored table of interchange-intervention training is what its script computes, and shows what it should."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "iit.json"

# A short training is in the middle of its way: another processor's roundings move it.
SLACK = 0.1


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench" / "iit.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)


def stored() -> dict:
    return json.loads(STORED.read_text(encoding="utf-8"))


def rows(kind: str) -> list[dict]:
    return [row for row in stored()["rows"] if row["kind"] == kind]


def test_the_table_is_whole():
    config = stored()["config"]
    assert config["seeds"] == [0, 1, 2, 3, 4]
    assert config["train"] == 10_000
    kinds = ("task", "first", "elsewhere", "both", "unit", "joint")
    assert [(row["kind"], row["seed"]) for row in stored()["rows"]] == [
        (kind, seed) for kind in kinds for seed in config["seeds"]
    ]
    assert all(row["accuracy"]["n"] == 2 * config["test"] for row in stored()["rows"])


def natural(kind: str, name: str) -> list[float]:
    return [row["variables"][name]["natural"]["rate"] for row in rows(kind)]


def test_a_variable_is_put_where_it_should_be():
    for kind in ("first", "elsewhere", "both", "unit", "joint"):
        assert statistics.median(row["accuracy"]["rate"] for row in rows(kind)) >= 0.99
        assert statistics.median(natural(kind, "left")) >= 0.99
    for kind in ("both", "unit", "joint"):
        assert statistics.median(natural(kind, "right")) >= 0.99
    assert max(natural("task", "left")) < 0.8


def test_a_variable_that_was_put_elsewhere_is_not_there():
    assert statistics.median(natural("elsewhere", "right")) <= 0.60
    # One that was put nowhere may be anywhere, but is not there as a whole.
    assert max(natural("first", "right")) < 0.8


def test_the_answer_hangs_on_other_units_before_and_not_after_strict_training():
    assert max(row["strictness"]["joint"]["rate"] for row in rows("task")) < 0.8
    assert statistics.median(row["strictness"]["joint"]["rate"] for row in rows("joint")) >= 0.99


def test_the_negative_control_of_the_course_is_told_as_it_was_found():
    course = json.loads((ROOT / "docs" / "iit_course.json").read_text(encoding="utf-8"))
    config = course["config"]
    assert config["layer"] == "layers.1"
    assert (config["settings"]["batch"], config["settings"]["schedule"]) == (1_028, "constant")
    assert [row["seed"] for row in course["rows"]] == config["seeds"] == [10, 11, 12, 13]
    found = [row["variables"]["right"]["natural"]["rate"] for row in course["rows"]]
    hits = sum(rate <= 0.60 for rate in found)
    page = (ROOT / "docs" / "iit.md").read_text(encoding="utf-8")
    assert f"| at most .60 | {hits} of 4 [" in page[page.index("## Where and as the course") :]
    assert all(row["variables"]["left"]["natural"]["rate"] >= 0.99 for row in course["rows"])


@pytest.mark.slow
def test_the_small_form_comes_again():
    (old,) = stored()["smoke"]["rows"]
    (new,) = json.loads(run("--smoke").stdout)["rows"]
    assert old["training_inputs"] == new["training_inputs"]
    assert old["accuracy"]["n"] == new["accuracy"]["n"]
    assert new["accuracy"]["rate"] == pytest.approx(old["accuracy"]["rate"], abs=SLACK)
    for name in ("left", "right"):
        one, two = (row["variables"][name]["natural"]["rate"] for row in (old, new))
        assert two == pytest.approx(one, abs=SLACK)


@pytest.mark.slow
def test_the_page_is_made_of_the_table(tmp_path):
    copy = tmp_path / "iit.json"
    copy.write_bytes(STORED.read_bytes())
    run("--page", "--out", str(copy))
    page = (ROOT / "docs" / "iit.md").read_text(encoding="utf-8")
    assert copy.with_suffix(".md").read_text(encoding="utf-8") == page
