from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commutes.errors import AlignmentError
from commutes.features import BIORTHOGONAL, Neurons, Subspace, orthonormal, random_raw, rotation

D, K = 7, 3


def _raw(d: int = D, k: int = K, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return random_raw(d, k, seed, dtype=dtype)


def _oblique(seed: int = 0) -> Subspace:
    reader, other = _raw(seed=seed), _raw(seed=seed + 1)
    return Subspace(reader, other @ torch.linalg.inv(reader.T @ other))


KINDS = {"orthogonal": lambda: rotation(_raw()), "oblique": _oblique}


def _states(seed: int = 5, n: int = 11, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, 2, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_swap_the_subspace_reads_the_sources_coordinates(kind: str) -> None:
    subspace, base, source = KINDS[kind](), _states(), _states(6)
    after = subspace.swap(base, source)
    assert (subspace.read(after) - subspace.read(source)).abs().max() < 1e-12
    assert (subspace.read(base) - subspace.read(source)).abs().max() > 0.1
    # The change lies in the written space, so that nothing else moves.
    change = (after - base).reshape(-1, D)
    assert int(torch.linalg.matrix_rank(change)) == K
    assert int(torch.linalg.matrix_rank(torch.cat([change, subspace.writer.T]))) == K


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_swapping_a_state_with_itself_is_the_state_bit_for_bit(kind: str, dtype: torch.dtype) -> None:
    states = _states(dtype=dtype) * 1e3
    for subspace in (KINDS[kind](), Subspace(KINDS[kind]().reader.float(), KINDS[kind]().writer.float())):
        after = subspace.swap(states, states)
        assert after.dtype == dtype
        assert torch.equal(after, states)


def test_swapping_all_of_the_space_is_the_source_and_swapping_back_is_the_base() -> None:
    everything, base, source = rotation(_raw(D, D)), _states(), _states(6)
    assert (everything.swap(base, source) - source).abs().max() < 1e-12
    part = rotation(_raw())
    there = part.swap(base, source)
    assert (part.swap(there, base) - base).abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_erasing_twice_is_erasing_once(kind: str) -> None:
    subspace, states = KINDS[kind](), _states()
    once = subspace.erase(states)
    assert subspace.read(once).abs().max() < 1e-11
    assert subspace.read(states).abs().max() > 0.1
    assert (subspace.erase(once) - once).abs().max() < 1e-11


def test_states_of_another_precision_are_read_in_the_readers_and_stay_in_their_own() -> None:
    subspace = rotation(_raw())
    states = _states(dtype=torch.float32)
    assert subspace.read(states).dtype == torch.float64
    assert subspace.erase(states).dtype == torch.float32


def test_nothing_is_written_in_place() -> None:
    subspace, base, source = rotation(_raw()), _states(), _states(6)
    kept = base.clone(), source.clone(), subspace.reader.clone()
    subspace.swap(base, source)
    subspace.erase(base)
    assert torch.equal(base, kept[0])
    assert torch.equal(source, kept[1])
    assert torch.equal(subspace.reader, kept[2])


# Centre, steering, projector, complement.


@pytest.mark.parametrize("kind", KINDS)
def test_erasure_puts_every_state_where_the_centre_is(kind: str) -> None:
    centre = _raw(D, 1, seed=9)[:, 0]
    plain, centred = KINDS[kind](), KINDS[kind]().centred(centre)
    states = _states()
    once = centred.erase(states)
    assert (centred.read(once) - centred.read(centre)).abs().max() < 1e-11
    assert (plain.erase(states) - once).abs().max() > 0.1
    # In the words of LEACE: h - P (h - mu).
    expected = states - (states - centre) @ centred.projector().T
    assert (once - expected).abs().max() < 1e-11
    assert torch.equal(centred.centred(None).erase(states), plain.erase(states))
    # The mean of states with that mean stays where it is.
    moved = states - states.mean(dim=(0, 1)) + centre
    assert (centred.erase(moved).mean(dim=(0, 1)) - centre).abs().max() < 1e-11


@pytest.mark.parametrize("kind", KINDS)
def test_steering_moves_the_coordinates_by_what_is_asked(kind: str) -> None:
    subspace, states = KINDS[kind](), _states()
    by = torch.tensor([0.5, 0.0, -2.0])
    after = subspace.steer(states, by)
    assert (subspace.read(after) - subspace.read(states) - by).abs().max() < 1e-11
    assert (subspace.complement().read(after) - subspace.complement().read(states)).abs().max() < 1e-10
    own = subspace.read(_states(6)) - subspace.read(states)
    assert (subspace.steer(states, own) - subspace.swap(states, _states(6))).abs().max() < 1e-11
    assert subspace.steer(states.float(), by).dtype == torch.float32
    assert torch.equal(subspace.steer(states, 2), subspace.steer(states, torch.full((3,), 2.0)))
    with pytest.raises(AlignmentError, match="a move has a number for every coordinate"):
        subspace.steer(states, by[:2])


@pytest.mark.parametrize("kind", KINDS)
def test_projectors_of_a_subspace_and_its_complement(kind: str) -> None:
    subspace = KINDS[kind]()
    rest = subspace.complement()
    assert rest.dimension == D - K
    mine, other = subspace.projector(), rest.projector()
    assert (mine @ mine - mine).abs().max() < 1e-11
    assert (mine + other - torch.eye(D)).abs().max() < 1e-10
    assert (mine @ other).abs().max() < 1e-10
    assert rest.defect() < 1e-10
    # An orthogonal pair's complement is orthogonal, an oblique one's is not: its reader is not its writer.
    assert (rest.reader is rest.writer) == (kind == "orthogonal")
    assert (mine - mine.T).abs().max() < 1e-12 if kind == "orthogonal" else (mine - mine.T).abs().max() > 0.1


def test_the_complement_of_everything_is_nothing() -> None:
    nothing, states = rotation(_raw(D, D)).complement(), _states()
    assert nothing.dimension == 0
    assert torch.equal(nothing.swap(states, _states(6)), states)


def test_the_centre_goes_where_the_subspace_goes() -> None:
    centre = torch.arange(D).double()
    subspace = _oblique().centred(centre)
    for other in (subspace[1:], subspace.complement(), subspace.to(dtype=torch.float64)):
        assert other.centre is not None
        assert torch.equal(other.centre, centre)


def test_moving_to_another_precision_and_device() -> None:
    subspace = _oblique().centred(torch.ones(D))
    single = subspace.to(dtype=torch.float32)
    assert {t.dtype for t in single.tensors().values()} == {torch.float32}
    assert {t.device.type for t in subspace.to(device="meta").tensors().values()} == {"meta"}
    assert subspace.reader.dtype == torch.float64
    orthogonal = rotation(_raw()).to(dtype=torch.float32)
    assert orthogonal.reader is orthogonal.writer
    part = orthogonal[:2]
    assert part.reader is part.writer


def test_tensors_and_back() -> None:
    for subspace in (_oblique(), _oblique().centred(torch.ones(D)), rotation(_raw())):
        again = Subspace.from_tensors(subspace.tensors())
        assert torch.equal(again.reader, subspace.reader)
        assert torch.equal(again.writer, subspace.writer)
        assert (again.centre is None) == (subspace.centre is None)
        assert (again.reader is again.writer) == (subspace.reader is subspace.writer)


# Angles.


def test_angles_between_what_is_read_and_between_what_is_written() -> None:
    one = _oblique()
    two = Subspace(one.reader, one.writer + one.complement().writer[:, :K])
    assert two.defect() < 1e-10
    assert one.angles(two, of="reader").max() < 1e-7
    assert one.angles(two).max() > 0.1


def test_spaces_of_different_widths_make_no_angle() -> None:
    with pytest.raises(AlignmentError) as caught:
        rotation(_raw()).angles(rotation(_raw(5)))
    assert str(caught.value) == (
        "subspaces of different spaces make no angle\n"
        "  got:      states of 7 and of 5 coordinates\n"
        "  expected: one width"
    )


def test_a_space_makes_no_angle_with_itself_however_it_is_written() -> None:
    subspace = rotation(_raw())
    mixed = Subspace(subspace.reader, subspace.writer @ _raw(K, K, seed=8))
    assert subspace.angles(subspace).abs().max() < 1e-7
    assert subspace.angles(mixed).abs().max() < 1e-7


def test_complements_are_at_right_angles() -> None:
    whole = rotation(_raw(D, D))
    angles = whole[:3].angles(whole[3:])
    assert angles.shape == (3,)
    assert (angles - math.pi / 2).abs().max() < 1e-7


@pytest.mark.parametrize("angle", [1e-9, 1e-5, 0.3, 1.2, math.pi / 2 - 1e-9])
def test_a_known_angle(angle: float) -> None:
    one = torch.eye(4, dtype=torch.float64)[:, :2]
    other = one.clone()
    other[:, 1] = torch.tensor([0, math.cos(angle), math.sin(angle), 0], dtype=torch.float64)
    found = Subspace(one, one).angles(Subspace(other, other))
    assert found[0].abs() < 1e-12
    assert abs(float(found[1]) - angle) < 1e-12


def test_a_space_within_a_larger_one() -> None:
    whole = rotation(_raw(D, 5))
    assert whole.angles(whole[:2]).abs().max() < 1e-7
    assert torch.equal(whole.angles(whole[:2]), whole[:2].angles(whole))


def test_angles_agree_with_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    one, other = rotation(_raw(seed=1)), rotation(_raw(k=2, seed=2))
    expected = sorted(linalg.subspace_angles(one.writer.numpy(), other.writer.numpy()))
    assert (one.angles(other) - torch.tensor(expected)).abs().max() < 1e-12


# EᵀD = I.


def test_the_defect_of_good_maps_is_rounding() -> None:
    assert all(make().defect() < 1e-12 for make in KINDS.values())
    wide = rotation(_raw(512, 64, dtype=torch.float32))
    assert wide.defect() < BIORTHOGONAL
    assert wide.checked("here") is wide


def test_reader_and_writer_that_are_not_biorthogonal() -> None:
    good = rotation(_raw())
    bad = Subspace(good.reader, good.writer * 1.25)
    with pytest.raises(AlignmentError) as caught:
        bad.checked("alignment.safetensors, left")
    assert str(caught.value) == (
        "reader and writer are not biorthogonal\n"
        "  where:    alignment.safetensors, left\n"
        "  got:      max |EᵀD - I| = 0.25\n"
        "  expected: at most 0.0001\n"
        "  do:       fit again, or restore the file from its source"
    )


def test_a_map_that_is_not_a_number_is_not_biorthogonal() -> None:
    good = rotation(_raw())
    with pytest.raises(AlignmentError, match="nan"):
        Subspace(good.reader, good.writer * math.nan).checked("here")


def test_columns_are_chosen() -> None:
    whole = rotation(_raw(D, 5))
    assert whole.dimension == 5
    for index, columns in [(2, [2]), (slice(1, 3), [1, 2]), ([4, 0], [4, 0])]:
        part = whole[index]
        assert torch.equal(part.reader, whole.reader[:, columns])
        assert torch.equal(part.writer, whole.writer[:, columns])


# The sign-fixed QR.


@given(d=st.integers(1, 9), k=st.integers(1, 9), seed=st.integers(0, 10**6))
@settings(deadline=None, derandomize=True)
def test_the_basis_is_orthonormal_and_its_triangle_has_a_positive_diagonal(d: int, k: int, seed: int) -> None:
    k = min(d, k)
    raw = _raw(d, k, seed)
    q = orthonormal(raw)
    assert (q.T @ q - torch.eye(k, dtype=torch.float64)).abs().max() < 1e-10
    triangle = q.T @ raw
    assert (triangle.tril(-1)).abs().max() < 1e-9
    assert (torch.diagonal(triangle) > 0).all()


def test_without_the_signs_the_diagonal_would_be_negative_somewhere() -> None:
    raw = torch.stack([_raw(seed=s) for s in range(8)])
    r = torch.linalg.qr(raw).R
    assert (torch.diagonal(r, dim1=-2, dim2=-1) < 0).any()


def test_the_basis_is_unique_and_continuous() -> None:
    q = orthonormal(_raw())
    assert (orthonormal(q) - q).abs().max() < 1e-12
    triangle = torch.eye(K, dtype=torch.float64) + torch.triu(_raw(K, K, seed=3).abs())
    assert (orthonormal(q @ triangle) - q).abs().max() < 1e-12
    flipped = q @ torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))
    assert (orthonormal(flipped) - flipped).abs().max() < 1e-12
    assert (orthonormal(_raw() + 1e-9) - q).abs().max() < 1e-7


def test_several_bases_at_once() -> None:
    raws = torch.stack([_raw(seed=s) for s in range(4)])
    together = orthonormal(raws)
    for raw, q in zip(raws, together, strict=True):
        assert (orthonormal(raw) - q).abs().max() < 1e-12


def test_its_gradient_is_right_and_finite() -> None:
    raw = _raw().requires_grad_()
    assert torch.autograd.gradcheck(orthonormal, (raw,))
    already = orthonormal(_raw()).detach().requires_grad_()
    (grad,) = torch.autograd.grad((orthonormal(already) ** 3).sum(), already)
    assert torch.isfinite(grad).all()
    single = _raw().float().detach().requires_grad_()
    (grad,) = torch.autograd.grad((orthonormal(single) ** 3).sum(), single)
    assert torch.isfinite(grad).all()


def test_a_rotation_of_a_raw_parameter_reads_and_writes_with_one_basis() -> None:
    subspace = rotation(_raw())
    assert subspace.reader is subspace.writer


def test_a_random_subspace_depends_on_its_seed_alone() -> None:
    state = torch.get_rng_state()
    assert torch.equal(_raw(seed=4), _raw(seed=4))
    assert not torch.equal(_raw(seed=4), _raw(seed=5))
    assert torch.equal(_raw(seed=4).float(), _raw(seed=4, dtype=torch.float32))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_random_subspace_is_uniform_over_directions() -> None:
    # The share of a fixed direction that lies in it is k/d on average: standard error here is below .004.
    shares = [float((orthonormal(_raw(10, 3, seed))[0] ** 2).sum()) for seed in range(2000)]
    assert abs(sum(shares) / 2000 - 0.3) < 0.016


# Neurons.


def test_neurons_are_read_and_written_exactly() -> None:
    map = Neurons(torch.tensor([4, 1]))
    base, source = _states(), _states(6)
    old, new = map.read(base), map.read(source)
    assert torch.equal(old, base[..., [4, 1]])
    after = map.write(base, old, new)
    assert torch.equal(after[..., [4, 1]], source[..., [4, 1]])
    rest = [0, 2, 3, 5, 6]
    assert torch.equal(after[..., rest], base[..., rest])
    assert torch.equal(map.write(base, old, old), base)
    assert not torch.equal(after, base)
    assert torch.equal(map.complement(D).index, torch.tensor(rest))
    erased = map.erase(base)
    assert not erased[..., [4, 1]].any()
    assert torch.equal(erased[..., rest], base[..., rest])
    assert torch.equal(Neurons.from_tensors(map.tensors()).index, map.index)


@pytest.mark.parametrize(
    ("reader", "writer"), [((4, 2), (4, 1)), ((4, 2), (5, 2)), ((4,), (4,)), ((2, 3), (2, 3))]
)
def test_matrices_that_make_no_subspace_are_refused(reader: tuple[int, ...], writer: tuple[int, ...]) -> None:
    with pytest.raises(AlignmentError) as caught:
        Subspace(torch.ones(reader), torch.ones(writer))
    assert str(caught.value) == (
        "reader and writer make no subspace\n"
        f"  got:      reader {reader}, writer {writer}\n"
        "  expected: two matrices (d, k) of one shape, k at most d"
    )
