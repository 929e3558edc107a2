"""Refits are kept by what decides them, and what decides them is all of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import commutes.robustness._refits as module
from commutes.robustness import refits
from commutes.training import Settings
from tests.planted import planted

FAST = Settings(steps=4, batch=16, starts=1, every=4)


@pytest.fixture(scope="module")
def case():
    return planted(8)


@pytest.fixture
def fits(monkeypatch):
    """Counts the batches that are fitted."""
    found = []
    real = module.fit_many

    def counted(alignments, *args, **options):
        found.append(len(alignments))
        return real(alignments, *args, **options)

    monkeypatch.setattr(module, "fit_many", counted)
    return found


def done(case, folder, *, count=2, settings=FAST, seed=0, parts=None):
    train, select, test = parts or case.parts
    claim = case.claim.under(case.claim.algorithm)
    return refits(
        [claim] * count, [train] * count, [select] * count, [test] * count,
        settings=settings, seed=list(range(seed, seed + count)), folder=folder,
    )  # fmt: skip


def test_what_was_fitted_is_not_fitted_again_and_is_the_same(case, tmp_path, fits):
    first, again = (done(case, tmp_path) for _ in range(2))
    plain = done(case, None)
    assert fits == [2, 2]
    for one, two, three in zip(first, again, plain, strict=True):
        for other in (two, three):
            np.testing.assert_array_equal(one.hits, other.hits)
            assert one.forward_passes == other.forward_passes
            assert (one.fitted, one.overall) == (other.fitted, other.overall)
            for a, b in zip(one.alignment.featurizers, other.alignment.featurizers, strict=True):
                assert (a.reader == b.reader).all()
        np.testing.assert_array_equal(one.alignment.fitted_ids, two.alignment.fitted_ids)


def test_whatever_decides_a_refit_makes_it_another(case, tmp_path, fits):
    train, select, test = case.parts
    done(case, tmp_path)
    for changes in (
        {"seed": 1},
        {"count": 1},
        {"settings": replace(FAST, lr=0.02)},
        {"parts": (train.replicate(5), select, test)},
        {"parts": (train, select.replicate(5), test)},
    ):
        before = len(fits)
        done(case, tmp_path, **changes)
        assert len(fits) == before + 1, changes
    # What it is measured on is no part of it.
    done(case, tmp_path, parts=(train, select, test.replicate(5)))
    assert len(fits) == 6  # the first, and one for each change


def test_one_that_is_damaged_is_fitted_again(case, tmp_path, fits):
    done(case, tmp_path)
    (path, *_) = sorted(tmp_path.glob("*/*/alignment.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done(case, tmp_path)
    done(case, tmp_path)
    assert fits == [2, 2]
