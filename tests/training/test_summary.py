"""What a fit says that it did and saved, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from commutes import Alignment, closed_form
from commutes.errors import AlignmentError
from commutes.evaluation import cell_rows
from commutes.features import Oblique
from commutes.stats import show
from commutes.training import _starts, fit, summary
from tests.planted import Planted, planted


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(pairs=400)


CALIBRATED = [
    {"start": "random", "calibration": 0.51},
    {"start": "random", "calibration": 0.4},
    {
        "start": "lda",
        "calibration": {"pca": 0.25, "lda": 0.975, "contrast": 0.95},
        "calibration_pairs": 1_256,
        "refused": {"leace": "the variable is constant on the pairs"},
    },
]
TRIED = (
    "tried on 1,256 training pairs, mean over their cells: lda .975, contrast .950, pca .250, "
    "the best of 2 random starts .510\n"
    "not to be had here: leace, the variable is constant on the pairs\n"
)


def told(case: Planted, *, chosen: bool = True, **history: Any) -> str:
    """The text of a fit with this history."""
    ids = case.parts[1].input_ids if chosen else None
    return summary(case.claim.with_maps([case.truth], selected_ids=ids, history={"steps": 1_000} | history))


def test_a_closed_form_that_is_right_is_not_descended_from(case: Planted) -> None:
    text = told(
        case, starts_told=CALIBRATED, last_step=0, chosen_start=2, chosen_step=0, start_scores=[0.9, 0.8, 2.0],
        selection=[[0, 1.0]], selection_worst=[[0, 1.0]], start_curves=[[[0, 0.5]], [[0, 0.4]], [[0, 1.0]]],
    )  # fmt: skip
    assert text == (
        f"{TRIED}"
        "not descended: lda is right on all of the selection split; 1,000 steps saved\n"
        "kept lda as it is: on the selection split 1.000 over all cells, 1.000 in the worst"
    )


def test_what_a_closed_form_saved_is_told_in_steps_of_the_best_random_start(case: Planted) -> None:
    curves = [
        [[0, 0.5], [100, 0.6], [200, 0.7]],
        [[0, 0.4], [100, 0.8], [200, 0.8]],
        [[0, 0.7], [100, 0.9], [200, 0.9]],
    ]
    shared = {
        "starts_told": CALIBRATED, "chosen_start": 2, "chosen_step": 100, "start_scores": [1.2, 1.4, 1.75],
        "selection": curves[2], "selection_worst": [[0, 0.5], [100, 0.85], [200, 0.8]],
    }  # fmt: skip
    kept = "kept lda after 100 steps: on the selection split .900 over all cells, .850 in the worst\n"
    begun = "descended for 200 of 1,000 steps from 2 random starts and lda: no start gained any more\n"
    came = "the best of 2 random starts came to .800 after 100 steps, lda had it"
    assert told(case, last_step=200, start_curves=curves, **shared) == (
        f"{TRIED}{begun}{kept}{came} after 100: nothing saved"
    )
    curves[1] = [[0, 0.4], [100, 0.7], [200, 0.8]]
    assert told(case, last_step=200, start_curves=curves, **shared) == (
        f"{TRIED}{begun}{kept}the best of 2 random starts came to .800 after 200 steps, lda had it after 100: 100 saved"
    )
    curves[2] = [[0, 0.7], [100, 0.75], [200, 0.7]]
    assert told(case, last_step=200, start_curves=curves, **shared).endswith(
        "the best of 2 random starts came to .800 after 200 steps, lda had it never: nothing saved"
    )


def test_why_a_descent_ended(case: Planted) -> None:
    curve = [[100, 0.9], [300, 1.0]]
    shared = {
        "starts_told": [{"start": "random"}], "chosen_start": 0, "chosen_step": 300, "start_curves": [curve],
        "selection": curve, "selection_worst": curve,
    }  # fmt: skip
    assert told(case, last_step=300, start_scores=[2.0], **shared) == (
        "descended for 300 of 1,000 steps from a random start: right on all of the selection split\n"
        "kept a random start after 300 steps: on the selection split 1.000 over all cells, 1.000 in the worst"
    )
    assert told(case, last_step=1_000, start_scores=[1.9], chosen=False, **shared) == (
        "descended for 1,000 of 1,000 steps from a random start\n"
        "kept a random start after 300 steps: on the training pairs 1.000 over all cells, 1.000 in the worst"
    )


def test_auto_prints_it_and_is_quiet_when_asked(
    case: Planted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_starts, "METHODS", ("lda", "pca"))
    train, select, _ = case.parts
    hidden = Oblique(case.network.site("site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    claim = Alignment(case.algorithm, {left: hidden[:1], right: hidden[1:2]})
    found = fit(claim, train, select=select, seed=0, method="auto", steps=20, batch=32, starts=2)
    printed = capsys.readouterr()
    assert printed.out == summary(found) + "\n"
    assert printed.err == ""
    history = found.history
    last = history["starts_told"][-1]
    rates = [one["calibration"] for one in history["starts_told"][:2]]
    assert f"the best of 2 random starts {show(max(rates))}" in printed.out
    assert f"{last['start']} {show(max(last['calibration'].values()))}" in printed.out
    cells = [rows for *_, rows in cell_rows(train)]
    assert last["calibration_pairs"] == sum(min(len(rows), 256 // len(cells)) for rows in cells)
    again = fit(claim, train, select=select, seed=0, method="auto", steps=20, batch=32, starts=2, quiet=True)
    fit(claim, train, seed=0, steps=1, batch=32, starts=1)
    assert capsys.readouterr().out == ""
    assert again.history == history


def test_a_map_that_was_not_fitted_has_no_such_story(case: Planted) -> None:
    with pytest.raises(AlignmentError) as caught:
        summary(closed_form(case.claim, case.parts[0], method="lda", seed=0))
    assert "it is not known how the alignment was fitted" in str(caught.value)
    assert "an alignment that cm.fit returned" in str(caught.value)
