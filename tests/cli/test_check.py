from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest


def test_check_says_what_will_be_run(command, project):
    ended = command("check", "and_or.toml")
    assert ended.status == 0
    assert ended.err == ""
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["spec", "and_or.toml", "is", "valid"] in lines
    assert "algorithm  gate: 216 inputs (* claimed)" in ended.out
    assert ["both*", "inner", "{False,", "True}", "from", "a,", "b", "36", "rows,", "complete"] in lines
    assert ["layers.1", "width", "8"] in lines
    assert "sweep      2 places x 2 sizes = 4 cells" in ended.out
    assert "do nothing" in ended.out
    assert not (project / "runs").exists()


def test_the_same_as_json(command, project):
    found = json.loads(command("check", "and_or.toml", "--json").out)
    assert found["algorithm"]["inputs"] == 216
    assert found["grid"] == {
        "rows": [{"site": "layers.0", "width": 8}, {"site": "layers.1", "width": 8}],
        "sizes": [1, 2],
        "variables": ["both"],
        "cells": 4,
    }
    assert list(found["data"]["parts"]) == ["train", "select", "test"]
    assert found["spec"]["resolved"]["fit"]["lr"] == 0.05


def test_the_plan_is_for_the_distribution_and_the_test_share_of_the_spec(command, project):
    override = 'data.distribution="inputs"'
    found = json.loads(command("check", "and_or.toml", "--json", "--set", override).out)
    share = found["spec"]["resolved"]["data"]["split"]["test"]
    assert "Inputs uniform over the inputs." in found["data"]["plan"]
    assert f"split with a share of {share:g}" in found["data"]["plan"]


def test_a_census_has_one_part(command, project):
    found = json.loads(command("check", "and_or.toml", "--json", "--set", "data.census=true").out)
    assert found["data"]["parts"] == {"complete domain": {"pairs": 216**2, "inputs": 216}}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("claim.layers=[0,7]", "the network has no layer 7"),
        ("claim.sizes=[9]", "the size 9 does not fit into layers.0"),
        ("claim.layers=[true]", "claim.layers[0] is true, which is no whole number"),
        ('data.distribution="fresh"', "there is no distribution fresh"),
    ],
)
def test_what_cannot_be_run_is_told(command, project, override, words):
    ended = command("check", "and_or.toml", "--set", override)
    assert ended.status == 2
    assert ended.err.startswith(f"error: {words}\n")
    assert f"where:    --set {override}" in ended.err


def test_what_needs_no_network_is_said_before_its_error(command, project):
    override = "claim.layers=[0,7]"
    ended = command("check", "and_or.toml", "--set", override)
    assert ended.out.startswith("spec       and_or.toml is valid\nalgorithm  gate: 216 inputs")
    assert "coverage   of what is measured" in ended.out
    assert "untrained: every place" not in ended.out
    assert command("check", "and_or.toml", "--json", "--set", override).out == ""
    assert command("check", "and_or.toml", "--set", "claim.layers=[true]").out == ""


def test_too_few_pairs_for_a_gate_are_told(command, project):
    said = command("check", "and_or.toml", "--set", "data.pairs=400").out
    (line,) = [line.strip() for line in said.splitlines() if "too few:" in line]
    assert line == (
        "too few: 30 pairs per cell (4 of 4 cells), 59 are needed to pass a gate: data.pairs of at least 800"
    )
    enough = command("check", "and_or.toml", "--set", "data.pairs=800")
    assert "too few:" not in enough.out
    assert json.loads(command("check", "and_or.toml", "--json").out)["data"]["too_few"] == line


def test_joint_swaps_are_in_the_plan(command, project):
    file = project / "gate.py"
    old = 'gate.add("out", both, c, f=lambda both, c: both or c % 3 == 0'
    new = (
        'third = gate.add("third", c, f=lambda c: c % 3 == 0, domain=[False, True])\n'
        '    gate.add("out", both, third, f=lambda both, third: both or third'
    )
    file.write_text(file.read_text().replace(old, new))
    sets = ("--set", 'claim.variables=["both", "third"]', "--set", 'claim.joint=[["both", "third"]]')
    ended = command("check", "and_or.toml", *sets)
    assert ended.status == 0
    assert "both+third" in ended.out


def test_a_users_encode_that_raises_is_told_with_its_line(command, project):
    file = project / "gate.py"
    file.write_text(file.read_text().replace('for name in "abc"', 'for name in "abd"'))
    row = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if '"abd"' in text)
    for name in ("check", "sites", "run"):
        ended = command(name, "and_or.toml")
        assert ended.status == 2
        lines = ended.err.splitlines()
        assert lines[0] == "error: the hypothesis file raised"
        assert f"{file}, line {row}: return torch.tensor(" in lines[1]
        assert lines[2] == "  got:      KeyError: 'd'"
        assert "Traceback" not in ended.err
    assert "Traceback" in command("sites", "and_or.toml", "--debug").err


def test_a_users_forward_that_raises_is_told_with_its_line(command, project):
    file = project / "gate.py"
    text = file.read_text().replace("return self.head(x)", "return self.heads(x)")
    file.write_text(text)
    row = next(i for i, line in enumerate(text.splitlines(), 1) if "self.heads" in line)
    ended = command("sites", "and_or.toml")
    assert ended.status == 2
    assert f"{file}, line {row}: return self.heads(x)" in ended.err
    assert "AttributeError: 'Net' object has no attribute 'heads'" in ended.err


def test_a_module_made_of_torchs_own_that_raises_is_theirs_too(command, project):
    file = project / "gate.py"
    text = file.read_text().replace("class Net(nn.Module):", "class Unused(nn.Module):")
    text = text.replace("module = Net()", "module = nn.Sequential(nn.Linear(4, 2))")
    file.write_text(text.replace('blocks="layers"', 'blocks=""').replace("range(values)", "range(values)"))
    ended = command("sites", "and_or.toml")
    assert ended.status == 2
    assert ended.err.startswith("error: the network raised when it was run\n")
    assert f"the module that {file} builds" in ended.err
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in ended.err


@pytest.mark.parametrize(
    ("words", "what", "told"),
    [
        ("torch.cuda.OutOfMemoryError('CUDA out of memory. Tried')", "out of memory", "use a smaller batch"),
        ("RuntimeError('[enforce] can\\'t allocate memory')", "out of memory", "use a smaller batch"),
        ("RuntimeError('No CUDA GPUs are available')", "a device that is not there", "or write cpu"),
    ],
)
def test_memory_and_devices_have_words_of_their_own(command, project, words, what, told):
    file = project / "gate.py"
    file.write_text(file.read_text().replace("return self.head(x)", f"raise {words}"))
    ended = command("sites", "and_or.toml")
    assert ended.status == 2
    assert ended.err.startswith(f"error: {what}\n")
    assert told in ended.err


def test_a_width_of_nothing_is_told_with_the_line_and_the_cure(command):
    ended = command("check", "equality", "--set", "network.options.width=0", "--set", "data.pairs=600")
    assert ended.status == 2
    assert ended.err.startswith(
        "error: these widths make no network with a hidden layer\n  where:    MLP(widths), at "
    )
    assert "equality.py, line " in ended.err
    assert "do:       give every layer at least one unit" in ended.err


@pytest.mark.parametrize(
    "override",
    ["fit.lrr=1", 'claim.variables=["booth"]', 'network.build="nettwork"', 'algorithm.file="gat.py"'],
)
def test_what_can_be_said_without_torch_is_said_without_it(project, override):
    code = (
        "import sys\nfrom commutes.cli import main\n"
        f"status = main(['check', 'and_or.toml', '--set', {override!r}])\n"
        "print(status, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split()[:2] == ["2", "False"]


def test_a_file_that_prints_is_a_warning_and_no_part_of_the_json(command, project):
    file = project / "gate.py"
    file.write_text(file.read_text() + "print('loaded')\n")
    ended = command("check", "and_or.toml", "--json")
    json.loads(ended.out)
    assert ended.status == 0
    assert ended.err.startswith("warning: ")
    assert "gate.py printed when it was loaded: 'loaded'; remove the print" in ended.err


def test_hostile_names_are_shown_as_text(command, project):
    file = project / "gate.py"
    file.write_text(file.read_text().replace('Algorithm("gate")', 'Algorithm("ga\\u202ete")'))
    ended = command("check", "and_or.toml")
    assert "\u202e" not in ended.out + ended.err


def test_a_sweep_of_a_language_model_is_checked_on_every_prompt(command, language_project):
    ended = command("check", "counting.toml")
    assert (ended.status, ended.err) == (0, "")
    assert "as it was loaded: every place exists and is wide enough" in ended.out
    assert "block_output of layer 1 at last" in ended.out
    inputs = re.findall(r"pairs of (\d+) inputs", ended.out)
    assert f"prompts    every position is found in all {sum(map(int, inputs))} prompts" in ended.out
    assert "sweep      4 places x 2 sizes = 8 cells" in ended.out


def test_a_long_sweep_is_shown_by_its_ends(command, language_project):
    positions = 'claim.positions=["{a[first]}", "{a[last]}", -4, "{b[first]}", "{b[last]}", "last", -6]'
    ended = command("check", "counting.toml", "--set", positions)
    assert ended.status == 0
    shown = [line for line in ended.out.splitlines() if "block_output of layer" in line]
    assert len(shown) == 11
    assert "           ... 3 more" in ended.out.splitlines()


def test_a_number_in_prompts_of_different_length_is_told_by_check(command, language_project):
    uneven = ("--set", 'network.template="{a}+{b}="', "--set", "claim.positions=[1]")
    ended = command("check", "counting.toml", *uneven)
    assert ended.status == 2
    assert "error: a number means different tokens in prompts of different length\n" in ended.err
    assert "where:    --set claim.positions=[1]; position 1, examples" in ended.err
    # What could be said before is said.
    assert "coverage" in ended.out
