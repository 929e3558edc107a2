"""Sparse autoencoders: the dictionaries in common use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from commutes.errors import AlignmentError


@dataclass(frozen=True, eq=False)
class SparseAutoencoder:
    """z = s(W_encᵀ (h - b_pre) + b_enc), h ~ W_decᵀ z + b_dec, with s a ReLU, a JumpReLU or the largest k.

    See Scaling and evaluating sparse autoencoders, arXiv 2406.04093; Jumping Ahead: Improving Reconstruction
    Fidelity with JumpReLU Sparse Autoencoders, arXiv 2407.14435.
    """

    encoder: torch.Tensor
    """W_enc.  # shape: (d, m)"""
    encoder_bias: torch.Tensor
    """b_enc.  # shape: (m,)"""
    decoder: torch.Tensor
    """W_dec.  # shape: (m, d)"""
    decoder_bias: torch.Tensor
    """b_dec.  # shape: (d,)"""
    before: torch.Tensor
    """b_pre, taken off before encoding: b_dec in many, zero in others.  # shape: (d,)"""
    threshold: torch.Tensor | None = None
    """Of a JumpReLU: what does not exceed it is 0.  # shape: (m,)"""
    largest: int | None = None
    """Of TopK: how many latents are kept, per state."""

    def __post_init__(self) -> None:
        d, m = self.encoder.shape if self.encoder.ndim == 2 else (0, 0)
        shapes = {
            "encoder bias": (self.encoder_bias, (m,)),
            "decoder": (self.decoder, (m, d)),
            "decoder bias": (self.decoder_bias, (d,)),
            "bias before encoding": (self.before, (d,)),
            "threshold": (self.threshold, (m,)),
        }
        for name, (tensor, shape) in shapes.items():
            if tensor is not None and tuple(tensor.shape) != shape:
                raise AlignmentError(
                    "the parts of the dictionary do not fit together",
                    where=name,
                    got=f"shape {tuple(tensor.shape)} beside an encoder of shape {tuple(self.encoder.shape)}",
                    expected=f"shape {shape}",
                )
        if self.largest is not None and not 1 <= self.largest <= m:
            raise AlignmentError(
                "a dictionary keeps at least one latent and at most all",
                got=f"k = {self.largest}",
                expected=f"from 1 to {m}",
            )

    def encode(self, state: torch.Tensor, /) -> torch.Tensor:
        """The latents.  # (..., d) -> (..., m)"""
        if state.shape[-1] != len(self.encoder):
            raise AlignmentError(
                "the dictionary was made for states of another width",
                got=f"states of {state.shape[-1]} numbers",
                expected=f"states of {len(self.encoder)}",
            )
        found = (state.to(self.encoder.dtype) - self.before) @ self.encoder + self.encoder_bias
        latents = found.relu()
        if self.threshold is not None:
            latents = latents * (found > self.threshold)
        if self.largest is not None:
            kept = latents.topk(self.largest, dim=-1)
            latents = torch.zeros_like(latents).scatter(-1, kept.indices, kept.values)
        return latents

    def decode(self, latents: torch.Tensor, /) -> torch.Tensor:
        """The reconstruction.  # (..., m) -> (..., d)"""
        return latents @ self.decoder + self.decoder_bias

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> SparseAutoencoder:
        """The same dictionary in another precision or on another device."""
        moved = {
            name: tensor.to(device, dtype) for name, tensor in self.tensors().items() if name != "largest"
        }
        return SparseAutoencoder(**moved, largest=self.largest)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a file must hold."""
        found = {
            "encoder": self.encoder,
            "encoder_bias": self.encoder_bias,
            "decoder": self.decoder,
            "decoder_bias": self.decoder_bias,
            "before": self.before,
        }
        if self.threshold is not None:
            found["threshold"] = self.threshold
        if self.largest is not None:
            found["largest"] = torch.tensor(self.largest)
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> SparseAutoencoder:
        """The inverse of `tensors`."""
        parts = {name: tensor for name, tensor in tensors.items() if name != "largest"}
        return cls(**parts, largest=int(tensors["largest"]) if "largest" in tensors else None)
