"""A claim about where variables live: what it accepts, what it refuses and in which words."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from commutes import Alignment, Coordinates, Network, Oblique, Rotation, census, counterfactuals, evaluate
from commutes.errors import AlgorithmError, AlignmentError, NetworkError
from commutes.features import Neurons, Subspace
from tests.planted import equality, exact, joined, planted


class Sequence(nn.Module):
    """Four tokens of width 3; `inner` runs once, `cell` once per token."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(1, 3)
        self.cell = nn.Linear(3, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inner(x.unsqueeze(-1))
        return self.head(torch.stack([self.cell(h[:, i]) for i in range(4)], dim=1).sum(1))


@pytest.fixture(scope="module")
def case():
    algorithm, network, _ = exact()
    return algorithm, network


@pytest.fixture(scope="module")
def tokens():
    algorithm = equality(3)
    torch.manual_seed(0)
    return algorithm, Network(Sequence(), encode=joined, answers=[False, True])


def refused(algorithm, slices) -> str:
    with pytest.raises(AlignmentError) as error:
        Alignment(algorithm, slices)
    return str(error.value)


def test_a_claim_knows_its_variables_sites_groups_and_network(case):
    algorithm, network = case
    rotation = Rotation(network.site("layers.0"))
    claim = Alignment(algorithm, {algorithm["right"]: rotation[2:3], algorithm["left"]: rotation[:2]})
    assert [v.name for v in claim.variables] == ["right", "left"]
    assert claim.network is network
    assert len(claim.groups) == 1
    (group,) = claim.groups
    assert (group.width, group.dimension, group.coordinates) == (4, 3, (0, 1, 2))
    assert group.columns == {algorithm["right"]: (2,), algorithm["left"]: (0, 1)}
    assert not claim.fitted
    assert repr(claim).startswith("Alignment(hierarchical equality of 3 whole numbers in exact equality MLP")
    assert "not fitted" in repr(claim)


def test_neurons_need_no_fit_and_their_subspace_is_a_unit_vector(case):
    algorithm, network = case
    x = Coordinates(network.site("layers.0"))
    claim = Alignment(algorithm, {algorithm["left"]: x[[3, 1]], algorithm["right"]: x[0]})
    assert claim.fitted
    assert [f.index.tolist() for f in claim.featurizers if isinstance(f, Neurons)] == [[0, 1, 3]]
    assert claim.subspace(algorithm["left"]).reader.T.tolist() == [[0, 0, 0, 1], [0, 1, 0, 0]]
    assert claim.subspace(algorithm["right"]).reader.T.tolist() == [[1, 0, 0, 0]]


def test_the_subspace_of_a_variable_is_its_columns_of_the_map():
    case = planted()
    claim = case.told()
    right = claim.subspace(claim.algorithm["right"])
    assert torch.equal(right.reader, case.truth.reader[:, 1:2])


def test_two_featurizers_of_one_site_share_a_group_where_nothing_is_learnt(case):
    algorithm, network = case
    site = network.site("layers.1")
    first, second = Coordinates(site), Coordinates(site)
    claim = Alignment(algorithm, {algorithm["left"]: first[0], algorithm["right"]: second[1]})
    assert len(claim.groups) == 1
    assert evaluate(claim, census(algorithm)).hits.all()
    assert evaluate(claim.on(network), census(algorithm)).hits.all()
    said = refused(algorithm, {algorithm["left"]: first[0], algorithm["right"]: second[0]})
    assert "two variables overlap" in said
    assert "coordinate 0 for left and for right" in said


def test_equal_sites_made_twice_may_hold_disjoint_neurons_and_no_others(case):
    algorithm, network = case
    first, second = (Coordinates(network.site("layers.1")) for _ in range(2))
    claim = Alignment(algorithm, {algorithm["left"]: first[0], algorithm["right"]: second[1]})
    assert len(claim.groups) == 2
    assert evaluate(claim, census(algorithm)).hits.all()
    said = refused(algorithm, {algorithm["left"]: first[:2], algorithm["right"]: second[1]})
    assert "two featurizers overlap" in said
    assert "layers.1, position 0, feature 1" in said


def test_disjoint_parts_of_one_tensor_are_two_places(case):
    algorithm, network = case
    left = Coordinates(network.site("layers.1", part=slice(0, 1)))
    right = Coordinates(network.site("layers.1", part=[1]))
    claim = Alignment(algorithm, {algorithm["left"]: left[0], algorithm["right"]: right[0]})
    assert evaluate(claim, census(algorithm)).hits.all()


def test_overlapping_parts_are_refused_for_learnt_maps_too(case):
    algorithm, network = case
    left = Rotation(network.site("layers.0", part=slice(0, 3)))
    right = Rotation(network.site("layers.0", part=slice(2, 4)))
    said = refused(algorithm, {algorithm["left"]: left[:1], algorithm["right"]: right[:1]})
    assert "layers.0, position 0, feature 2" in said
    assert "make one featurizer of the site and give each variable a slice of it" in said


def test_a_learnt_map_and_neurons_of_one_place_overlap_wherever_the_neurons_are(case):
    algorithm, network = case
    rotation, x = Rotation(network.site("layers.0")), Coordinates(network.site("layers.0"))
    said = refused(algorithm, {algorithm["left"]: rotation[:1], algorithm["right"]: x[3]})
    assert "feature 3" in said


def test_positions_overlap_only_where_they_meet(tokens):
    algorithm, network = tokens

    def at(*positions):
        return Rotation(network.site("inner", position=list(positions)))

    left, right = algorithm["left"], algorithm["right"]
    assert len(Alignment(algorithm, {left: at(0, 1)[:1], right: at(2, 3)[:1]}).groups) == 2
    said = refused(algorithm, {left: at(0, 1)[:1], right: at(1, 2)[:1]})
    assert "inner, position 1, feature 0" in said
    assert "position -1" not in said
    said = refused(algorithm, {left: at(-1)[:1], right: at(3)[:1]})
    assert "inner, position 3, feature 0" in said


def test_the_calls_of_a_module_are_different_places(tokens):
    algorithm, network = tokens
    left, right = algorithm["left"], algorithm["right"]
    first, second = Rotation(network.site("cell", call=0)), Rotation(network.site("cell", call=1))
    assert len(Alignment(algorithm, {left: first[:1], right: second[:1]}).groups) == 2
    # The only call of a module that runs once is its call 0.
    once, call = Rotation(network.site("inner")), Rotation(network.site("inner", call=0))
    assert "inner, position 0, feature 0" in refused(algorithm, {left: once[:1], right: call[:1]})


def test_sites_of_two_networks_are_refused(case):
    algorithm, network = case
    other = exact()[1]
    said = refused(
        algorithm,
        {
            algorithm["left"]: Coordinates(network.site("layers.1"))[0],
            algorithm["right"]: Coordinates(other.site("layers.1"))[1],
        },
    )
    assert "the sites belong to different networks" in said
    assert "sites made by one Network object" in said


def test_what_is_no_inner_variable_is_refused(case):
    algorithm, network = case
    x = Coordinates(network.site("layers.1"))
    said = refused(algorithm, {algorithm["same"]: x[0]})
    assert "the output is what is measured, it is not aligned" in said
    assert "left, right" in said
    said = refused(algorithm, {"left": x[0]})
    assert "got:      'left'" in said
    assert "a Variable of the algorithm" in said
    with pytest.raises(AlgorithmError, match="another algorithm"):
        Alignment(algorithm, {equality(3)["left"]: x[0]})
    assert "an alignment needs at least one variable" in refused(algorithm, {})


def test_what_is_no_slice_is_refused(case):
    algorithm, network = case
    left, site = algorithm["left"], network.site("layers.0")
    said = refused(algorithm, {left: Rotation(site)})
    assert "got:      the whole rotation" in said
    assert "such as featurizer[:4]" in said
    assert "got:      Site" in refused(algorithm, {left: site})
    said = refused(algorithm, {left: Rotation(site)[1:]})
    assert "would learn all the rest of the space" in said
    assert "left at layers.0" in said
    said = refused(algorithm, {left: Rotation(site)[:5]})
    assert "got:      coordinate 4" in said
    assert "from 0 to 3: the site has 4" in said
    assert "[2, 2]" in refused(algorithm, {left: Coordinates(site)[[2, 2]]}).replace("[[", "[").replace(
        "]]", "]"
    )
    assert "coordinates are whole numbers" in refused(algorithm, {left: Coordinates(site)[[[0, 1]]]})


def test_an_open_slice_of_neurons_is_all_the_rest(case):
    algorithm, network = case
    x = Coordinates(network.site("layers.0"))
    claim = Alignment(algorithm, {algorithm["left"]: x[:2], algorithm["right"]: x[2:]})
    assert claim.groups[0].columns[algorithm["right"]] == (2, 3)


def test_an_unfitted_claim_has_no_maps_and_says_how_to_get_them(case):
    algorithm, network = case
    claim = Alignment(algorithm, {algorithm["left"]: Rotation(network.site("layers.0"))[:2]})
    for use in (lambda: claim.featurizers, lambda: evaluate(claim, census(algorithm, swap=["left"]))):
        with pytest.raises(AlignmentError) as error:
            use()
        assert "the alignment is not fitted" in str(error.value)
        assert "an unfitted rotation for left" in str(error.value)
        assert "cm.fit(alignment, pairs, seed=0)" in str(error.value)


def test_pairs_that_swap_what_is_not_aligned_are_refused(case):
    algorithm, network = case
    claim = Alignment(algorithm, {algorithm["left"]: Coordinates(network.site("layers.1"))[0]})
    with pytest.raises(AlignmentError) as error:
        evaluate(claim, census(algorithm))
    assert "the pairs swap a variable that is not aligned" in str(error.value)
    assert "got:      right" in str(error.value)
    with pytest.raises(AlignmentError, match="the variable is not aligned"):
        claim.subspace(algorithm["right"])


def test_pairs_of_another_algorithm_are_refused(case):
    algorithm, network = case
    claim = Alignment(algorithm, {algorithm["left"]: Coordinates(network.site("layers.1"))[0]})
    with pytest.raises(AlignmentError, match="drawn under another algorithm") as error:
        evaluate(claim, census(equality(3), swap=["left"]))
    assert "pairs.for_algorithm(alignment.algorithm)" in str(error.value)


def test_masks_say_which_coordinate_comes_from_which_source(case):
    algorithm, network = case
    x = Coordinates(network.site("layers.0"))
    left, right = algorithm["left"], algorithm["right"]
    claim = Alignment(algorithm, {left: x[[0, 3]], right: x[1]})
    pairs = counterfactuals(algorithm, 12, swap=[{left}, {right}, {left, right}], seed=0)
    (mask,) = claim.masks(pairs)
    assert mask.shape == (12, 2, 3)
    wanted = {
        "left": [[True, False, True], [False] * 3],
        "right": [[False, True, False], [False] * 3],
        "left+right": [[True, False, True], [False, True, False]],
    }
    for row, swap in enumerate(pairs.swap):
        assert mask[row].tolist() == wanted[pairs.swaps[swap].label]


def test_the_same_claim_about_another_network_is_unfitted_and_keeps_its_shape():
    case = planted()
    twin = case.network.reinitialised(3)
    moved = case.told().on(twin)
    assert moved.network is twin
    assert not moved.fitted
    assert [g.coordinates for g in moved.groups] == [g.coordinates for g in case.claim.groups]
    assert case.told().fitted


def test_the_same_places_under_another_algorithm_go_by_name():
    case = planted()
    other = equality(6)
    moved = case.told().under(other)
    assert moved.algorithm is other
    assert list(moved.slices) == [other["left"], other["right"]]
    assert not moved.fitted


def test_with_maps_leaves_the_old_claim_and_adds_up_what_was_seen():
    case = planted()
    first = case.claim.with_maps([case.truth], fitted_ids=case.parts[0].input_ids)
    again = first.with_maps([case.truth], fitted_ids=case.parts[1].input_ids, history={"seed": 1})
    assert not case.claim.fitted
    assert len(case.claim.fitted_ids) == 0
    assert len(again.fitted_ids) == len(case.parts[0].input_ids) + len(case.parts[1].input_ids)
    assert len(first.fitted_ids) == len(case.parts[0].input_ids)
    assert (first.history, again.history) == ({}, {"seed": 1})
    assert isinstance(again.featurizers[0], Subspace)


def test_an_alignment_does_not_touch_the_statistics_of_a_network_in_training_mode():
    algorithm = equality(3)
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).train()
    network = Network(module, encode=joined, answers=[False, True])
    before = module[1].num_batches_tracked.clone()
    with pytest.raises(NetworkError, match="the network is in training mode"):
        Alignment(algorithm, {algorithm["left"]: Rotation(network.site("0"))[:1]})
    assert torch.equal(module[1].num_batches_tracked, before)


def test_maps_that_are_put_in_by_hand_are_looked_at() -> None:
    case = planted(pairs=40)
    site, algorithm = case.network.site("site"), case.algorithm
    left, right = algorithm["left"], algorithm["right"]
    rotation, oblique = (
        Alignment(algorithm, {left: space[:1], right: space[1:2]})
        for space in (Rotation(site), Oblique(site))
    )
    basis = torch.eye(6)[:, :2]
    leaning = basis + torch.eye(6)[:, 2:4]
    assert oblique.with_maps([Subspace(basis, leaning)]).maps[0].writer is leaning  # type: ignore[union-attr]
    twice = basis[:, [0, 0]]
    for claim, maps, what in (
        (rotation, [], "an alignment takes a map for every featurizer"),
        (rotation, [Subspace(basis, basis)] * 2, "an alignment takes a map for every featurizer"),
        (rotation, [Subspace(basis, leaning)], "the map is not of the family that was declared"),
        (rotation, [Subspace(twice, twice)], "reader and writer are not biorthogonal"),
        (oblique, [Subspace(twice, twice)], "reader and writer are not biorthogonal"),
        (oblique, [Subspace(basis, 2 * basis)], "reader and writer are not biorthogonal"),
        (rotation, [Subspace(basis[:, :1], basis[:, :1])], "the map is of another size"),
        (rotation, [Subspace(torch.eye(7)[:, :2], torch.eye(7)[:, :2])], "the map is of another size"),
    ):
        with pytest.raises(AlignmentError, match=what):
            claim.with_maps(maps)
