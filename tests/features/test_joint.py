from __future__ import annotations

import pytest
import torch

from commutes.errors import AlignmentError
from commutes.features import Subspace, joint, random_raw, rotation, stacked

D = 9


def _oblique(k: int, seed: int) -> Subspace:
    reader = random_raw(D, k, seed, dtype=torch.float64)
    other = random_raw(D, k, seed + 50, dtype=torch.float64)
    return Subspace(reader, other @ torch.linalg.inv(reader.T @ other))


def _three() -> list[Subspace]:
    return [
        _oblique(2, 0).centred(torch.ones(D)),
        rotation(random_raw(D, 3, 1, dtype=torch.float64)),
        _oblique(1, 2),
    ]


def test_joined_subspaces_leave_each_other_alone_and_separate_ones_did_not() -> None:
    before, after = _three(), joint(_three())
    for i, one in enumerate(after):
        assert torch.equal(one.reader, before[i].reader)
        for j, other in enumerate(after):
            wanted = (
                torch.eye(one.dimension).double() if i == j else torch.zeros(one.dimension, other.dimension)
            )
            assert (one.reader.T @ other.writer - wanted).abs().max() < 1e-10
            if i != j:
                assert (before[i].reader.T @ before[j].writer).abs().max() > 0.01


def test_writing_one_no_longer_moves_what_another_reads() -> None:
    base, source = random_raw(20, D, 7, dtype=torch.float64), random_raw(20, D, 8, dtype=torch.float64)
    for subspaces, leak in ((_three(), True), (joint(_three()), False)):
        one, other = subspaces[:2]
        moved = other.read(one.swap(base, source)) - other.read(base)
        assert (moved.abs().max() > 0.01) == leak


def test_what_is_written_stays_in_the_span_of_the_writers() -> None:
    before = torch.cat([s.writer for s in _three()], dim=1)
    after = torch.cat([s.writer for s in joint(_three())], dim=1)
    assert int(torch.linalg.matrix_rank(torch.cat([before, after], dim=1))) == before.shape[1]


def test_subspaces_that_are_disjoint_already_stay_as_they_are() -> None:
    whole = rotation(random_raw(D, D, 3, dtype=torch.float64))
    parts = [whole[:2], whole[2:5]]
    for old, new in zip(parts, joint(parts), strict=True):
        assert (old.writer - new.writer).abs().max() < 1e-12
    assert [s.centre is None for s in joint(_three())] == [False, True, True]


def test_they_are_stacked_in_order() -> None:
    parts = joint(_three())
    together = stacked(parts)
    assert together.dimension == 6
    assert together.defect() < 1e-10
    assert torch.equal(together[2:5].reader, parts[1].reader)
    assert torch.equal(together[5].writer, parts[2].writer)
    whole = rotation(random_raw(D, 4, 3, dtype=torch.float64))
    one = stacked([whole])
    assert one.reader is one.writer


def test_stacking_what_leaks_is_refused() -> None:
    with pytest.raises(AlignmentError) as caught:
        stacked(_three())
    assert "the subspaces leak into each other" in str(caught.value)
    assert "stack joint(subspaces)" in str(caught.value)


@pytest.mark.parametrize("angle", [0.0, 1e-6])
def test_overlapping_subspaces_are_refused(angle: float) -> None:
    one = rotation(random_raw(D, 2, 1, dtype=torch.float64))
    raw = one.reader.clone()
    raw[:, 1] += angle * random_raw(D, 1, 2, dtype=torch.float64)[:, 0]
    with pytest.raises(AlignmentError) as caught:
        joint([one, rotation(raw)])
    said = str(caught.value)
    assert said.startswith("the subspaces overlap\n  got:      EᵀD over all of them has condition number ")
    assert "expected: at most 1000" in said
    assert "ask for fewer dimensions" in said


def test_more_dimensions_than_the_site_has() -> None:
    with pytest.raises(AlignmentError) as caught:
        joint([_oblique(5, 0), _oblique(5, 1)])
    assert str(caught.value) == (
        "more dimensions are asked for than the site has\n"
        "  got:      5 + 5 = 10\n"
        "  expected: at most 9 together\n"
        "  do:       give the variables fewer dimensions, or align with a wider site"
    )


def test_subspaces_of_different_sites_or_none() -> None:
    with pytest.raises(AlignmentError, match="states of different widths"):
        joint([_oblique(1, 0), rotation(random_raw(4, 1, 0, dtype=torch.float64))])
    with pytest.raises(AlignmentError, match="there is nothing to join"):
        joint([])
