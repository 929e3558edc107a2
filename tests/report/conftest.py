"""A realistic report: hierarchical equality, two variables, one layer of a small network."""

from __future__ import annotations

import copy
from statistics import NormalDist
from typing import Any

import pytest

from commutes.report.catalogue import CATALOGUE, headline, level_of, upgrade, verdict


def wilson(hits: int, n: int, z: float) -> tuple[float, float]:
    centre = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * (hits * (n - hits) / n + z * z / 4) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def rate(hits: int, n: int, method: str = "disjoint") -> dict[str, Any]:
    if n == 0:
        none = dict.fromkeys(("rate", "low", "high", "lower", "upper"))
        return {"hits": 0, "n": 0, **none, "method": "none", "clusters": 0}
    (low, high), (lower, upper) = (wilson(hits, n, NormalDist().inv_cdf(p)) for p in (0.975, 0.95))
    return {
        "hits": hits,
        "n": n,
        "rate": hits / n,
        "low": low,
        "high": high,
        "lower": lower,
        "upper": upper,
        "method": method,
        "clusters": n,
    }


def cell(swap: str, stratum: str, hits: int, n: int, floors: tuple[float, float, float]) -> dict[str, Any]:
    names = ("do nothing", "best constant", "random subspace")
    status = "impossible" if n == 0 else "too small" if n < 59 else "gated"
    return {
        "swap": swap,
        "stratum": stratum,
        "status": status,
        "inputs": 2 * n,
        "weight": 0.0 if n == 0 else 0.25,
        "rate": rate(hits, n) if n else None,
        "floors": dict(zip(names, floors if n else (None, None, None), strict=True)),
    }


JOINT = "left+right (one source)"  # a source that gives both gives the answer: nothing but flip and neutral


def sample_evaluation() -> dict[str, Any]:
    cells = [
        cell("left", "flip", 381, 400, (0.0, 0.5125, 0.0425)),
        cell("left", "placebo", 388, 400, (1.0, 0.49, 0.955)),
        cell("left", "novel", 384, 400, (0.0, 0.5025, 0.0375)),
        cell("left", "neutral", 400, 400, (1.0, 0.505, 0.9975)),
        cell("right", "flip", 373, 400, (0.0, 0.5075, 0.06)),
        cell("right", "placebo", 391, 400, (1.0, 0.4975, 0.9475)),
        cell("right", "novel", 380, 400, (0.0, 0.495, 0.0525)),
        cell("right", "neutral", 42, 42, (1.0, 0.5, 1.0)),
        cell(JOINT, "flip", 396, 400, (0.0, 0.5, 0.1425)),
        cell(JOINT, "placebo", 0, 0, (0.0, 0.0, 0.0)),
        cell(JOINT, "novel", 0, 0, (0.0, 0.0, 0.0)),
        cell(JOINT, "neutral", 400, 400, (1.0, 0.5, 0.9925)),
    ]
    measured = [c for c in cells if c["rate"]]

    def over(*names: str, strata: tuple[str, ...] = ()) -> dict[str, Any]:
        chosen = [
            c["rate"] for c in measured if c["swap"] in names and (not strata or c["stratum"] in strata)
        ]
        return rate(sum(r["hits"] for r in chosen), sum(r["n"] for r in chosen))

    n = sum(c["rate"]["n"] for c in measured)
    names = ("left", "right", JOINT)
    worst: dict[str, Any] = {
        "swap": "right",
        "stratum": "flip",
        "rate": 373 / 400,
        "low": 0.9079,
        "high": 0.9582,
        "cells": 9,
    }
    worst["too_small"] = 1
    return {
        "n": n,
        "distinct_inputs": 2 * n,
        "part": "test",
        "label": "",
        "distribution": "uniform over the values of the variables",
        "census": False,
        "accuracy": rate(2 * n - 3, 2 * n),
        "overall": over(*names),
        "natural": {"rate": 0.9731, "low": 0.9652, "high": 0.9797},
        "effective": over(*names, strata=("flip", "novel")),
        "cells": cells,
        "worst": worst,
        "variables": [{"swap": name, "rate": over(name), "natural": 0.9652} for name in names],
        "transitions": [
            {"swap": "left", "from": False, "to": True, "rate": rate(188, 200)},
            {"swap": "left", "from": True, "to": False, "rate": rate(193, 200)},
            {"swap": "right", "from": False, "to": True, "rate": rate(181, 200)},
            {"swap": "right", "from": True, "to": False, "rate": rate(192, 200)},
        ],
        "directions": [
            {"swap": "left", "from": False, "to": True, "rate": rate(190, 201)},
            {"swap": "left", "from": True, "to": False, "rate": rate(191, 199)},
            {"swap": "right", "from": False, "to": True, "rate": rate(188, 198)},
            {"swap": "right", "from": True, "to": False, "rate": rate(185, 202)},
        ],
        "floors": {
            "do nothing": rate(1642, n),
            "best constant": rate(1832, n),
            "random subspace": rate(5 * 1754, 5 * n) | {"low": 0.43, "high": 0.53, "clusters": 5},
        },
        "not_excluded": {name: [] for name in names},
        "self_checks": {"base onto itself": 0.0, "whole swap of what is read": rate(256, 256)},
        "candidates": None,
    }


def sample_candidates(n: int) -> dict[str, Any]:
    return {
        "answers": 10,
        "accuracy": rate(2 * n, 2 * n),
        "overall": rate(3600, n),
        "effective": rate(1990, 2000),
        "floors": {"do nothing": rate(1700, n), "random subspace": rate(5 * 1800, 5 * n)},
    }


FIGURES: dict[str, tuple[str, dict[str, Any]]] = {
    "A1": ("accuracy >.999 [.999, >.999], n = 7,284; the floor is .95", {"accuracy": rate(7281, 7284)}),
    "A2": ("worst cell right · flip .932 [.908, .958] over 9 gated cells; the target is .90", {"cells": 9}),
    "A3": (
        "every rival expects another answer on at least 45.1 % of the pairs (1,642 of 3,642)",
        {"least": 0.4508},
    ),
    "A5": (
        "networks that were never trained are not aligned by a rotation: .525 [.513, .538], at most .820 allowed",
        {"limit": 0.82, "null": {"upper": 0.548}},
    ),
    "A6": ("fitted .971, held out .967; the gap's upper bound is .014, below .05", {"gap_upper": 0.014}),
    "A9": (
        "the edit is larger on 98.6 % of effective pairs than on the median placebo pair",
        {"share": 0.986},
    ),
    "B1": (
        "gap .437 [.412, .461] to five refits on untrained networks; the null's upper bound is .548",
        {
            "refits": [
                {"seed": 10 + i, "kind": "reset", "rate": rate(hits, 3642)}
                for i, hits in enumerate((1910, 1942, 1844, 1965, 1905))
            ],
            "null": {"mean": 0.5254, "low": 0.5128, "high": 0.538, "upper": 0.548},
            "gap": {"value": 0.437, "low": 0.412, "high": 0.461},
        },
    ),
    "B2": ("selectivity .412 [.384, .439] against the worst of three control functions", {"controls": 3}),
}


def sample_report(changes: dict[str, str] | None = None, sought: str = "R2") -> dict[str, Any]:
    answers = dict.fromkeys(FIGURES, "supported") | (changes or {})
    checks = []
    for item in CATALOGUE:
        sentence, figures = (
            FIGURES.get(item.id, ("", {})) if answers.get(item.id) not in (None, "not run") else ("", {})
        )
        answer = answers.get(item.id, "not run")
        checks.append(
            {
                "id": item.id,
                "name": item.name,
                "question": item.question,
                "gate": item.gate,
                "answer": answer,
                "sentence": sentence,
                "figures": figures,
                "n_to_decide": 3100 if answer == "inconclusive" else None,
                "reason": "no natural input reaches this value" if answer == "vacuous" else None,
                "cost": {"forward_passes": 4084 if figures else 0, "seconds": 0.4 if figures else 0.0},
                "references": list(item.references),
            }
        )
    return {
        "format": 1,
        "commutes": "0.1.0",
        "claim": {
            "words": "The coordinates of layers.0 named below are left and right of hierarchical equality.",
            "mode": "representational",
            "algorithm": "hierarchical equality",
            "algorithm_fingerprint": "8c1f4a0be27d95c3",
            "network": "MLP 16-16-16-16-2",
            "network_fingerprint": "02d7f19ab34c8e60",
            "distribution": "uniform over the values of the variables",
            "variables": [
                {
                    "name": "left",
                    "site": "layers.0",
                    "featurizer": "Rotation",
                    "coordinates": "0 to 3",
                    "k": 4,
                },
                {
                    "name": "right",
                    "site": "layers.0",
                    "featurizer": "Rotation",
                    "coordinates": "4 to 7",
                    "k": 4,
                },
            ],
            "scope": {
                "symbols": "20",
                "checkpoint": "trained here, 4,000 steps",
                "replacement": "interchange",
            },
            "fingerprint": "a9cf6da96078a9ffb39d61b3f66256d161a5eaf4c6c3265ab383cd20bf6606e9",
            "opened": 1,
            "content": {"level": "R2", "seed": 0},
            "parameters": 9_730,
        },
        "thresholds": {
            "target": 0.9,
            "behaviour": 0.95,
            "gap to untrained": 0.2,
            "selectivity": 0.2,
            "alpha": 0.05,
        },
        "level": level_of(answers)[0],
        "sought": sought,
        "verdict": verdict(answers, sought),
        "headline": headline(answers, sought),
        "checks": checks,
        "evaluation": sample_evaluation(),
        "selection": sample_selection(3, 4),
        "could_have_caught": [
            {"kind": "inert copy", "caught": 20, "n": 20},
            {"kind": "illusion, separable reader", "caught": 19, "n": 20},
            {"kind": "shortcut", "caught": 0, "n": 20},
        ],
        "seeds": {"data": 1, "training": 0, "fit": [0, 1, 2]},
        "environment": {"python": "3.12.3", "torch": "2.13.0", "device": "cpu"},
        "cost": {"forward_passes": 1_284_116, "seconds": 41.7, "fits": 20},
        "upgrade": upgrade(answers),
        "reproduce": "commutes run equality --require R2",
    }


def sample_strata(rate: float | None) -> list[dict[str, Any]]:
    """A cell's strata: what must change goes with the rate, what must stay against it."""
    if rate is None:
        return []
    found = []
    for stratum, value, nothing in (("flip", rate, 0.0), ("placebo", 1 - rate / 4, 1.0)):
        r = wilson(round(150 * value), 150, 1.96)
        found.append(
            {
                "swap": "left",
                "stratum": stratum,
                "status": "gated",
                "rate": round(150 * value) / 150,
                "low": r[0],
                "high": r[1],
                "n": 150,
                "floors": {"do nothing": nothing, "best constant": 0.5, "random subspace": 0.1 + rate / 10},
            }
        )
    return found


def sample_cell(row: str | int, column: str | int, rate_of_cell: float | None, **more: Any) -> dict[str, Any]:
    """A cell of a sweep; without a rate it failed."""
    r = rate(round(600 * (rate_of_cell or 0)), 600)
    lost = rate_of_cell is None
    return {
        "row": row,
        "column": column,
        "size": None,
        "rate": None if lost else r["rate"],
        "low": None if lost else r["low"],
        "high": None if lost else r["high"],
        "n": None if lost else 600,
        "floor": None if lost else 0.2,
        "worst": None if lost else r["rate"] / 2,
        "strata": sample_strata(None if lost else r["rate"]),
        "status": "failed" if lost else "done",
        "chosen": False,
    } | more


def sample_selection(layers: int, sizes: int) -> dict[str, Any]:
    """Site by size, as of a small network."""
    rows = [f"layers.{i}" for i in range(layers)]
    columns = [2**i for i in range(sizes)]
    cells = []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            lost = (i, j) == (layers - 1, 0) and layers * sizes > 1
            value = round(600 * min(0.97, (0.55 + 0.14 * min(j, 3)) * (1 - 0.62 * i / max(layers, 1)))) / 600
            status = ("failed" if layers % 2 else "missing") if lost else "measured"
            chosen = (i, j) == (0, min(2, sizes - 1))
            size = {"size": column, "status": status, "chosen": chosen}
            cells.append(sample_cell(row, column, None if lost else value, **size))
    return {
        "rows": rows,
        "columns": columns,
        "row_name": "site",
        "column_name": "coordinates per variable",
        "place": "",
        "cells": cells,
        "label": "selection split, optimistic",
    }


def sample_sweep(layers: int, positions: list[str], sizes: list[int]) -> dict[str, Any]:
    """Layer by position, as of a language model; the middle layer knows it at the last position, with room enough."""
    cells = []
    for layer in range(layers):
        for j, position in enumerate(positions):
            for k in sizes:
                there = layer == layers // 2 and j == len(positions) - 1
                value = 0.3 + 0.01 * layer + (0.14 * min(k, 4) if there else 0.0)
                chosen = there and k == sizes[-1]
                cells.append(sample_cell(layer, position, value, size=k, chosen=chosen))
    return {
        "rows": list(range(layers)),
        "columns": positions,
        "row_name": "layer",
        "column_name": "position",
        "place": "block_output",
        "cells": cells,
        "label": "selection split, optimistic",
    }


@pytest.fixture
def report() -> dict[str, Any]:
    return copy.deepcopy(sample_report())


@pytest.fixture
def evaluation() -> dict[str, Any]:
    return copy.deepcopy(sample_evaluation())


@pytest.fixture
def candidates(evaluation) -> dict[str, Any]:
    return sample_candidates(evaluation["n"])


@pytest.fixture
def build_report():
    """The sample report with other answers, or another level sought."""
    return sample_report


@pytest.fixture
def build_selection():
    """The sample selection with so many layers and sizes."""
    return sample_selection


@pytest.fixture
def build_sweep():
    """The sample sweep with so many layers, these positions and these sizes."""
    return sample_sweep
