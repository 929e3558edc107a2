"""Cones give what whole runs give, and what plain hooks give on single prompts that are not padded, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from commutes.engine import Edited, cone_certificate, logits_together
from tests.network.transformers import models as M

from . import cones as C
from .cones import CLOSE

GRADIENT = 1e-8
Case = tuple[str, int, Any]

SITUATIONS = [
    pytest.param(family, padded, id=f"{family}-{'padded' if padded else 'alike'}")
    for family in C.DECODERS
    for padded in (False, True)
    if not padded or family in C.PADDED
]


def positions(padded: bool) -> tuple[Any, ...]:
    return C.POSITIONS[:-1] if padded else C.POSITIONS


def every_case(padded: bool) -> list[Case]:
    return list(itertools.product(C.NAMES, (0, 1, 2), positions(padded)))


def thin(family: str, padded: bool) -> bool:
    """Whether fewer cases do, because the same is done with padding too."""
    return not padded and family in C.PADDED


def some_cases(family: str, padded: bool) -> list[Case]:
    """Every name in every layer, at positions in turn; in one layer where the same is done with padding too."""
    chosen = positions(padded)
    return [
        (name, layer, chosen[(i + layer) % len(chosen)])
        for i, name in enumerate(C.NAMES)
        for layer in ((i // 2 % 3,) if thin(family, padded) else (0, 1, 2))
    ]


def check_logits(family: str, padded: bool, cases: Sequence[Case], pairs: int) -> None:
    """Alone and sharing a forward, each edit is a whole run's, and of so many pairs in turn the oracle's."""
    network, inputs = C.network(family), C.values(padded)
    prepared, parameters = C.ready(network, inputs, [[C.site(network, *case)] for case in cases])
    assert cone_certificate(network, network.encode(inputs)).holds
    alone = C.Alone(network, inputs)
    spots = [C.spot(family, padded, *case) for case in cases]
    clean = alone.clean(spots)
    untouched = torch.stack([alone.run(base, []) for base in C.BASE])
    runs = [C.edited(one, raws) for one, raws in zip(prepared, parameters, strict=True)]
    moved = 0
    with torch.no_grad():
        together = logits_together(runs)
        for i, run in enumerate(runs):
            found = run.prepared.logits(run.batch, run.featurizers, run.masks)
            whole = C.whole(run)
            here = [(i + j) % 4 for j in range(pairs)]
            expected = alone.swapped([i], spots, [run.featurizers[0].writer], clean, here)  # type: ignore[attr-defined]
            assert run.prepared.cone is not None or starts_nowhere(cases[i])
            assert (whole[here] - expected).abs().max() < CLOSE, cases[i]
            assert (found - whole).abs().max() < CLOSE, cases[i]
            assert (together[i] - whole).abs().max() < CLOSE, cases[i]
            moved += bool((whole - untouched).abs().max() > 1e-6)
    # Of what the last layer does elsewhere than at the last position nothing is read.
    assert moved > len(cases) / 2


def starts_nowhere(case: Case) -> bool:
    """Whether nothing can be skipped: something inside the first block changes from the first token on."""
    name, layer, position = case
    return layer == 0 and name != "block_output" and position in ("{a}", "every")


@pytest.mark.parametrize(("family", "padded"), SITUATIONS)
def test_every_place_is_the_oracle(family: str, padded: bool) -> None:
    check_logits(family, padded, some_cases(family, padded), 1)


@pytest.mark.slow
@pytest.mark.parametrize("family", C.DECODERS)
def test_every_place_and_position_is_the_oracle(family: str) -> None:
    padded = family in C.PADDED
    check_logits(family, padded, every_case(padded), 1)


def loss(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """That of distributed alignment search, over all runs, each with its own weight."""
    target = torch.tensor([7, 8, 9, 10])
    return torch.stack([(i + 1) * cross_entropy(found, target) for i, found in enumerate(logits)]).sum()


def gradients(runs_of: Any, parameters: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
    leaves = [[raw.clone().requires_grad_() for raw in raws] for raws in parameters]
    return list(torch.autograd.grad(loss(runs_of(leaves)), [raw for raws in leaves for raw in raws]))


@pytest.mark.parametrize(("family", "padded"), SITUATIONS)
def test_gradients_are_those_of_whole_runs(family: str, padded: bool) -> None:
    network, inputs = C.network(family), C.values(padded)
    # Every name in one layer, and every layer.
    cases = some_cases(family, padded)[:: 1 if thin(family, padded) else 4]
    prepared, parameters = C.ready(network, inputs, [[C.site(network, *case)] for case in cases])

    def runs(leaves: Sequence[Sequence[torch.Tensor]]) -> list[Edited]:
        return [C.edited(one, raws) for one, raws in zip(prepared, leaves, strict=True)]

    together = gradients(lambda leaves: logits_together(runs(leaves)), parameters)
    expected = gradients(lambda leaves: [C.whole(run) for run in runs(leaves)], parameters)
    sizes = [float(grad.abs().max()) for grad in expected]
    for case, one, other in zip(cases, together, expected, strict=True):
        assert (one - other).abs().max() < GRADIENT, case
    assert sum(size > 1e-4 for size in sizes) > len(sizes) / 2


@pytest.mark.parametrize(("family", "padded"), SITUATIONS)
def test_selected_columns_are_columns_of_the_logits(family: str, padded: bool) -> None:
    network, inputs = C.network(family), C.values(padded)
    cases = [("block_output", 0, "last"), ("mlp_output", 1, "{b[last]}"), ("block_output", 2, "last")]
    prepared, parameters = C.ready(network, inputs, [[C.site(network, *case)] for case in cases])
    runs = [C.edited(one, raws) for one, raws in zip(prepared, parameters, strict=True)]
    columns = torch.tensor([9, 3, 17, 3])
    with torch.no_grad():
        for run, found in zip(runs, logits_together(runs, columns=columns), strict=True):
            full = C.whole(run)
            assert full.shape[1] == M.VOCABULARY
            assert (found - full[:, columns]).abs().max() < CLOSE
            alone = run.prepared.logits(run.batch, run.featurizers, run.masks, columns=columns)
            assert (alone - full[:, columns]).abs().max() < CLOSE


@pytest.mark.parametrize(("family", "padded"), SITUATIONS)
def test_several_sites_at_once(family: str, padded: bool) -> None:
    """Three sites of one alignment: two that meet at one moment's block, one before."""
    network, inputs = C.network(family), C.values(padded)
    cases = [
        ("head_value_output", 0, "{b[last]}"), ("mlp_output", 1, "{a}"), ("block_output", 2, "last"),
    ]  # fmt: skip
    (prepared,), (parameters,) = C.ready(network, inputs, [[C.site(network, *case) for case in cases]])
    alone = C.Alone(network, inputs)
    spots = [C.spot(family, padded, *case) for case in cases]
    run = C.edited(prepared, parameters)
    bases = [f.writer for f in run.featurizers]  # type: ignore[attr-defined]
    expected = alone.swapped(range(3), spots, bases, alone.clean(spots))
    with torch.no_grad():
        found = prepared.logits(run.batch, run.featurizers, run.masks)
        assert (C.whole(run) - expected).abs().max() < CLOSE
        assert (found - expected).abs().max() < CLOSE


def by_hand(alone: C.Alone, spots: Sequence[C.Spot], basis: torch.Tensor, clean: Any) -> torch.Tensor:
    """A site over two moments: what has arrived counts as it arrived, what is to come as it stands unedited."""
    answers = []
    for base, sources in zip(C.BASE, C.SOURCE, strict=True):
        vectors = [torch.cat(clean[s]) for s in sources]
        state = list(clean[base])
        sizes = [len(part) for part in state]

        def change(
            tensor: torch.Tensor, i: int, base: int = base, state: Any = state, vectors: Any = vectors
        ) -> Any:
            state[i] = spots[i].read(tensor, base)
            after = C.swap_vector(torch.cat(state), basis, vectors).split(sizes)  # noqa: B023
            return spots[i].written(tensor, base, after[i])

        hooks = [(s, lambda t, i=i, change=change: change(t, i)) for i, s in enumerate(spots)]
        answers.append(alone.run(base, hooks))
    return torch.stack(answers)


SPREAD = (
    (("block_output", 0, "{b[last]}"), ("block_output", 2, "last")),
    (("block_output", 1, "last"), ("mlp_output", 2, "{b[last]}")),
    (("attention_output", 0, "{a}"), ("block_output", 1, "last")),
)


@pytest.mark.parametrize(("family", "padded"), SITUATIONS)
def test_sites_that_span_blocks(family: str, padded: bool) -> None:
    network, inputs = C.network(family), C.values(padded)
    alternatives = [[C.site(network, *one) + C.site(network, *two)] for one, two in SPREAD]
    prepared, parameters = C.ready(network, inputs, alternatives)
    alone = C.Alone(network, inputs)
    runs = [C.edited(one, raws) for one, raws in zip(prepared, parameters, strict=True)]
    with torch.no_grad():
        together = logits_together(runs)
        for i, (run, cases) in enumerate(zip(runs, SPREAD, strict=True)):
            spots = [C.spot(family, padded, *case) for case in cases]
            expected = by_hand(alone, spots, run.featurizers[0].writer, alone.clean(spots))  # type: ignore[attr-defined]
            found = run.prepared.logits(run.batch, run.featurizers, run.masks)
            assert (C.whole(run) - expected).abs().max() < CLOSE
            assert (found - expected).abs().max() < CLOSE
            assert (together[i] - expected).abs().max() < CLOSE


@pytest.mark.parametrize("family", C.DECODERS)
def test_lanes_of_different_rows_and_sizes(family: str) -> None:
    """Runs that share a forward need not be of the same pairs, nor of as many, nor of one size."""
    padded = family in C.PADDED
    network, inputs = C.network(family), C.values(padded)
    cases = [
        ("block_output", 2, "last"), ("block_input", 0, "last"), ("block_output", 0, "last"),
        ("mlp_activation", 1, "last"), ("block_output", 2, "last"), ("query_output", 0, "last"),
    ]  # fmt: skip
    pairs = [
        ((3,), ((0, 1),)), ((1, 0, 2), ((2, 3), (1, 2), (0, 3))), ((2, 2), ((0, 1), (3, 1))),
        ((0, 1, 2, 3), C.SOURCE), ((1,), ((2, 0),)), ((3, 0), ((1, 1), (2, 3))),
    ]  # fmt: skip
    prepared, _ = C.ready(network, inputs, [[C.site(network, *case)] for case in cases])
    assert len({(id(one.cone.kept), one.cone.start) for one in prepared if one.cone is not None}) == 1
    runs = [
        C.edited(one, C.raws([layout.width for layout in one.plan.values()], k=k, seed=k), *pair)
        for one, pair, k in zip(prepared, pairs, (1, 2, 3, 4, 5, 2), strict=True)
    ]
    with torch.no_grad():
        for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 4, 2], [4], [2, 0]):
            for i, found in zip(order, logits_together([runs[i] for i in order]), strict=True):
                assert (found - C.whole(runs[i])).abs().max() < CLOSE


def test_the_places_are_by_hand_what_the_library_says() -> None:
    """Of every family and name, so that the oracle and the library look at the same tensor."""
    for family, name, layer in itertools.product(C.DECODERS, C.NAMES, (0, 2)):
        asked = C.site(C.network(family), name, layer, "last").places[0]
        path, side, features = C.place(family, name, layer)
        moment = asked.moment
        assert (moment.path, moment.item or moment.side) == (path, side)
        assert (None if asked.part is None else tuple(asked.part)) == features  # type: ignore[arg-type]
