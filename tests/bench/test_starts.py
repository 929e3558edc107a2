"""The stored tables of starts are what their script computes, and the defaults of a fit follow from them."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from commutes.stats import show
from commutes.training import Settings
from commutes.training._closed_methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
# What another processor's roundings may move: descents that begin alike part slowly.
SLACK = 0.05


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield {name: importlib.import_module(name) for name in ("starts", "starts_page")}


@pytest.fixture(scope="module")
def stored(scripts: dict[str, ModuleType]) -> dict[str, Any]:
    return scripts["starts_page"].stored()


def test_the_page_is_made_of_the_tables(scripts: dict[str, ModuleType], stored: dict[str, Any]) -> None:
    assert (ROOT / "docs" / "starts.md").read_text(encoding="utf-8") == scripts["starts_page"].page(stored)


def test_the_tables_are_whole(scripts: dict[str, ModuleType], stored: dict[str, Any]) -> None:
    """Every claim has a random start and the same forms at every rate; forms that were refused are missing."""
    starts = scripts["starts"]
    networks = {"equality": 10, "addition": 5, "compiled": len(starts.PROGRAMS)}
    assert {"equality", "compiled"} <= set(stored)
    for name, result in stored.items():
        part, rows = starts.PARTS[name], result["rows"]
        assert {row["network"] for row in rows} == set(range(networks[name]))
        cells: dict[tuple[Any, ...], list[str]] = {}
        for row in rows:
            cell = (row["network"], row["claim"], row["map"], row["k"], row["lr"])
            cells.setdefault(cell, []).append(row["start"])
        claims = {cell[:2] for cell in cells}
        for claim, map, k in itertools.product(claims, starts.MAPS, part.sizes):
            first, *others = (sorted(cells[(*claim, map, k, lr)]) for lr in starts.RATES)
            assert all(own == first for own in others)
            assert len(set(first)) == len(first)
            assert {"random"} < set(first) <= {"random", starts.SKEWED, *METHODS}


def test_the_worst_network_is_not_lifted_by_any_start(
    scripts: dict[str, ModuleType], stored: dict[str, Any]
) -> None:
    found = scripts["starts_page"].lifted(stored["equality"]["rows"])
    assert found["das"] < 0.6
    assert found["reached"] == []
    assert found["fits"] == 118


def test_the_defaults_of_a_fit_follow(scripts: dict[str, ModuleType], stored: dict[str, Any]) -> None:
    page = scripts["starts_page"]
    for result in stored.values():
        rows = page.with_chosen(result["rows"])
        chosen, random = ([row for row in rows if row["start"] == name] for name in ("chosen", "random"))
        # A closed form that is chosen on training pairs is begun at beside random starts, and never instead of them.
        assert page.compared(chosen, random)["below"] == 0
        rates = page.against(rows, "lr", 1e-2, 1e-3)
        assert rates["above"] > rates["below"]
        assert max(row["settled"] for row in rows) <= Settings.steps
    assert Settings.lr == 1e-2
    assert Settings.starts > 0


def test_a_claim_comes_again(scripts: dict[str, ModuleType], stored: dict[str, Any]) -> None:
    """All its starts, by the very same steps."""
    starts = scripts["starts"]
    case = starts.compiled(Path(), 1)[0]
    found = starts.cell([case], "orthogonal", 1, 1e-2, starts.PARTS["compiled"].settings)
    assert [row["start"] for row in found] == ["random", *METHODS]
    for new in found:
        same = ("network", "claim", "map", "k", "lr", "start")
        old = next(row for row in stored["compiled"]["rows"] if all(row[name] == new[name] for name in same))
        assert new["n"] == old["n"]
        for what in ("calibration", "step 0", "final"):
            assert new[what] == pytest.approx(old[what], abs=SLACK)


def test_the_page_on_fitting_has_the_figures(scripts: dict[str, ModuleType], stored: dict[str, Any]) -> None:
    page = scripts["starts_page"]
    rows = page.with_chosen(stored["equality"]["rows"])
    chosen, random = ([row for row in rows if row["start"] == name] for name in ("chosen", "random"))
    fast = [row for row in rows if row["lr"] == 1e-2]
    start, rate = page.compared(chosen, random), page.against(rows, "lr", 1e-2, 1e-3)
    oblique = page.against(fast, "map", "oblique", "orthogonal")
    late = np.quantile([row["settled"] for row in (*chosen, *random) if row["lr"] == 1e-2], 0.9)
    worst = page.lifted(stored["equality"]["rows"])
    programs = page.grouped(page.with_chosen(stored["compiled"]["rows"]), lambda row: row["start"])
    words = " ".join((ROOT / "docs" / "fitting.md").read_text(encoding="utf-8").split())
    for figure in (
        f"in {start['above']} of {start['cells']} cells of map, size and rate, by {show(start['mean'])} in the mean",
        f"in {page.ahead(random, chosen)} fits a random start ends higher",
        f"ends above 1e-3 in {rate['above']} of {rate['cells']} cells",
        f"within .01 of their best after {late:.0f} of",
        f"by {show(oblique['mean'])} in the mean of {oblique['cells']} cells",
        f"{page.share(programs['chosen'])} fits from the chosen form and by {page.share(programs['random'])} from",
        f"{show(worst['das'])}, is lifted by no start: of {worst['fits']} fits none comes to .95, the best to "
        f"{show(worst['best']['final'])}",
    ):
        assert figure in words


def test_steps_and_shares_are_counted_as_they_should(scripts: dict[str, ModuleType]) -> None:
    curve = [[0, 0.5], [10, 0.93], [20, 0.96], [30, 0.958]]
    assert scripts["starts"].row_of(curve) == {
        "step 0": 0.5, "steps to 0.9": 10, "steps to 0.95": 20, "settled": 20, "final": 0.958,
    }  # fmt: skip
    page = scripts["starts_page"]
    rows = [{"steps to 0.9": step} for step in (None, 30, 10, None)]
    assert page.steps(rows, 0.9) == "never (2 of 4)"
    assert page.steps(rows[1:], 0.9) == "30 (2 of 3)"
    told = {"map": "oblique", "k": 1, "lr": 1e-2}
    row = {"claim": "carry", **told}
    starts = [("random", 0.1, 0.6), ("lda", 0.3, 0.8), ("pca", 0.2, 0.9)]
    found = page.with_chosen(
        [
            {**row, "network": n, "start": s, "calibration": c, "final": f + n / 100}
            for n in (0, 1)
            for s, c, f in starts
        ]
    )
    chosen = [one for one in found if one["start"] == "chosen"]
    assert [one["form"] for one in chosen] == ["lda", "lda"]
    difference = page.gap(chosen, [one for one in found if one["start"] == "random"])
    assert difference.value == pytest.approx(0.2)
    assert difference.n == 2
