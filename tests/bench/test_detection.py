"""The stored detection table is what its script computes, and the page and the library's own table are made of it."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from commutes.report import CATALOGUE
from commutes.robustness import CHECKS, Thresholds
from commutes.stats import Answer
from commutes.testing.zoo import compiled, linear

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "detection.json"
# What another processor's roundings may move: a pair or two of several hundred.
SLACK = 0.01


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The modules in bench/, imported as the script imports them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        names = ("detection", "detection_page", "detection_table", "detection_values")
        yield {name: importlib.import_module(name) for name in names}


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return json.loads(STORED.read_text(encoding="utf-8"))


def same(old: dict[str, Any], new: dict[str, Any], checks: list[str], known: list[str]) -> None:
    """Two rows of one claim, on the checks that both were made with."""
    for name in ("family", "member", "claim", "seed", "truth", "kind", "refitted", "pairs"):
        assert old[name] == new[name]
    for check in set(checks) & set(known):
        one, two = checks.index(check), known.index(check)
        assert old["answers"][one] == new["answers"][two], check
        assert new["values"][two] == pytest.approx(old["values"][one], abs=SLACK), check
    assert new["elsewhere"] == pytest.approx(old["elsewhere"], abs=SLACK)


def test_the_table_is_whole(stored, scripts):
    module = scripts["detection"]
    config, rows = stored["config"], stored["rows"]
    there = [module.key(one) for one in rows]
    assert len(set(there)) == len(there)
    assert config["seeds"] == module.FULL.seeds
    seeds = Counter((one["family"], one["member"], one["claim"]) for one in rows)
    assert seeds == module.planned(module.FULL)
    assert all(one["seed"] < seeds[one["family"], one["member"], one["claim"]] for one in rows)
    assert all(len(one["answers"]) == len(config["checks"]) for one in rows)


def test_a_row_comes_again(stored, scripts):
    module = scripts["detection"]
    where = "and_or", "at another position", 1
    (old,) = [one for one in stored["rows"] if (one["member"], one["claim"], one["seed"]) == where]
    member = compiled("and_or", seed=1)
    told = next(one for one in member.claims if one.name == old["claim"])
    same(old, module.row(member, told, module.FULL), stored["config"]["checks"], module.checks())


@pytest.mark.slow
def test_the_small_form_comes_again(stored, scripts):
    module = scripts["detection"]
    again = module.made(module.SMOKE, {}, None)["rows"]
    assert len(again) == len(stored["smoke"]["rows"])
    for old, new in zip(stored["smoke"]["rows"], again, strict=True):
        same(old, new, stored["config"]["checks"], module.checks())


def test_what_was_to_be_shown_is_so(stored, scripts):
    table, page = scripts["detection_table"], scripts["detection_page"]
    checks = stored["config"]["checks"]
    groups = table.grouped(table.rated(stored["rows"]))
    for name, rows in groups.items():
        if table.wanted(rows):
            assert table.caught(rows, checks, "R4").rate >= page.ENOUGH, name
    right = [one for one in table.rated(stored["rows"]) if one["truth"] == "right"]
    assert table.caught(right, checks, "R4").rate <= page.MOST


def test_families_that_were_made_side_by_side_are_one_table_with_the_code_of_each(scripts):
    def part(family, seeds, digest):
        return {
            "code": {"sha256": digest, "of": "code"}, "seconds": 2,
            "config": {"checks": THREE, "seeds": {family: seeds}, "right": {family: seeds}},
            "rows": [row("sss", family=family)],
        }  # fmt: skip

    joined = scripts["detection"].joined
    whole = joined([part("trained", 4, "a"), part("linear", 8, "b")])
    assert whole["code"] == {"sha256": "a", "of": "code", "by_family": {"trained": "a", "linear": "b"}}
    assert whole["config"]["seeds"] == {"trained": 4, "linear": 8}
    assert (whole["seconds"], [one["family"] for one in whole["rows"]]) == (4, ["trained", "linear"])
    with pytest.raises(SystemExit, match="a family is in two of the files"):
        joined([part("linear", 4, "a"), part("linear", 8, "b")])


def test_the_page_is_made_of_the_table(stored, scripts):
    page = (ROOT / "docs" / "detection.md").read_text(encoding="utf-8")
    assert scripts["detection_page"].page(stored) == page


def test_the_library_carries_the_table(stored, scripts):
    module = scripts["detection"]
    packaged = json.loads(module.PACKAGED.read_text(encoding="utf-8"))
    assert scripts["detection_table"].packaged(stored) == packaged


def test_every_check_has_its_number(scripts):
    found = scripts["detection_values"].STATISTICS
    assert set(scripts["detection"].checks()) <= set(found)
    for statistic in found.values():
        assert hasattr(Thresholds(), statistic.threshold)


def test_every_gate_is_in_the_table(scripts):
    gates = {entry.id for entry in CATALOGUE if entry.level is not None}
    assert set(scripts["detection"].checks()) == gates & CHECKS.keys()


def test_a_check_that_decided_must_have_its_number(scripts):
    value_of = scripts["detection_values"].value_of
    assert value_of("A2", "inconclusive", {}) is None
    with pytest.raises(KeyError):
        value_of("A2", "supported", {})


def row(answers: str, *, truth: str = "decoy", seed: int = 1, **changes: Any) -> dict[str, Any]:
    """A row of three checks, A2 A9 D4."""
    made = {
        "family": "linear", "member": "m", "claim": "c", "seed": seed, "truth": truth, "kind": "inert copy",
        "refitted": True, "pairs": 960, "answers": answers, "ideal": "...", "values": [None] * 3,
        "elsewhere": {"iia": 1.0, "overall": 1.0, "random": 0.5, "logits": 1.0}, "seconds": 1.0,
    }  # fmt: skip
    return made | changes


THREE = ["A2", "A9", "D4"]


def test_alarms_are_counted_by_level_and_of_the_rows_that_were_run(scripts):
    module = scripts["detection_table"]
    rows = [row("srn"), row("ssr"), row("rsn"), row("ssv")]
    assert module.caught(rows, THREE, "R2") == module.Share(2, 4)
    assert module.caught(rows, THREE, "R3") == module.Share(3, 4)
    assert module.refuted(rows, THREE, "D4") == module.Share(1, 2)
    assert module.Share(1, 2).rate == 0.5
    assert module.reached(rows, THREE, "R4") == module.Share(0, 4)


def test_what_only_asks_whether_a_fit_finds_it_again_catches_nothing(scripts):
    module = scripts["detection_table"]
    rows = [row("ssr"), row("srr")]
    assert module.caught(rows, ["A2", "A9", "E3"], "R4") == module.Share(1, 2)
    assert module.refuted(rows, ["A2", "A9", "E3"], "E3") == module.Share(2, 2)


def test_rates_are_of_odd_seeds_alone(scripts):
    module = scripts["detection_table"]
    rows = [row("rsn", seed=seed) for seed in range(5)]
    assert [one["seed"] for one in module.rated(rows)] == [1, 3]
    result = {"config": {"checks": THREE}, "rows": rows, "command": "x", "code": {"sha256": "y"}}
    assert module.packaged(result)["kinds"] == [{"kind": "inert copy", "n": 2, "refuted": [[["A2"], 2]]}]


def test_right_claims_are_no_decoys_in_the_librarys_table(scripts):
    module = scripts["detection_table"]
    rows = [row("ssr", truth="right", kind="")]
    result = {"config": {"checks": THREE}, "rows": rows, "command": "x", "code": {"sha256": "y"}}
    assert module.packaged(result)["kinds"] == []


def test_a_claim_that_holds_in_part_is_to_be_caught_where_the_construction_says_so(scripts):
    wanted = scripts["detection_table"].wanted
    assert wanted([row("sss")])
    assert not wanted([row("sss", truth="partial")])
    assert wanted([row("sss", truth="partial", ideal="..r")])
    assert not wanted([row("sss", truth="right")])


def test_what_the_construction_decides_is_compared_and_named(scripts):
    rows = [row("sss", ideal="r.s"), row("rss", ideal="r.s"), row("rsn", ideal="..s")]
    first, second = scripts["detection_table"].decided(rows, THREE)
    assert (first.check, first.answer, first.agreed.hits, first.agreed.n) == ("A2", "refuted", 1, 2)
    assert first.apart == (("m: c", "supported", 1),)
    assert (second.check, second.agreed.hits, second.agreed.n, second.apart) == ("D4", 2, 2, ())


@pytest.mark.parametrize(
    ("right", "wrong", "declared", "least", "expected"),
    [
        ([0.9, 1.0], [0.1, 0.5], 0.8, True, (0.5, 0.9)),
        ([0.1, 0.2], [0.6, 0.9], 0.5, False, (0.2, 0.6)),
        # A wrong claim above a right one: the threshold that costs least, by share.
        ([0.4, 0.9, 1.0], [0.1, 0.5], 0.2, True, (0.5, 0.9)),
    ],
)
def test_the_best_threshold_lies_between_right_and_wrong(scripts, right, wrong, declared, least, expected):
    assert scripts["detection_table"].best(right, wrong, declared, least=least) == expected


def test_what_is_done_elsewhere_turns_down_as_it_is_said_to(scripts):
    module = scripts["detection_table"]
    low = row("sss", elsewhere={"iia": 0.9, "overall": 0.5, "random": 0.5, "logits": 0.0})
    for how in module.ELSEWHERE:
        assert module.turned_down([low], how) == module.Share(1, 1)
        assert module.turned_down([row("sss")], how) == module.Share(0, 1)


def test_a_claim_is_challenged_on_inputs_that_it_was_not_told_on(scripts):
    module = scripts["detection"]
    member = linear("clean", seed=0)
    report = module.challenged(member, member.claims[0], module.FULL, refitted=False)
    fitted, measured = report.alignment.fitted_ids, report.evaluation.pairs.input_ids
    assert len(fitted) > 300
    assert len(measured) > 1000
    assert not np.isin(measured, fitted).any()
    assert report.outcomes["B1"].outcome.answer is Answer.NOT_RUN


def test_claims_of_one_kind_share_its_seeds(scripts):
    module = scripts["detection"]
    found = module.planned(module.FULL)
    assert found["linear", "illusion", "copy and dormant direction"] == 40
    assert found["linear", "clean", "true"] == module.FULL.right["linear"]
    tilted = [n for (_, member, claim), n in found.items() if member == "tilt" and claim != "true"]
    assert tilted == [40, 14, 14, 14]
    assert all(n % 2 == 0 for n in found.values())
