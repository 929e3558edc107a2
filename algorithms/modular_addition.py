"""Addition modulo a number, in published transformers, in a small one of our own, or in a small Llama.

`published` reads the networks of The Clock and the Pizza (arXiv 2306.17844): a user gives the file. Every
place where a variable may live is the output of a module with a name:

    embed                       token plus position
    blocks.0.attention.heads    the heads' outputs side by side, head h at h * d_head to (h + 1) * d_head
    blocks.0.middle             residual stream after attention
    blocks.0.mlp.neurons        MLP neurons after the ReLU
    blocks.0                    residual stream after the MLP
    unembed                     logits at both positions; the answer is read at the last

`language_network` reads the same as text, "12+34=", and its places have the names that language models share.
"""

from __future__ import annotations

import math
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from commutes.algorithm import Algorithm
from commutes.errors import ArtefactError, NetworkError, SpecError, nearest
from commutes.network import Network, examples
from commutes.network import train as descend
from commutes.network.transformers import train_language, untrained_model, word_tokenizer

Progress = Callable[[int, int, dict[str, float]], None]
Attention = str | float

INPUTS = ("a", "b")
MIXES = {"constant": 0.0, "softmax": 1.0}  # the c of c * softmax(q k / sqrt(d_head)) + (1 - c)


def algorithm(modulus: int = 59) -> Algorithm:
    """total = (a + b) mod `modulus`, answer = total."""
    hypothesis = Algorithm(f"addition modulo {modulus}")
    hypothesis.inputs(INPUTS, domain=range(modulus))

    @hypothesis.variable(domain=range(modulus))
    def total(a, b):
        return (a + b) % modulus

    @hypothesis.output(domain=range(modulus))
    def answer(total):
        return total

    return hypothesis.check()


def control(modulus: int = 59) -> Algorithm:
    """The first summand as a variable: what the network reads, not what it keeps once it has added."""
    hypothesis = Algorithm(f"the first summand modulo {modulus}")
    hypothesis.inputs(INPUTS, domain=range(modulus))

    @hypothesis.variable(domain=range(modulus))
    def first(a):
        return a

    @hypothesis.output(domain=range(modulus))
    def answer(first, b):
        return (first + b) % modulus

    return hypothesis.check()


def published(
    algorithm: Algorithm, *, seed: int = 0, path: str = "", attention: Attention = "softmax"
) -> Network:
    """A published network, for a spec: `load` with a check that it adds modulo the algorithm's modulus.

    Args:
        algorithm: Whose inputs the network reads.
        seed: Not used: nothing is drawn.
        path: The file.
        attention: As in `load`.

    Raises:
        SpecError: No path.
        NetworkError: A network for another modulus.
        ArtefactError: As in `load`.
    """
    if not path:
        raise SpecError(
            "this spec needs the file of a network",
            where="network.options.path",
            got="no path",
            expected="a state dict of the format of The Clock and the Pizza (arXiv 2306.17844)",
            fix="add --set 'network.options.path=\"FILE.pt\"', and network.options.attention for it",
        )
    network = load(path, attention=attention)
    modulus = algorithm.domain("a").size
    if network.answers is None or len(network.answers) != modulus:
        raise NetworkError(
            "the network adds modulo another number",
            where=path,
            got=f"{len(network.answers or ())} tokens",
            expected=f"{modulus}, the modulus of {algorithm.name}",
            fix=f"set algorithm.options.modulus = {len(network.answers or ())}",
        )
    return network


def load(path: str | os.PathLike[str], *, attention: Attention) -> Network:
    """The network in a file of the format of The Clock and the Pizza.

    Args:
        path: A state dict saved by torch; it is read without unpickling anything but tensors.
        attention: "constant", "softmax", or the mixing coefficient c between them (0 is constant). The file
            does not say which it was trained with, and accuracy does not always tell.

    Raises:
        NetworkError: No such attention.
        ArtefactError: No such file, or not a state dict of this format.

    See The Clock and the Pizza: Two Stories in Mechanistic Explanation of Neural Networks, arXiv 2306.17844.
    """
    mix = _mix(attention)
    state = _read(Path(path))
    sizes = _sizes(state, Path(path))
    module = AdditionTransformer(**sizes, mix=mix, seed=0)
    module.load_state_dict(_renamed(state))
    return _wrapped(module.eval(), sizes["tokens"], f"{Path(path).name}, attention {attention}")


def network(
    algorithm: Algorithm,
    *,
    seed: int,
    width: int = 64,
    heads: int = 4,
    neurons: int = 256,
    attention: Attention = "softmax",
) -> Network:
    """An untrained network of the published architecture, smaller by default."""
    tokens = algorithm.domain("a").size
    if tokens is None:
        raise NetworkError(
            "this network reads tokens", where=algorithm.name, expected="inputs range(modulus)"
        )
    module = AdditionTransformer(
        tokens=tokens,
        width=width,
        heads=heads,
        head=width // heads,
        neurons=neurons,
        mix=_mix(attention),
        seed=seed,
    )
    return _wrapped(module, tokens, "addition transformer")


def train(
    network: Network, algorithm: Algorithm, *, seed: int, progress: Progress | None = None, steps: int = 200
) -> Network:
    """The network trained on all pairs at every step: it knows its table by heart and need not generalise."""
    everything = examples(network, algorithm, algorithm.enumerate_inputs())
    head = _LastPosition(network.module)
    module = descend(
        head, _again(everything), steps=steps, lr=3e-3, weight_decay=1.0, seed=seed, progress=progress
    )
    assert isinstance(module, _LastPosition)
    return network.with_module(module.module)


# The same task as text, in an architecture of the Hugging Face library. Sizes and steps were chosen on the network
# seed 0, by accuracy on held-out pairs.

TEMPLATE = "{a}+{b}="
LANGUAGE_STEPS = 1_000


def language_network(
    algorithm: Algorithm, *, seed: int, layers: int = 2, width: int = 64, heads: int = 4
) -> Network:
    """An untrained Llama that reads "12+34=", every number a token, and answers with a number."""
    from transformers import LlamaConfig

    numbers = [str(number) for number in range(algorithm.domain("a").size or 0)]
    tokenizer = word_tokenizer([*numbers, "+", "="], begin=True)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        initializer_range=width**-0.5,
        max_position_embeddings=16,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Network(
        untrained_model(config, seed=seed),
        tokenizer,
        template=TEMPLATE,
        answers={int(number): number for number in numbers},
        name="modular-addition Llama",
    )


def language_train(
    network: Network,
    algorithm: Algorithm,
    *,
    seed: int,
    progress: Progress | None = None,
    steps: int = LANGUAGE_STEPS,
) -> Network:
    """The network trained on nine tenths of the pairs: it has to find out about the others."""
    return train_language(
        network,
        algorithm,
        steps=steps,
        batch=256,
        lr=3e-3,
        weight_decay=2.0,
        seed=seed,
        progress=progress,
    )


class AdditionTransformer(nn.Module):
    """One block of attention without a mask and an MLP, without layer norm, over the two tokens a, b.

    Args:
        tokens: Size of the vocabulary, and of the logits.
        width: Of the residual stream.
        heads: Number of heads.
        head: Width of a head.
        neurons: Of the MLP.
        mix: c in the attention weights c * softmax(q k / sqrt(head)) + (1 - c).
        seed: Of the initial weights.
    """

    def __init__(
        self, *, tokens: int, width: int, heads: int, head: int, neurons: int, mix: float, seed: int
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = _Embed(tokens, width)
            self.blocks = nn.ModuleList([_Block(width, heads, head, neurons, mix)])
            self.unembed = nn.Linear(width, tokens, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """# shape: (n, 2) -> (n, 2, tokens)"""
        stream = self.embed(tokens)
        for block in self.blocks:
            stream = block(stream)
        return self.unembed(stream)


class _Embed(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.positions = nn.Embedding(len(INPUTS), width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        order = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        return self.tokens(tokens) + self.positions(order)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, head: int, neurons: int, mix: float) -> None:
        super().__init__()
        self.attention = _Attention(width, heads, head, mix)
        self.middle = nn.Identity()
        self.mlp = _MLP(width, neurons)

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        middle = self.middle(stream + self.attention(stream))
        return middle + self.mlp(middle)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, head: int, mix: float) -> None:
        super().__init__()
        self.count, self.mix = heads, mix
        self.query = nn.Linear(width, heads * head, bias=False)
        self.key = nn.Linear(width, heads * head, bias=False)
        self.value = nn.Linear(width, heads * head, bias=False)
        self.heads = nn.Identity()
        self.output = nn.Linear(heads * head, width, bias=False)

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part(stream).unflatten(-1, (self.count, -1)).transpose(1, 2)  # shape: (n, heads, positions, head)
            for part in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        weights = self.mix * scores.softmax(-1) + (1 - self.mix)
        return self.output(self.heads((weights @ value).transpose(1, 2).flatten(2)))


class _MLP(nn.Module):
    def __init__(self, width: int, neurons: int) -> None:
        super().__init__()
        self.input = nn.Linear(width, neurons)
        self.neurons = nn.ReLU()
        self.output = nn.Linear(neurons, width)

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        return self.output(self.neurons(self.input(stream)))


class _LastPosition(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.module(tokens)[:, -1]


def _wrapped(module: AdditionTransformer, tokens: int, name: str) -> Network:
    # Both published networks are right at the last position; at the first the softmax one errs on 16 %.
    return Network(module, encode=_tokens, answers=range(tokens), read=-1, blocks="blocks", name=name)


def _tokens(values: Mapping[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([values[name] for name in INPUTS], axis=1))


def _again(batch: tuple[torch.Tensor, torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        yield batch


def _mix(attention: Attention) -> float:
    if isinstance(attention, str) and attention in MIXES:
        return MIXES[attention]
    if isinstance(attention, int | float) and not isinstance(attention, bool) and 0 <= attention <= 1:
        return float(attention)
    close = nearest(attention, MIXES)[0] if isinstance(attention, str) else "softmax"
    raise NetworkError(
        "no such attention",
        where="attention",
        got=repr(attention),
        expected="'constant', 'softmax', or a mixing coefficient from 0 (constant) to 1 (softmax)",
        fix=f"write {close!r}",
    )


# The file: names and axes of the published state dict.

SHAPES: dict[str, tuple[str, ...]] = {
    "embed.W_E": ("width", "tokens"),
    "pos_embed.W_pos": ("positions", "width"),
    "unembed.W_U": ("width", "tokens"),
    "blocks.0.attn.W_K": ("heads", "head", "width"),
    "blocks.0.attn.W_Q": ("heads", "head", "width"),
    "blocks.0.attn.W_V": ("heads", "head", "width"),
    "blocks.0.attn.W_O": ("width", "heads * head"),
    "blocks.0.mlp.W_in": ("neurons", "width"),
    "blocks.0.mlp.b_in": ("neurons",),
    "blocks.0.mlp.W_out": ("width", "neurons"),
    "blocks.0.mlp.b_out": ("width",),
}
UNUSED = ("blocks.0.attn.mask",)  # in the files, but attention has no mask


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, weights_only=True, map_location="cpu")
    except OSError as error:
        raise ArtefactError(
            "the file of the network cannot be read",
            where=str(path),
            got=(error.strerror or str(error)).lower(),
            expected="a state dict saved by torch",
            fix="give the path of the file, relative to the folder in which you are",
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ArtefactError(
            "the file is not a state dict of tensors",
            where=str(path),
            got=str(error).strip().splitlines()[0][:100] if str(error).strip() else type(error).__name__,
            expected="a state dict saved by torch, holding nothing but tensors",
            fix="check that the download is complete; other pickles are never opened",
        ) from None
    tensors = isinstance(state, dict) and all(isinstance(tensor, torch.Tensor) for tensor in state.values())
    if not tensors:
        raise ArtefactError(
            "the file is not a state dict of tensors",
            where=str(path),
            got=type(state).__name__,
            expected="a state dict saved by torch, holding nothing but tensors",
            fix="save module.state_dict()",
        )
    return dict(state)


def _sizes(state: Mapping[str, torch.Tensor], path: Path) -> dict[str, int]:
    """The sizes of the network, where every tensor of the format is there, fits the others and is finite."""
    missing = [name for name in SHAPES if name not in state]
    extra = [name for name in state if name not in SHAPES and name not in UNUSED]
    if missing or extra:
        raise ArtefactError(
            "the state dict is of another format",
            where=str(path),
            got="; ".join(
                words + ", ".join(names[:4])
                for words, names in (("without ", missing), ("with ", extra))
                if names
            ),
            expected=", ".join(SHAPES),
            fix="only one-block networks of The Clock and the Pizza (arXiv 2306.17844) are read",
        )
    sizes: dict[str, int] = {"positions": len(INPUTS)}
    for name, axes in SHAPES.items():
        shape = tuple(state[name].shape)
        if len(shape) == len(axes):
            for axis, length in zip(axes, shape, strict=True):
                sizes.setdefault(axis, length)
        if "heads" in sizes:
            sizes["heads * head"] = sizes["heads"] * sizes["head"]
        expected = tuple(sizes.get(axis, 0) for axis in axes)
        if shape != expected or 0 in shape:
            raise ArtefactError(
                "a tensor of the state dict does not fit the others",
                where=f"{path}, {name}",
                got=f"shape {shape}",
                expected=f"({', '.join(axes)})" + (f" = {expected}" if 0 not in expected else ""),
                fix="check that the file is complete and of this format",
            )
        if not state[name].is_floating_point() or not state[name].isfinite().all():
            raise ArtefactError(
                "a tensor of the state dict does not hold finite numbers",
                where=f"{path}, {name}",
                got=f"type {str(state[name].dtype).removeprefix('torch.')}, some of it not finite",
                expected="finite floats",
                fix="check that the file is complete and of this format",
            )
    return {name: sizes[name] for name in ("tokens", "width", "heads", "head", "neurons")}


def _renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    attention, mlp = "blocks.0.attn.", "blocks.0.mlp."
    return {
        "embed.tokens.weight": state["embed.W_E"].T,
        "embed.positions.weight": state["pos_embed.W_pos"],
        "blocks.0.attention.query.weight": state[attention + "W_Q"].flatten(0, 1),
        "blocks.0.attention.key.weight": state[attention + "W_K"].flatten(0, 1),
        "blocks.0.attention.value.weight": state[attention + "W_V"].flatten(0, 1),
        "blocks.0.attention.output.weight": state[attention + "W_O"],
        "blocks.0.mlp.input.weight": state[mlp + "W_in"],
        "blocks.0.mlp.input.bias": state[mlp + "b_in"],
        "blocks.0.mlp.output.weight": state[mlp + "W_out"],
        "blocks.0.mlp.output.bias": state[mlp + "b_out"],
        "unembed.weight": state["unembed.W_U"].T,
    }
