"""Maps without a gradient step: what they find where the truth is known, and what they are made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import commutes as cm
from commutes.features import (
    contrast,
    difference_moments,
    leace,
    nuisance_pairs,
    state_moments,
)
from commutes.testing import zoo
from commutes.training._closed_data import seeded
from commutes.training._closed_methods import METHODS
from tests.planted import EQUALITY, Planted, planted
from tests.training.closed_case import (
    FORMS,
    Family,
    bits,
    claimed,
    found,
    notes,
    of_map,
    stacked_inputs,
)


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(symbols=6, pairs=1600)


# What they find.


@pytest.mark.parametrize("family", FORMS)
@pytest.mark.parametrize("method", ["contrast", "difference_of_means", "lda", "leace", "pca_of_flips"])
def test_they_find_the_planted_variables(case: Planted, method: str, family: Family) -> None:
    alignment = found(case, method, family=family)
    test = cm.evaluate(alignment, case.parts[2])
    assert test.overall.rate > 0.99
    assert test.floors["random subspace"].rate < 0.7


@pytest.mark.parametrize("family", FORMS)
@pytest.mark.parametrize("method", ["difference_of_means", "lda", "leace"])
def test_two_variables_are_completed_apart_from_each_other(method: str, family: Family) -> None:
    """Where each has one direction and is asked for four, what completes them would often be the same three."""
    member = zoo.linear("clean", seed=0)
    told = next(c for c in member.claims if c.truth == "right").alignment
    variables, hidden = ("left", "right"), family(told.sites[0])
    algorithm = member.algorithm
    pairs = cm.counterfactuals(algorithm, 1_600, seed=0)
    train, test = pairs.split(train=0.6, test=0.4)
    claim = cm.Alignment(
        algorithm, {algorithm[v]: hidden[4 * i : 4 * i + 4] for i, v in enumerate(variables)}
    )
    alignment = cm.closed_form(claim, train, method=method, seed=0)  # type: ignore[arg-type]
    both = of_map(alignment)
    assert both.defect() < 1e-5
    assert {notes(alignment, v)["completed"] for v in variables} == {3}
    assert cm.evaluate(alignment, test).overall.rate > 0.99


@pytest.mark.parametrize("family", FORMS)
@pytest.mark.parametrize(
    ("name", "variables"), [("clean", ("left", "right")), ("many values", ("first", "second"))]
)
def test_in_the_zoo_they_find_what_was_put_there(
    name: str, variables: tuple[str, str], family: Family
) -> None:
    member = zoo.linear(name, seed=0)
    told = next(c for c in member.claims if c.truth == "right").alignment
    k = len(told.groups[0].coordinates) // 2
    hidden = family(told.sites[0])
    one, two = (told.algorithm[v] for v in variables)
    claim = cm.Alignment(told.algorithm, {one: hidden[:k], two: hidden[k : 2 * k]})
    train, test = cm.counterfactuals(told.algorithm, 2400, seed=1).split(train=0.5, test=0.5)
    alignment = cm.closed_form(claim, train, seed=0)
    assert cm.evaluate(alignment, test).overall.rate == 1.0
    if k == 1:
        for v in (one, two):
            angles = told.subspace(v).angles(alignment.subspace(v), of="reader")
            assert float(angles.max()) < (0.01 if family is cm.Oblique else 0.05)


@pytest.mark.parametrize("method", ["contrast", "leace"])
def test_what_is_read_is_the_planted_direction(case: Planted, method: str) -> None:
    """Of the network's comparison of two coordinates, which of them is read decides; measured: below .06."""
    alignment = found(case, method)
    for i, name in enumerate(("left", "right")):
        angles = case.truth[i].angles(alignment.subspace(case.algorithm[name]), of="reader")
        assert float(angles.max()) < 0.15


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
