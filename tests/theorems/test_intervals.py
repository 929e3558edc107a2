"""What the intervals promise: gates that no miss helps, and coverage, each with its inverse."""

from __future__ import annotations

import importlib.util
import math
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from commutes.stats import clopper_pearson, lower_bound, rate, upper_bound

ROOT = Path(__file__).resolve().parents[2]


def _load(path):
    spec = importlib.util.spec_from_file_location("bench_coverage", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look their module up.
    spec.loader.exec_module(module)
    return module


coverage = _load(ROOT / "bench" / "coverage.py")


@st.composite
def samples(draw):
    """Hits over few inputs: repeated pairs, pairs of an input with itself, up to four members, hubs."""
    n, width, ids = draw(st.integers(2, 24)), draw(st.integers(1, 4)), draw(st.integers(1, 10))
    members = draw(arrays(np.int64, (n, width), elements=st.integers(-1, ids - 1)))
    members[:, 0] = np.abs(members[:, 0])
    if draw(st.booleans()):
        # Some pairs of their own beside the crowd, so that the cover is larger than a few.
        alone = np.full((draw(st.integers(1, 40)), width), -1)
        alone[:, 0] = 1_000 + np.arange(len(alone))
        members = np.concatenate([members, alone])
    hits = draw(arrays(np.bool_, len(members)))
    return hits, members, draw(st.sampled_from([0.001, 0.05, 0.25]))


@settings(max_examples=150, deadline=None)
@given(samples())
def test_one_more_miss_never_raises_a_bound(sample):
    hits, members, alpha = sample
    lower, upper = lower_bound(hits, members, alpha=alpha), upper_bound(hits, members, alpha=alpha)
    assert 0 <= lower <= hits.mean() <= upper <= 1
    for d in np.flatnonzero(hits):
        missed = hits.copy()
        missed[d] = False
        assert lower_bound(missed, members, alpha=alpha) <= lower + 1e-12
        assert upper_bound(missed, members, alpha=alpha) <= upper + 1e-12


@settings(max_examples=100, deadline=None)
@given(samples(), st.integers(0, 5))
def test_nor_does_it_across_the_border_of_the_joint_maximum(sample, border):
    # Small samples never reach the border; here it lies within them.
    hits, members, alpha = sample
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("commutes.stats._dyadic._JOINTLY", border)
        lower = lower_bound(hits, members, alpha=alpha)
        for d in np.flatnonzero(hits):
            missed = hits.copy()
            missed[d] = False
            assert lower_bound(missed, members, alpha=alpha) <= lower + 1e-12


@settings(max_examples=100, deadline=None)
@given(samples())
def test_bounds_are_never_better_than_G_of_G(sample):
    hits, members, alpha = sample
    result = rate(hits, members, alpha=alpha)
    exact = clopper_pearson(result.clusters, result.clusters, alpha=alpha)[0]
    assert result.lower <= exact + 1e-12
    assert result.upper >= 1 - exact - 1e-12
    assert 0 <= result.low <= result.rate <= result.high <= 1


@settings(max_examples=100, deadline=None)
@given(samples())
def test_bounds_are_never_better_than_the_plain_ones(sample):
    hits, members, alpha = sample
    assert lower_bound(hits, members, alpha=alpha) <= coverage.plain_bound(hits, members, alpha) + 1e-12


def test_the_plain_bound_is_raised_by_a_miss():
    # The inverse: every pair of one much used input hits, so a miss among them makes the inputs more alike.
    members = np.full((130, 2), 0)
    members[:, 0] = np.arange(130) + 1
    members[30:, 1] = -1
    hits = np.arange(130) % 2 == 0
    hits[:30] = True
    missed = hits.copy()
    missed[0] = False
    assert coverage.plain_bound(missed, members) > coverage.plain_bound(hits, members) + 1e-4
    assert lower_bound(missed, members) <= lower_bound(hits, members)


def test_hits_and_misses_are_mirrors():
    rng = np.random.default_rng(0)
    hits, members = rng.random(300) < 0.8, rng.integers(0, 30, (300, 2))
    one, other = rate(hits, members), rate(~hits, members)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))
    assert (one.lower, one.upper) == pytest.approx((1 - other.upper, 1 - other.lower))


REPETITIONS = 250
# Three Monte-Carlo errors of a coverage of .95 beside the range that the full simulation must keep.
SLACK = 3 * math.sqrt(0.95 * 0.05 / REPETITIONS)


@cache
def simulated(design):
    return coverage.simulate(design, 0.9, (0.25, 0.25), repetitions=REPETITIONS, seed=1)


@pytest.mark.parametrize("design", coverage.DESIGNS, ids=lambda design: design.key)
def test_coverage(design):
    row = simulated(design)
    assert 0.90 - SLACK <= row.covered <= 0.98 + SLACK
    assert row.lower_wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / REPETITIONS)
    if design.key == "disjoint":
        assert row.wilson >= 0.90 - SLACK
    else:
        # The inverse: an interval that takes the pairs for independent visibly does not cover.
        assert row.wilson < 0.75


def test_roles_that_are_kept_apart_do_not_cover_a_common_effect():
    row = simulated(coverage.DESIGNS[-1])
    assert row.roles_apart < row.covered - 0.05
    assert row.roles_apart < 0.90


def stored():
    return (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")


def stored_rows(heading):
    section = stored().split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = {line.split("|")[1].strip(): line for line in section.splitlines() if line.startswith("| ")}
    return {key: line for key, line in rows.items() if key != "design"}


@pytest.mark.parametrize("heading", [heading for heading, truth, _ in coverage.SETTINGS if truth <= 0.9])
def test_the_stored_table_keeps_its_promise(heading):
    for line in stored_rows(heading).values():
        assert 0.90 <= float(line.split("|")[2]) <= 0.98


def test_the_stored_table_has_all_six_designs():
    assert list(stored_rows(coverage.SETTINGS[0][0])) == [design.key for design in coverage.DESIGNS]
    assert len(coverage.DESIGNS) == 6


def test_the_stored_table_is_made_by_the_stored_command():
    assert f"--repetitions {coverage.REPETITIONS} --seed {coverage.SEED}`" in stored()
    assert coverage.REPETITIONS >= 2_000


@pytest.mark.slow
@pytest.mark.parametrize("key", ["20 x 20", "disjoint"])
def test_a_stored_row_comes_out_again(key):
    heading, truth, effects = coverage.SETTINGS[0]
    design = next(design for design in coverage.DESIGNS if design.key == key)
    row = coverage.simulate(design, truth, effects, repetitions=coverage.REPETITIONS, seed=coverage.SEED)
    assert coverage.table_row(design, row) == stored_rows(heading)[key]
