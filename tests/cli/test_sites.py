from __future__ import annotations

import json


def test_the_places_of_the_untrained_network(command, project):
    ended = command("sites", "and_or.toml")
    assert ended.status == 0
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["0", "layers.0", "Linear", "1", "8", "8"] in rows
    assert ["1", "layers.1", "Linear", "1", "8", "8"] in rows
    assert ["head", "Linear", "1", "2", "2"] in rows
    assert "small MLP" in rows[0][0] + " " + rows[0][1]


def test_options_of_the_network_can_be_overridden(command, project):
    found = json.loads(command("sites", "and_or.toml", "--json", "--set", "network.options.width=5").out)
    widths = {place["path"]: place["width"] for place in found["places"]}
    assert widths == {"layers": None, "layers.0": 5, "layers.1": 5, "head": 2}
    layers = {place["path"]: place["layer"] for place in found["places"]}
    assert layers == {"layers": None, "layers.0": 0, "layers.1": 1, "head": None}


def test_a_wrong_spec_is_told(command, project):
    assert command("sites", "missing.toml").status == 2
