"""The stored table of parametrisations is what its script computes, and the library's default follows from it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from commutes.features import orthonormal, random_raw
from commutes.features._rotation import OrthonormalBasis

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "orthogonality.json"
# What another processor's roundings may move: a few of 2,400 pairs.
SLACK = 0.02


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        names = ("orthogonality", "orthogonality_page")
        yield {name: importlib.import_module(name) for name in names}


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return json.loads(STORED.read_text(encoding="utf-8"))


def test_the_page_is_made_of_the_table(scripts: dict[str, ModuleType], stored: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "orthogonality.md").read_text(encoding="utf-8")
    assert page == scripts["orthogonality_page"].page(stored)


def test_the_table_is_whole(scripts: dict[str, ModuleType], stored: dict[str, Any]) -> None:
    config = stored["config"]
    assert (config["widths"], config["sizes"]) == ([128, 768, 2048], [1, 16, 64])
    assert [(row["d"], row["k"]) for row in stored["times"]] == [
        (d, k) for d in config["widths"] for k in config["sizes"]
    ]
    rates = scripts["orthogonality"].RATES
    assert rates == (1e-3, 1e-2, 1e-1)
    assert [fits["width"] for fits in config["fits"]] == [64, 768, 2048]
    module = scripts["orthogonality"]
    assert len(stored["rows"]) == sum(
        len(fits["networks"])
        * len(fits["sizes"])
        * len(rates)
        * (len(fits["ways"]) * fits["starts"] + len(module.FORMS) * len(module.LENGTHS))
        for fits in config["fits"]
    )


def test_every_way_keeps_a_basis_orthonormal_and_begins_at_the_same_subspace(
    scripts: dict[str, ModuleType],
) -> None:
    bench = scripts["orthogonality"]
    wanted = orthonormal(random_raw(12, 3, 5))
    for way in (bench.ByTorch(12, 3), bench.OnManifold(12, 3), bench.LongColumns(12, 3)):
        basis = way.solve(way.start(5)[None])[0]
        assert torch.allclose(basis.mT @ basis, torch.eye(3), atol=1e-5)
        assert torch.allclose(basis @ basis.mT, wanted @ wanted.mT, atol=1e-5)


def test_a_step_on_the_manifold_stays_there_and_goes_down(scripts: dict[str, ModuleType]) -> None:
    bench = scripts["orthogonality"]
    generator = torch.Generator().manual_seed(0)
    base, source, aim = (torch.randn(16, 6, generator=generator) for _ in range(3))
    raw = bench.OnManifold(6, 2).start(1).requires_grad_()
    adam = torch.optim.Adam([raw], lr=1e-2)
    losses = []
    for _ in range(50):
        loss = (bench.Subspace(raw, raw).swap(base, source) - aim).square().mean()
        losses.append(float(loss.detach()))
        bench.step("Stiefel", [raw], list(torch.autograd.grad(loss, [raw])), adam)
        assert torch.allclose(raw.mT @ raw, torch.eye(2), atol=1e-5)
    assert losses[-1] < losses[0]


def test_the_default_follows(scripts: dict[str, ModuleType], stored: dict[str, Any]) -> None:
    """A QR from columns of length 1: nowhere below longer columns, as good as steps on the manifold, cheaper."""
    page = scripts["orthogonality_page"]
    above = 0
    for own in page.cells(page.random_ones(stored["rows"])).values():
        ends = {way: sum(page.at(row, 1) for row in rows) / len(rows) for way, rows in own.items()}
        assert ends["QR"] >= max(ends["Stiefel"], ends["long QR"]) - 0.001
        above += ends["QR"] > ends["long QR"] + 0.01
    assert above > 5
    warm: dict[Any, dict[str, float]] = {}
    for row in stored["rows"]:
        if "form" in row:
            where = tuple(row[name] for name in ("width", "network", "k", "lr", "form"))
            warm.setdefault(where, {})[row["way"]] = page.at(row, 1)
    assert all(of["QR"] >= of["long QR"] - 0.005 for of in warm.values())
    # Medians of a cell go up and down by a tenth from one taking to the next.
    stiefel = sorted(row["Stiefel / QR"][1] for row in stored["times"])
    assert 0.9 < stiefel[len(stiefel) // 2] < stiefel[-1] < 2
    assert all(row["torch / QR"][1] > 1.3 for row in stored["times"])
    assert torch.allclose(OrthonormalBasis(12, 3).start(0).norm(dim=0), torch.ones(3))


@pytest.mark.slow
def test_the_small_form_comes_again(scripts: dict[str, ModuleType], stored: dict[str, Any]) -> None:
    bench = scripts["orthogonality"]
    *_, whole = bench.made(bench.SMOKE)
    assert {row["way"] for row in whole["rows"]} == set(bench.WAYS)
    begins: dict[tuple[Any, ...], float] = {}
    for old, new in zip(stored["smoke"], whole["rows"], strict=True):
        for (step, before), (again, now) in zip(old["curve"], new["curve"], strict=True):
            assert step == again
            assert now == pytest.approx(before, abs=SLACK)
        # The same subspace through roundings of its own: a pair or two of those that are measured.
        first = begins.setdefault((new["k"], new["lr"], new["start"], new.get("form")), new["curve"][0][1])
        assert new["curve"][0][1] == pytest.approx(first, abs=SLACK)
