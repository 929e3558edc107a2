"""Every law of the contract is broken by some featurizer, and that law's test says so."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from commutes.features import Subspace, random_raw, rotation
from commutes.testing import FeaturizerContract

LAWS = sorted(name for name in dir(FeaturizerContract) if name.startswith("test_"))


def _good() -> Subspace:
    reader = random_raw(8, 3, 0, dtype=torch.float64)
    other = random_raw(8, 3, 1, dtype=torch.float64)
    return Subspace(reader, other @ torch.linalg.inv(reader.T @ other))


@dataclass(frozen=True, eq=False)
class Map:
    """A correct featurizer whose parts can be replaced one by one."""

    inner: Subspace
    reading: Callable[..., torch.Tensor] | None = None
    writing: Callable[..., torch.Tensor] | None = None
    erasing: Callable[..., torch.Tensor] | None = None
    moving: Callable[..., Subspace] | None = None
    rest: Subspace | None = None
    stored: Callable[[dict[str, torch.Tensor]], Subspace] | None = None

    def read(self, state: torch.Tensor) -> torch.Tensor:
        return self.inner.read(state) if self.reading is None else self.reading(state)

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return self.inner.write(state, old, new) if self.writing is None else self.writing(state, old, new)

    def erase(self, state: torch.Tensor) -> torch.Tensor:
        return self.inner.erase(state) if self.erasing is None else self.erasing(state)

    def complement(self) -> Subspace:
        return self.inner.complement() if self.rest is None else self.rest

    def to(self, *, dtype: torch.dtype | None = None, device: str | None = None) -> Any:
        moved = self.inner.to(dtype=dtype, device=device)
        return moved if self.moving is None else self.moving(self.inner, dtype=dtype, device=device)


@dataclass(frozen=True, eq=False)
class Projecting(Subspace):
    """Whose projector is not the one that it uses."""

    def projector(self) -> torch.Tensor:
        return 2 * super().projector()


class Checked(FeaturizerContract):
    def __init__(self, broken: Any) -> None:
        self.broken = broken

    def featurizer(self) -> Any:
        return self.broken

    def reloaded(self, featurizer: Any) -> Any:
        if getattr(featurizer, "stored", None) is not None:
            return featurizer.stored(featurizer.inner.tensors())
        return getattr(featurizer, "inner", featurizer)


def _in_place(good: Subspace) -> Callable[..., torch.Tensor]:
    def write(state: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return state.add_(((new - old) @ good.writer.T).to(state.dtype))

    return write


def _broken() -> dict[str, Any]:
    good = _good()
    other = rotation(random_raw(8, 5, 5, dtype=torch.float64))

    def back_and_forth(state: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        # What an autoencoder without its residual does: only the reconstruction survives.
        return ((state @ good.reader + new - old) @ good.writer.T).to(state.dtype)

    def half(state: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return state + ((new - old) / 2 @ good.writer.T).to(state.dtype)

    def promoted(state: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return state + (new - old) @ good.writer.T

    def nearly(state: torch.Tensor) -> torch.Tensor:
        return 0.9 * good.erase(state) + 0.1 * state

    def rounded(state: torch.Tensor) -> torch.Tensor:
        return good.read(state.half())

    aside = torch.linalg.qr(good.reader, mode="complete").Q[:, 3:6]

    def leaking(state: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        # Where nothing is read: back again it is undone, and the same source again adds nothing.
        return good.write(state, old, new) + ((new - old) ** 3 @ aside.T).to(state.dtype)

    wide = Subspace(good.reader * 1.01, good.writer)
    return {
        "drops the residual": Map(good, writing=back_and_forth),
        "moves half the way": Map(good, writing=half),
        "gives back another precision": Map(good, writing=promoted),
        "not biorthogonal": wide,
        "reads nothing": Map(good, reading=lambda state: good.read(state) * 0),
        "writes in place": Map(good, writing=_in_place(good)),
        "erases a bit more every time": Map(good, erasing=nearly),
        "erases to the state's own": Map(good, erasing=lambda state: state),
        "a complement of another subspace": Map(good, rest=other),
        "a projector of its own": Projecting(good.reader, good.writer),
        "loses its writer in the file": Map(good, stored=lambda t: Subspace(t["reader"], t["reader"])),
        "forgets its centre in the file": Map(
            good.centred(torch.ones(8)), stored=lambda t: Subspace(t["reader"], t["writer"])
        ),
        "loses digits where it is moved": Map(
            good, moving=lambda m, **_: Subspace(m.reader.float().round(decimals=1), m.writer.float())
        ),
        "reads in half precision": Map(good, reading=rounded),
        "leaves its writer behind": Map(
            good,
            moving=lambda m, dtype, device: replace(m.to(dtype=dtype), reader=m.reader.to(device, dtype)),
        ),
        "leaves something behind": Map(good, writing=leaking),
        "makes nan": Map(good, writing=lambda state, old, new: state * float("nan")),
    }


BROKEN = _broken()
FAILS: Mapping[str, set[str]] = {
    "drops the residual": {"test_swapping_a_state_with_itself_is_the_state"},
    "moves half the way": {"test_what_is_swapped_in_is_what_is_read", "test_swapping_twice_is_swapping_once"},
    "gives back another precision": {"test_swapping_a_state_with_itself_is_the_state"},
    "not biorthogonal": {
        "test_what_is_swapped_in_is_what_is_read",
        "test_swapping_there_and_back_is_the_base",
    },
    "reads nothing": {"test_what_is_swapped_in_is_what_is_read", "test_swapping_there_and_back_is_the_base"},
    "writes in place": {"test_what_is_written_is_what_is_read"},
    "erases a bit more every time": {"test_erasing_twice_is_erasing_once"},
    "erases to the state's own": {"test_erasing_twice_is_erasing_once"},
    "a complement of another subspace": {"test_the_map_and_its_complement_are_everything"},
    "a projector of its own": {"test_swapping_twice_is_swapping_once"},
    "loses its writer in the file": {"test_it_comes_back_from_a_file"},
    "forgets its centre in the file": {"test_it_comes_back_from_a_file"},
    "loses digits where it is moved": {"test_it_goes_to_single_precision"},
    "reads in half precision": {"test_it_goes_to_single_precision"},
    "leaves its writer behind": {"test_it_goes_to_another_device"},
    "leaves something behind": {"test_of_two_swaps_the_last_one_counts"},
    "makes nan": {"test_swapping_a_state_with_itself_is_the_state", "test_what_is_written_is_what_is_read"},
}


def _failing(featurizer: Any) -> dict[str, str]:
    found = {}
    for law in LAWS:
        try:
            getattr(Checked(featurizer), law)()
        except (AssertionError, RuntimeError) as error:
            found[law] = str(error)
    return found


def test_a_correct_featurizer_breaks_no_law() -> None:
    assert _failing(Map(_good())) == {}
    assert _failing(_good()) == {}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_featurizer_fails_the_law_that_it_breaks(kind: str) -> None:
    assert FAILS[kind] <= _failing(BROKEN[kind]).keys()


def test_every_law_is_broken_by_something() -> None:
    assert set().union(*FAILS.values()) == set(LAWS)


def test_a_failure_says_by_how_much() -> None:
    said = _failing(BROKEN["moves half the way"])["test_what_is_swapped_in_is_what_is_read"]
    assert said.startswith("read after the swap is off by ")
    assert "is allowed for rounding" in said
    said = _failing(BROKEN["gives back another precision"])
    assert (
        "states of torch.float32 came back as torch.float64"
        in said["test_swapping_a_state_with_itself_is_the_state"]
    )


class Bare:
    """A featurizer that can do no more than the engine asks."""

    def read(self, state: torch.Tensor) -> torch.Tensor:
        return state[..., :2]

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return torch.cat([new, state[..., 2:]], dim=-1)


class TestBare(FeaturizerContract):
    def featurizer(self) -> Bare:
        return Bare()


@pytest.mark.parametrize(
    ("law", "why"),
    [
        ("test_the_map_and_its_complement_are_everything", "no complement"),
        ("test_it_comes_back_from_a_file", "cannot be saved"),
        ("test_it_goes_to_single_precision", r"no \.to"),
        ("test_it_goes_to_another_device", r"no \.to"),
    ],
)
def test_what_a_featurizer_need_not_have_is_skipped(law: str, why: str) -> None:
    with pytest.raises(unittest.SkipTest, match=why):
        getattr(TestBare(), law)()


def test_a_contract_without_a_featurizer_says_what_is_missing() -> None:
    class Empty(FeaturizerContract):
        pass

    with pytest.raises(TypeError, match="Empty has to say how its featurizer is made"):
        Empty().test_swapping_there_and_back_is_the_base()
