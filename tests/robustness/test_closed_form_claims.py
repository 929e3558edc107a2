"""Claims whose maps were computed: their nulls are computed in the same way, from the same pairs."""

from __future__ import annotations

import numpy as np
import pytest

from commutes import Alignment, Oblique, challenge, closed_form, counterfactuals, load, save
from commutes.robustness._challenge import _settings
from commutes.robustness._refits import untrained
from commutes.testing import zoo
from commutes.training import ClosedForm, Settings
from tests.planted import Planted, planted


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(10)


def computed(case: Planted, method: str = "lda", **arguments: object) -> Alignment:
    return closed_form(case.claim, case.parts[0], method=method, seed=0, **arguments)  # pyright: ignore


def test_a_computed_truth_reaches_r2_and_says_how_it_was_computed(case: Planted) -> None:
    train, _, test = case.parts
    report = challenge(computed(case), train=train, test=test)
    assert report.answers == dict.fromkeys(["A3", "A1", "A2", "A9", "A6", "B1", "A5", "B2"], "supported")
    assert report.record()["claim"]["scope"]["seeds"] == "maps computed by lda (seed 0), one network"
    cost = {c["id"]: c["cost"]["forward_passes"] for c in report.record()["checks"]}
    # Five nulls, each on the inputs of the pairs at least, and measured on the test pairs.
    assert cost["B1"] >= 5 * (len(train.ids) + len(test))


def test_a_network_that_was_never_trained_is_not_better_than_its_nulls(case: Planted) -> None:
    train, _, test = case.parts
    twin = case.claim.on(case.network.reinitialised(99))
    report = challenge(closed_form(twin, train, method="lda", seed=0), train=train, test=test)
    assert report.answers["A2"] == "refuted"
    assert report.answers["B1"] in ("refuted", "inconclusive")
    assert report.exit_status() == 1


def test_a_null_is_the_closed_form_of_a_twin(case: Planted) -> None:
    train, _, test = case.parts
    claim = computed(case, "contrast", nuisance="others", size=128)
    how = _settings(claim)
    assert how == ClosedForm("contrast", "others", 128)
    found = untrained(claim, train, None, test, count=2, settings=how, seed=3)
    for null in found:
        again = closed_form(
            case.claim.on(null.alignment.network),
            train,
            method="contrast",
            nuisance="others",
            size=128,
            seed=3,
        )
        assert np.array_equal(again.featurizers[0].reader, null.alignment.featurizers[0].reader)
        assert not np.isin(test.input_ids, null.alignment.fitted_ids).any()


def test_how_it_was_computed_survives_a_file_and_is_part_of_the_claim(case: Planted, tmp_path) -> None:
    claim = computed(case, size=300)
    save(claim, tmp_path / "claim")
    back = load(tmp_path / "claim", algorithm=case.algorithm, network=case.network)
    assert _settings(back) == _settings(claim) == ClosedForm("lda", "all", 300)
    train, _, test = case.parts
    prints = {
        challenge(one, train=train, test=test, level="R0").claim.fingerprint
        for one in (claim, back, claim.with_maps(claim.featurizers, history={**claim.history, "size": 301}))
    }
    assert len(prints) == 2


def test_a_closed_form_that_a_null_does_not_have_leaves_the_check_without_power() -> None:
    """Behind an untrained first layer one direction carries all of the gradient: two variables cannot share it."""
    member = zoo.linear("clean", seed=0)
    algorithm, hidden = member.algorithm, Oblique(member.network.site("layers.2"))
    parts = counterfactuals(algorithm, 1_200, seed=1).split(train=0.5, select=0.2, test=0.3)
    claim = Alignment(algorithm, {algorithm["left"]: hidden[:1], algorithm["right"]: hidden[1:2]})
    found = closed_form(claim, parts[0], method="attribution", seed=0)
    report = challenge(found, train=parts[0], test=parts[2])
    checks = {c["id"]: c for c in report.record()["checks"]}
    for name in ("B1", "A5"):
        assert checks[name]["answer"] == "vacuous"
        assert checks[name]["sentence"] == "the closed form gives no map on an untrained network"
        assert checks[name]["reason"].startswith("attribution: ")


def test_a_start_that_a_null_does_not_have_leaves_the_check_without_power() -> None:
    member = zoo.linear("clean", seed=0)
    algorithm, hidden = member.algorithm, Oblique(member.network.site("layers.2"))
    parts = counterfactuals(algorithm, 1_200, seed=1).split(train=0.5, select=0.2, test=0.3)
    claim = Alignment(algorithm, {algorithm["left"]: hidden[:1], algorithm["right"]: hidden[1:2]})
    settings = Settings(steps=1, starts=0, init=("attribution",))
    computed = closed_form(claim, parts[0], method="attribution", seed=0)
    found = zoo.as_fitted(computed, parts[0], None, settings)
    report = challenge(found, train=parts[0], test=parts[2], controls=0)
    assert {report.answers[name] for name in ("B1", "A5")} == {"vacuous"}
