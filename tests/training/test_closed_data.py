"""Maps without a gradient step: on which inputs they are found, at which sites, in which precision."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes.counterfactuals import belongs
from commutes.errors import DataError, FitError
from commutes.training import closed_form, closed_forms
from commutes.training._closed_methods import METHODS, Method
from tests.network.transformers import models as M
from tests.planted import EQUALITY, Planted, equality, exact, joined, planted
from tests.training.closed_case import (
    FORMS,
    Family,
    claimed,
    found,
    notes,
    of_map,
    stacked_inputs,
)


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(symbols=6, pairs=1600)


# What it is found on.


def test_what_was_used_cannot_be_measured_on(case: Planted) -> None:
    train, select, test = case.parts
    alignment = found(case)
    assert np.isin(train.input_ids, alignment.fitted_ids).all()
    assert len(alignment.fitted_ids) > len(train.input_ids)
    assert belongs(train, alignment.fitted_ids).all()
    for part in (select, test):
        assert not np.isin(part.input_ids, alignment.fitted_ids).any()
    with pytest.raises(DataError, match="fitted on"):
        cm.evaluate(alignment, train)
    # Controlled pairs that the training pairs do not have are known, too.
    unseen = (
        cm.counterfactuals(case.algorithm, 1600, seed=1)
        .split(train=0.5, select=0.2, test=0.3)[0]
        .replicate(9)
    )
    assert (
        np.isin(unseen.input_ids, alignment.fitted_ids).mean()
        > np.isin(unseen.input_ids, train.input_ids).mean()
    )


def test_inputs_that_were_put_together_are_known_and_of_the_part() -> None:
    algorithm = EQUALITY.anchor_algorithm()
    network = EQUALITY.anchor_network(algorithm, seed=0)
    pairs = cm.counterfactuals(algorithm, 400, distribution=EQUALITY.anchor_distribution(), seed=0)
    train, test = pairs.split(train=0.5, test=0.5)
    hidden = cm.Oblique(network.site("layers.0"))
    claim = cm.Alignment(algorithm, {algorithm["left"]: hidden[:1], algorithm["right"]: hidden[1:2]})
    alignment = cm.closed_form(claim, train, size=60, seed=0)
    assert notes(alignment)["recombined"]
    assert notes(alignment)["held_pairs"] == 60
    new = ~np.isin(alignment.fitted_ids, train.input_ids)
    # Controlled sources and held sources of two variables, nearly all of them new.
    assert new.sum() > 200
    assert belongs(train, alignment.fitted_ids).all()
    assert not belongs(test, alignment.fitted_ids).any()


def test_the_same_seed_gives_the_same_bits_and_the_global_generators_stay(case: Planted) -> None:
    torch.manual_seed(5)
    state, other_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]  # noqa: NPY002
    one, two, other = (found(case, size=80, seed=s) for s in (0, 0, 1))
    assert torch.equal(of_map(one).reader, of_map(two).reader)
    assert torch.equal(of_map(one).writer, of_map(two).writer)
    assert one.history == two.history
    assert not torch.equal(of_map(one).reader, of_map(other).reader)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == other_state).all()  # type: ignore[union-attr] # noqa: NPY002


def test_several_methods_share_what_is_drawn_and_run(case: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[int] = []
    module = importlib.import_module("commutes.training._closed_data")
    capture = module.capture

    def counted(network: cm.Network, values: dict[str, np.ndarray], *rest: Any, **options: Any) -> Any:
        run.append(len(values["w"]))
        return capture(network, values, *rest, **options)

    monkeypatch.setattr(module, "capture", counted)
    claim = claimed(case, cm.Oblique, k=1)
    several = closed_forms(
        claim, case.parts[0], ("contrast", "active_subspace", "lda", "pca_of_flips"), seed=0
    )
    together = sum(run)
    names: tuple[Method, ...] = ("contrast", "lda", "pca_of_flips")
    alone = {m: closed_form(claim, case.parts[0], method=m, seed=0) for m in names}
    assert together < sum(run) - together
    for method in names:
        got, wanted = several[method], alone[method]
        assert isinstance(got, cm.Alignment)
        # Other batches round otherwise.
        assert torch.allclose(of_map(got).projector(), of_map(wanted).projector(), atol=1e-5)
        assert got.history["method"] == method
        assert notes(got).keys() == notes(wanted).keys()
        # What any of them has seen none of them may be measured on.
        assert len(got.fitted_ids) == together
    refused = several["active_subspace"]
    assert isinstance(refused, FitError)
    assert refused.where == "left, right at site"


def test_the_size_is_what_is_used(case: Planted) -> None:
    said = notes(found(case, size=80))
    assert (said["pairs"], said["held_pairs"]) == (80, 80)
    assert notes(found(case))["pairs"] == 1024
    assert notes(found(case, "lda", size=80))["inputs"] == 80
    assert notes(found(case, "lda"))["inputs"] == len(case.parts[0].ids)
    assert notes(found(case, "pca_of_differences", size=80))["pairs"] == 80


def test_the_nuisance_is_the_one_that_was_asked_for(case: Planted) -> None:
    every, others = found(case), found(case, nuisance="others")
    assert not torch.equal(of_map(every).reader, of_map(others).reader)
    assert (every.history["nuisance"], others.history["nuisance"]) == ("all", "others")
    assert found(case, "lda").history["nuisance"] is None


def test_a_variable_that_hangs_on_another_is_flipped_without_holding_it() -> None:
    algorithm = cm.Algorithm("chain")
    algorithm.inputs("a b c", domain=[0, 1])
    algorithm.add("first", "a", "b", f=lambda a, b: a + b, domain=[0, 1, 2])
    algorithm.add("second", "first", f=lambda first: first > 1, domain=[False, True])
    algorithm.add("out", "second", "c", f=lambda second, c: second != c, domain=[False, True], output=True)
    network = cm.Network(
        nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)),
        encode=stacked_inputs,
        answers=[False, True],
    )
    pairs = cm.counterfactuals(algorithm, 200, swap=["second"], seed=0)
    hidden = cm.Oblique(network.site("1"))
    alignment = cm.closed_form(cm.Alignment(algorithm, {algorithm["second"]: hidden[:1]}), pairs, seed=0)
    assert notes(alignment, "second")["held"] == ["c"]
    assert notes(found(planted(6, 400)))["held"] == ["y", "z", "right"]


# Sites, precisions, other groups, files.


def digits() -> cm.Algorithm:
    algorithm = cm.Algorithm("last digit")
    a, b = algorithm.inputs("a b", domain=range(10))
    algorithm.add("left", a, f=lambda a: a % 5)
    algorithm.add("digit", "left", b, f=lambda left, b: (left + b) % 10, output=True)
    return algorithm


AT: dict[str, Any] = {"path": "block_output", "layer": 1}
BOTH = {**AT, "position": ["{b[last]}", "last"]}


@pytest.mark.parametrize(
    ("method", "where", "width"),
    [
        *((method, BOTH, 32) for method in METHODS),
        ("contrast", {**BOTH, "each": True}, 16),
        ("attribution", {**BOTH, "each": True}, 16),
        ("attribution", {**AT, "position": "{a[last]}", "source_position": "last"}, 16),
        ("lda", {**AT, "position": "{a[last]}", "source_position": "last"}, 16),
    ],
)
def test_language_models_at_several_positions(method: str, where: dict[str, Any], width: int) -> None:
    algorithm, network = digits(), M.network("gpt2")
    pairs = cm.counterfactuals(algorithm, 120, seed=1)
    train, select = pairs.split(train=0.6, select=0.4)
    hidden = cm.Oblique(network.site(**where))
    claim = cm.Alignment(algorithm, {algorithm["left"]: hidden[:3]})
    alignment = cm.closed_form(claim, train, method=method, size=40, seed=0)  # type: ignore[arg-type]
    assert of_map(alignment).reader.shape == (width, 3)
    assert of_map(alignment).reader.dtype == torch.float64
    assert of_map(alignment).defect() < 1e-8
    assert 0 <= cm.evaluate(alignment, select).overall.rate <= 1


def test_the_source_is_read_at_its_own_position() -> None:
    algorithm, network = digits(), M.network("gpt2")
    pairs = cm.counterfactuals(algorithm, 60, seed=1)
    sites = [
        network.site("block_output", layer=1, position="{a[last]}", source_position=source)
        for source in (None, "last")
    ]
    here, there = (
        of_map(
            cm.closed_form(
                cm.Alignment(algorithm, {algorithm["left"]: cm.Rotation(s)[:2]}),
                pairs,
                method="pca_of_flips",
                seed=0,
            )
        )
        for s in sites
    )
    assert float(here.angles(there).max()) > 0.1


class Wide(nn.Module):
    """The planted network with its six coordinates in a random subspace of 300."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = planted(4, 400).network.module
        generator = torch.Generator().manual_seed(1)
        q = torch.linalg.qr(torch.randn(300, 6, generator=generator, dtype=torch.float64)).Q.float()
        self.up, self.down, self.site = (
            nn.Linear(6, 300, bias=False),
            nn.Linear(300, 6, bias=False),
            nn.Identity(),
        )
        with torch.no_grad():
            self.up.weight.copy_(q)
            self.down.weight.copy_(q.T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner: Any = self.inner
        kept = inner.site
        inner.site = nn.Sequential(self.up, self.site, self.down)
        found = inner(x)
        inner.site = kept
        return found


@pytest.mark.parametrize("family", FORMS)
def test_a_wide_site_is_worked_on_in_its_principal_components(family: Family) -> None:
    algorithm = equality(6)
    network = cm.Network(Wide(), encode=joined, answers=[False, True])
    train, test = cm.counterfactuals(algorithm, 1000, seed=1).split(train=0.5, test=0.5)
    hidden = family(network.site("site"))
    claim = cm.Alignment(algorithm, {algorithm["left"]: hidden[:1], algorithm["right"]: hidden[1:2]})
    alignment = cm.closed_form(claim, train, seed=0)
    assert alignment.history["maps"][0]["components"] == 6
    weight: Any = network.module.get_submodule("up").weight
    for side in (of_map(alignment).reader, of_map(alignment).writer):
        assert torch.allclose(weight @ (weight.T @ side), side, atol=1e-4)
    assert cm.evaluate(alignment, test).overall.rate > 0.99


def test_a_wide_site_is_reduced_where_its_states_are_few() -> None:
    generator = torch.Generator().manual_seed(0)
    network = cm.Network(
        nn.Sequential(nn.Linear(4, 260), nn.Tanh(), nn.Linear(260, 2)).requires_grad_(False),
        encode=joined, answers=[False, True],
    )  # fmt: skip
    for p in network.module.parameters():
        p.copy_(torch.randn(p.shape, generator=generator))
    algorithm = equality(6)
    pairs = cm.counterfactuals(algorithm, 4000, seed=0)
    assert len(pairs.ids) > 1040
    hidden = cm.Rotation(network.site("1"))
    alignment = cm.closed_form(
        cm.Alignment(algorithm, {algorithm["left"]: hidden[:1]}), pairs, size=200, seed=0
    )
    # 200 controlled pairs, but the states of every input.
    assert alignment.history["maps"][0]["components"] is not None
    whole = cm.closed_form(cm.Alignment(algorithm, {algorithm["left"]: hidden[:1]}), pairs, seed=0)
    assert whole.history["maps"][0]["components"] is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("method", ["contrast", "attribution"])
def test_maps_are_where_the_network_is(case: Planted, method: Method) -> None:
    there = case.network.with_module(copy.deepcopy(case.network.module).cuda())
    claim = claimed(case, cm.Oblique).on(there)
    alignment = cm.closed_form(claim, case.parts[0], method=method, seed=0)
    assert of_map(alignment).reader.device.type == "cuda"
    here = found(case, method)
    assert torch.allclose(of_map(alignment).projector().cpu(), of_map(here).projector(), atol=1e-3)


def test_double_precision_stays_double(case: Planted) -> None:
    double = cm.Network(
        copy.deepcopy(case.network.module).double(),
        encode=lambda values: joined(values).double(),
        answers=[False, True],
    )
    claim = claimed(case, cm.Oblique).on(double)
    alignment = cm.closed_form(claim, case.parts[0], seed=0)
    assert of_map(alignment).reader.dtype == torch.float64
    assert of_map(alignment).defect() < 1e-10
    assert torch.allclose(of_map(alignment).projector().float(), of_map(found(case)).projector(), atol=1e-3)


def test_several_sites_and_given_neurons() -> None:
    algorithm, network, _ = exact(4)
    pairs = cm.counterfactuals(algorithm, 400, seed=0)
    rotation, neurons = cm.Oblique(network.site("layers.0")), cm.Coordinates(network.site("layers.1"))
    claim = cm.Alignment(algorithm, {algorithm["left"]: rotation[:1], algorithm["right"]: neurons[[1]]})
    alignment = cm.closed_form(claim, pairs, method="difference_of_means", seed=0)
    assert alignment.featurizers[1] is claim.maps[1]
    assert of_map(alignment).dimension == 1
    assert len(alignment.history["maps"]) == 1
    assert not claim.fitted
    two = cm.Alignment(
        algorithm,
        {algorithm["left"]: rotation[:1], algorithm["right"]: cm.Rotation(network.site("layers.1"))[:1]},
    )
    both = cm.closed_form(two, pairs, method="difference_of_means", seed=0)
    assert [m["map"] for m in both.history["maps"]] == ["oblique", "orthogonal"]
    assert torch.equal(of_map(both, 0).reader, of_map(alignment).reader)


def test_it_comes_back_from_a_file(case: Planted, tmp_path: Any) -> None:
    alignment = found(case)
    cm.save(alignment, tmp_path / "claim")
    again = cm.load(tmp_path / "claim", algorithm=case.algorithm, network=case.network)
    assert torch.equal(of_map(again).reader, of_map(alignment).reader)
    assert again.history == alignment.history
    assert np.array_equal(again.fitted_ids, alignment.fitted_ids)
