"""Of compiled programs everything is known: what they answer, and what a swap does at every place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from commutes import Alignment, Counterfactuals, Variable, census, evaluate
from commutes.errors import DataError
from commutes.evaluation import bench
from commutes.testing.compiler import PROGRAMS, Compiled, Home, compile_program, program
from tests.testing.compiler.oracle import Edit, Run
from tests.testing.compiler.references import expected
from tests.testing.compiler.sizes import OWN, SMALL, made

ROTATIONS = [pytest.param(None, id="plain"), pytest.param(7, id="rotated")]
programs = pytest.mark.parametrize("name", SMALL)
rotations = pytest.mark.parametrize("rotation", ROTATIONS)


def sequences(compiled: Compiled, inputs: dict[str, np.ndarray]) -> list[tuple[Any, ...]]:
    """The inputs as sequences; what the algorithm does not read is the first symbol."""
    length, alphabet = compiled.program.length, compiled.program.alphabet
    values = {name: compiled.algorithm.values(name, column) for name, column in inputs.items()}
    n = len(next(iter(inputs.values())))
    columns = [values.get(f"token_{p}", [alphabet[0]] * n) for p in range(length)]
    return list(zip(*columns, strict=True))


def answers(compiled: Compiled) -> tuple[list[tuple[Any, ...]], list[Any]]:
    """Every sequence and the network's answer to it."""
    inputs = compiled.algorithm.enumerate_inputs()
    encoded = compiled.network.encode(compiled.algorithm.arrays(inputs))
    with torch.no_grad():
        chosen = compiled.network.module(*encoded.args).argmax(dim=1).tolist()
    assert compiled.network.answers is not None
    return sequences(compiled, inputs), [compiled.network.answers[i] for i in chosen]


def swaps(compiled: Compiled, variables: Sequence[Variable]) -> Counterfactuals:
    return census(compiled.algorithm, swap=[{v} for v in variables])


@cache
def matter(compiled: Compiled) -> list[Variable]:
    """The variables whose interchange changes some answer; of others a census says that there is nothing to test."""
    found = []
    for variable in compiled.variables:
        try:
            swaps(compiled, [variable])
        except DataError:
            continue
        found.append(variable)
    return found


def by_step(compiled: Compiled) -> list[list[Home]]:
    """The homes of the variables that matter, those that can be aligned together in one list."""
    kept = matter(compiled)
    homes = [h for h in compiled.homes() if h.variable in kept]
    keys = dict.fromkeys((h.step, h.raw) for h in homes)
    return [[h for h in homes if (h.step, h.raw) == key] for key in keys]


def predicted(compiled: Compiled, pairs: Counterfactuals, home: Home) -> np.ndarray:
    """The answer to each pair that swaps the home's variable, if the program is run by hand.  # codes"""
    algorithm, variable = compiled.algorithm, home.variable
    domain = algorithm.domain("answer")
    values = algorithm.domain(variable).decode(np.arange(algorithm.domain(variable).size or 0))
    table = np.array(
        [
            [domain.encode([Run(compiled, tokens, Edit(home, value)).answer()])[0] for value in values]
            for tokens in sequences(compiled, pairs.inputs)
        ]
    )
    rows = pairs.swapped(variable)
    return table[pairs.base[rows], pairs.source_value(variable)[rows]]


def every_place(compiled: Compiled) -> dict[str, int]:
    """Compare each place of each variable with the program run by hand; counts of places by status."""
    counts: dict[str, int] = {}
    for homes in by_step(compiled):
        alignment = compiled.alignment(homes)
        pairs = swaps(compiled, alignment.variables)
        answered = bench(alignment, pairs).answered(alignment.featurizers)
        for home in homes:
            rows = pairs.swapped(home.variable)
            found, effective = answered[rows], pairs.effective[rows]
            np.testing.assert_array_equal(found, predicted(compiled, pairs, home), err_msg=str(home))
            if home.status == "true":
                assert (found == pairs.expected[rows]).all(), home
            elif home.status in ("dead", "absent"):
                assert not (found == pairs.expected[rows])[effective].any(), home
                assert (found == pairs.base_answer[rows]).all(), home
            counts[home.status] = counts.get(home.status, 0) + 1
    return counts


@programs
@rotations
def test_every_input_is_answered(name, rotation):
    compiled = made(name, OWN[name], rotation)
    given, found = answers(compiled)
    assert len(given) == len(set(given)) == compiled.algorithm.input_count
    assert found == [expected(name, t, OWN[name][1]) for t in given]


@programs
@rotations
def test_every_place_does_what_the_program_predicts(name, rotation):
    counts = every_place(made(name, SMALL[name], rotation))
    assert counts["true"] > 0
    assert counts["absent"] > 0
    assert counts["dead"] > 0


@pytest.mark.slow
@programs
def test_every_place_does_what_the_program_predicts_at_its_own_size(name):
    every_place(made(name, OWN[name], 8))


@programs
@rotations
def test_every_stratum_of_every_variable_is_exactly_one(name, rotation):
    compiled = made(name, SMALL[name], rotation)
    alignment = compiled.alignment(compiled.homes(v, status="true")[-1] for v in matter(compiled))
    found = evaluate(alignment, swaps(compiled, alignment.variables))
    assert found.hits.all()
    assert (found.label, found.accuracy.rate) == ("complete domain", 1.0)
    measured = [cell for cell in found.cells if cell.status != "impossible"]
    assert {cell.swap for cell in measured} == {v.name for v in matter(compiled)}
    assert {(cell.status, cell.rate.rate) for cell in measured if cell.rate} == {("gated", 1.0)}
    assert {c.rate.rate for c in (*found.transitions, *found.directions)} == {1.0}
    assert found.worst is not None
    assert found.worst.rate == found.worst.lower == 1.0


@pytest.mark.parametrize("name", ["sort", "histogram", "indirect_object"])
def test_two_variables_at_once_from_two_sources_are_exact(name):
    compiled = made(name, SMALL[name], 7)
    inner = [v for v in matter(compiled) if v.kind == "inner"]
    homes = {v: compiled.true_home(v) for v in inner}
    pairs = census(compiled.algorithm, swap=[{a, b} for a, b in combinations(inner, 2)][:12])
    alignment = compiled.alignment(homes[v] for v in pairs.variables)
    # A variable below another at once: the lower one's own source counts, as in the algorithm.
    assert bench(alignment, pairs).hits(alignment.featurizers).all()


@pytest.mark.parametrize("name", ["previous", "sort", "fraction", "addition", "and_or", "equality"])
def test_another_variables_home_does_what_that_variable_would(name):
    """IIA of a wrong claim is no noise: it is how often two interventions of the algorithm agree."""
    compiled = made(name, SMALL[name], 7)
    kept = [v for v in matter(compiled) if v.kind == "inner"]
    wrong = 0
    for claimed, there in zip(kept, [*kept[1:], kept[0]], strict=True):
        right = compiled.alignment([compiled.true_home(there)])
        claim = Alignment(compiled.algorithm, {claimed: right.slices[there]}).with_maps(right.featurizers)
        pairs = swaps(compiled, [claimed])
        base = {n: column[pairs.base] for n, column in pairs.inputs.items()}
        source = {n: column[pairs.source[:, 0]] for n, column in pairs.inputs.items()}
        would = compiled.algorithm.interchange(base, {there: source})["answer"]
        hits = bench(claim, pairs).hits(claim.featurizers)
        np.testing.assert_array_equal(hits, would == pairs.expected)
        wrong += int(not hits.all())
    assert wrong > 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_damaged_network_is_not_exact(name):
    """The comparison with what is expected can fail: without attention answers are wrong."""
    size = SMALL[name]
    compiled = compile_program(program(name, length=size[0], symbols=size[1]), rotation=3)
    given, _ = answers(compiled)
    with torch.no_grad():
        for path in compiled.network.blocks:
            compiled.network.module.get_submodule(f"{path}.attention.out").weight.zero_()
    assert answers(compiled)[1] != [expected(name, t, size[1]) for t in given]


@pytest.mark.parametrize("name", ["sort", "induction"])
def test_a_place_a_block_too_late_is_not_what_is_predicted_a_block_before(name):
    """The oracle tells places apart: what it predicts for a true home is not what a dead one does."""
    compiled = made(name, SMALL[name], None)
    variable = next(v for v in matter(compiled) if compiled.homes(v, status="dead"))
    dead, true = compiled.homes(variable, status="dead")[-1], compiled.homes(variable, status="true")[-1]
    alignment = compiled.alignment([dead])
    pairs = swaps(compiled, [variable])
    answered = bench(alignment, pairs).answered(alignment.featurizers)
    assert (answered == predicted(compiled, pairs, dead)).all()
    assert (answered != predicted(compiled, pairs, true)).any()
