"""Every family of maps finds what is there, and what was done is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from commutes import Alignment, counterfactuals, evaluate
from commutes.errors import ArtefactError, FitError
from commutes.features import (
    Affine,
    Boundless,
    Coordinates,
    Dictionary,
    Directions,
    Gated,
    Mask,
    Oblique,
    Reversible,
    Rotation,
    SparseAutoencoder,
    Subspace,
    swap,
)
from commutes.training import Settings, closed_form, fit, fit_many
from commutes.training._descent import rate
from tests.planted import Planted, exact, planted

SETTINGS = Settings(steps=150, lr=0.05, batch=64, starts=2, every=50)
FAMILIES: dict[str, Any] = {
    "rotation": Rotation,
    "oblique": Oblique,
    "affine": Affine,
    "reversible": lambda site: Reversible(site, depth=2, hidden=8),
    "boundless": Boundless,
}


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(pairs=800)


def claim_of(case: Planted, name: str, k: int = 1) -> Alignment:
    features = FAMILIES[name](case.network.site("site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    return Alignment(case.algorithm, {left: features[:k], right: features[k : 2 * k]})


def fitted(claim: Alignment, case: Planted, settings: Settings = SETTINGS) -> Alignment:
    train, select, _ = case.parts
    return fit_many([claim], [train], selects=[select], seed=0, settings=settings)[0]


def same(one: Alignment, two: Alignment, parts: Any) -> bool:
    """Whether two fits give the same hits and curves, and read the same numbers."""
    states = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    alike = all(
        torch.equal(a.read(states), b.read(states))
        for a, b in zip(one.featurizers, two.featurizers, strict=True)
    )
    return alike and dict(one.history) == dict(two.history)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_finds_the_planted_variables(case: Planted, name: str) -> None:
    found = fitted(claim_of(case, name, 2 if name == "boundless" else 1), case)
    assert evaluate(found, case.parts[2]).overall.rate >= 0.95
    again = fitted(claim_of(case, name, 2 if name == "boundless" else 1), case)
    assert same(found, again, case.parts)


@pytest.mark.parametrize("name", ["oblique", "affine", "boundless"])
def test_fits_of_other_families_side_by_side_are_those_of_each_alone(case: Planted, name: str) -> None:
    """Two claims of one family share a batch, and a rotation runs beside them."""
    train, select, _ = case.parts
    settings = replace(SETTINGS, steps=6, every=3)
    claims = [claim_of(case, name), claim_of(case, "rotation"), claim_of(case, name, 2)]
    together = fit_many(claims, [train] * 3, selects=[select] * 3, seed=0, settings=settings)
    for claim, found in zip(claims, together, strict=True):
        alone = fitted(claim, case, settings)
        for a, b in zip(found.featurizers, alone.featurizers, strict=True):
            states = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
            assert torch.allclose(a.read(states), b.read(states), atol=1e-5)


def test_boundaries_close_around_what_is_needed(case: Planted) -> None:
    found = fitted(claim_of(case, "boundless", 3), case, replace(SETTINGS, steps=300))
    (map,) = found.featurizers
    assert isinstance(map, Gated)
    assert map.open == (0, 3)
    assert found.history["gates"] == [
        {"variable": "left", "open": 1, "of": 3, "gates": "some"},
        {"variable": "right", "open": 1, "of": 3, "gates": "some"},
    ]
    assert found.history["selection_soft"] > 0.95
    assert evaluate(found, case.parts[2]).overall.rate >= 0.95


def test_a_mask_finds_the_neuron_and_no_other() -> None:
    algorithm, network, _ = exact(6)
    train, select, test = counterfactuals(algorithm, 800, swap=[{algorithm["right"]}], seed=1).split(
        train=0.5, select=0.2, test=0.3
    )
    mask = Mask(Coordinates(network.site("layers.1")))
    claim = Alignment(algorithm, {algorithm["right"]: mask[:]})
    found = fit(claim, train, select=select, seed=0, steps=150, lr=0.05, batch=64, starts=1)
    assert found.featurizers[0].open == (1,)  # type: ignore[attr-defined]
    assert evaluate(found, test).overall.rate == 1.0


def test_a_mask_chooses_among_given_directions(case: Planted) -> None:
    left = case.algorithm["left"]
    train, select, test = counterfactuals(case.algorithm, 800, swap=[{left}], seed=1).split(
        train=0.5, select=0.2, test=0.3
    )
    whole = case.truth.complement().reader
    basis = torch.cat([whole, case.truth.reader], dim=1).contiguous()
    mask = Mask(Directions(case.network.site("site"), Subspace(basis, basis)))
    claim = Alignment(case.algorithm, {left: mask[:]})
    found = fit(claim, train, select=select, seed=0, steps=150, lr=0.05, batch=64, starts=1)
    assert found.featurizers[0].open == (4,)  # type: ignore[attr-defined]
    assert evaluate(found, test).overall.rate == 1.0


def test_a_mask_with_no_gate_open_is_reported_and_swaps_nothing(case: Planted) -> None:
    """A price that no accuracy is worth closes every gate."""
    features = Mask(Coordinates(case.network.site("site")), sparsity=1e3)
    left, right = case.algorithm["left"], case.algorithm["right"]
    claim = Alignment(case.algorithm, {left: features[:3], right: features[3:]})
    found = fit(claim, case.parts[0], seed=0, steps=60, lr=0.05, batch=64, starts=1)
    assert [told["gates"] for told in found.history["gates"]] == ["none", "none"]
    measured = evaluate(found, case.parts[2])
    assert measured.effective.rate == 0.0


def test_every_gate_open_is_reported(case: Planted) -> None:
    features = Mask(Coordinates(case.network.site("site")), per=6, sparsity=0.0)
    left = case.algorithm["left"]
    train, select, _ = counterfactuals(case.algorithm, 800, swap=[{left}], seed=1).split(
        train=0.5, select=0.2, test=0.3
    )
    claim = Alignment(case.algorithm, {left: features[:]})
    found = fit(claim, train, select=select, seed=0, steps=60, lr=0.05, batch=64, starts=1)
    assert found.history["gates"][0]["gates"] in ("all", "none")
    assert found.history["gates"][0]["of"] == 1


# Schedules.


def test_the_rate_rises_and_falls_as_it_is_said() -> None:
    settings = Settings(steps=100, lr=0.1)
    cosine = [rate(settings, step) for step in (1, 51, 100)]
    assert cosine == pytest.approx([0.1, 0.055, 0.1 * (0.1 + 0.9 * (1 + np.cos(np.pi * 0.99)) / 2)])
    linear = [rate(replace(settings, schedule="linear"), step) for step in (1, 51, 100)]
    assert linear == pytest.approx([0.1, 0.055, 0.1 * (0.1 + 0.9 * 0.01)])
    assert {rate(replace(settings, schedule="constant"), step) for step in range(1, 101)} == {0.1}
    warm = replace(settings, schedule="constant", warmup=4)
    assert [rate(warm, step) for step in range(1, 7)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_patience_ends_a_fit_that_gains_nothing(case: Planted) -> None:
    claim = claim_of(case, "rotation")
    # At this rate nothing is ever found.
    settings = Settings(steps=500, lr=1e-7, batch=16, starts=2, every=5, patience=3)
    found = fitted(claim, case, settings)
    assert found.history["last_step"] == 20
    assert found.history["measured"] == 4
    assert fitted(claim, case, replace(settings, patience=None, steps=40)).history["last_step"] == 40


def test_patience_leaves_the_choice_as_it_would_be_alone(case: Planted) -> None:
    """A claim that is over early is not chosen anew while others go on."""
    train, select, _ = case.parts
    settings = Settings(steps=60, lr=0.05, batch=32, starts=2, every=2, patience=2)
    claims = [claim_of(case, "rotation"), claim_of(case, "oblique")]
    together = fit_many(claims, [train] * 2, selects=[select] * 2, seed=3, settings=settings)
    for claim, found in zip(claims, together, strict=True):
        alone = fit_many([claim], [train], selects=[select], seed=3, settings=settings)[0]
        assert alone.history["chosen_step"] == found.history["chosen_step"]
        assert alone.history["chosen_start"] == found.history["chosen_start"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"schedule": "sawtooth"}, "no such schedule"),
        ({"init": "guess"}, "no such closed form"),
        ({"method": "guess"}, "no such method"),
        ({"patience": 0}, "patience is a count"),
        ({"warmup": -1}, "warmup is a count"),
        ({"starts": 0}, "starts is a count"),
        ({"every": 0}, "every is a count"),
        ({"init": None}, "init names closed forms"),
    ],
)
def test_settings_that_make_no_sense(case: Planted, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(FitError, match=said):
        fit(claim_of(case, "rotation"), case.parts[0], seed=0, **wrong)


# Checkpoints.


class Stop(Exception):
    pass


@pytest.mark.parametrize("name", ["rotation", "boundless"])
def test_a_fit_that_was_broken_off_goes_on_with_the_same_bits(
    case: Planted, name: str, tmp_path: Any
) -> None:
    train, select, _ = case.parts
    claims = [claim_of(case, name, 2), claim_of(case, "oblique")]
    settings = replace(SETTINGS, steps=40, every=10, lr=0.001)
    known: dict[str, Any] = {"selects": [select] * 2, "seed": 0, "settings": settings}
    whole = fit_many(claims, [train] * 2, **known)
    path = tmp_path / "deep" / "fit.pt"

    def stop(step: int, *_: object) -> None:
        if step == 20:
            raise Stop

    with pytest.raises(Stop):
        fit_many(claims, [train] * 2, **known, checkpoint=path, progress=stop)
    steps: list[int] = []
    again = fit_many(claims, [train] * 2, **known, checkpoint=path, progress=lambda s, *_: steps.append(s))
    assert steps == [30, 40]
    for one, two in zip(whole, again, strict=True):
        assert same(one, two, case.parts)
    # And a fit that was finished is read, not done again.
    steps.clear()
    third = fit_many(claims, [train] * 2, **known, checkpoint=path, progress=lambda s, *_: steps.append(s))
    assert steps == []
    assert all(same(one, two, case.parts) for one, two in zip(whole, third, strict=True))
    assert [p.name for p in path.parent.iterdir()] == ["fit.pt"]


def test_a_checkpoint_of_another_fit_is_refused(case: Planted, tmp_path: Any) -> None:
    train, select, _ = case.parts
    path = tmp_path / "fit.pt"
    claim = claim_of(case, "rotation")
    known: dict[str, Any] = {"steps": 4, "batch": 16, "starts": 1, "checkpoint": path}
    fit(claim, train, select=select, seed=0, **known)
    others = [
        lambda: fit(claim, train, select=select, seed=1, **known),
        lambda: fit(claim, train, seed=0, **known),
        lambda: fit(claim, select, seed=0, **known),
        lambda: fit(claim, train, select=select, seed=0, **{**known, "lr": 0.5}),
        lambda: fit(claim_of(case, "oblique"), train, select=select, seed=0, **known),
        lambda: fit(claim_of(planted(pairs=800, seed=1), "rotation"), train, select=select, seed=0, **known),
    ]
    for other in others[:5]:
        with pytest.raises(ArtefactError, match="the checkpoint is of another fit"):
            other()
    for broken in (b"", b"nonsense", path.read_bytes()[:100]):
        path.write_bytes(broken)
        with pytest.raises(ArtefactError, match="the checkpoint cannot be read"):
            fit(claim, train, select=select, seed=0, **known)


def test_what_a_family_is_told_is_a_part_of_the_fit(case: Planted, tmp_path: Any) -> None:
    """Not only its name: what it costs, how it cools, what it is given."""
    site, (left, right) = case.network.site("site"), (case.algorithm["left"], case.algorithm["right"])
    width = 6
    basis = torch.eye(width, dtype=torch.float64)
    turned = basis.flip(1).contiguous()
    nothing = torch.zeros(width, dtype=torch.float64)
    sae = [
        SparseAutoencoder(basis * size, nothing, basis / size, nothing, before=nothing) for size in (1.0, 2.0)
    ]
    families = {
        "sparsity": [Mask(Coordinates(site)), Mask(Coordinates(site), sparsity=50.0)],
        "temperature": [Boundless(site), Boundless(site, temperature=(0.3, 0.01))],
        "cooling": [Boundless(site), Boundless(site, cooling="exponential")],
        "per": [Mask(Coordinates(site)), Mask(Coordinates(site), per=3)],
        "directions": [Mask(Directions(site, Subspace(b, b))) for b in (basis, turned)],
        "dictionary": [Mask(Dictionary(site, one)) for one in sae],
        "depth": [Reversible(site), Reversible(site, depth=3)],
    }
    for name, (first, second) in families.items():
        path = tmp_path / f"{name}.pt"
        claims = [Alignment(case.algorithm, {left: f[:3], right: f[3:6]}) for f in (first, second)]
        known: dict[str, Any] = {"seed": 0, "steps": 2, "batch": 16, "starts": 1, "checkpoint": path}
        one = fit(claims[0], case.parts[0], **known)
        again = fit(claims[0], case.parts[0], **known)
        assert same(one, again, case.parts), name
        with pytest.raises(ArtefactError, match="the checkpoint is of another fit"):
            fit(claims[1], case.parts[0], **known)


def test_nothing_is_run_that_a_checkpoint_holds(case: Planted, tmp_path: Any) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (print, ("it ran",))

    path = tmp_path / "fit.pt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ArtefactError, match="the checkpoint cannot be read"):
        fit(claim_of(case, "rotation"), case.parts[0], seed=0, steps=2, checkpoint=path)
    torch.save({"format": 1, "fit": Evil()}, path)
    with pytest.raises(ArtefactError, match="the checkpoint cannot be read"):
        fit(claim_of(case, "rotation"), case.parts[0], seed=0, steps=2, checkpoint=path)


# Starts at closed forms.


def test_a_closed_form_may_be_right_as_it_is(case: Planted) -> None:
    claim = claim_of(case, "oblique")
    train, select, test = case.parts
    found = fit(claim, train, select=select, seed=0, method="auto", steps=100, batch=32, starts=1)
    told = found.history["starts_told"]
    assert told[0] == {"start": "random", "calibration": told[0]["calibration"]}
    rates = told[1]["calibration"]
    assert 0 <= told[0]["calibration"] < max(rates.values())
    assert set(rates) >= {"contrast", "difference_of_means", "lda"}
    assert rates[told[1]["start"]] == max(rates.values())
    assert evaluate(found, test).overall.rate >= 0.95
    # What was drawn to find it was seen.
    assert set(train.input_ids) <= set(found.fitted_ids.tolist())
    assert not set(select.input_ids) & set(found.fitted_ids.tolist())


def test_a_named_start_is_the_closed_form_of_that_name(case: Planted) -> None:
    """Measured before the first step it does what the closed form does; at a rate of nothing it stays there."""
    claim = claim_of(case, "oblique")
    train, select, _ = case.parts
    known = closed_form(claim, train, method="lda", seed=0)
    found = fit(claim, train, select=select, seed=0, init="lda", steps=5, lr=1e-9, batch=16, starts=1)
    curve = found.history["start_curves"][1]
    assert curve[0][0] == 0
    again = fit(claim, train, seed=0, init="lda", steps=1, lr=1e-9, batch=16, starts=1)
    assert again.history["starts_told"][1] == {"start": "lda"}
    states = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    other = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    if again.history["chosen_start"] == 1:
        assert torch.allclose(
            swap(again.featurizers[0], states, other), swap(known.featurizers[0], states, other), atol=1e-4
        )
    hits = evaluate(known, select)
    assert curve[0][1] == pytest.approx(
        np.mean([c.rate.rate for c in hits.cells if c.rate is not None]), abs=0.05
    )


def test_nulls_begin_where_the_claim_begins(case: Planted) -> None:
    claim = claim_of(case, "oblique")
    train, select, _ = case.parts
    settings = Settings(steps=4, lr=1e-3, batch=16, starts=1, init=("contrast",))
    found = fit_many([claim], [train], selects=[select], seed=0, settings=settings)[0]
    restored = Settings(**{name: found.history[name] for name in Settings.__dataclass_fields__})
    assert restored == settings
    assert len(found.history["start_scores"]) == settings.fits == 2


def test_a_family_without_closed_forms_says_so(case: Planted) -> None:
    affine = claim_of(case, "affine")
    for more in ({"init": "contrast"}, {"init": "auto", "starts": 0}, {"init": ("auto", "contrast")}):
        with pytest.raises(FitError) as caught:
            fit(affine, case.parts[0], seed=0, steps=2, **more)
        assert "Rotation" in str(caught.value)


def test_where_no_closed_form_is_to_be_had_auto_descends_from_random_starts(
    case: Planted, capsys: Any
) -> None:
    affine = claim_of(case, "affine")
    found = fit(affine, case.parts[0], select=case.parts[1], seed=0, steps=2, starts=2, method="auto")
    said = capsys.readouterr().out
    assert said.startswith("no closed form is to be had here: maps of this family have no closed form\n")
    assert [one["start"] for one in found.history["starts_told"]] == ["random"] * 3
    # Claims of which one has closed forms and one has none are fitted together as each would be alone.
    both = fit_many(
        [affine, claim_of(case, "rotation")],
        [case.parts[0]] * 2,
        seed=0,
        settings=Settings(steps=2, starts=2, init=("auto",)),
    )
    assert torch.equal(
        both[0].maps[0].matrix,
        fit(affine, case.parts[0], seed=0, steps=2, starts=2, init="auto").maps[0].matrix,
    )  # type: ignore[union-attr]


def test_patience_needs_something_to_wait_for(case: Planted) -> None:
    with pytest.raises(FitError) as caught:
        fit(claim_of(case, "rotation"), case.parts[0], seed=0, steps=2, patience=1)
    assert str(caught.value) == (
        "patience waits for a gain on the selection split, and there is none\n"
        "  got:      patience=1, and no select=\n"
        "  expected: pairs to select on, or a number of steps that is taken\n"
        "  do:       give select=, or leave patience= out"
    )
