"""What every featurizer must be able to promise, as tests to inherit."""

from __future__ import annotations

import math
import unittest
from typing import Any, NoReturn

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from commutes.engine import Featurizer
from commutes.features import erase, swap


class FeaturizerContract:
    """The laws of a featurizer, for pytest: inherit, and say how to make one.

    >>> class TestMine(FeaturizerContract):
    ...     width = 6
    ...
    ...     def featurizer(self):
    ...         from commutes.features import Neurons
    ...         return Neurons(torch.tensor([4, 1]))
    >>> TestMine().test_swapping_a_state_with_itself_is_the_state()

    Laws about what a featurizer need not have (a complement, other precisions, a file) are skipped where it has none. A
    map that is no change of coordinates, such as a dictionary, keeps the laws of reading back only on states that it
    encodes consistently: override `states` to draw those, and say so.
    """

    width: int = 8
    """d, coordinates of the states."""
    rounding: float = 1e-9
    """How far off a law may be in double precision, relative to the largest number that occurs."""
    rounding_single: float = 1e-4
    """The same in single precision."""

    def featurizer(self) -> Featurizer:
        """The map under test, in double precision where it has one, on the CPU."""
        raise TypeError(f"{type(self).__name__} has to say how its featurizer is made: def featurizer(self)")

    def states(self, seed: int) -> torch.Tensor:
        """States to try it on, in double precision.  # shape: (n, groups, width)"""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(16, 2, self.width, generator=generator, dtype=torch.float64)

    def erased(self, featurizer: Any, states: torch.Tensor) -> torch.Tensor:
        """The states without what the featurizer holds: by its own `erase`, or with coordinates of 0."""
        return featurizer.erase(states) if hasattr(featurizer, "erase") else erase(featurizer, states)

    def complement(self, featurizer: Any) -> Featurizer | None:
        """The featurizer of all that this one does not hold, or None where there is none."""
        return featurizer.complement() if hasattr(featurizer, "complement") else None

    def reloaded(self, featurizer: Any) -> Featurizer | None:
        """The featurizer after it was put into a file and taken out, or None where it cannot be saved."""
        if not hasattr(featurizer, "tensors"):
            return None
        from safetensors.torch import load, save

        parts = {name: t.contiguous().clone() for name, t in featurizer.tensors().items()}
        return type(featurizer).from_tensors(load(save(parts)))

    # Swaps.

    def test_swapping_a_state_with_itself_is_the_state(self) -> None:
        """swap(h, h) = h, bit for bit and in the state's own precision, whatever the map's precision is."""
        featurizer = self.featurizer()
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            states = (self.states(1) * 100).to(dtype)
            after = swap(featurizer, states, states)
            assert after.dtype == dtype, f"states of {dtype} came back as {after.dtype}"
            assert after.shape == states.shape, f"{tuple(states.shape)} came back as {tuple(after.shape)}"
            assert torch.equal(after, states), f"moved by {_gap(after, states):.3g} in {dtype}"

    def test_what_is_swapped_in_is_what_is_read(self) -> None:
        """After a swap the base has the source's coordinates, which were not its own."""
        featurizer, base, source = self.featurizer(), self.states(1), self.states(2)
        wanted = featurizer.read(source)
        assert _gap(featurizer.read(base), wanted) > self._allowed(wanted), "base and source read alike"
        self._same(featurizer.read(swap(featurizer, base, source)), wanted, "read after the swap")

    def test_swapping_there_and_back_is_the_base(self) -> None:
        """swap(swap(b, s), b) = b, where the first swap did something."""
        featurizer, base, source = self.featurizer(), self.states(1), self.states(2)
        there = swap(featurizer, base, source)
        assert _gap(there, base) > self._allowed(base), "the swap did nothing"
        self._same(swap(featurizer, there, base), base, "there and back")

    def test_of_two_swaps_the_last_one_counts(self) -> None:
        """swap(swap(b, r), s) = swap(b, s): a swap leaves nothing of its source behind but what is read."""
        featurizer, base, source = self.featurizer(), self.states(1), self.states(2)
        there = swap(featurizer, base, self.states(3))
        self._same(swap(featurizer, there, source), swap(featurizer, base, source), "the second of two swaps")

    def test_swapping_twice_is_swapping_once(self) -> None:
        """The swap is a projection; where there is a projector P, PP = P."""
        featurizer, base, source = self.featurizer(), self.states(1), self.states(2)
        once = swap(featurizer, base, source)
        self._same(swap(featurizer, once, source), once, "the second swap")
        if hasattr(featurizer, "projector"):
            projector = getattr(featurizer, "projector")()  # noqa: B009 - not in the protocol
            self._same(projector @ projector, projector, "PP against P")

    def test_what_is_written_is_what_is_read(self) -> None:
        """Any coordinates can be put in; `write` with the old ones changes nothing, in place or otherwise."""
        featurizer, base = self.featurizer(), self.states(1)
        kept, old = base.clone(), featurizer.read(base)
        assert torch.equal(featurizer.write(base, old, old), base), "writing what was read moved the state"
        new = featurizer.read(self.states(3))
        self._same(featurizer.read(featurizer.write(base, old, new)), new, "read after writing")
        assert torch.equal(base, kept), "the state was changed in place"

    # Erasure and complement.

    def test_erasing_twice_is_erasing_once(self) -> None:
        """After erasure every state has the same coordinates, and a second erasure finds nothing."""
        featurizer, states = self.featurizer(), self.states(1)
        once = self.erased(featurizer, states)
        read = featurizer.read(once)
        self._same(read, read.flatten(0, -2)[0].expand_as(read), "what is read after erasure")
        self._same(self.erased(featurizer, once), once, "the second erasure")

    def test_the_map_and_its_complement_are_everything(self) -> None:
        """Swapping both makes the base the source; neither moves what the other reads; P and P' sum to I."""
        featurizer, base, source = self.featurizer(), self.states(1), self.states(2)
        complement = self.complement(featurizer)
        if complement is None:
            _skip("this featurizer has no complement")
        there = swap(featurizer, base, source)
        self._same(complement.read(there), complement.read(base), "the complement, after a swap")
        self._same(swap(complement, there, source), source, "after both swaps")
        if hasattr(featurizer, "projector"):
            both = [getattr(m, "projector")() for m in (featurizer, complement)]  # noqa: B009
            self._same(both[0] + both[1], torch.eye(self.width, dtype=both[0].dtype), "the projectors' sum")

    # Files, precisions, devices.

    def test_it_comes_back_from_a_file(self) -> None:
        """Saved and loaded it reads and writes the same, bit for bit."""
        featurizer, base, source = self.featurizer(), self.states(1), self.states(2)
        again = self.reloaded(featurizer)
        if again is None:
            _skip("this featurizer cannot be saved")
        # A tensor that was not contiguous comes back so, and products then round otherwise.
        assert torch.equal(again.read(base), featurizer.read(base)), "it reads otherwise"
        assert torch.equal(swap(again, base, source), swap(featurizer, base, source)), "it writes otherwise"
        assert torch.equal(self.erased(again, base), self.erased(featurizer, base)), "it erases otherwise"

    def test_it_goes_to_single_precision(self) -> None:
        """Moved to float32 it reads the same within rounding, and keeps the laws there."""
        base, source = self.states(1), self.states(2)
        featurizer = self.featurizer()
        single: Any = self._moved(featurizer, dtype=torch.float32)
        allowed = self.rounding_single
        self._same(single.read(base.float()).double(), featurizer.read(base).double(), "read", allowed)
        there = swap(single, base.float(), source.float())
        assert there.dtype == torch.float32, f"single states came back as {there.dtype}"
        self._same(there.double(), swap(featurizer, base, source), "the swap", allowed)
        assert torch.equal(swap(single, base.float(), base.float()), base.float()), "swap(h, h) is not h"

    def test_it_goes_to_another_device(self) -> None:
        """All of it moves: on the device without memory nothing is left behind; on a GPU it does the same."""
        featurizer, base, source = self.featurizer(), self.states(1), self.states(2)
        shape = swap(featurizer, base, source).shape
        nowhere: Any = self._moved(featurizer, device="meta")
        with _Alone("meta"):
            after = swap(nowhere, base.to("meta"), source.to("meta"))
        assert after.shape == shape, f"{tuple(after.shape)} where there were {tuple(shape)}"
        if torch.cuda.is_available():
            there: Any = self._moved(featurizer, device="cuda")
            moved = swap(there, base.cuda(), source.cuda()).cpu()
            self._same(moved, swap(featurizer, base, source), "the swap on the GPU")

    # What the laws are held to.

    def _moved(
        self, featurizer: Featurizer, *, dtype: torch.dtype | None = None, device: str | None = None
    ) -> Featurizer:
        to = getattr(featurizer, "to", None)
        if to is None:
            _skip("this featurizer has no .to(dtype=, device=)")
        return to(dtype=dtype, device=device)

    def _allowed(self, wanted: torch.Tensor, rounding: float | None = None) -> float:
        largest = float(wanted.abs().max()) if wanted.numel() else 0.0
        return (self.rounding if rounding is None else rounding) * max(1.0, largest)

    def _same(
        self, got: torch.Tensor, wanted: torch.Tensor, what: str, rounding: float | None = None
    ) -> None:
        gap, allowed = _gap(got, wanted), self._allowed(wanted, rounding)
        assert gap <= allowed, f"{what} is off by {gap:.3g}; {allowed:.3g} is allowed for rounding"


class _Alone(TorchDispatchMode):
    """While this is on, no operation may take a tensor (other than a plain number) from another device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        copying = func is torch.ops.aten._to_copy.default  # the states, on their way there
        for tensor in tree_leaves((args, kwargs or {})):
            if isinstance(tensor, torch.Tensor) and tensor.ndim and not copying:
                assert tensor.device.type == self.device, "a part of the map stayed behind"
        return func(*args, **(kwargs or {}))


def _gap(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference; infinite where shapes differ or something is not a number."""
    if got.shape != wanted.shape:
        return math.inf
    gap = float((got.double() - wanted.double()).abs().max()) if got.numel() else 0.0
    return math.inf if math.isnan(gap) else gap


def _skip(why: str) -> NoReturn:
    # Pytest takes this exception for a skip too, and the library need not depend on pytest.
    raise unittest.SkipTest(why)
