"""Where pyvene does what is declared: logits, gradients and answers are those of plain hooks, in float64.

Three ways: pyvene 0.1.8 with what `to_pyvene` and `pyvene_calls` give it, this library's engine, and hooks on prompts
that are run alone, without padding. Where pyvene does something else is in tests/pitfalls/test_pyvene_pitfalls.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

import commutes as cm
from commutes.alignment import pyvene_calls
from commutes.errors import EngineError
from commutes.features import Subspace
from tests.network.transformers import models as M
from tests.parity.claims import (
    WIDE,
    by_engine,
    by_hooks,
    by_pyvene,
    fitted,
    from_end,
    last_head,
    places,
    prompts,
    sums,
)
from tests.parity.plain import Edit, interchange

CLOSE, CLOSE_GRADIENT = 1e-10, 1e-8
PAIRS = 3
# Families whose attention and MLP get the very tensor that the residual stream goes on with: pyvene writes into it.
RESIDUAL = ("olmo2", "bert")
INPUTS = ("attention_input", "mlp_input")


def _anywhere(network: cm.Network, algorithm: cm.Algorithm) -> cm.Alignment:
    space = cm.Rotation(network.site("block_output", layer=1, position="{b[last]}"))
    return cm.Alignment(algorithm, {algorithm["left"]: space[:1], algorithm["right"]: space[1:2]})


# Of the families that pyvene knows by name those that differ in their modules; the others take as long again.
FIRST = ("gpt2", "gpt_neox", "llama", "gemma2", "olmo2")


@pytest.mark.parametrize(
    "family", [f if f in FIRST else pytest.param(f, marks=pytest.mark.slow) for f in M.FAMILIES]
)
def test_every_named_place_of_every_family(family: str) -> None:
    """Two variables of one rotation at one place, each from its own source: linked, by subspace partition."""
    algorithm, network = sums(family), M.network(family)
    left, right = algorithm["left"], algorithm["right"]
    pairs = cm.counterfactuals(algorithm, PAIRS, seed=1, swap=[{left, right}])
    behind = from_end(family)
    with torch.no_grad():
        untouched = by_hooks(fitted(_anywhere(network, algorithm)), pairs, [[]] * PAIRS)
    for name, (path, side, features) in places(family).items():
        site = network.site(name, layer=1, head=last_head(family, name), position="{b[last]}")
        space = cm.Rotation(site)
        alignment = fitted(cm.Alignment(algorithm, {left: space[:1], right: space[1:2]}))
        basis = torch.cat([alignment.subspace(v).writer for v in (left, right)], dim=1)
        whole = ".".join(filter(None, (network.blocks[1], path)))
        edit = Edit(whole, basis, [-2 - behind], side=side, features=features)
        with torch.no_grad():
            expected = by_hooks(alignment, pairs, [[edit]] * PAIRS)
            ours = by_engine(alignment, pairs)
            assert (ours - expected).abs().max() < CLOSE, name
            assert (expected - untouched).abs().max() > 1e-6, name
            if family in RESIDUAL and name in INPUTS:
                with pytest.raises(EngineError, match="a tensor that is used elsewhere too"):
                    cm.to_pyvene(alignment)
                continue
            found = by_pyvene(alignment, pairs)
            assert (found - expected).abs().max() < CLOSE, name


def where(pairs: cm.Counterfactuals, family: str, i: int) -> dict[str, list[int]]:
    """Positions from the end of a pair's base and sources: of the last digit of {a}, and of {b}."""
    inputs = pairs.algorithm.arrays(pairs.inputs)
    behind = from_end(family)

    def last_of_a(row: int) -> int:
        return -3 - len(str(int(inputs["b"][row]))) - behind

    rows = {"base": int(pairs.base[i]), **{f"source {j}": int(s) for j, s in enumerate(pairs.source[i])}}
    return {name: [last_of_a(row), -2 - behind] for name, row in rows.items()}


SHAPES = ("together", "each", "each of two heads", "two heads together", "source elsewhere", "a part")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "gemma2"])
def test_several_positions_heads_and_parts(family: str, shape: str) -> None:
    """Positions of a batch differ from prompt to prompt; strung together, or each through the same map."""
    algorithm, network = sums(family), M.network(family)
    left = algorithm["left"]
    pairs = cm.counterfactuals(algorithm, PAIRS, seed=2, swap=[{left}])
    d = 6 if family in WIDE else 4
    heads = "heads" in shape
    features = [*range(2 * d, 3 * d), *range(d)] if heads else [9, 2, 5, 0] if shape == "a part" else None
    both: list[str | int] = ["{a[last]}", "{b[last]}"]
    site = network.site(
        "head_attention_value_output" if heads else "block_output",
        layer=1,
        head=[2, 0] if heads else None,
        part=None if heads else features,
        position=both,
        source_position=both[::-1] if shape == "source elsewhere" else None,
        each=shape.startswith("each"),
    )
    alignment = fitted(cm.Alignment(algorithm, {left: cm.Rotation(site)[:2]}))
    basis = alignment.subspace(left).writer
    path = {"gpt2": "attn.c_proj", "gpt_neox": "attention.dense"}.get(family, "self_attn.o_proj")
    edits = []
    for i in range(PAIRS):
        at = where(pairs, family, i)
        there = at["source 0"][::-1] if shape == "source elsewhere" else at["source 0"]
        chosen = [
            Edit(
                f"{network.blocks[1]}.{path}" if heads else network.blocks[1],
                basis,
                at["base"],
                there,
                "input" if heads else "output",
                features,
                site.each,
            )
        ]
        edits.append(chosen)
    with torch.no_grad():
        expected = torch.stack([_one_source(network, pairs, i, edits[i]) for i in range(PAIRS)])
        found, ours = by_pyvene(alignment, pairs, chunk=3), by_engine(alignment, pairs)
    assert (found - expected).abs().max() < CLOSE
    assert (ours - expected).abs().max() < CLOSE


def _one_source(
    network: cm.Network, pairs: cm.Counterfactuals, i: int, edits: Sequence[Edit]
) -> torch.Tensor:
    """All columns of all maps from the pair's one source."""
    inputs = prompts(network, pairs)
    base, source = inputs[int(pairs.base[i])], inputs[int(pairs.source[i, 0])]
    columns = edits[0].basis.shape[1]
    return interchange(network.module, base, [source] * columns, edits)[0, network.read_position]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_two_sites_one_behind_the_other(family: str) -> None:
    """The second site is edited as it arrives, behind the edit of the first; both take from clean sources."""
    algorithm, network = sums(family), M.network(family)
    left, right = algorithm["left"], algorithm["right"]
    pairs = cm.counterfactuals(algorithm, PAIRS, seed=3, swap=[{left, right}])
    first = cm.Rotation(network.site("block_output", layer=0, position="{b[last]}"))
    second = cm.Rotation(network.site("mlp_output", layer=2, position="last"))
    alignment = fitted(cm.Alignment(algorithm, {left: first[:2], right: second[:2]}))
    inputs, answers = prompts(network, pairs), []
    with torch.no_grad():
        for i in range(PAIRS):
            one, two = (inputs[int(pairs.source_of(v)[i])] for v in (left, right))
            # Two columns from one source, none from the other: zero columns take nothing.
            a, b = (alignment.subspace(v).writer for v in (left, right))
            edits = [
                Edit(network.blocks[0], torch.cat([a, 0 * a], dim=1), [-2]),
                Edit(f"{network.blocks[2]}.mlp", torch.cat([0 * b, b], dim=1), [-1]),
            ]
            base = inputs[int(pairs.base[i])]
            answers.append(interchange(network.module, base, [one, one, two, two], edits)[0, -1])
        expected = torch.stack(answers)
        assert (by_pyvene(alignment, pairs) - expected).abs().max() < CLOSE
        assert (by_engine(alignment, pairs) - expected).abs().max() < CLOSE


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_neurons(family: str) -> None:
    algorithm, network = sums(family), M.network(family)
    left, right = algorithm["left"], algorithm["right"]
    pairs = cm.counterfactuals(algorithm, PAIRS, seed=4, swap=[{left, right}])
    space = cm.Coordinates(network.site("block_output", layer=1, position="{b[last]}"))
    # Two neurons that are not neighbours: pyvene would read their numbers as a range.
    alignment = cm.Alignment(algorithm, {left: space[[3, 7]], right: space[[0]]})
    unit = torch.eye(16, dtype=torch.float64)[:, [3, 7, 0]]
    inputs, answers = prompts(network, pairs), []
    with torch.no_grad():
        for i in range(PAIRS):
            one, two = (inputs[int(pairs.source_of(v)[i])] for v in (left, right))
            edit = Edit(network.blocks[1], unit, [-2])
            base = inputs[int(pairs.base[i])]
            answers.append(interchange(network.module, base, [one, one, two], [edit])[0, -1])
        assert (by_pyvene(alignment, pairs) - torch.stack(answers)).abs().max() < CLOSE


def tangent(basis: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The part of a gradient along the orthonormal matrices: G - W (WᵀG + GᵀW) / 2."""
    inner = basis.T @ gradient
    return gradient - basis @ (inner + inner.T) / 2


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "mistral", "qwen2", "gemma2"])
def test_the_gradient_of_the_loss_with_respect_to_the_rotation(family: str) -> None:
    """Of the cross-entropy of the expected answers, along the orthonormal matrices.

    Off them pyvene's gradient is another: it swaps one variable after the other, which is the joint swap only where
    the columns are orthogonal.
    """
    algorithm, network = sums(family), M.network(family)
    left, right = algorithm["left"], algorithm["right"]
    pairs = cm.counterfactuals(algorithm, PAIRS, seed=5, swap=[{left, right}])
    space = cm.Rotation(network.site("block_output", layer=1, position="{b[last]}"))
    alignment = fitted(cm.Alignment(algorithm, {left: space[:2], right: space[2:3]}))
    tokens = torch.arange(PAIRS) + 7
    basis = torch.cat([alignment.subspace(v).writer for v in (left, right)], dim=1)

    ours = basis.clone().requires_grad_()
    logits = by_engine(alignment, pairs, [Subspace(ours, ours)])
    (by_library,) = torch.autograd.grad(cross_entropy(logits, tokens), ours)

    model = cm.to_pyvene(alignment)
    rotate = next(iter(model.interventions.values())).rotate_layer
    parametrize.remove_parametrizations(rotate, "weight")
    found = []
    for rows, arguments in pyvene_calls(alignment, pairs):
        assert rows.tolist() == list(range(PAIRS))
        found.append(model(**arguments)[1].logits[:, -1])
    cross_entropy(torch.cat(found), tokens).backward()

    plain = basis.clone().requires_grad_()
    edit = Edit(network.blocks[1], plain, [-2])
    inputs, answers = prompts(network, pairs), []
    for i in range(PAIRS):
        one, two = (inputs[int(pairs.source_of(v)[i])] for v in (left, right))
        answers.append(
            interchange(network.module, inputs[int(pairs.base[i])], [one, one, two], [edit])[0, -1]
        )
    (expected,) = torch.autograd.grad(cross_entropy(torch.stack(answers), tokens), plain)
    along = tangent(basis, expected)
    assert along.abs().max() > 1e-3
    assert (tangent(basis, rotate.weight.grad) - along).abs().max() < CLOSE_GRADIENT
    assert (tangent(basis, by_library) - along).abs().max() < CLOSE_GRADIENT
    # This library's is that of the joint swap, off the orthonormal matrices too.
    assert (by_library - expected).abs().max() < CLOSE_GRADIENT
    assert (rotate.weight.grad - expected).abs().max() > 1e-4


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_evaluate_gives_the_same_answers(family: str, dtype: torch.dtype) -> None:
    algorithm, network = sums(family), M.network(family, dtype=dtype)
    left, right = algorithm["left"], algorithm["right"]
    space = cm.Rotation(network.site("block_output", layer=1, position="{b[last]}"))
    alignment = fitted(cm.Alignment(algorithm, {left: space[:2], right: space[2:5]}), dtype=dtype)
    swap = [{left}, {right}, {left, right}, cm.one_source(left, right)]
    pairs = cm.counterfactuals(algorithm, 40, seed=1, swap=swap)
    ours, theirs = cm.evaluate(alignment, pairs), cm.evaluate(alignment, pairs, engine="pyvene")
    assert np.array_equal(ours.answered, theirs.answered)
    assert np.array_equal(ours.hits, theirs.hits)
    # Answers of the run that nothing is done to are others: the pairs were really swapped.
    assert len(np.unique(ours.answered)) > 1
    gap = theirs.self_checks["pyvene beside this engine"]
    assert isinstance(gap, float)
    assert gap < (1e-10 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("position", ["{b[last]}", "answer[0]"])
def test_answers_of_several_tokens(position: str) -> None:
    """The first token of the answer is fed behind the prompt, in pyvene's runs as in the engine's."""
    algorithm = cm.Algorithm("sum")
    a, b = algorithm.inputs("a b", domain=range(5, 12))
    algorithm.add("left", a, f=lambda a: a)
    algorithm.add("sum", "left", b, f=lambda left, b: left + b + 10, output=True)
    network = cm.Network(
        M.model("gpt2"),
        M.fitting_tokenizer("gpt2"),
        template=M.PROMPT,
        answers={i: str(i) for i in range(20, 33)},
    )
    space = cm.Rotation(network.site("block_output", layer=1, position=position))
    alignment = fitted(cm.Alignment(algorithm, {algorithm["left"]: space[:4]}))
    pairs = cm.counterfactuals(algorithm, 20, seed=0)
    theirs = cm.evaluate(alignment, pairs, engine="pyvene")
    assert np.array_equal(cm.evaluate(alignment, pairs).answered, theirs.answered)
    gap = theirs.self_checks["pyvene beside this engine"]
    assert isinstance(gap, float)
    assert gap < CLOSE
