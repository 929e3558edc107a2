"""Maps without a gradient step: what they find where the truth is known, what they are made of, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes.counterfactuals import belongs
from commutes.errors import AlignmentError, CommutesError, DataError, FitError, NetworkError
from commutes.features import (
    Features,
    Subspace,
    contrast,
    difference_moments,
    leace,
    nuisance_pairs,
    state_moments,
)
from commutes.training._closed_data import seeded
from commutes.training._closed_methods import METHODS
from tests.network.transformers import models as M
from tests.planted import EQUALITY, Planted, equality, exact, joined, planted

FORMS = (cm.Oblique, cm.Rotation)
Family = type[cm.Oblique] | type[cm.Rotation]


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(symbols=6, pairs=1600)


def claimed(case: Planted, family: Callable[[cm.Site], Features], k: int = 1, **of: Any) -> cm.Alignment:
    hidden = family(case.network.site("site"))
    slices = of or {"left": slice(0, k), "right": slice(k, 2 * k)}
    return cm.Alignment(
        case.algorithm, {case.algorithm[name]: hidden[index] for name, index in slices.items()}
    )


def found(case: Planted, method: str = "contrast", **options: Any) -> cm.Alignment:
    family, k = options.pop("family", cm.Oblique), options.pop("k", 1)
    return cm.closed_form(claimed(case, family, k), case.parts[0], method=method, **{"seed": 0, **options})  # type: ignore[arg-type]


def of_map(alignment: cm.Alignment, group: int = 0) -> Subspace:
    featurizer = alignment.featurizers[group]
    assert isinstance(featurizer, Subspace)
    return featurizer


def notes(alignment: cm.Alignment, name: str = "left", group: int = 0) -> dict[str, Any]:
    return alignment.history["maps"][group]["variables"][name]


# What they find.


@pytest.mark.parametrize("family", FORMS)
@pytest.mark.parametrize("method", ["contrast", "difference_of_means", "lda", "leace", "pca_of_flips"])
def test_they_find_the_planted_variables(case: Planted, method: str, family: Family) -> None:
    alignment = found(case, method, family=family)
    test = cm.evaluate(alignment, case.parts[2])
    assert test.overall.rate > 0.99
    assert test.floors["random subspace"].rate < 0.7


@pytest.mark.parametrize("method", ["contrast", "leace"])
def test_what_is_read_is_the_planted_direction(case: Planted, method: str) -> None:
    """Of the network's comparison of two coordinates, which of them is read decides; measured: below .06."""
    alignment = found(case, method)
    for i, name in enumerate(("left", "right")):
        angles = case.truth[i].angles(alignment.subspace(case.algorithm[name]), of="reader")
        assert float(angles.max()) < 0.15


def test_the_suggested_size_of_the_planted_variables_is_one(case: Planted) -> None:
    alignment = found(case)
    assert [notes(alignment, name)["suggested_size"] for name in ("left", "right")] == [1, 1]


@pytest.mark.parametrize("family", FORMS)
def test_on_an_untrained_network_they_stay_near_the_floor(family: Family) -> None:
    algorithm = EQUALITY.algorithm(6)
    network = EQUALITY.network(algorithm, seed=0, width=16)
    train, test = cm.counterfactuals(algorithm, 1600, seed=1).split(train=0.5, test=0.5)
    hidden = family(network.site("layers.0"))
    claim = cm.Alignment(algorithm, {algorithm["left"]: hidden[:1], algorithm["right"]: hidden[1:2]})
    for method in ("contrast", "difference_of_means", "lda", "leace"):
        reached = cm.evaluate(cm.closed_form(claim, train, method=method, seed=0), test)  # type: ignore[arg-type]
        assert reached.overall.rate < reached.floors["random subspace"].rate + 0.1


@pytest.mark.slow
def test_on_the_network_of_the_readme() -> None:
    """Measured at one dimension each, on seed 0: contrast .994 oblique and .997 orthogonal, means .90 and .98."""
    algorithm = EQUALITY.algorithm(20)
    network = EQUALITY.train(EQUALITY.network(algorithm, seed=0), algorithm, seed=0)
    train, select, _ = cm.counterfactuals(algorithm, 8000, seed=1).split(train=0.5, select=0.2, test=0.3)
    for family, contrasted, meant in ((cm.Oblique, 0.97, 0.85), (cm.Rotation, 0.97, 0.9)):
        hidden = family(network.site("layers.0"))
        claim = cm.Alignment(algorithm, {algorithm["left"]: hidden[:1], algorithm["right"]: hidden[1:2]})
        for method, least in (("contrast", contrasted), ("difference_of_means", meant)):
            reached = cm.evaluate(cm.closed_form(claim, train, method=method, seed=0), select)  # type: ignore[arg-type]
            assert reached.overall.rate > least
            assert reached.floors["random subspace"].rate < 0.55


# What a map is made of.


def test_the_oblique_contrast_of_one_variable_is_that_of_the_features(case: Planted) -> None:
    """By the streaming functions, from the same inputs."""
    algorithm, site = case.algorithm, case.network.site("site")
    hidden = cm.Oblique(site)
    alignment = cm.closed_form(
        cm.Alignment(algorithm, {algorithm["left"]: hidden[:2]}), case.parts[0], seed=3
    )
    number = algorithm.variables.index(algorithm["left"])
    drawn = cm.counterfactuals(algorithm, 1600, flip={"left"}, reuse=True, seed=1)
    train = drawn.split(train=0.5, select=0.2, test=0.3)[0].replicate(seeded(3, 0, number), n=1024)
    source = train.source_of("left")
    sides = [algorithm.arrays({n: c[rows] for n, c in train.inputs.items()}) for rows in (train.base, source)]
    held = nuisance_pairs(
        algorithm, "left", case.parts[0].inputs, 1024, seed=seeded(3, 1, number), nuisance="all"
    )
    wanted = contrast(
        difference_moments(site, sides[0], sides[1]),
        difference_moments(site, algorithm.arrays(held.base), algorithm.arrays(held.source)),
    ).subspace(2)
    got = of_map(alignment)
    assert torch.allclose(got.reader.double(), wanted.reader, rtol=1e-4, atol=1e-4)
    assert torch.allclose(got.writer.double(), wanted.writer, rtol=1e-4, atol=1e-4)


def test_erasing_an_oblique_leace_makes_the_class_means_equal(case: Planted) -> None:
    algorithm, site, train = case.algorithm, case.network.site("site"), case.parts[0]
    hidden = cm.Oblique(site)
    alignment = cm.closed_form(
        cm.Alignment(algorithm, {algorithm["left"]: hidden[:1]}), train, method="leace", seed=0
    )
    states = state_moments(site, algorithm.arrays(train.inputs), train.columns["left"])
    wanted = leace(states)
    assert torch.allclose(of_map(alignment).projector().double(), wanted.projector(), atol=1e-4)
    erased = of_map(alignment).erase(states.means.float())
    assert float((states.means[0] - states.means[1]).abs().max()) > 0.1
    assert float((erased[0] - erased[1]).abs().max()) < 1e-5


# The planted network has one gradient: see the refusals.
@pytest.mark.parametrize("method", [m for m in METHODS if m != "active_subspace"])
@pytest.mark.parametrize("family", FORMS)
def test_variables_that_share_a_map_do_not_leak(case: Planted, method: str, family: Family) -> None:
    alignment = found(case, method, family=family, k=2)
    together = of_map(alignment)
    product = together.reader.double().T @ together.writer.double()
    assert torch.allclose(product, torch.eye(4).double(), atol=1e-5)
    if family is cm.Rotation:
        assert together.reader is together.writer
    assert together.reader.dtype == torch.float32
    assert together.centre is not None
    left, right = (alignment.subspace(case.algorithm[name]) for name in ("left", "right"))
    state, source = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(right.read(left.swap(state, source)), right.read(state), atol=1e-4)
    assert not torch.allclose(left.read(left.swap(state, source)), left.read(state), atol=1e-2)


@pytest.mark.parametrize("family", FORMS)
def test_columns_are_where_the_slices_say_whatever_the_order_of_the_variables(
    case: Planted, family: Family
) -> None:
    one = cm.closed_form(claimed(case, family, left=[3, 0], right=[1]), case.parts[0], seed=0)
    other = cm.closed_form(claimed(case, family, right=[1], left=[3, 0]), case.parts[0], seed=0)
    plain = cm.closed_form(claimed(case, family, left=slice(0, 2), right=[2]), case.parts[0], seed=0)
    assert torch.equal(of_map(one).reader, of_map(other).reader)
    assert torch.equal(of_map(one).writer, of_map(other).writer)
    for name in ("left", "right"):
        ours, theirs = (a.subspace(case.algorithm[name]) for a in (one, plain))
        assert torch.equal(ours.reader, theirs.reader)
        assert torch.equal(ours.writer, theirs.writer)


def test_a_method_of_one_direction_is_completed_by_what_else_changes(case: Planted) -> None:
    one = found(case, "difference_of_means", k=1)
    three = found(case, "difference_of_means", k=3)
    said = notes(three)
    assert (said["size"], said["found"], said["completed"]) == (3, 1, 2)
    assert said["completed_by"] == "pca_of_flips"
    assert notes(one)["completed"] == 0
    assert "completed_by" not in notes(one)
    # What was found is still what is written first, and the rest is written outside of it.
    for name in ("left", "right"):
        variable = case.algorithm[name]
        first, whole = one.subspace(variable), three.subspace(variable)
        assert float(first.angles(whole[:1]).max()) < 0.35
        assert whole.dimension == 3
    assert cm.evaluate(three, case.parts[2]).overall.rate > 0.9


class Loud(nn.Module):
    """States (10 a, b, a xor b): the first component is a's, the second one b's."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()
        self.last = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x[:, 0], x[:, 1]
        return self.last(self.site(torch.stack([10 * a, 2 * b, (a - b).abs()], dim=1)))


def bits(algorithm_name: str = "two bits") -> cm.Algorithm:
    algorithm = cm.Algorithm(algorithm_name)
    algorithm.inputs("a b", domain=[0, 1])
    algorithm.add("first", "a", f=lambda a: a, domain=[0, 1])
    algorithm.add("second", "b", f=lambda b: b, domain=[0, 1])
    algorithm.add(
        "out", "first", "second", f=lambda first, second: first != second, domain=[False, True], output=True
    )
    return algorithm


def stacked_inputs(values: Mapping[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([values[n] for n in values], axis=1).astype(np.float32))


@pytest.mark.parametrize("method", ["pca", "pca_of_differences"])
def test_components_go_to_the_variables_that_explain_them(method: str) -> None:
    algorithm = bits()
    network = cm.Network(Loud(), encode=stacked_inputs, answers=[False, True])
    pairs = cm.counterfactuals(algorithm, 200, seed=0)
    hidden = cm.Rotation(network.site("site"))
    claim = cm.Alignment(algorithm, {algorithm["second"]: hidden[:1], algorithm["first"]: hidden[1:2]})
    alignment = cm.closed_form(claim, pairs, method=method, seed=0)  # type: ignore[arg-type]
    assert notes(alignment, "first")["components_taken"] == [0]
    assert notes(alignment, "second")["components_taken"] == [1]
    assert abs(float(of_map(alignment).reader[0, 1])) > 0.99
    assert abs(float(of_map(alignment).reader[1, 0])) > 0.9


class Skew(nn.Module):
    """States a (1, 0, 0) + b (.6, .8, 0): two directions that are not at right angles."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x[:, 0], x[:, 1]
        z = self.site(torch.stack([a + 0.6 * b, 0.8 * b, 0 * a], dim=1))
        return z[:, :2]


def test_the_orthogonal_map_favours_no_variable() -> None:
    """Each direction is bent alike, as the nearest orthonormal matrix has it; a QR would bend the second one only."""
    algorithm = bits()
    network = cm.Network(Skew(), encode=stacked_inputs, answers=[False, True])
    pairs = cm.counterfactuals(algorithm, 200, seed=0)
    hidden, alike = cm.Rotation(network.site("site")), cm.Oblique(network.site("site"))
    maps = [
        of_map(
            cm.closed_form(
                cm.Alignment(algorithm, {algorithm["first"]: x[:1], algorithm["second"]: x[1:2]}),
                pairs, method="pca_of_flips", seed=0,
            )
        )
        for x in (hidden, alike)
    ]  # fmt: skip
    true = torch.tensor([[1.0, 0.6], [0.0, 0.8], [0.0, 0.0]])
    left, _, right = torch.linalg.svd(true, full_matrices=False)
    assert torch.allclose(maps[0].reader, left @ right, atol=1e-5)
    bent = (true * maps[0].reader).sum(dim=0)
    assert bent[0] == pytest.approx(float(bent[1]), abs=1e-5)
    assert float(bent[0]) < 0.96
    # An oblique map keeps both directions for its readers, and writes at right angles to the other's.
    assert torch.allclose(maps[1].reader, true, atol=1e-5)
    assert torch.allclose(maps[1].reader.T @ maps[1].writer, torch.eye(2), atol=1e-5)


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


def test_a_scatter_wider_than_its_suggestion_can_look_at_is_reduced_for_it() -> None:
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
    assert notes(whole)["above_null"] >= 0


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


# Refusals.


def said(act: Callable[[], object], kind: type[CommutesError] = FitError) -> str:
    with pytest.raises(kind) as caught:
        act()
    return str(caught.value)


def test_arguments_that_cannot_be(case: Planted) -> None:
    assert said(lambda: found(case, "constrast")) == (
        "no such method\n"
        "  got:      'constrast'\n"
        "  expected: 'difference_of_means' or 'lda' or 'pca' or 'pca_of_differences' or 'leace' or 'active_subspace' "
        "or 'attribution' or 'contrast' or 'pca_of_flips'\n"
        "  do:       write 'contrast'"
    )
    assert "no such nuisance\n  got:      'al'" in said(lambda: found(case, nuisance="al"))
    for size in (1, True, 2.5):
        assert said(lambda size=size: found(case, size=size)) == (
            f"size is a number of pairs\n  got:      {size!r}\n  expected: a whole number from 2"
        )
    assert "seed is a whole number from 0" in said(lambda: found(case, seed=-1))


def test_claims_without_a_closed_form(case: Planted) -> None:
    site = case.network.site("site")
    neurons = cm.Alignment(case.algorithm, {case.algorithm["left"]: cm.Coordinates(site)[[0]]})
    assert said(lambda: cm.closed_form(neurons, case.parts[0], seed=0)).startswith(
        "there is nothing to learn\n"
    )
    affine = claimed(case, cm.Affine)
    assert said(lambda: cm.closed_form(affine, case.parts[0], seed=0)) == (
        "maps of this family have no closed form\n"
        "  where:    site\n"
        "  got:      affine map\n"
        "  expected: a Rotation or an Oblique\n"
        "  do:       declare one of these, or fit it by descent: cm.fit"
    )


def test_pairs_of_another_algorithm(case: Planted) -> None:
    others = cm.counterfactuals(equality(6), 100, seed=0)
    text = said(lambda: cm.closed_form(claimed(case, cm.Oblique), others, seed=0), AlignmentError)
    assert text.startswith("the pairs were drawn under another algorithm than the aligned one\n")


def test_a_variable_that_is_constant_on_the_pairs(case: Planted) -> None:
    pairs = cm.counterfactuals(case.algorithm, 400, swap=["left"], seed=0)
    rows = [
        i for i in range(len(pairs))
        if not pairs.columns["right"][pairs.base[i]] and not pairs.columns["right"][pairs.source[i, 0]]
    ]  # fmt: skip
    assert said(lambda: cm.closed_form(claimed(case, cm.Oblique), pairs.subset(rows), seed=0)) == (
        "the variable is constant on the pairs\n"
        "  where:    right\n"
        f"  got:      right = False in all {len(pairs.subset(rows).ids):,} inputs\n"
        "  expected: inputs with at least two of its values\n"
        "  do:       draw pairs in which it changes, or leave it out of the alignment"
    )


def test_a_variable_that_no_pair_flips() -> None:
    """Both hang on one input: neither changes while the other is held."""
    algorithm = cm.Algorithm("twins")
    algorithm.inputs("a b", domain=[0, 1])
    algorithm.add("first", "a", f=lambda a: a, domain=[0, 1])
    algorithm.add("second", "a", f=lambda a: 1 - a, domain=[0, 1])
    algorithm.add("out", "first", "second", "b", f=lambda f, s, b: (f, s, b) == (1, 0, 1), output=True)
    network = cm.Network(nn.Sequential(nn.Linear(2, 3)), encode=stacked_inputs, answers=[False, True])
    pairs = cm.counterfactuals(algorithm, 40, seed=0)
    hidden = cm.Oblique(network.site("0"))
    claim = cm.Alignment(algorithm, {algorithm["first"]: hidden[:1]})
    pairs = cm.counterfactuals(algorithm, 40, swap=["first"], seed=0)
    text = said(lambda: cm.closed_form(claim, pairs, seed=0), DataError)
    assert text.startswith("no pair in which first changes and what is held does not\n")
    assert "flip=first, hold=b, second" in text


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.site(torch.where(x[:, :1] == 3, torch.nan, x))
        return z[:, :2]


def test_activations_that_are_not_finite() -> None:
    algorithm = equality(6)
    network = cm.Network(Broken(), encode=joined, answers=[False, True])
    pairs = cm.counterfactuals(algorithm, 200, seed=0)
    claim = cm.Alignment(algorithm, {algorithm["left"]: cm.Oblique(network.site("site"))[:1]})
    text = said(lambda: cm.closed_form(claim, pairs, seed=0))
    assert text.startswith("activations are not finite\n  where:    site\n  got:      nan or inf in ")
    assert "the first is w=3, x=" in text


def test_too_many_dimensions_for_what_changes() -> None:
    """By hand left is one neuron; two dimensions of it there are not, and the rest of the site is not taken instead."""
    algorithm, network, _ = exact(4)
    pairs = cm.counterfactuals(algorithm, 400, seed=0)
    claim = cm.Alignment(algorithm, {algorithm["left"]: cm.Oblique(network.site("layers.1"))[:2]})
    assert said(lambda: cm.closed_form(claim, pairs, seed=0)) == (
        "the method finds fewer dimensions than were asked for, and nothing else changes with the variable\n"
        "  where:    left at layers.1\n"
        "  got:      1 more asked for; k = 1, and 0 of 2 eigenvalues above rounding\n"
        "  expected: states that differ\n"
        "  do:       give the variable fewer dimensions"
    )
    assert said(lambda: cm.closed_form(claim, pairs, method="pca_of_flips", seed=0)) == (
        "the second moment of the differences has fewer directions than were asked for\n"
        "  where:    left at layers.1\n"
        "  got:      k = 2, and 1 of 2 eigenvalues above rounding\n"
        "  expected: k from 1 to 1\n"
        "  do:       ask for fewer dimensions"
    )


def test_a_singular_covariance() -> None:
    algorithm, network, _ = exact(4)
    pairs = cm.counterfactuals(algorithm, 400, seed=0)
    claim = cm.Alignment(algorithm, {algorithm["left"]: cm.Oblique(network.site("layers.1"))[:1]})
    whole = said(lambda: cm.closed_form(claim, _still(pairs), method="lda", seed=0))
    assert whole.startswith("the covariance within the classes is singular\n  where:    left at layers.1\n")


def _still(pairs: cm.Counterfactuals) -> cm.Counterfactuals:
    """Pairs whose inputs all have one value of right, so that nothing but left varies at the exact network's site."""
    held = pairs.columns["right"]
    return pairs.subset(
        [i for i in range(len(pairs)) if not held[pairs.base[i]] and not held[pairs.source[i, 0]]]
    )


def test_subspaces_that_overlap() -> None:
    """Two variables that the network sums into one number cannot both be read from it."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            total = x[:, 0] + x[:, 1]
            z = self.site(torch.stack([total, -total], dim=1))
            return torch.stack([z[:, 0], 1 - z[:, 0]], dim=1)

    algorithm = bits()
    network = cm.Network(Sum(), encode=stacked_inputs, answers=[False, True])
    hidden = cm.Rotation(network.site("site"))
    claim = cm.Alignment(algorithm, {algorithm["first"]: hidden[:1], algorithm["second"]: hidden[1:2]})
    pairs = cm.counterfactuals(algorithm, 100, seed=0)
    text = said(lambda: cm.closed_form(claim, pairs, method="pca_of_flips", seed=0), AlignmentError)
    assert text.startswith("the subspaces overlap\n  where:    first, second at site\n")


def test_a_method_that_finds_too_little_to_share(case: Planted) -> None:
    assert said(lambda: found(case, "active_subspace")) == (
        "the method finds fewer directions than there are variables to share them\n"
        "  where:    left, right at site\n"
        "  got:      1 for left, right\n"
        "  expected: at least 2\n"
        '  do:       use a method that looks at each variable, such as "contrast"'
    )


def test_classes_of_a_real_number() -> None:
    algorithm = cm.Algorithm("sum")
    algorithm.inputs("a b", domain=cm.reals(0.0, 1.0))
    algorithm.add("half", "a", f=lambda a: a / 2, domain=cm.reals(0.0, 1.0))
    algorithm.add("out", "half", "b", f=lambda half, b: half + b > 0.7, domain=[False, True], output=True)
    network = cm.Network(
        nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)),
        encode=stacked_inputs,
        answers=[False, True],
    )
    pairs = cm.counterfactuals(algorithm, 100, seed=0)
    claim = cm.Alignment(algorithm, {algorithm["half"]: cm.Oblique(network.site("1"))[:1]})
    text = said(lambda: cm.closed_form(claim, pairs, method="lda", seed=0))
    assert text.startswith("this method compares classes, and the variable has none\n  where:    half at 1\n")
    assert "half in " in text
    for method in ("contrast", "pca_of_flips", "attribution"):
        nuisance = "others" if method == "contrast" else "all"
        alignment = cm.closed_form(claim, pairs, method=method, nuisance=nuisance, size=50, seed=0)  # type: ignore[arg-type]
        assert alignment.fitted


def test_gradients_need_answers_and_pairs_that_change_them(case: Planted) -> None:
    pairs = case.parts[0]
    idle = pairs.subset(np.flatnonzero(~pairs.effective))
    assert said(
        lambda: cm.closed_form(claimed(case, cm.Oblique), idle, method="active_subspace", seed=0), DataError
    ) == (
        "no pair changes the answer\n"
        "  where:    left, right at site\n"
        f"  got:      {len(idle):,} pairs, 0 effective\n"
        "  expected: pairs whose expected answer is not the base's\n"
        "  do:       draw other pairs, or use a method that does not go by the answer"
    )
    network = cm.Network(
        case.network.module, encode=joined, decode=lambda logits: [bool(i) for i in logits.argmax(dim=1)]
    )
    hidden = cm.Oblique(network.site("site"))
    claim = cm.Alignment(case.algorithm, {case.algorithm["left"]: hidden[:1]})
    swaps_left = pairs.subset(np.flatnonzero(pairs.swapped("left")))
    text = said(lambda: cm.closed_form(claim, swaps_left, method="attribution", seed=0), NetworkError)
    assert text.startswith("a network with a custom decode= can be evaluated, not fitted\n")
    assert cm.closed_form(claim, swaps_left, seed=0).fitted
