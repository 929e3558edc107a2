from __future__ import annotations

import json
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
    assert ended.out == ""
    assert ended.err.startswith(f"error: {words}\n")
    assert f"where:    --set {override}" in ended.err


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
