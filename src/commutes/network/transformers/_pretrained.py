"""Models and tokenizers from the Hugging Face hub, its cache or a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from commutes.errors import NetworkError
from commutes.network.transformers._placement import check_devices, check_dtype
from commutes.network.transformers._quantised import check_configuration
from commutes.network.transformers._version import check_version

if TYPE_CHECKING:
    from commutes.network._network import Network


def pretrained(
    name: str,
    *,
    revision: str | None,
    dtype: str | torch.dtype | None,
    device_map: str | Mapping[str, int | str] | None,
) -> tuple[Any, Any]:
    """The model in evaluation mode, and its fast tokenizer. Code of the repository's own is never run.

    Raises:
        NetworkError: Not to be had, not without running code of its own, with quantised weights, of a type that is
            none, or on a device that is not there.
    """
    check_version()
    check_dtype(dtype, name)
    check_devices(device_map, name)
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

    chosen: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False}
    config: Any = _had(name, lambda: AutoConfig.from_pretrained(name, **chosen))
    check_configuration(config, name)
    masked = any(kind.endswith("ForMaskedLM") for kind in config.architectures or ())
    weights: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    if device_map is not None:
        weights["device_map"] = device_map
    tokenizer = _had(name, lambda: AutoTokenizer.from_pretrained(name, use_fast=True, **chosen))
    make: Any = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    model = _had(name, lambda: make.from_pretrained(name, **chosen, **weights))
    return model.eval(), tokenizer


def save_pretrained(network: Network, folder: str | os.PathLike[str]) -> None:
    """Write a language model and its tokenizer into a folder, from which `Network.pretrained` has them again.

    The template and the answers are not written: they are the reader's.

    Raises:
        NetworkError: No language model.
    """
    if network.language is None:
        raise NetworkError(
            "only language models are saved in this form",
            where=network.name,
            got="a network without a tokenizer",
            expected="Network(model, tokenizer, template=..., answers=...)",
            fix="save module.state_dict()",
        )
    module: Any = network.module
    module.save_pretrained(folder)
    network.language.prompt.tokenizer.save_pretrained(folder)


def _had(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except OSError as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE")
        raise NetworkError(
            "the model cannot be had",
            where=name,
            got=_first_line(error) + ("; offline, by HF_HUB_OFFLINE" if offline else ""),
            expected="a repository of the hub, one in its cache, or a folder made by save_pretrained",
            fix=f"fetch it where there is a network: hf download {name}"
            if offline
            else "check the name and revision; without a network say so by HF_HUB_OFFLINE=1, which waits for nothing",
        ) from error
    except torch.OutOfMemoryError:
        # What to do about it is said where it is caught.
        raise
    except Exception as error:
        # Whatever the library says of a folder that it cannot read is said of the folder.
        if "trust_remote_code" not in str(error):
            raise NetworkError(
                "the model cannot be loaded",
                where=name,
                got=f"{type(error).__name__}: {_first_line(error)}",
                expected="a model and a tokenizer as save_pretrained writes them, of this or an earlier transformers",
                fix="load it with transformers alone to see all that it says, and give it as Network(model, tokenizer)",
            ) from error
        raise NetworkError(
            "the model asks to run code of its own",
            where=name,
            got="a repository with Python code",
            expected="an architecture that transformers has",
            fix="load the model yourself if you trust it, and give it as Network(model, tokenizer, ...)",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
