"""Latents of a dictionary (a sparse autoencoder), swapped while the reconstruction error is kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from commutes.errors import AlignmentError
from commutes.features._slices import Features
from commutes.network import Site


class Codes(Protocol):
    """What a dictionary must be able to do. Any sparse autoencoder's `encode` and `decode` will do."""

    def encode(self, state: torch.Tensor, /) -> torch.Tensor:
        """All latents of the states.  # (..., d) -> (..., m)"""
        ...

    def decode(self, latents: torch.Tensor, /) -> torch.Tensor:
        """The states that the latents stand for.  # (..., m) -> (..., d)"""
        ...


@dataclass(frozen=True, eq=False)
class Dictionary(Features):
    """Latents of a given dictionary: nothing is learnt, `Dictionary(site, sae)[[12, 408]]` is a claim about two.

    Args:
        site: Whose states the dictionary was made for.
        dictionary: Anything with `encode` and `decode`, such as what `load_dictionary` returns.
        dtype: Precision that the dictionary computes in.
    """

    site: Site
    dictionary: Codes
    dtype: torch.dtype = torch.float32

    @property
    def learnt(self) -> bool:
        """Never: the dictionary is what it is."""
        return False

    def __str__(self) -> str:
        return "dictionary"

    def at(self, site: Site) -> Dictionary:
        """The same dictionary at another site."""
        return Dictionary(site, self.dictionary, self.dtype)

    def size(self, width: int) -> int:
        """How many latents there are.

        Raises:
            AlignmentError: The dictionary was made for states of another width.
        """
        blank = torch.zeros(1, 1, width, dtype=self.dtype, device=self.site.network.device)
        try:
            with torch.no_grad():
                latents = self.dictionary.encode(blank)
                back = self.dictionary.decode(latents)
        except (RuntimeError, ValueError, IndexError, AlignmentError) as error:
            raise self._misfit(width, f"{type(error).__name__}: {str(error).splitlines()[0]}") from error
        if back.shape != blank.shape:
            raise self._misfit(width, f"states of {tuple(back.shape)} for states of {tuple(blank.shape)}")
        return latents.shape[-1]

    def _misfit(self, width: int, got: str) -> AlignmentError:
        return AlignmentError(
            "the dictionary does not fit the site",
            where=str(self.site),
            got=got,
            expected=f"encode and decode of states of {width} numbers, on the network's device",
            fix="use the dictionary of this module, layer and model",
        )

    def given(self, coordinates: Sequence[int], device: torch.device) -> Latents:
        """The latents of these numbers."""
        return Latents(self.dictionary, torch.tensor(list(coordinates), device=device), self.dtype)


@dataclass(frozen=True, eq=False)
class Latents:
    """z = encode(h) at the chosen latents; h' = h + decode(z') - decode(z), which keeps the reconstruction error.

    A dictionary is no change of coordinates: a state whose latents were swapped need not be encoded into them again.
    `drift` says how far off they are.
    """

    dictionary: Codes
    index: torch.Tensor
    """Chosen latents.  # shape: (k,)"""
    dtype: torch.dtype = torch.float32
    """Precision that the dictionary computes in."""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """The chosen latents.  # (..., d) -> (..., k)"""
        return self.dictionary.encode(state.to(self.dtype)).index_select(-1, self.index)

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """h + decode(latents with `new`) - decode(latents with `old`)."""
        latents = self.dictionary.encode(state.to(self.dtype))
        before = latents.index_copy(-1, self.index, old.to(latents.dtype))
        after = latents.index_copy(-1, self.index, new.to(latents.dtype))
        return state + (self.dictionary.decode(after) - self.dictionary.decode(before)).to(state.dtype)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Latents:
        """The same latents in another precision or on another device.

        Raises:
            AlignmentError: The dictionary cannot be moved.
        """
        move: Any = getattr(self.dictionary, "to", None)
        if move is None:
            raise AlignmentError(
                "the dictionary cannot be moved",
                got=f"a {type(self.dictionary).__name__} without .to",
                expected="a dictionary with .to(dtype=, device=)",
                fix="build it where and as it is needed",
            )
        if isinstance(self.dictionary, torch.nn.Module):
            # A module moves in place, and this one is the caller's.
            move = copy.deepcopy(self.dictionary).to
        asked = {"dtype": dtype, "device": device}
        given = {name: value for name, value in asked.items() if value is not None}
        moved = move(**given) if given else self.dictionary
        return Latents(moved, self.index.to(device), dtype or self.dtype)

    def drift(self, base: torch.Tensor, source: torch.Tensor) -> float:
        """How far the latents read after a swap are from those that were put in, relative to how far they moved.

        0 is a dictionary that behaves like coordinates; 1 one in which nothing of the swap can be read again. nan
        where no latent differs between base and source.
        """
        old, new = self.read(base), self.read(source)
        again = self.read(self.write(base, old, new))
        return float((again - new).norm() / (new - old).norm())
