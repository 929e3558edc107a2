"""A challenge: the claim fixed first, the test opened once and counted, the card as it was found."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import commutes.robustness._challenge as challenge_module
from commutes import Alignment, Rotation, census, challenge, counterfactuals, evaluate, load
from commutes.counterfactuals import pairs_hash
from commutes.errors import AlignmentError, ArtefactError, DataError
from commutes.report import as_report, load_report
from commutes.robustness import Thresholds
from commutes.robustness._claim import fixed_claim
from commutes.training import Settings
from tests.planted import EQUALITY, QUICK, ROOT, equality, exact, neurons, planted, settled


@pytest.fixture(scope="module")
def case():
    case = planted(10)
    return case, settled(case.claim, case.parts, [case.truth])


def quick(case, **changes):
    case, claim = case
    train, select, test = case.parts
    arguments = {"train": train, "select": select, "test": test, "controls": 3, **changes}
    return challenge(claim, **arguments)


@pytest.fixture(scope="module")
def report(case):
    return quick(case)


def message(kind, call) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


# The card.


def test_the_planted_truth_reaches_r2(report):
    assert report.answers == dict.fromkeys(["A3", "A1", "A2", "A9", "A6", "B1", "A5", "B2"], "supported")
    assert (report.level, report.verdict, report.exit_status()) == ("R2", "supported", 0)


def test_the_record_is_a_report_and_the_card_says_what_was_done(report):
    record = report.record()
    as_report(record)
    json.dumps(record, allow_nan=False)
    card = str(report)
    assert card.startswith("R2, controls: swapping the aligned coordinates")
    for words in (
        "left and right in 1 + 1 dimensions of a rotation of site",
        "hierarchical equality of 10 whole numbers",
        "one fit (seed 0), one network",
        "fixed before the test split was opened",
        "untrained networks",
    ):
        assert words in " ".join(card.split())
    assert record["seeds"] == {"challenge": 0, "fit": 0}
    assert record["reproduce"]


def test_checks_that_did_not_run_say_why(report, case):
    reasons = {c["id"]: (c["answer"], c["reason"]) for c in report.record()["checks"]}
    assert reasons["B4"] == ("not run", "this version does not have the check")
    behaves = quick(case, level="R1")
    assert list(behaves.answers) == ["A3", "A1"]
    assert (behaves.level, behaves.exit_status()) == ("R1", 0)
    assert behaves.exit_status("R2") == 4
    reasons = {c["id"]: (c["answer"], c["reason"]) for c in behaves.record()["checks"]}
    assert reasons["A2"] == ("not run", "R1 was sought, which does not need it")
    assert reasons["B4"][1] == "this version does not have the check"
    assert quick(case, level="R0").answers == {}


def test_costs_are_counted(report):
    record = report.record()
    cost = {c["id"]: c["cost"]["forward_passes"] for c in record["checks"]}
    tests = len(report.evaluation.pairs)
    assert cost["A2"] == 6 * tests
    assert cost["B1"] > 5 * (20 * 64 * 2 + tests)
    assert record["cost"]["forward_passes"] == sum(cost.values())


def timeless(record):
    """The record without what may differ between two runs: seconds, and how often the test was opened."""
    copied = json.loads(json.dumps(record))
    for check in copied["checks"]:
        check["cost"].pop("seconds")
    copied["cost"].pop("seconds")
    copied["claim"].pop("opened")
    return copied


def test_the_same_seed_gives_the_same_record(report, case):
    again = quick(case)
    assert timeless(again.record()) == timeless(report.record())
    behaves = [quick(case, seed=seed, level="R1") for seed in (0, 1)]
    assert behaves[0].claim.fingerprint != behaves[1].claim.fingerprint
    assert behaves[0].evaluation.floors != behaves[1].evaluation.floors


def test_a_report_is_saved_whole_and_its_claim_loads(report, case, tmp_path):
    case, claim = case
    report.save(tmp_path / "run")
    names = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert names == ["alignment.json", "alignment.safetensors", "pairs.parquet", "report.html", "report.json"]
    saved = load_report(tmp_path / "run" / "report.json")
    assert saved == as_report(report.record())
    back = load(tmp_path / "run", algorithm=case.algorithm, network=case.network)
    assert torch.equal(back.featurizers[0].reader, claim.featurizers[0].reader)
    import pandas as pd

    frame = pd.read_parquet(tmp_path / "run" / "pairs.parquet")
    assert len(frame) == len(case.parts[2])
    assert (frame["hit"] == (frame["expected"] == frame["answered"])).all()
    assert frame["hit"].sum() == report.evaluation.overall.hits
    by_cell = frame.groupby(["swap", "stratum"])["hit"].agg(["sum", "size"])
    for cell in report.evaluation.cells:
        if cell.rate is not None:
            assert tuple(by_cell.loc[cell.swap, cell.stratum]) == (cell.rate.hits, cell.rate.n)
    again = challenge(back, train=case.parts[0], select=case.parts[1], test=case.parts[2], level="R1")
    assert again.evaluation.record() == report.evaluation.record()


def test_progress_is_told(case):
    told = []
    quick(case, progress=lambda stage, step, steps, figures: told.append((stage, step, steps)))
    stages = list(dict.fromkeys(stage for stage, *_ in told))
    assert stages == ["forward passes", "checks", "untrained networks", "control tasks"]
    assert [(a, b) for s, a, b in told if s == "checks"] == [(i, 8) for i in range(1, 9)]


# The order.


def test_nothing_of_the_network_is_looked_at_before_the_claim_is_fixed_and_the_opening_counted(
    case, monkeypatch
):
    case, claim = case
    events = []

    def noted(name):
        real = getattr(challenge_module, name)

        def wrapper(*args, **kwargs):
            events.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(challenge_module, name, wrapper)

    for name in ("fixed_claim", "adequacy_of", "opened", "measure"):
        noted(name)
    handle = case.network.module.register_forward_pre_hook(lambda *_: events.append("forward"))
    try:
        quick((case, claim), level="R1")
    finally:
        handle.remove()
    first = events.index("forward")
    assert events[:first] == ["fixed_claim", "adequacy_of", "opened", "measure"]


@pytest.mark.parametrize("bad", ["train", "select"])
def test_a_refused_challenge_opens_nothing_and_runs_nothing(case, monkeypatch, bad):
    case, claim = case
    monkeypatch.setattr(challenge_module, "opened", lambda *a: pytest.fail("opened"))
    monkeypatch.setattr(challenge_module, "measure", lambda *a, **k: pytest.fail("evaluated"))
    position = ("train", "select").index(bad)
    word = ("fitted", "selected")[position]
    said = message(DataError, lambda: quick((case, claim), test=case.parts[position]))
    count = len(case.parts[position].input_ids)
    assert f"the claim was {('fitted', 'chosen')[position]} on these inputs" in said
    assert f"{count:,} of {count:,} inputs were {word} on" in said
    assert f"of the part {bad!r}" in said


# What the claim is.


def fingerprint(alignment, test, **changes):
    arguments = {"level": "R2", "seed": 0, "refits": 5, "controls": 5, **changes}
    thresholds = arguments.pop("thresholds", Thresholds())
    settings = arguments.pop("settings", QUICK)
    return fixed_claim(alignment, test, thresholds, settings, **arguments).fingerprint


def test_everything_that_decides_changes_the_fingerprint(case):
    case, claim = case
    test = case.parts[2]
    rotation = Rotation(case.network.site("site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    swapped = Alignment(case.algorithm, {right: rotation[:1], left: rotation[1:2]}).with_maps([case.truth])
    turned = case.claim.with_maps([case.truth[[1, 0]]])
    other = planted(seed=3)
    found = [
        fingerprint(claim, test),
        fingerprint(claim, test, thresholds=Thresholds(target=0.8)),
        fingerprint(claim, test, thresholds=Thresholds(selectivity=0.1)),
        fingerprint(claim, test, level="R1"),
        fingerprint(claim, test, seed=1),
        fingerprint(claim, test, refits=6),
        fingerprint(claim, test, controls=4),
        fingerprint(claim, test, settings=Settings()),
        fingerprint(claim, test.subset(np.arange(100))),
        fingerprint(claim, test.replicate(9)),
        fingerprint(claim, case.parts[1]),
        fingerprint(swapped, test),
        fingerprint(turned, test),
        fingerprint(other.told(), other.parts[2]),
    ]
    assert len(set(found)) == len(found)


def test_the_order_in_which_variables_are_written_does_not_matter():
    algorithm, network, _ = exact()
    pairs = census(algorithm)
    one = neurons(network, algorithm, left=[0], right=[1])
    two = neurons(network, algorithm, right=[1], left=[0])
    assert list(one.slices) != list(two.slices)
    assert fingerprint(one, pairs) == fingerprint(two, pairs)
    case = planted()
    rotation = Rotation(case.network.site("site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    other = Alignment(case.algorithm, {right: rotation[1:2], left: rotation[:1]}).with_maps([case.truth])
    assert fingerprint(other, case.parts[2]) == fingerprint(case.told(), case.parts[2])


def test_numbers_of_another_type_are_the_same_threshold():
    algorithm, _, claim = exact()
    pairs = census(algorithm)
    assert fingerprint(claim, pairs, thresholds=Thresholds(target=1)) == (
        fingerprint(claim, pairs, thresholds=Thresholds(target=1.0))
    )


@pytest.mark.slow
def test_the_same_claim_in_another_process_has_the_same_fingerprint():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from tests.robustness.test_challenge import fingerprint;"
        "from tests.planted import planted; case = planted();"
        "print(fingerprint(case.told(), case.parts[2]))"
    )
    case = planted()
    found = {fingerprint(case.told(), case.parts[2])}
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", script, str(ROOT)],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        found.add(done.stdout.strip())
    assert len(found) == 1


# Openings.


def test_every_look_at_inputs_of_the_network_is_counted_however_they_were_drawn():
    algorithm, _, claim = exact()
    pairs = counterfactuals(algorithm, 123, seed=41)
    same, overlapping = counterfactuals(algorithm, 123, seed=41), counterfactuals(algorithm, 123, seed=42)
    assert pairs_hash(pairs) == pairs_hash(same) != pairs_hash(overlapping)
    first = challenge(claim, test=pairs, level="R1")
    second = challenge(claim, test=pairs, level="R1", target=0.5)
    third = challenge(claim, test=same, level="R1")
    evaluate(claim, pairs)
    fifth = challenge(claim, test=overlapping, level="R1")
    assert [r.opened for r in (first, second, third, fifth)] == [1, 2, 3, 5]
    assert "opened 3 times" in str(third)
    assert "opened once" in str(first)
    # Another network is another experiment.
    assert challenge(exact()[2].under(algorithm), test=pairs, level="R1").opened == 1


def test_a_ledger_counts_across_processes(tmp_path):
    algorithm = equality(3)
    pairs, other = counterfactuals(algorithm, 99, seed=5), counterfactuals(algorithm, 99, seed=6)
    ledger = tmp_path / "runs" / "new"

    def count(test, folder=ledger) -> int:
        # A new network object, as in a new process.
        fresh = neurons(EQUALITY.exact_network(algorithm), algorithm, left=[0], right=[1])
        return challenge(fresh, test=test, level="R1", ledger=folder).opened

    assert [count(pairs), count(pairs), count(other), count(pairs)] == [1, 2, 1, 3]
    entries = json.loads((ledger / "openings.json").read_text())
    assert len({e["claim"] for e in entries}) == 2
    assert [e["pairs"] == pairs_hash(pairs) for e in entries] == [True, True, False, True]
    assert count(pairs, tmp_path / "other") == 1


@pytest.mark.parametrize("text", ["", "{}", "[3]", '[{"claim": "x"}]', "no"])
def test_a_damaged_ledger_is_an_error_and_not_a_fresh_start(tmp_path, text):
    algorithm, _, claim = exact()
    (tmp_path / "openings.json").write_text(text)
    said = message(
        ArtefactError, lambda: challenge(claim, test=census(algorithm), level="R1", ledger=tmp_path)
    )
    assert "the count of openings is damaged" in said
    assert (tmp_path / "openings.json").read_text() == text


def test_the_ledger_counts_before_anything_is_measured(monkeypatch, tmp_path):
    algorithm, _, claim = exact()
    pairs = counterfactuals(algorithm, 77, seed=5)

    def fails(*_args, **_kwargs):
        raise RuntimeError

    monkeypatch.setattr(challenge_module, "measure", fails)
    with pytest.raises(RuntimeError):
        challenge(claim, test=pairs, ledger=tmp_path)
    monkeypatch.undo()
    assert challenge(claim, test=pairs, level="R1", ledger=tmp_path).opened == 2


# Refusals.


def test_options_are_refused_in_their_words():
    algorithm, _, claim = exact()
    pairs = census(algorithm)

    def said(**options):
        return message(DataError, lambda: challenge(claim, test=pairs, **options))

    assert "got:      'R6'" in said(level="R6")
    assert "R0, R1, R2" in said(level="R6")
    for name in ("target", "behaviour"):
        for value in (0, 1.5, 90, float("nan"), True, "0.9"):
            assert f"{name}= is a share" in said(**{name: value})
    for name in ("refits", "controls", "seed"):
        for value in (-1, 2.0, True, None):
            assert f"{name}= is a whole number" in said(**{name: value})


def test_a_learnt_claim_needs_what_it_was_fitted_and_chosen_on(case):
    case, claim = case
    train, select, test = case.parts
    for changes, name in (({"train": None}, "train"), ({"select": None}, "select")):
        said = message(DataError, lambda changes=changes: quick((case, claim), **changes))
        assert f"got:      no {name}=" in said
    other = train.replicate(5)
    fresh = int((~np.isin(other.input_ids, claim.fitted_ids)).sum())
    if fresh:
        said = message(DataError, lambda: quick((case, claim), train=other))
        assert "other inputs than these" in said
    said = message(DataError, lambda: quick((case, claim), train=select, select=train))
    assert "the very pairs that cm.fit got" in said
    last = claim.with_maps(claim.maps)
    last.selected_ids = np.zeros(0, np.uint64)
    said = message(DataError, lambda: challenge(last, train=train, select=select, test=test))
    assert "its nulls cannot be given one" in said
    assert challenge(last, train=train, test=test, controls=3).level == "R2"


def test_a_claim_whose_fit_is_unknown_is_not_challenged(case):
    case, _ = case
    train, select, test = case.parts
    said = message(AlignmentError, lambda: challenge(case.told(), train=train, test=test))
    assert "it is not known how the alignment was fitted" in said
    said = message(AlignmentError, lambda: challenge(case.claim, train=train, select=select, test=test))
    assert "the alignment is not fitted" in said


def test_pairs_of_another_algorithm_are_refused_before_they_are_opened(monkeypatch):
    _, _, claim = exact()
    monkeypatch.setattr(challenge_module, "opened", lambda *a: pytest.fail("opened"))
    said = message(AlignmentError, lambda: challenge(claim, test=census(equality(3))))
    assert "drawn under another algorithm" in said


def test_a_verdict_is_refuted_by_a_failing_network():
    algorithm = equality(4)
    network = EQUALITY.network(EQUALITY.algorithm(4), seed=0, width=8, layers=2)
    claim = neurons(network, algorithm, "layers.0", left=[0], right=[1])
    report = challenge(claim, test=counterfactuals(algorithm, 600, seed=0))
    assert report.answers["A1"] == "refuted"
    assert (report.level, report.verdict, report.exit_status("R1")) == ("R0", "refuted", 1)
    assert report.exit_status("R0") == 0


def test_few_pairs_are_inconclusive_and_exit_with_four():
    algorithm, _, claim = exact(6)
    report = challenge(claim, test=counterfactuals(algorithm, 40, seed=0))
    assert report.verdict == "inconclusive"
    assert report.exit_status() == 4
    assert "inconclusive" in report.record()["headline"]


def test_a_report_is_saved_whole_or_not_at_all(report, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    (tmp_path / "taken").write_text("mine")
    text = message(ArtefactError, lambda: report.save(tmp_path / "taken"))
    assert text.startswith("the folder cannot be made: there is a file of that name")
    report.save(tmp_path / "run")
    # The pairs are written before the page and the record.
    monkeypatch.setattr("commutes.report.tables.write_bytes", full)
    for folder in ("new", "run"):
        with pytest.raises(OSError, match="No space left"):
            report.save(tmp_path / folder)
        assert not (tmp_path / folder / "report.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken"]
