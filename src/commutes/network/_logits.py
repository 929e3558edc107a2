"""Where the logits of a network are, and what they must be."""

from __future__ import annotations

import torch

from commutes.errors import NetworkError

Read = None | int | str | tuple[str, int]


def read_where(read: Read) -> tuple[str, int | None]:
    """Path and position of the logits."""
    if read is None:
        return "", None
    pair = (
        isinstance(read, tuple) and len(read) == 2 and isinstance(read[0], str) and isinstance(read[1], int)
    )
    if isinstance(read, bool) or not (pair or isinstance(read, int | str)):
        raise NetworkError(
            "read= says where the logits are",
            got=repr(read),
            expected="a position, a path or (path, position)",
        )
    if isinstance(read, int):
        return "", read
    if isinstance(read, str):
        return read, None
    return read


def at_position(tensor: torch.Tensor, position: int | tuple[int, ...]) -> torch.Tensor:
    """The logits at one position, or at several that lie side by side.

    Raises:
        NetworkError: No axis of positions, or one that is too short.
    """
    if tensor.ndim != 3:
        raise NetworkError(
            "read= names a position, but there is no position axis",
            got=f"shape {tuple(tensor.shape)}",
            expected="(batch, positions, answers)",
        )
    length = tensor.shape[1]
    asked = (position,) if isinstance(position, int) else position
    outside = [one for one in asked if not -length <= one < length]
    if outside:
        raise NetworkError(
            "read= names a position outside the sequence",
            got=f"position {outside[0]}",
            expected=f"from {-length} to {length - 1}",
        )
    if isinstance(position, int):
        # The gradient of the only one is no copy.
        return tensor.squeeze(1) if length == 1 else tensor[:, position]
    return tensor.narrow(1, position[0] % length, len(position))


def found_logits(
    returned: object, path: str, position: int | tuple[int, ...] | None, answers: int | None
) -> torch.Tensor:
    """The logits in what a module returned.

    Args:
        returned: A tensor, or an output of transformers.
        path: Of the module, for messages.
        position: Where on the second axis they are; None where there is no such axis.
        answers: How many columns there must be at least, and no further axis; None where that is not known.

    Raises:
        NetworkError: It is not a tensor, or of another shape.
    """
    tensor = getattr(returned, "logits", returned)
    if not isinstance(tensor, torch.Tensor):
        raise NetworkError(
            "the logits are not a tensor",
            where=path or "what the module returned",
            got=type(returned).__name__,
            expected="a tensor of shape (batch, answers)",
            fix="name the module that returns the logits with read=",
        )
    if position is not None:
        tensor = at_position(tensor, position)
    if answers is not None and (tensor.ndim != 2 or tensor.shape[1] < answers):
        raise NetworkError(
            "the logits do not fit the answers",
            got=f"shape {tuple(tensor.shape)}",
            expected=f"(batch, at least {answers})",
            fix="say with read= which module and position holds the logits",
        )
    return tensor
