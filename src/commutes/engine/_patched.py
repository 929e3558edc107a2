"""Modules that run another forward for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def patched(changes: Sequence[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Give modules another `forward` of their own, and take it away whatever happens."""
    before = [module.__dict__.get("forward") for module, _ in changes]
    try:
        for module, forward in changes:
            module.__dict__["forward"] = forward
        yield
    finally:
        for (module, _), own in zip(changes, before, strict=True):
            if own is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = own
