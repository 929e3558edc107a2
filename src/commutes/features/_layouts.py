"""Dictionaries from safetensors, in the layouts in which they are published."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from commutes.errors import AlignmentError, ArtefactError
from commutes.features._autoencoder import SparseAutoencoder
from commutes.report import read_bytes

Activation = Literal["relu", "jumprelu", "topk"]

# A dictionary of a million latents of a state of 4,096 numbers, in float32, with encoder and decoder.
LARGEST = 2**35
CONFIG = "cfg.json"

# Per part: the names that it goes by, and whether it then lies the other way round.
_NAMES: dict[str, dict[str, bool]] = {
    "encoder": {"W_enc": False, "encoder.weight": True},
    "encoder_bias": {"b_enc": False, "encoder.bias": False, "latent_bias": False},
    "decoder": {"W_dec": False, "decoder.weight": True},
    "decoder_bias": {"b_dec": False, "decoder.bias": False, "bias": False, "pre_bias": False},
    "threshold": {"threshold": False},
}
# With these the decoder's bias is always taken off first: nothing else was ever published under the names.
_SUBTRACTED = ("bias", "pre_bias")
_ACTIVATIONS: dict[str, Activation] = {
    "standard": "relu", "relu": "relu", "jumprelu": "jumprelu", "jump_relu": "jumprelu", "topk": "topk",
}  # fmt: skip
# Settings under which a state is changed in other ways than those of `SparseAutoencoder`; the harmless values.
_PLAIN: dict[str, tuple[object, ...]] = {
    "normalize_activations": (None, "none", False),
    "reshape_activations": (None, "none"),
    "rescale_acts_by_decoder_norm": (None, False),
    "skip_connection": (None, False),
    "transcode": (None, False),
    "finetuning_scaling_factor": (None, False),
}


def load_dictionary(
    path: str | Path,
    *,
    activation: Activation | None = None,
    k: int | None = None,
    subtract_bias: bool | None = None,
) -> SparseAutoencoder:
    """A sparse autoencoder from a safetensors file; a `cfg.json` beside it is heeded.

    Known are W_enc, b_enc, W_dec, b_dec, threshold; encoder.weight, encoder.bias and decoder.weight as `Linear` layers
    have them; latent_bias, pre_bias and bias. Without a decoder it is tied: the transposed encoder. What neither the
    tensors nor `cfg.json` say has to be said here: it is never guessed.

    Args:
        path: The file.
        activation: What stands behind the encoder.
        k: Of "topk": how many latents are kept, per state.
        subtract_bias: Whether the decoder's bias is taken off a state before it is encoded.

    Raises:
        ArtefactError: No such file, no safetensors, tensors that make no dictionary, or a setting that neither file nor
            arguments give.
    """
    path = Path(path)
    tensors = _tensors(path)
    config = _config(path.parent / CONFIG)
    found, names = _parts(tensors, path)
    broken = sorted(name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all()))
    if broken:
        raise ArtefactError(
            "the dictionary has numbers that are not finite",
            where=str(path),
            got=f"NaN or infinity in {', '.join(broken)}",
            expected="finite weights",
            fix="restore the file from its source",
        )
    coarse = sorted(name for name, tensor in tensors.items() if not tensor.is_floating_point())
    if coarse:
        raise ArtefactError(
            "the dictionary's weights are no floating-point numbers",
            where=str(path),
            got=", ".join(f"{name} {tensors[name].dtype}" for name in coarse),
            expected="float32, or another floating-point type",
            fix="dequantise it",
        )
    if activation is not None and activation not in get_args(Activation):
        raise ArtefactError(
            "no such activation",
            where=str(path),
            got=repr(activation),
            expected=" or ".join(map(repr, get_args(Activation))),
            fix="give Dictionary(site, ...) an object with encode and decode",
        )
    chosen = activation or _activation(found, config, path)
    if k is not None and chosen != "topk":
        raise ArtefactError(
            "k is of a TopK dictionary alone",
            where=str(path),
            got=f"k={k!r} beside {chosen}",
            expected='activation="topk", or no k=',
        )
    bias = found["decoder_bias"]
    subtract = _subtracts(names, bias, config, path) if subtract_bias is None else subtract_bias
    if chosen == "jumprelu" and "threshold" not in found:
        raise _unclear(
            path, "a JumpReLU without thresholds", "a tensor named threshold", "use another activation="
        )
    try:
        return SparseAutoencoder(
            found["encoder"],
            found["encoder_bias"],
            found["decoder"],
            bias,
            before=bias if subtract else torch.zeros_like(bias),
            threshold=found["threshold"] if chosen == "jumprelu" else None,
            largest=_largest(k, config, path) if chosen == "topk" else None,
        )
    except AlignmentError as error:
        where = str(path) if error.where is None else f"{path}, {error.where}"
        raise ArtefactError(error.what, where=where, got=error.got, expected=error.expected) from error


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_tensors(read_bytes(path, limit=LARGEST))
    except SafetensorError as error:
        raise ArtefactError(
            "the dictionary cannot be read",
            where=str(path),
            got=str(error),
            expected="safetensors; a pickle is never opened",
        ) from error


def _config(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    try:
        config = json.loads(read_bytes(path))
    except ValueError as error:
        raise _unclear(path, str(error), "JSON", "restore it, or move it away") from error
    if not isinstance(config, dict):
        raise _unclear(path, type(config).__name__, "a JSON object", "restore it, or move it away")
    for name, plain in _PLAIN.items():
        if config.get(name) not in plain:
            raise ArtefactError(
                "the dictionary does more than encode and decode",
                where=str(path),
                got=f"{name} = {config[name]!r}",
                expected="a dictionary of plain states",
                fix="fold it into the weights, or give Dictionary(site, ...) an object with encode and decode",
            )
    return config


def _parts(tensors: Mapping[str, torch.Tensor], path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    known = [name for names in _NAMES.values() for name in names]
    strange = sorted(tensors.keys() - set(known))
    found: dict[str, torch.Tensor] = {}
    used: list[str] = []
    for part, names in _NAMES.items():
        present = [name for name in names if name in tensors]
        if len(present) > 1:
            strange += present
        for name in present:
            turned = names[name] and tensors[name].ndim == 2
            found[part] = tensors[name].T.contiguous() if turned else tensors[name]
            used.append(name)
    if strange or "encoder" not in found or found["encoder"].ndim != 2:
        raise ArtefactError(
            "these tensors make no dictionary that is known",
            where=str(path),
            got=_shapes(tensors),
            expected=f"W_enc or encoder.weight, a matrix, and of each other kind at most one: {', '.join(known)}",
            fix="give Dictionary(site, ...) an object with encode and decode",
        )
    encoder = found["encoder"]
    found.setdefault("decoder", encoder.T.contiguous())
    found.setdefault("encoder_bias", encoder.new_zeros(encoder.shape[1]))
    found.setdefault("decoder_bias", encoder.new_zeros(encoder.shape[0]))
    return found, used


def _activation(found: Mapping[str, torch.Tensor], config: Mapping[str, Any], path: Path) -> Activation:
    keys = ("architecture", "activation", "activation_fn", "activation_fn_str")
    told = {key: config[key] for key in keys if config.get(key) is not None}
    # An architecture that is called standard says nothing of the function where another key names it.
    named = {key: said for key, said in told.items() if (key, said) != ("architecture", "standard")}
    said = sorted(
        {_ACTIVATIONS.get(one, repr(one)) if isinstance(one, str) else repr(one) for one in named.values()}
    )
    if "threshold" in found:
        if said in ([], ["jumprelu"]):
            return "jumprelu"
        got = f"thresholds, and {CONFIG} says {' and '.join(said)}"
        raise _unclear(
            path, got, "the activation behind the encoder", 'say activation="jumprelu", or another'
        )
    if not named and told:
        return "relu"
    if len(said) == 1 and said[0] in _ACTIVATIONS.values():
        return cast("Activation", said[0])
    # Sparsify writes k and leaves the default activation out.
    if not told and isinstance(config.get("k"), int):
        return "topk"
    got = (
        f"no thresholds, and {CONFIG} says {' and '.join(said)}"
        if said
        else f"no thresholds, and nothing in {CONFIG}"
    )
    raise _unclear(path, got, "the activation behind the encoder", 'say activation="relu" or "topk" with k=')


def _subtracts(names: Sequence[str], bias: torch.Tensor, config: Mapping[str, Any], path: Path) -> bool:
    if any(name in _SUBTRACTED for name in names) or not bool(bias.any()):
        return True
    for key in ("apply_b_dec_to_input", "apply_decoder_bias_to_pre_encoder"):
        if isinstance(config.get(key), bool):
            return config[key]
    # A `Linear` encoder beside W_dec and b_dec is how sparsify writes; it always subtracts.
    if "encoder.weight" in names and "W_dec" in names:
        return True
    raise _unclear(
        path,
        f"a bias of the decoder, and nothing in {CONFIG}",
        "whether it is taken off before encoding",
        "say subtract_bias=True or False: published dictionaries do either",
    )


def _largest(k: int | None, config: Mapping[str, Any], path: Path) -> int:
    nested = config.get("activation_fn_kwargs")
    said = k or config.get("k") or (nested.get("k") if isinstance(nested, dict) else None)
    if isinstance(said, bool) or not isinstance(said, int):
        raise _unclear(path, f"{said!r}", "how many latents a TopK dictionary keeps", "say k=")
    return said


def _unclear(path: Path, got: str, expected: str, fix: str) -> ArtefactError:
    return ArtefactError(
        "the dictionary's file does not say enough", where=str(path), got=got, expected=expected, fix=fix
    )


def _shapes(tensors: Mapping[str, torch.Tensor]) -> str:
    return ", ".join(f"{name} {tuple(t.shape)}" for name, t in sorted(tensors.items())) or "no tensor"
