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


def test_the_places_of_a_language_model(command, language_project):
    ended = command("sites", "counting.toml")
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].endswith("model: 2 layers, claim.layers from 0 to 1; each of them has")
    rows = [line.split() for line in lines]
    assert ["block_output", "16", "transformer.h.0", "blocks.N.hook_resid_post"] in rows
    assert ["head_attention_value_output", "8", "2", "transformer.h.0.attn.c_proj", "(its", "input)"] in rows
    template = lines.index(next(line for line in lines if line.endswith("of the template '{a}+{b}='")))
    assert "claim.positions, in the prompt '" in lines[template]
    words = [(row[1], " ".join(row[2:])) for row in rows[template + 3 : template + 9]]
    assert words == [
        ("-6", "{a[first]}"), ("-5", "{a[last]}"), ("-4", ""), ("-3", "{b[first]}"),
        ("-2", "{b[last]}"), ("-1", "last"),
    ]  # fmt: skip
    assert "Linear" not in ended.out
    assert lines[-1] == "Module paths go under claim.sites; --modules lists them."


def test_the_modules_of_a_language_model_are_listed_where_asked(command, language_project):
    assert "transformer.h.1.mlp" not in command("sites", "counting.toml").out
    assert "transformer.h.1.mlp" in command("sites", "counting.toml", "--modules").out


def test_a_language_model_as_json(command, language_project):
    found = json.loads(command("sites", "counting.toml", "--json").out)["language"]
    assert (found["layers"], found["template"]) == (2, "{a}+{b}=")
    names = {place["name"]: place for place in found["names"]}
    assert names["query_output"] | {"module": ""} == {
        "name": "query_output", "width": 16, "heads": 2, "module": "", "hook": "blocks.N.attn.hook_q", "note": "",
    }  # fmt: skip
    assert found["tokens"][-1] == {"text": "=", "number": -1, "positions": ["last"]}
