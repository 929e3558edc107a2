"""Of which type and on which devices weights are loaded: looked at before any of them is read."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from commutes.errors import NetworkError, nearest

DTYPES = ("float16", "bfloat16", "float32", "float64")
# Words of transformers that leave the choice of devices to it.
_CHOSEN = ("auto", "balanced", "balanced_low_0", "sequential")


def check_dtype(dtype: object, name: str) -> None:
    """Refuse what is no floating-point type of at least 16 bits.

    Raises:
        NetworkError: The type is misspelt, of whole numbers or of fewer bits.
    """
    known = (*DTYPES, "auto")
    if dtype is None or (dtype in known if isinstance(dtype, str) else dtype in _types()):
        return
    raise NetworkError(
        "no such type of weights",
        where=f"dtype= of {name}",
        got=repr(dtype),
        expected=f"one of {', '.join(known)}"
        + (f"; nearest: {nearest(dtype, known)[0]}" if isinstance(dtype, str) else ""),
    )


def check_devices(device_map: object, name: str) -> None:
    """Refuse devices that are not there, by putting nothing on each.

    Raises:
        NetworkError: No device, one that is not there, or weights that are left on the disk.
    """
    if device_map is None or (isinstance(device_map, str) and device_map in _CHOSEN):
        return
    asked = list(device_map.values()) if isinstance(device_map, Mapping) else [device_map]
    for device in dict.fromkeys(map(str, asked)):
        reason = "weights would stay on the disk" if device in ("disk", "meta") else _missing(device)
        if reason:
            raise NetworkError(
                "there is no such device",
                where=f"device_map= of {name}",
                got=f"{device!r}: {reason}",
                expected=f"one of {', '.join(_there())}, or {_CHOSEN[0]!r}",
                fix="leave device_map= out to load on the processor",
            )


def _types() -> tuple[torch.dtype, ...]:
    return tuple(getattr(torch, name) for name in DTYPES)


def _missing(device: str) -> str:
    """Why nothing can be put on a device; empty where it can."""
    try:
        where = torch.device(int(device) if device.isdecimal() else device)
        torch.empty(0, device=where)
    except (AssertionError, RuntimeError, NotImplementedError, ValueError) as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
    return ""


def _there() -> list[str]:
    return ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
