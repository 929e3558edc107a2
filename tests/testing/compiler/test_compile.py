"""What compiled networks are besides exact: rotations, schedules, blocks that resume, and places."""

from __future__ import annotations

import operator
from itertools import pairwise

import numpy as np
import pytest
import torch

from commutes import census
from commutes.engine import certificate, prepare
from commutes.evaluation import bench
from commutes.testing.compiler import (
    PROGRAMS,
    Aggregate,
    Indices,
    Map,
    Program,
    Select,
    SelectorWidth,
    SequenceMap,
    Tokens,
    compile_program,
    program,
)
from tests.testing.compiler.sizes import SMALL, made


def logits(compiled, codes):
    with torch.no_grad():
        return compiled.network.module(torch.tensor(codes))


def test_a_rotation_changes_every_weight_and_no_answer():
    plain, turned = made("sort", (3, 2), None), made("sort", (3, 2), 7)
    codes = [[0, 1, 0], [1, 1, 0]]
    torch.testing.assert_close(logits(plain, codes), logits(turned, codes), atol=1e-5, rtol=0)
    first, other = (c.network.module.get_submodule("blocks.0.attention.key").weight for c in (plain, turned))
    assert not torch.isclose(first[first != 0], other[first != 0]).any()


def test_the_basis_is_orthogonal_and_follows_the_seed():
    one, again, other = (compile_program(program("reverse"), rotation=r) for r in (1, 1, 2))
    identity = torch.eye(len(one.basis), dtype=torch.float64)
    torch.testing.assert_close(one.basis.T @ one.basis, identity, atol=1e-12, rtol=0)
    assert torch.equal(one.basis, again.basis)
    assert one.network.fingerprint == again.network.fingerprint != other.network.fingerprint
    assert one.network.name == "reverse (rotation 1)"


def test_compiling_draws_nothing_from_the_global_generator():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    compile_program(program("histogram"), rotation=3)
    assert torch.equal(before, torch.get_rng_state())


def test_rotations_of_a_program_share_its_algorithm():
    source = program("reverse")
    assert compile_program(source).algorithm is compile_program(source, rotation=1).algorithm


@pytest.mark.parametrize("rotation", [None, 4])
def test_in_float64_the_logits_are_whole_to_the_last_digits(rotation):
    compiled = compile_program(program("histogram", length=3), rotation=rotation, dtype=torch.float64)
    found = logits(compiled, [[0, 1, 0]])
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, found.round(), atol=1e-12, rtol=0)


def test_spare_coordinates_are_in_nobodys_subspace_and_hold_nothing():
    compiled = compile_program(program("reverse", length=3), spare=4)
    width = compiled.schedule.width
    taken = {c for home in compiled.homes() for c in home.columns}
    assert taken.isdisjoint(range(width - 4, width))
    states = []
    handles = [
        compiled.network.module.get_submodule(f"blocks.{b}").register_forward_hook(
            lambda _m, _a, out: states.append(out)
        )
        for b in range(compiled.schedule.blocks)
    ]
    logits(compiled, [[0, 1, 2]])
    for handle in handles:
        handle.remove()
    assert all((state[..., -4:] == 0).all() for state in states)
    assert any((state[..., :-4] != 0).any() for state in states)


@pytest.mark.parametrize("name", PROGRAMS)
def test_edited_runs_resume_behind_the_last_block_that_no_edit_changes(name):
    compiled = made(name, SMALL[name], 7)
    algorithm = compiled.algorithm
    inputs = algorithm.enumerate_inputs()
    encoded = compiled.network.encode(algorithm.arrays(inputs))
    found = certificate(compiled.network, encoded)
    assert found.holds, found.reason
    homes = [h for h in compiled.homes(status="true") if h.step > 2]
    for home in homes[-1:]:
        ready = prepare(compiled.network, algorithm.arrays(inputs), [compiled.site(home)])
        assert ready.block == (home.step - 2) // 2 if home.step % 2 == 0 else (home.step - 3) // 2


def test_several_operations_share_a_block_and_chains_take_several():
    tokens, indices = Tokens(), Indices()
    one = Map("is_a", lambda t: t == "a", tokens)
    other = Map("is_b", lambda t: t == "b", tokens)
    wide = Program("wide", "ab", 2, ((one, 0), (other, 1)))
    assert compile_program(wide).schedule.blocks == 1
    chain = tokens
    for depth in range(3):
        chain = Map(f"step_{depth}", lambda t: t, chain)
    assert compile_program(Program("chain", "ab", 2, ((chain, 0),))).schedule.blocks == 3
    # Attention and the network behind it are one block.
    count = SelectorWidth("count", Select(tokens, indices, lambda t, _: t == "a"))
    assert compile_program(Program("count", "ab", 2, ((count, 0),))).schedule.blocks == 1


def test_the_steps_of_a_schedule_follow_what_is_read():
    compiled = made("sort", (3, 2), None)
    steps = compiled.schedule.computed
    for op in compiled.program.operations:
        for operand in op.operands:
            ready = compiled.schedule.storage(operand).made
            assert ready < steps[op]
    assert [op.name for op, _ in sorted(steps.items(), key=lambda item: item[1])] == [
        "token", "index", "place", "rank", "sorted",
    ]  # fmt: skip


def test_storages_share_no_coordinate():
    for name in PROGRAMS:
        columns = [c for s in made(name, SMALL[name], None).schedule.storages for c in s.columns]
        assert columns == sorted(set(columns)), name


def test_homes_say_when_a_value_comes_when_it_is_whole_and_when_nothing_reads_it_any_more():
    compiled = made("sort", (3, 2), None)
    statuses = [h.status for h in compiled.homes("rank_0") if not h.raw]
    assert statuses == ["absent"] * 4 + ["true"] + ["dead"] * 2
    raw = [h.status for h in compiled.homes("rank_0") if h.raw]
    assert raw == ["absent"] * 3 + ["true"] + ["dead"] * 3
    tokens = [h.status for h in compiled.homes("token_0")]
    # The token is read to make its place, and again when it is moved to where it belongs.
    assert tokens == ["true"] * 2 + ["partial"] * 3 + ["dead"] * 2
    assert str(compiled.true_home("rank_0")) == "rank_0 at blocks.1.middle, position 0 (true)"
    assert all((one.step, one.raw) < (other.step, True) for one, other in pairwise(compiled.homes("place_0")))


def test_a_causal_program_does_not_see_what_comes_later():
    compiled = made("previous", (3, 2), 7)
    states = []
    handle = compiled.network.module.get_submodule("blocks.1").register_forward_hook(
        lambda _m, _a, out: states.append(out)
    )
    logits(compiled, [[0, 1, 0]])
    logits(compiled, [[0, 1, 1]])
    handle.remove()
    assert torch.equal(states[0][:, :2], states[1][:, :2])
    assert not torch.equal(states[0][:, 2], states[1][:, 2])


def test_where_several_are_selected_by_an_intervention_the_first_counts():
    """Two tokens of one rank: the algorithm and the network both take the earlier one."""
    compiled = made("sort", (3, 2), 7)
    rank = compiled.algorithm["rank_1"]
    assert compiled.algorithm.evaluate(
        {"token_0": "b", "token_1": "a", "token_2": "a"}, do={rank: 2}
    )["answer"] == ("none", "a", "b")  # fmt: skip
    pairs = census(compiled.algorithm, swap=[{rank}])
    alignment = compiled.alignment([compiled.true_home(rank)])
    collisions = np.array(
        ["none" in answer for answer in compiled.algorithm.values("answer", pairs.expected)]
    )
    assert collisions.any()
    assert bench(alignment, pairs).hits(alignment.featurizers)[collisions].all()


def test_a_mean_is_taken_over_what_is_selected_and_the_default_where_nothing_is():
    tokens = Tokens()
    weight = Map("weight", {"a": 1.0, "b": 4.0, "c": -2.0}.get, tokens, number=True)
    same = Aggregate("same", Select(tokens, tokens, lambda k, q: k == q == "b"), weight, -1.0)
    over = Aggregate("over", Select(tokens, tokens, operator.ne), weight, 0.5)
    compiled = compile_program(Program("means", "abc", 3, ((same, 0), (over, 0))), rotation=2)
    found = compiled.algorithm.evaluate({"token_0": "b", "token_1": "a", "token_2": "c"})["answer"]
    assert found == (4.0, -0.5)
    nothing = compiled.algorithm.evaluate({"token_0": "a", "token_1": "a", "token_2": "a"})["answer"]
    assert nothing == (-1.0, 0.5)
    inputs = compiled.algorithm.enumerate_inputs()
    encoded = compiled.network.encode(compiled.algorithm.arrays(inputs))
    with torch.no_grad():
        chosen = compiled.network.module(*encoded.args).argmax(dim=1).tolist()
    answers = compiled.algorithm.values("answer", compiled.algorithm.run(inputs)["answer"])
    assert [compiled.network.answers[i] for i in chosen] == answers


def test_a_number_is_turned_into_a_value_by_steps():
    tokens = Tokens()
    is_a = Map("is_a", lambda t: float(t == "a"), tokens, number=True)
    share = Aggregate("share", Select(tokens, tokens, lambda _k, _q: True), is_a)
    most = Map("most", lambda s: s > 0.5, share)
    twice = SequenceMap("twice", lambda m, t: (m, t), (most, tokens))
    compiled = compile_program(Program("majority", "ab", 5, ((twice, 0),)), rotation=1)
    inputs = compiled.algorithm.enumerate_inputs()
    encoded = compiled.network.encode(compiled.algorithm.arrays(inputs))
    with torch.no_grad():
        chosen = compiled.network.module(*encoded.args).argmax(dim=1).tolist()
    found = [compiled.network.answers[i] for i in chosen]
    rows = zip(
        *(compiled.algorithm.values(v, inputs[v.name]) for v in compiled.algorithm.input_variables),
        strict=True,
    )
    assert found == [(row.count("a") >= 3, row[0]) for row in rows]


@pytest.mark.parametrize("kind", ["reset", "shuffle", "cascade"])
def test_a_compiled_network_can_be_made_untrained(kind):
    compiled = made("sort", (3, 2), 7)
    twin = compiled.network.reinitialised(1, kind=kind)
    again = compiled.network.reinitialised(1, kind=kind)
    codes = torch.tensor([[0, 1, 0], [1, 0, 0]])
    with torch.no_grad():
        assert torch.equal(twin.module(codes), again.module(codes))
        assert not torch.allclose(twin.module(codes), compiled.network.module(codes))


def test_the_subspace_of_a_rotated_home_reads_one_hot_values():
    compiled = made("reverse", (3, 2), 7)
    home = compiled.true_home("reversed_0")
    states = []
    handle = compiled.network.module.get_submodule(home.path).register_forward_hook(
        lambda _m, _a, out: states.append(out)
    )
    logits(compiled, [[0, 0, 1], [0, 0, 0]])
    handle.remove()
    read = compiled.subspace(home.columns).read(states[0][:, home.position])
    torch.testing.assert_close(read, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), atol=1e-5, rtol=0)
