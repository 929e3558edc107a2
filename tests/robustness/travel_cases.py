"""Networks, distributions and cases for the tests of shifts and counterexamples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from commutes import Algorithm, Alignment, Coordinates, Distribution, Network, Shift, counterfactuals
from commutes.robustness import Case
from commutes.robustness._case import Declared
from commutes.testing.zoo import Member, Told
from tests.planted import EQUALITY, equality, joined, neurons

from .cases import case_of

NAMES = "wxyz"


def numbers(symbols: int = 12, n: int = 480, **changes: Any) -> Case:
    """The truth about the exact network of whole numbers, on n pairs."""
    algorithm = equality(symbols)
    claim = neurons(EQUALITY.exact_network(algorithm), algorithm, left=[0], right=[1])
    return case_of(claim, counterfactuals(algorithm, n, seed=0), **changes)


def declared(case: Case, *shifts: Shift, every_input: bool = False) -> Case:
    """The same case with shifts declared."""
    return replace(case, declared=Declared(shifts=shifts, every_input=every_input))


def zoo_case(member: Member, told: Told, *, n: int = 480, seed: int = 0, every_input: bool = False) -> Case:
    """A member's claim with the member's shifts."""
    shifts = [Shift(name, distribution=found) for name, found in member.shifts.items()]
    case = case_of(told.alignment, member.pairs(told, n, seed=seed), seed=seed)
    return declared(case, *shifts, every_input=every_input)


def drawing(name: str, change: Callable[[dict[str, np.ndarray]], None], symbols: int = 12) -> Distribution:
    """Numbers that are equal within a pair half of the time, then changed."""

    def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        found = {}
        for one, other in (("w", "x"), ("y", "z")):
            same = rng.random(n) < 0.5
            found[one] = rng.integers(symbols, size=n)
            found[other] = np.where(
                same, found[one], (found[one] + rng.integers(1, symbols, size=n)) % symbols
            )
        change(found)
        return found

    return Distribution(name, draw)


def even_w(symbols: int = 12) -> Shift:
    """w and x moved down to even numbers together, so that left stays what it was."""

    def change(found: dict[str, np.ndarray]) -> None:
        odd = found["w"] % 2
        found["w"] = found["w"] - odd
        found["x"] = (found["x"] - odd) % symbols

    return Shift("even w", distribution=drawing("w even", change, symbols))


def tied_y(symbols: int = 12) -> Shift:
    """y and z moved together until y is w."""

    def change(found: dict[str, np.ndarray]) -> None:
        found["z"] = (found["z"] + found["w"] - found["y"]) % symbols
        found["y"] = found["w"].copy()

    return Shift("y as w", distribution=drawing("y is w", change, symbols))


class Otherwise(nn.Module):
    """The exact network, whose answer is turned round for some inputs, behind everything that is aligned."""

    def __init__(self, inner: nn.Module, wrong: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.wrong = wrong

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.inner(x)
        return torch.where(self.wrong(x).unsqueeze(1), logits.flip(1), logits)


class Misread(nn.Module):
    """The exact network, which reads another number for w wherever it should not."""

    def __init__(self, inner: nn.Module, wrong: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.wrong = wrong

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        own = x.clone()
        own[:, 0] = torch.where(self.wrong(x), x[:, 1] + 1, x[:, 0])
        return self.inner(own)


def around(
    wrapper: type[nn.Module], wrong: Callable[[torch.Tensor], torch.Tensor], symbols: int = 12
) -> Alignment:
    """The truth about the exact network, said of one that goes wrong somewhere."""
    algorithm = equality(symbols)
    inner = EQUALITY.exact_network(algorithm).module
    network = Network(wrapper(inner, wrong), encode=joined, answers=[False, True])
    return neurons(network, algorithm, "inner.layers.1", left=[0], right=[1])


class Trap(nn.Module):
    """The exact network, surer the farther an input is from one place, and wrong in that place alone."""

    def __init__(self, inner: nn.Module, place: tuple[int, ...]) -> None:
        super().__init__()
        self.inner = inner
        self.place = place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        far = (x - torch.tensor(self.place, dtype=x.dtype)).abs().sum(dim=1)
        return self.inner(x) * ((far - 0.5) / 20).unsqueeze(1)


def trap(place: tuple[int, ...] = (7, 2, 9, 4), symbols: int = 12, n: int = 400) -> Case:
    """The truth about a network with one place where it is wrong, among 20,736."""
    algorithm = equality(symbols)
    network = Network(
        Trap(EQUALITY.exact_network(algorithm).module, place), encode=joined, answers=[False, True]
    )
    claim = neurons(network, algorithm, "inner.layers.1", left=[0], right=[1])
    return case_of(claim, counterfactuals(algorithm, n, seed=0))


class Running(nn.Module):
    """Whether the sum of any number of bits is odd; the sum of the first two at a place of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.site(x[:, :2].sum(dim=1, keepdim=True))
        odd = (first[:, 0] + x[:, 2:].sum(dim=1)) % 2
        return torch.stack([1 - odd, odd], dim=1)


def parity(length: int) -> Algorithm:
    """first = the sum of the first two bits, odd = whether it and the rest add up to an odd number."""
    names = [f"b{i}" for i in range(length)]
    found = Algorithm(f"parity of {length} bits")
    found.inputs(names, domain=range(2))
    found.add("first", *names[:2], f=lambda a, b: a + b, domain=range(3))
    found.add("odd", "first", *names[2:], f=lambda *bits: sum(bits) % 2 == 1, domain=bool, output=True)
    return found.check()


def running(module: nn.Module, length: int) -> Alignment:
    """Where `Running` has the first sum of sequences of this length."""
    algorithm = parity(length)
    names = [v.name for v in algorithm.input_variables]

    def encode(values: dict[str, np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack([values[name] for name in names], axis=1).astype(np.float32))

    network = Network(module, encode=encode, answers=[False, True])
    return Alignment(algorithm, {algorithm["first"]: Coordinates(network.site("site"))[0]})
