"""Alignments through every family of maps: resolved, evaluated, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from commutes import Alignment, Coordinates, evaluate, load, save
from commutes.alignment._saved_maps import parts_of
from commutes.errors import AlignmentError, ArtefactError
from commutes.features import (
    Affine,
    AffineMap,
    Boundless,
    Dictionary,
    Directions,
    Features,
    Gated,
    Mask,
    Neurons,
    Oblique,
    Reversible,
    SparseAutoencoder,
    Subspace,
    affine,
    random_raw,
    reversible,
    rotation,
)
from commutes.network import Site
from tests.planted import Planted, planted

WIDTH = 6


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(pairs=400)


def _oblique(truth: Subspace) -> Subspace:
    """The truth, read along other directions as well: swaps of the decoys' part are not written."""
    return Subspace(truth.reader, truth.writer + 0.1 * truth.complement().writer[:, :2])


def _affine(truth: Subspace) -> AffineMap:
    whole = torch.cat([truth.reader, truth.complement().reader], dim=1)
    return affine(2 * whole.T.contiguous(), torch.arange(WIDTH).float(), index=[0, 1])


def _reversible(truth: Subspace) -> Any:
    """The rotation that turns the truth's directions into the first coordinates."""
    start = reversible(WIDTH, index=[0, 1], seed=0, depth=2, hidden=3)
    whole = torch.cat([truth.reader, truth.complement().reader], dim=1).contiguous()
    return type(start)(whole, start.couplings, start.index)


LEARNT: dict[str, tuple[Callable[[Site], Features], Callable[[Subspace], Any]]] = {
    "oblique": (Oblique, _oblique),
    "affine": (Affine, _affine),
    "reversible": (lambda site: Reversible(site, depth=2, hidden=3), _reversible),
    "boundless": (lambda site: Boundless(site, 0.2, (0.3, 0.02)), lambda truth: Gated(truth, OPEN)),
}
OPEN = torch.tensor([True, True])


def _claim(case: Planted, features: Features, first: Any = 0, second: Any = 1) -> Alignment:
    names = case.algorithm
    return Alignment(names, {names["left"]: features[first], names["right"]: features[second]})


def _site(case: Planted) -> Site:
    return case.network.site("site")


@pytest.mark.parametrize("family", LEARNT)
def test_a_learnt_family_is_unfitted_then_evaluated_saved_and_loaded(
    family: str, case: Planted, tmp_path: Path
) -> None:
    make, fitted = LEARNT[family]
    claim = _claim(case, make(_site(case)))
    assert not claim.fitted
    claim = claim.with_maps([fitted(case.truth)])
    test = case.parts[2]
    found = evaluate(claim, test)
    # The map knows where the variables are, and writing 2 % of a decoy's length moves no answer.
    assert found.overall.rate == 1.0
    save(claim, tmp_path)
    again = load(tmp_path, algorithm=case.algorithm, network=case.network)
    assert type(again.groups[0].features) is type(claim.groups[0].features)
    assert evaluate(again, test).record() == found.record()
    for name, tensor in parts_of(claim.groups[0].features, claim.featurizers[0]).items():
        assert torch.equal(tensor, parts_of(again.groups[0].features, again.featurizers[0])[name])


def test_masks_are_saved_with_what_they_choose_among(case: Planted, tmp_path: Path) -> None:
    whole = torch.cat([case.truth.reader, case.truth.complement().reader], dim=1).contiguous()
    given = Subspace(whole, whole)
    site, test = _site(case), case.parts[2]
    makers = [
        (Mask(Directions(site, given), 1, 0.2, (0.9, 0.1), "exponential"), given, (0, 1)),
        (Mask(Coordinates(site), per=2), Neurons(torch.arange(6)), (0, 1, 4, 5)),
        (Mask(Dictionary(site, _dictionary(case.truth))), None, (3, 7)),
    ]
    for number, (features, inner, opened) in enumerate(makers):
        size = features.size(WIDTH)
        half = size // 2
        claim = _claim(case, features, slice(half), slice(half, size))
        gate = torch.zeros(size, dtype=torch.bool)
        gate[list(opened)] = True
        found = inner or features.features.given(range(size), torch.device("cpu"))
        assert found is not None
        claim = claim.with_maps([Gated(found, gate)])
        folder = tmp_path / str(number)
        save(claim, folder)
        again = load(folder, algorithm=case.algorithm, network=case.network)
        assert evaluate(again, test).record() == evaluate(claim, test).record()
        mask, map = again.groups[0].features, again.featurizers[0]
        assert isinstance(mask, Mask)
        assert (mask.per, mask.sparsity, mask.temperature, mask.cooling) == (
            features.per,
            features.sparsity,
            features.temperature,
            features.cooling,
        )
        assert isinstance(map, Gated)
        assert map.open == opened
        assert again.sizes(again.groups[0]) == claim.sizes(claim.groups[0])


def test_directions_are_saved_as_what_they_are(case: Planted, tmp_path: Path) -> None:
    claim = _claim(case, Directions(_site(case), case.truth), 1, 0)
    assert claim.fitted
    save(claim, tmp_path)
    again = load(tmp_path, algorithm=case.algorithm, network=case.network)
    left = case.algorithm["left"]
    assert torch.equal(again.subspace(left).reader, case.truth.reader[:, [1]])


def test_the_subspace_of_a_mask_is_that_of_its_open_gates(case: Planted) -> None:
    claim = _claim(case, Mask(Coordinates(_site(case))), slice(3), slice(3, 6))
    gate = torch.tensor([False, True, False, True, False, True])
    claim = claim.with_maps([Gated(Neurons(torch.arange(6)), gate)])
    left, right = case.algorithm["left"], case.algorithm["right"]
    assert torch.equal(claim.subspace(left).reader, torch.eye(6)[:, [1]])
    assert torch.equal(claim.subspace(right).writer, torch.eye(6)[:, [3, 5]])
    assert claim.sizes(claim.groups[0]) == {left: 1, right: 2}


def test_a_centre_is_saved_with_its_subspace(case: Planted, tmp_path: Path) -> None:
    claim = _claim(case, Oblique(_site(case))).with_maps([case.truth.centred(torch.arange(WIDTH))])
    save(claim, tmp_path)
    again = load(tmp_path, algorithm=case.algorithm, network=case.network).subspace(case.algorithm["left"])
    assert again.centre is not None
    assert torch.equal(again.centre, torch.arange(WIDTH).float())
    assert again.reader.shape == (WIDTH, 1)


def test_the_settings_of_a_reversible_network_come_back(case: Planted, tmp_path: Path) -> None:
    features = Reversible(_site(case), depth=2, hidden=3)
    save(_claim(case, features).with_maps([_reversible(case.truth)]), tmp_path)
    again = load(tmp_path, algorithm=case.algorithm, network=case.network).groups[0].features
    assert isinstance(again, Reversible)
    assert (again.depth, again.hidden) == (2, 3)


def test_a_claim_about_another_network_keeps_the_family_and_forgets_the_map(case: Planted) -> None:
    other = planted(seed=1).network
    for make, fitted in LEARNT.values():
        claim = _claim(case, make(_site(case))).with_maps([fitted(case.truth)])
        moved = claim.on(other)
        assert not moved.fitted
        assert str(moved.groups[0].features) == str(claim.groups[0].features)
        assert moved.network is other
    shaped = _claim(case, Reversible(_site(case), depth=7, hidden=5)).on(other).groups[0].features
    assert isinstance(shaped, Reversible)
    assert (shaped.depth, shaped.hidden) == (7, 5)


def test_the_subspace_of_a_variable_where_there_is_one(case: Planted) -> None:
    left = case.algorithm["left"]
    linear = _claim(case, Affine(_site(case))).with_maps([_affine(case.truth)]).subspace(left)
    assert linear.dimension == 1
    assert linear.defect() < 1e-5
    bent = _claim(case, Reversible(_site(case), depth=2, hidden=3)).with_maps([_reversible(case.truth)])
    with pytest.raises(AlignmentError) as caught:
        bent.subspace(left)
    assert str(caught.value) == (
        "the variable's map is not linear\n"
        "  where:    left at site\n"
        "  got:      a reversible network\n"
        "  expected: neurons, a rotation, an oblique or an affine map\n"
        "  do:       use alignment.featurizers, which read and write"
    )


def test_no_map_of_another_family_takes_a_familys_place(case: Planted) -> None:
    for make in (Affine, Reversible):
        claim = _claim(case, make(_site(case)))
        with pytest.raises(AlignmentError) as caught:
            claim.with_maps([case.truth])
        assert str(caught.value) == (
            "the map is not of the family that was declared\n"
            "  where:    site\n"
            f"  got:      a Subspace for a {claim.groups[0].features}\n"
            "  expected: a map of that family: no fit changes it\n"
            "  do:       declare the family that is meant, or find the map by a method for this one"
        )


# Dictionaries.


def _dictionary(truth: Subspace) -> SparseAutoencoder:
    """Latent 3 is left, latent 7 is right, the others are spread over the decoys; biases keep all of them positive."""
    rest = truth.complement().reader
    columns = [rest[:, i % 4] for i in range(12)]
    columns[3], columns[7] = truth.reader[:, 0], truth.reader[:, 1]
    encoder = torch.stack(columns, dim=1)
    decoder = encoder.T.clone()
    decoder[[i for i in range(12) if i not in (3, 7)]] /= 3
    return SparseAutoencoder(
        encoder.contiguous(),
        torch.full((12,), 9.0),
        decoder.contiguous(),
        torch.zeros(WIDTH),
        torch.zeros(WIDTH),
    )


def test_latents_of_a_dictionary_are_a_claim_that_needs_no_fit(case: Planted, tmp_path: Path) -> None:
    claim = _claim(case, Dictionary(_site(case), _dictionary(case.truth)), 3, 7)
    assert claim.fitted
    assert claim.groups[0].coordinates == (3, 7)
    found = evaluate(claim, case.parts[2])
    assert found.overall.rate == 1.0
    wrong = _claim(case, Dictionary(_site(case), _dictionary(case.truth)), 0, 1)
    assert evaluate(wrong, case.parts[2]).overall.rate < 0.8
    save(claim, tmp_path)
    again = load(tmp_path, algorithm=case.algorithm, network=case.network)
    assert again.groups[0].coordinates == (3, 7)
    assert evaluate(again, case.parts[2]).record() == found.record()
    moved = claim.on(planted(seed=1).network)
    assert moved.fitted


def test_the_dictionary_counts_its_own_latents(case: Planted) -> None:
    hidden = Dictionary(_site(case), _dictionary(case.truth))
    assert _claim(case, hidden, slice(0, 6), slice(6, None)).groups[0].dimension == 12
    with pytest.raises(AlignmentError) as caught:
        _claim(case, hidden, 3, 12)
    assert str(caught.value) == (
        "more dimensions are asked for than the dictionary has\n"
        "  where:    right at site\n"
        "  got:      coordinate 12\n"
        "  expected: from 0 to 11: the dictionary has 12\n"
        "  do:       ask for fewer dimensions, or align with a wider dictionary"
    )


class Narrow(nn.Module):
    def encode(self, state: torch.Tensor) -> torch.Tensor:
        return state[..., :3].relu()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def test_a_dictionary_of_another_width(case: Planted) -> None:
    dictionary = _dictionary(planted(seed=0).truth)
    bad = SparseAutoencoder(
        dictionary.encoder[:4],
        dictionary.encoder_bias,
        dictionary.decoder[:, :4],
        torch.zeros(4),
        torch.zeros(4),
    )
    with pytest.raises(AlignmentError) as caught:
        _claim(case, Dictionary(_site(case), bad))
    assert str(caught.value) == (
        "the dictionary does not fit the site\n"
        "  where:    site\n"
        "  got:      AlignmentError: the dictionary was made for states of another width\n"
        "  expected: encode and decode of states of 6 numbers, on the network's device\n"
        "  do:       use the dictionary of this module, layer and model"
    )
    with pytest.raises(AlignmentError, match=r"states of \(1, 1, 3\) for states of \(1, 1, 6\)"):
        _claim(case, Dictionary(_site(case), Narrow()))
    with pytest.raises(AlignmentError, match="RuntimeError: mat1 and mat2"):
        _claim(case, Dictionary(_site(case), _Foreign()))


class _Foreign(nn.Module):
    """Encodes states of five numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(5, 3)

    def encode(self, state: torch.Tensor) -> torch.Tensor:
        return self.up(state)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def test_two_dictionaries_at_one_place_overlap(case: Planted) -> None:
    names, site = case.algorithm, _site(case)
    one, other = (Dictionary(site, _dictionary(case.truth)) for _ in range(2))
    with pytest.raises(AlignmentError, match="two featurizers overlap"):
        Alignment(names, {names["left"]: one[3], names["right"]: other[7]})
    with pytest.raises(AlignmentError, match="two featurizers overlap"):
        Alignment(names, {names["left"]: one[3], names["right"]: Coordinates(site)[0]})


class Own(nn.Module):
    """A dictionary of someone else's, right for the planted network."""

    def __init__(self, dictionary: SparseAutoencoder) -> None:
        super().__init__()
        self.inner = dictionary

    def encode(self, state: torch.Tensor) -> torch.Tensor:
        return self.inner.encode(state)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.inner.decode(latents)


def test_what_is_code_cannot_be_saved_and_nothing_is_written(case: Planted, tmp_path: Path) -> None:
    claim = _claim(case, Dictionary(_site(case), Own(_dictionary(case.truth))), 3, 7)
    assert evaluate(claim, case.parts[2]).overall.rate == 1.0
    with pytest.raises(AlignmentError) as caught:
        save(claim, tmp_path / "new")
    assert str(caught.value).startswith(
        "a dictionary of a kind of your own cannot be saved\n  where:    site\n  got:      Own"
    )

    class Mine:
        def read(self, state: torch.Tensor) -> torch.Tensor:
            return state[..., :2]

        def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
            return state

    with pytest.raises(AlignmentError, match="a map of a kind of your own cannot be saved"):
        save(_claim(case, Oblique(_site(case))).with_maps([Mine()]), tmp_path / "new")
    assert not (tmp_path / "new").exists()


# Damaged files.


def _rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> str:
    path = folder / "alignment.json"
    record = json.loads(path.read_text())
    change(record["groups"][0])
    path.write_text(json.dumps(record))
    return str(path)


@dataclass(frozen=True)
class Damage:
    family: str
    change: Callable[[dict[str, Any]], None]
    text: str


DAMAGES = [
    Damage("reversible", lambda g: g.pop("settings"), "KeyError: 'depth'"),
    Damage("reversible", lambda g: g.update(features="affine map"), "KeyError: 'matrix'"),
    Damage("affine", lambda g: g.update(features="oblique map"), "KeyError: 'reader'"),
    Damage("affine", lambda g: g["variables"].update(left=[0, 2]), "a map of shape (6, 2) for (6, 3)"),
    Damage("reversible", lambda g: g["variables"].update(left=[0, 2]), "a map of shape (6, 2) for (6, 3)"),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.text)
def test_records_that_do_not_fit_their_tensors(damage: Damage, case: Planted, tmp_path: Path) -> None:
    make, fitted = LEARNT[damage.family]
    save(_claim(case, make(_site(case))).with_maps([fitted(case.truth)]), tmp_path)
    _rewritten(tmp_path, damage.change)
    with pytest.raises(ArtefactError) as caught:
        load(tmp_path, algorithm=case.algorithm, network=case.network)
    assert "the alignment's record is damaged" in str(caught.value)
    assert damage.text in str(caught.value)


def test_records_of_before_there_were_settings_are_read(case: Planted, tmp_path: Path) -> None:
    claim = case.claim.with_maps([rotation(random_raw(WIDTH, 2, 0))])
    save(claim, tmp_path)
    _rewritten(tmp_path, lambda g: g.pop("settings"))
    again = load(tmp_path, algorithm=case.algorithm, network=case.network)
    assert torch.equal(
        again.subspace(case.algorithm["left"]).reader, claim.subspace(case.algorithm["left"]).reader
    )
