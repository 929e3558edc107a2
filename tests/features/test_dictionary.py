from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from commutes.errors import AlignmentError
from commutes.features import Latents, SparseAutoencoder, orthonormal, random_raw, swap

D, M = 4, 9


def _dictionary(**options: object) -> SparseAutoencoder:
    encoder, decoder = random_raw(D, M, 0, dtype=torch.float64), random_raw(M, D, 1, dtype=torch.float64)
    bias, centre = (
        random_raw(M, 1, 2, dtype=torch.float64)[:, 0],
        random_raw(D, 1, 3, dtype=torch.float64)[:, 0],
    )
    return SparseAutoencoder(encoder, 0.3 * bias, decoder, centre, centre, **options)  # type: ignore[arg-type]


def _states(seed: int = 5) -> torch.Tensor:
    return random_raw(11, D, seed, dtype=torch.float64)


def _by_hand(d: SparseAutoencoder, h: list[float]) -> list[float]:
    """The latents of one state, number by number."""
    found = []
    for j in range(M):
        a = sum((h[i] - float(d.before[i])) * float(d.encoder[i, j]) for i in range(D)) + float(
            d.encoder_bias[j]
        )
        keep = a > 0 and (d.threshold is None or a > float(d.threshold[j]))
        found.append(a if keep else 0.0)
    if d.largest is not None:
        least = sorted(found)[-d.largest]
        found = [a if a >= least else 0.0 for a in found]
    return found


@pytest.mark.parametrize(
    "options",
    [{}, {"threshold": torch.full((M,), 0.8).double()}, {"largest": 3}],
    ids=["relu", "jumprelu", "topk"],
)
def test_latents_are_those_of_the_formula(options: dict[str, object]) -> None:
    dictionary, states = _dictionary(**options), _states()
    for state in states:
        wanted = torch.tensor(_by_hand(dictionary, state.tolist())).double()
        assert torch.allclose(dictionary.encode(state), wanted)
    assert bool((dictionary.encode(states) == 0).any())
    latents = dictionary.encode(states)
    assert torch.allclose(dictionary.decode(latents), latents @ dictionary.decoder + dictionary.decoder_bias)


def test_a_swap_moves_the_chosen_latents_and_keeps_the_reconstruction_error() -> None:
    dictionary, base, source = _dictionary(), _states(), _states(6)
    map = Latents(dictionary, torch.tensor([2, 7]), torch.float64)
    after = swap(map, base, source)
    ours, theirs = dictionary.encode(base), dictionary.encode(source)
    mixed = ours.clone()
    mixed[:, [2, 7]] = theirs[:, [2, 7]]
    error = base - dictionary.decode(ours)
    assert float(error.abs().max()) > 0.1
    assert torch.allclose(after, dictionary.decode(mixed) + error)


def test_swapping_all_latents_keeps_the_bases_error() -> None:
    dictionary, base, source = _dictionary(), _states(), _states(6)
    after = swap(Latents(dictionary, torch.arange(M), torch.float64), base, source)
    error = base - dictionary.decode(dictionary.encode(base))
    assert torch.allclose(after, dictionary.decode(dictionary.encode(source)) + error)
    assert not torch.allclose(after, source)


def test_drift_is_zero_for_coordinates_and_not_for_an_overcomplete_dictionary() -> None:
    basis = orthonormal(random_raw(D, 3, 0, dtype=torch.float64))
    flat = SparseAutoencoder(
        basis,
        torch.full((3,), 50.0).double(),
        basis.T.contiguous(),
        torch.zeros(D).double(),
        torch.zeros(D).double(),
    )
    chosen = torch.tensor([0, 2])
    # With so large a bias no latent is ever at its threshold: the dictionary is linear.
    assert Latents(flat, chosen, torch.float64).drift(_states(), _states(6)) < 1e-10
    assert Latents(_dictionary(), chosen, torch.float64).drift(_states(), _states(6)) > 0.05
    assert math.isnan(Latents(_dictionary(), chosen, torch.float64).drift(_states(), _states()))


class Module(nn.Module):
    """A dictionary of someone else's."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(D, M), nn.Linear(M, D)

    def encode(self, state: torch.Tensor) -> torch.Tensor:
        return self.up(state).relu()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.down(latents)


def test_any_object_with_encode_and_decode_is_a_dictionary() -> None:
    module = Module()
    map = Latents(module, torch.tensor([1, 4]))
    base, source = _states().float(), _states(6).float()
    with torch.no_grad():
        assert torch.equal(swap(map, base, base), base)
        after = swap(map, base, source)
        mixed = module.encode(base)
        mixed[:, [1, 4]] = module.encode(source)[:, [1, 4]]
        assert torch.allclose(
            after, base + module.decode(mixed) - module.decode(module.encode(base)), atol=1e-6
        )
        # It computes in its own precision and gives the states back in theirs.
        assert swap(map, base.double(), source.double()).dtype == torch.float64
        assert map.read(base.double()).dtype == torch.float32


def test_moving_leaves_the_callers_dictionary_where_it_was() -> None:
    module = Module()
    moved = Latents(module, torch.tensor([1])).to(dtype=torch.float64)
    assert module.up.weight.dtype == torch.float32
    with torch.no_grad():
        assert moved.read(_states()).dtype == torch.float64
    stays = Latents(module, torch.tensor([1])).to()
    assert stays.dtype == torch.float32

    class Plain:
        encode = decode = staticmethod(lambda state: state)

    with pytest.raises(AlignmentError) as caught:
        Latents(Plain(), torch.tensor([0])).to(dtype=torch.float64)
    assert "the dictionary cannot be moved\n  got:      a Plain without .to" in str(caught.value)


# Refusals.


def test_states_of_another_width() -> None:
    with pytest.raises(AlignmentError) as caught:
        _dictionary().encode(torch.zeros(2, 5))
    assert str(caught.value) == (
        "the dictionary was made for states of another width\n"
        "  got:      states of 5 numbers\n"
        "  expected: states of 4"
    )


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"decoder": torch.zeros(M, 5)}, "decoder"),
        ({"encoder_bias": torch.zeros(D)}, "encoder bias"),
        ({"decoder_bias": torch.zeros(M)}, "decoder bias"),
        ({"before": torch.zeros(1)}, "bias before encoding"),
        ({"threshold": torch.zeros(D)}, "threshold"),
    ],
    ids=str,
)
def test_parts_that_do_not_fit_together(change: dict[str, torch.Tensor], where: str) -> None:
    with pytest.raises(AlignmentError) as caught:
        SparseAutoencoder.from_tensors({**_dictionary().tensors(), **change})
    said = str(caught.value)
    assert said.startswith(f"the parts of the dictionary do not fit together\n  where:    {where}\n")
    assert "beside an encoder of shape (4, 9)" in said


@pytest.mark.parametrize("k", [0, 10])
def test_a_dictionary_keeps_some_latents(k: int) -> None:
    with pytest.raises(AlignmentError, match="keeps at least one latent and at most all"):
        _dictionary(largest=k)


def test_tensors_and_back() -> None:
    for options in ({}, {"threshold": torch.ones(M).double()}, {"largest": 2}):
        dictionary = _dictionary(**options)
        again = SparseAutoencoder.from_tensors(dictionary.tensors())
        assert torch.equal(again.encode(_states()), dictionary.encode(_states()))
        assert again.largest == dictionary.largest
        assert dictionary.to(dtype=torch.float32).encode(_states()).dtype == torch.float32
