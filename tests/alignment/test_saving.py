"""Alignments on disk: back as they were, or refused with the reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from commutes import Alignment, Coordinates, Network, Rotation, evaluate, load, save
from commutes.errors import AlignmentError, ArtefactError
from commutes.features import Subspace
from tests.planted import equality, exact, joined, planted, settled


@pytest.fixture(scope="module")
def case():
    case = planted()
    return case, settled(case.claim, case.parts, [case.truth])


def reloaded(folder, case) -> Alignment:
    return load(folder, algorithm=case.algorithm, network=case.network)


def refused(folder, case, *, algorithm=None, network=None) -> str:
    with pytest.raises(ArtefactError) as error:
        load(folder, algorithm=algorithm or case.algorithm, network=network or case.network)
    return str(error.value)


def rewritten(folder, **changes) -> None:
    path = folder / "alignment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_claim_comes_back_bit_for_bit(case, tmp_path):
    case, claim = case
    assert save(claim, tmp_path / "a b ü%") == tmp_path / "a b ü%"
    back = reloaded(tmp_path / "a b ü%", case)
    assert [v.name for v in back.variables] == ["left", "right"]
    for old, new in zip(claim.featurizers, back.featurizers, strict=True):
        assert torch.equal(old.reader, new.reader)
        assert torch.equal(old.writer, new.writer)
    assert np.array_equal(back.fitted_ids, claim.fitted_ids)
    assert np.array_equal(back.selected_ids, claim.selected_ids)
    assert back.fitted_ids.dtype == np.uint64
    assert dict(back.history) == json.loads(json.dumps(claim.history))
    first, second = evaluate(claim, case.parts[2]), evaluate(back, case.parts[2])
    assert first.record() == second.record()


def test_what_a_reloaded_claim_was_fitted_on_is_still_refused(case, tmp_path):
    case, claim = case
    save(claim, tmp_path)
    with pytest.raises(Exception, match="the alignment was fitted on these inputs"):
        evaluate(reloaded(tmp_path, case), case.parts[0])
    assert evaluate(reloaded(tmp_path, case), case.parts[1]).label == "selection, optimistic"


def test_neurons_and_rotations_at_places_of_every_kind_come_back(tmp_path):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(1, 4)
            self.up = nn.Linear(4, 8)
            self.head = nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.zeros(len(x), 4)
            for i in range(4):
                h = self.cell(x[:, i : i + 1], h)
            return self.head(torch.tanh(self.up(h)))

    algorithm = equality(3)
    network = Network(Net(), encode=joined, answers=[False, True])
    spans = network.site("cell", call=1) + network.site("cell", call=3, part=[0, 2])
    rotation, x = Rotation(spans), Coordinates(network.site("up", part=slice(1, 7, 2), side="output"))
    claim = Alignment(algorithm, {algorithm["right"]: x[[2, 0]], algorithm["left"]: rotation[:2]})
    basis = torch.linalg.qr(torch.randn(6, 2, generator=torch.Generator().manual_seed(0))).Q
    claim = claim.with_maps([m if m is not None else Subspace(basis, basis) for m in claim.maps])
    save(claim, tmp_path)
    back = load(tmp_path, algorithm=algorithm, network=network)
    assert [v.name for v in back.variables] == ["right", "left"]
    assert [str(g.site) for g in back.groups] == [str(g.site) for g in claim.groups]
    for variable in claim.variables:
        assert torch.equal(back.subspace(variable).reader, claim.subspace(variable).reader)


def test_positions_come_back_and_functions_are_refused_before_anything_is_written(tmp_path):
    algorithm, network, _ = exact()

    def claim(**where) -> Alignment:
        return Alignment(algorithm, {algorithm["left"]: Coordinates(network.site("layers.1", **where))[0]})

    save(claim(position=[0], source_position=[-1]), tmp_path / "numbers")
    back = load(tmp_path / "numbers", algorithm=algorithm, network=network)
    (place,) = back.groups[0].site.places
    assert (place.position, place.source_position) == ([0], [-1])
    with pytest.raises(AlignmentError) as error:
        save(claim(position=lambda values: np.zeros((len(values["w"]), 1), int)), tmp_path / "function")
    assert "a position that is a function cannot be saved" in str(error.value)
    assert not (tmp_path / "function" / "alignment.safetensors").exists()


def test_an_unfitted_claim_is_not_saved(case, tmp_path):
    with pytest.raises(AlignmentError, match="not fitted"):
        save(case[0].claim, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_flipped_byte_is_found_and_both_hashes_are_printed(case, tmp_path):
    case, claim = case
    save(claim, tmp_path)
    path = tmp_path / "alignment.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    said = refused(tmp_path, case)
    wanted = json.loads((tmp_path / "alignment.json").read_text())["sha256"]
    assert "the alignment's tensors are damaged" in said
    assert f"expected: SHA-256 {wanted}" in said
    assert said.count("SHA-256") == 2
    assert str(path) in said


def test_a_map_that_is_not_biorthogonal_is_refused_by_how_much(case, tmp_path):
    from commutes.report import sha256_of

    case, claim = case
    save(claim, tmp_path)
    path = tmp_path / "alignment.safetensors"
    tensors = load_file(path)
    tensors["0.writer"] = tensors["0.writer"] * 1.5
    save_file(tensors, path)
    rewritten(tmp_path, sha256=sha256_of(path))
    said = refused(tmp_path, case)
    assert "reader and writer are not biorthogonal" in said
    assert "max |EᵀD - I| = 0.5" in said


def test_another_network_and_another_algorithm_are_named(case, tmp_path):
    case, claim = case
    save(claim, tmp_path)
    said = refused(tmp_path, case, network=planted(seed=5).network)
    assert "fitted for another network" in said
    assert claim.network.fingerprint[:12] in said
    said = refused(tmp_path, case, algorithm=equality(7))
    assert "fitted for another algorithm" in said
    assert "hierarchical equality of 6 whole numbers" in said


def test_the_same_algorithm_written_again_is_the_same(case, tmp_path):
    case, claim = case
    save(claim, tmp_path)
    again = equality(6)
    back = load(tmp_path, algorithm=again, network=case.network)
    assert list(back.slices) == [again["left"], again["right"]]


@pytest.mark.parametrize("name", ["alignment.json", "alignment.safetensors"])
@pytest.mark.parametrize("keep", [0, 1, 40])
def test_truncated_and_missing_files_are_refused(case, tmp_path, name, keep):
    case, claim = case
    save(claim, tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:keep])
    assert str(path) in refused(tmp_path, case)
    path.unlink()
    assert "there is no such file" in refused(tmp_path, case)


def test_a_huge_header_is_refused(case, tmp_path):
    from commutes.report import sha256_of

    case, claim = case
    save(claim, tmp_path)
    path = tmp_path / "alignment.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    rewritten(tmp_path, sha256=sha256_of(path))
    assert "the alignment's tensors cannot be read" in refused(tmp_path, case)


def test_a_newer_format_is_refused_by_its_number(case, tmp_path):
    case, claim = case
    save(claim, tmp_path)
    rewritten(tmp_path, format=2)
    said = refused(tmp_path, case)
    assert "written by another version" in said
    assert "got:      format 2" in said


@pytest.mark.parametrize("text", ["[]", "7", "{}", '"alignment"'])
def test_json_that_is_no_record_is_refused(case, tmp_path, text):
    case, claim = case
    save(claim, tmp_path)
    (tmp_path / "alignment.json").write_text(text)
    assert "the alignment's record is damaged" in refused(tmp_path, case)


@pytest.mark.parametrize("key", ["algorithm", "network", "groups", "variables", "history", "sha256"])
def test_a_record_without_a_key_is_refused_by_the_key(case, tmp_path, key):
    case, claim = case
    save(claim, tmp_path)
    record = json.loads((tmp_path / "alignment.json").read_text())
    del record[key]
    (tmp_path / "alignment.json").write_text(json.dumps(record))
    said = refused(tmp_path, case)
    assert "the alignment's record is damaged" in said
    assert key in said


def test_a_record_that_does_not_fit_its_tensors_is_refused(case, tmp_path):
    case, claim = case
    save(claim, tmp_path)
    record = json.loads((tmp_path / "alignment.json").read_text())
    record["groups"][0]["variables"]["left"] = [0, 2]
    rewritten(tmp_path, groups=record["groups"])
    assert "a map of shape (6, 2) for (6, 3)" in refused(tmp_path, case)
    record["groups"][0]["features"] = "crystal ball"
    rewritten(tmp_path, groups=record["groups"])
    assert "crystal ball" in refused(tmp_path, case)


def test_a_folder_that_is_a_file_is_told(case, tmp_path):
    _, claim = case
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ArtefactError, match="the folder cannot be made: there is a file of that name"):
        save(claim, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"
