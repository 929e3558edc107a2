# ruff: noqa: E501 - the texts of files and messages stand as they are
from __future__ import annotations

import pytest

from commutes.errors import SpecError
from commutes.search import (
    build_algorithm,
    build_network,
    claimed_variables,
    grid,
    load_hypothesis,
    read_spec,
    sample_values,
    swap_sets,
)


def parts(spec_path, *overrides):
    spec = read_spec(spec_path, overrides=overrides)
    hypothesis = load_hypothesis(spec)
    algorithm = build_algorithm(hypothesis, spec)
    return spec, algorithm, build_network(hypothesis, spec, algorithm, seed=0)


def refusal(spec_path, *overrides) -> SpecError:
    with pytest.raises(SpecError) as caught:
        grid(*parts(spec_path, *overrides))
    return caught.value


def test_layers_are_the_outputs_of_the_blocks_in_the_order_of_the_spec(spec_path):
    found = grid(*parts(spec_path, "claim.layers=[1,0]", "claim.sizes=[2,1]"))
    assert [(row.label, row.width, size) for row, size in found.cells] == [
        ("layers.1", 8, 2),
        ("layers.1", 8, 1),
        ("layers.0", 8, 2),
        ("layers.0", 8, 1),
    ]
    assert [variable.name for variable in found.variables] == ["both"]


def test_sites_are_module_paths(spec_path):
    text = spec_path.read_text()
    spec_path.write_text(text.replace("layers = [0, 1]", 'sites = ["layers.0", "head"]'))
    found = grid(*parts(spec_path))
    assert [(row.label, row.width) for row in found.rows] == [("layers.0", 8), ("head", 2)]


def test_a_layer_beyond_the_last_block_is_refused(spec_path):
    error = refusal(spec_path, "claim.layers=[0,99]")
    assert (error.what, error.got) == ("the network has no layer 99", "99")
    assert error.expected == "0 to 1: small MLP has 2 blocks"
    assert error.where == "--set claim.layers=[0,99]"
    assert (error.fix or "").startswith("`commutes sites ")


def test_a_site_that_does_not_exist_is_refused_with_the_nearest(spec_path):
    spec_path.write_text(spec_path.read_text().replace("layers = [0, 1]", 'sites = ["layer.0"]'))
    error = refusal(spec_path)
    assert error.where == f"{spec_path}, line 10, key claim.sites[0]"
    assert "layers.0" in (error.expected or "")


def test_a_size_beyond_the_width_is_refused(spec_path):
    assert grid(*parts(spec_path, "claim.sizes=[8]")).sizes == (8,)
    error = refusal(spec_path, "claim.sizes=[1,9]")
    assert error.what == "the size 9 does not fit into layers.0"
    assert (error.got, error.expected) == ("9 dimensions", "at most 8 in all, the width of layers.0")
    assert error.fix == "use sizes of at most 8"


def test_the_variables_of_one_place_share_its_width(spec_path):
    file = spec_path.parent / "gate.py"
    second = 'third = gate.add("third", c, f=lambda c: c % 3 == 0, domain=[False, True])\n    gate.add("out", both, third, f=lambda both, third: both or third'
    file.write_text(
        file.read_text().replace('gate.add("out", both, c, f=lambda both, c: both or c % 3 == 0', second)
    )
    claim = 'claim.variables=["both", "third"]'
    spec, algorithm, network = parts(spec_path, claim, "claim.sizes=[1,4]")
    assert len(grid(spec, algorithm, network).cells) == 4
    error = refusal(spec_path, claim, "claim.sizes=[5]")
    assert (error.got, error.fix) == ("2 variables x 5 dimensions = 10", "use sizes of at most 4")


@pytest.mark.parametrize(
    ("name", "what", "fix"),
    [
        ("bothh", "there is no variable bothh", "did you mean both?"),
        ("out", "out is the output of the algorithm", "did you mean both?"),
        ("a", "a is the input of the algorithm", "claim one of both"),
    ],
)
def test_only_inner_variables_can_be_claimed(spec_path, name, what, fix):
    spec, algorithm, _ = parts(spec_path, f'claim.variables=["{name}"]')
    with pytest.raises(SpecError) as caught:
        claimed_variables(spec, algorithm)
    assert (caught.value.what, caught.value.fix) == (what, fix)
    assert caught.value.expected == "inner variables of gate: both"


def test_the_sampled_inputs_follow_their_seed(spec_path):
    _, algorithm, _ = parts(spec_path)
    first, again, other = (sample_values(algorithm, 20, seed=seed) for seed in (0, 0, 1))
    assert all((first[name] == again[name]).all() for name in "abc")
    assert any((first[name] != other[name]).any() for name in "abc")


THREE = [
    ('gate.add("out", both, c, f=lambda both, c: both or c % 3 == 0',
     'third = gate.add("third", c, f=lambda c: c % 3 == 0, domain=[False, True])\n'
     '    gate.add("out", both, third, f=lambda both, third: both or third'),
]  # fmt: skip


def _with_third(spec_path):
    file = spec_path.parent / "gate.py"
    for old, new in THREE:
        file.write_text(file.read_text().replace(old, new))


def test_joint_swaps_come_after_each_variable_alone(spec_path):
    _with_third(spec_path)
    claim = 'claim.variables=["both", "third"]'
    spec, algorithm, _ = parts(spec_path, claim, 'claim.joint=[["third", "both"]]')
    both, third = algorithm["both"], algorithm["third"]
    assert swap_sets(spec, algorithm) == [{both}, {third}, {both, third}]
    other, _, _ = parts(spec_path, claim, 'claim.joint=[["both", "third"]]')
    assert other.fingerprint == spec.fingerprint
    alone, _, _ = parts(spec_path, claim)
    assert alone.fingerprint != spec.fingerprint
    assert swap_sets(alone, algorithm) == [{both}, {third}]


def test_a_joint_swap_is_of_claimed_variables(spec_path):
    _with_third(spec_path)
    spec, algorithm, _ = parts(spec_path, 'claim.joint=[["both", "third"]]')
    with pytest.raises(SpecError) as caught:
        claimed_variables(spec, algorithm)
    assert caught.value.what == "a joint swap names third, which is not claimed"
    assert caught.value.where == '--set claim.joint=[["both", "third"]]'
    assert caught.value.expected == "claimed variables: both"
    assert caught.value.fix == "did you mean both? otherwise add third to claim.variables or remove it here"
