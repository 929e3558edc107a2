"""A fit kept in a file, to go on where it was broken off with the same bits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from commutes.errors import ArtefactError
from commutes.training._found import Found

_FORMAT = 1


def save(
    checkpoint: tuple[Path, str],
    step: int,
    raws: Sequence[torch.Tensor],
    optimiser: torch.optim.Optimizer,
    generators: Sequence[torch.Generator],
    found: Found,
) -> None:
    """Write the fit as it is after a measurement; a reader never sees half of it."""
    path, what = checkpoint
    content = {
        "format": _FORMAT,
        "fit": what,
        "step": step,
        "raws": [raw.detach() for raw in raws],
        "optimiser": optimiser.state_dict(),
        "generators": [generator.get_state() for generator in generators],
        "kept": found.raws,
        "score": torch.from_numpy(found.score),
        "chosen": torch.from_numpy(found.step),
        "losses": [(at, torch.from_numpy(loss)) for at, loss in found.losses],
        "scores": [(at, torch.from_numpy(score)) for at, score in found.scores],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(content, temporary)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def restored(
    checkpoint: tuple[Path, str],
    raws: Sequence[torch.Tensor],
    optimiser: torch.optim.Optimizer,
    generators: Sequence[torch.Generator],
    found: Found,
) -> int:
    """Put everything back as it was when the file was written, and say after which step; 0 where there is no file.

    Raises:
        ArtefactError: The file cannot be read, or holds another fit.
    """
    path, what = checkpoint
    if not path.exists():
        return 0
    content = _read(path)
    if content["fit"] != what:
        raise ArtefactError(
            "the checkpoint is of another fit",
            where=str(path),
            got=f"a fit {content['fit'][:12]}",
            expected=f"the fit {what[:12]}: the same claims, networks, pairs, settings and seed",
            fix="give another file, or delete this one to begin anew",
        )
    with torch.no_grad():
        for raw, kept in zip(raws, content["raws"], strict=True):
            raw.copy_(kept)
    optimiser.load_state_dict(content["optimiser"])
    for generator, state in zip(generators, content["generators"], strict=True):
        generator.set_state(state)
    found.raws = [kept.to(raw.device) for kept, raw in zip(content["kept"], raws, strict=True)]
    found.score, found.step = content["score"].numpy(), content["chosen"].numpy()
    found.losses = [(at, loss.numpy()) for at, loss in content["losses"]]
    found.scores = [(at, score.numpy()) for at, score in content["scores"]]
    return int(content["step"])


def _read(path: Path) -> dict[str, Any]:
    fields = {"fit", "step", "raws", "optimiser", "generators", "kept", "score", "chosen", "losses", "scores"}
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        whole = isinstance(content, dict) and content.get("format") == _FORMAT and fields <= set(content)
    except Exception as error:
        # Whatever a broken file makes of the reader, it is no checkpoint.
        raise _unreadable(path, type(error).__name__) from error
    if not whole:
        raise _unreadable(path, f"no checkpoint of format {_FORMAT}")
    return content


def _unreadable(path: Path, got: str) -> ArtefactError:
    return ArtefactError(
        "the checkpoint cannot be read",
        where=str(path),
        got=got,
        expected="a file that cm.fit(..., checkpoint=) wrote",
        fix="give another file, or delete this one to begin anew",
    )
