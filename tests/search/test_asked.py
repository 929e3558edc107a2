# ruff: noqa: E501 - the texts of files and messages stand as they are
"""Places by name, layer, head and position, and the key that is at fault where one is not there."""

from __future__ import annotations

import numpy as np
import pytest

from commutes import Network
from commutes.errors import SpecError
from commutes.search import grid, load_hypothesis, read_spec
from commutes.search._grid import claim
from tests.counting import HYPOTHESIS, SPEC, TEMPLATE
from tests.network.transformers import models as M

BOTH = ('variables = ["left"]', 'variables = ["left", "right"]')


@pytest.fixture
def swept(tmp_path):
    """The grid of the spec with changes, over a random model of a family."""
    (tmp_path / "counting.py").write_text(HYPOTHESIS)
    path = tmp_path / "counting.toml"

    def made(*changes, family="gpt2", template=TEMPLATE, inputs=None):
        text = SPEC
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        spec = read_spec(path, given="counting.toml")
        algorithm = load_hypothesis(spec).module.algorithm()
        network = Network(M.model(family), M.fitting_tokenizer(family), template=template, answers=M.DIGITS)
        return grid(spec, algorithm.check(), network, inputs=inputs), algorithm

    return made


def test_layers_by_heads_by_positions_by_sizes(swept):
    place = ('layers = "all"', 'place = "head_attention_value_output"\nlayers = [2, 0]\nheads = [1, 3]')
    found, _ = swept(place, ("sizes = [1, 2]", "sizes = [2]"))
    assert [row.label for row in found.rows] == [
        f"head_attention_value_output of layer {layer}, head {head} at {position}"
        for layer in (2, 0)
        for head in (1, 3)
        for position in ("{a[first]}", "last")
    ]
    assert {row.width for row in found.rows} == {4}
    assert (found.down.name, found.down.labels) == ("layer", (2, 0))
    assert found.across.name == "head and position"
    assert found.across.labels[:2] == ("head 1, {a[first]}", "head 1, last")
    assert found.place == "head_attention_value_output"
    assert [found.column(row, size) for row, size in found.cells][:2] == list(found.across.labels[:2])


def test_a_layer_alone_is_the_output_of_its_block(swept):
    found, _ = swept()
    assert found.place == "block_output"
    assert [row.layer for row in found.rows] == [0, 0, 1, 1, 2, 2]
    site = next(iter(found.rows[2].widths))
    assert str(site.places[0].moment) == "transformer.h.1"
    assert site.places[0].position.spec == ("{a[first]}",)


def test_several_tokens_may_be_one_place(swept):
    found, algorithm = swept(
        ('positions = ["{a[first]}", "last"]', 'positions = ["last", ["{b[last]}", -1]]')
    )
    assert found.across.labels == ("last", "{b[last]} + -1")
    assert [row.label for row in found.rows][:2] == [
        "block_output of layer 0 at last",
        "block_output of layer 0 at {b[last]} + -1",
    ]
    assert [row.width for row in found.rows][:2] == [16, 32]
    assert claim(found.rows[1], 2, algorithm, "rotation").groups[0].width == 32


def test_with_one_position_sizes_go_across(swept):
    found, _ = swept(('positions = ["{a[first]}", "last"]', 'positions = ["last"]'))
    assert (found.across.name, found.across.labels) == ("coordinates per variable", (1, 2))
    assert [found.column(row, size) for row, size in found.cells] == [1, 2] * 3


@pytest.mark.parametrize(("name", "count"), [("query_output", 4), ("value_output", 2)])
def test_all_heads_of_a_place(swept, name, count):
    found, _ = swept(('layers = "all"', f'place = "{name}"\nlayers = [0]\nheads = "all"'), family="llama")
    assert [row.column for row in found.rows][::2] == [f"head {h}, {{a[first]}}" for h in range(count)]


def test_sites_are_hooks_and_module_paths(swept):
    found, _ = swept(('layers = "all"', 'sites = ["blocks.1.hook_mlp_out", "transformer.h.2.mlp"]'))
    assert [str(next(iter(row.widths)).places[0].moment) for row in found.rows] == [
        "transformer.h.1.mlp", "transformer.h.1.mlp", "transformer.h.2.mlp", "transformer.h.2.mlp",
    ]  # fmt: skip
    assert found.down.labels == ("blocks.1.hook_mlp_out", "transformer.h.2.mlp")
    assert (found.down.name, found.place) == ("site", "")


def test_variables_of_one_place_share_its_map(swept):
    found, algorithm = swept(BOTH)
    alignment = claim(found.rows[0], 2, algorithm, "rotation")
    assert [(group.dimension, len(group.columns)) for group in alignment.groups] == [(4, 2)]


def test_a_variable_may_keep_a_place_of_its_own(swept):
    own = ("[data]", '[claim.at.right]\nlayer = 1\nposition = "{b[first]}"\n\n[data]')
    found, algorithm = swept(BOTH, own)
    assert len(found.rows) == 6
    for row in found.rows:
        (left, right) = (row.sites[algorithm[name]].places[0] for name in ("left", "right"))
        assert str(left.moment) == f"transformer.h.{row.layer}"
        assert left.position.spec == (row.column,)
        assert (str(right.moment), right.position.spec) == ("transformer.h.1", ("{b[first]}",))
    # One site for it, whatever the other variable does.
    assert len({row.sites[algorithm["right"]] for row in found.rows}) == 1
    alignment = claim(found.rows[0], 2, algorithm, "rotation")
    assert [(group.dimension, len(group.columns)) for group in alignment.groups] == [(2, 1), (2, 1)]


def test_what_its_table_leaves_out_is_swept(swept):
    own = ("[data]", '[claim.at.right]\nplace = "mlp_output"\n\n[data]')
    found, algorithm = swept(BOTH, own)
    for row in found.rows:
        place = row.sites[algorithm["right"]].places[0]
        assert str(place.moment) == f"transformer.h.{row.layer}.mlp"
        assert place.position.spec == (row.column,)


def test_another_place_does_not_have_the_swept_heads(swept):
    heads = ('layers = "all"', 'place = "head_query_output"\nlayers = [0]\nheads = [0, 1]')
    found, algorithm = swept(BOTH, heads, ("[data]", '[claim.at.right]\nplace = "mlp_output"\n\n[data]'))
    assert {row.widths[row.sites[algorithm["right"]]] for row in found.rows} == {16}
    assert {row.widths[row.sites[algorithm["left"]]] for row in found.rows} == {4}


REFUSED = [
    # changes, (what, where, got, expected, do); None is not looked at
    ([('layers = "all"', "layers = [0, 3]")], ("the network has no layer 3", "line 14, key claim.layers[1]", "3", "0 to 2: GPT2LMHeadModel has 3 blocks", "`commutes sites counting.toml` lists the places")),
    ([('layers = "all"', 'place = "block_outptu"\nlayers = [0]')], ("there is no such module in the network", "line 14, key claim.place", "'block_outptu'", "one of its modules; nearest: block_output, block_input, mlp_output", "`commutes sites counting.toml` lists the places")),
    ([('layers = "all"', 'sites = ["blocks.0.hook_mlp_oot"]')], ("there is no such hook among those that this model has", "line 14, key claim.sites[0]; blocks.0.hook_mlp_oot", None, None, None)),
    ([('layers = "all"', 'place = "head_query_output"\nlayers = [0]')], ("the name stands for one head", "line 14, key claim.place; head_query_output", "no head=", None, None)),
    ([('layers = "all"', 'place = "query_output"\nlayers = [0]\nheads = [0, 4]')], ("there is no such head", "line 16, key claim.heads[1]; transformer.h.0.attn.c_attn", "head 4 of query_output", "from 0 to 3", None)),
    ([('layers = "all"', "layers = [0]\nheads = [0]")], ("the place has no heads", "line 15, key claim.heads[0]; block_output", None, None, None)),
    ([('layers = "all"', 'layers = [0]\nheads = "all"')], ("block_output has no heads that are known", "line 15, key claim.heads", 'heads = "all"', None, None)),
    ([('"last"]', '"lsat"]')], ("there is no such position", "line 15, key claim.positions[1]", "'lsat'", None, None)),
    ([('"last"]', '"{c}"]')], ("the template has no such slot", "line 15, key claim.positions[1]; {a}+{b}=", "'{c}'", "one of a, b; nearest: b", None)),
    ([('"last"]', '"{b[2]}"]')], ("a slot has no such token", None, "token 2 of the slot", "from -2 to 1", None)),
    ([('"last"]', "9]")], ("a position lies outside the prompt", None, "position 9", "from -6 to 5", None)),
    ([("sizes = [1, 2]", "sizes = [17]")], ("the size 17 does not fit into block_output of layer 0 at {a[first]}", "line 16, key claim.sizes[0]", "17 dimensions", "at most 16 in all, the width of block_output of layer 0 at {a[first]}", "use sizes of at most 16")),
    ([BOTH, ("[data]", "[claim.at.right]\nlayer = 9\n\n[data]")], ("the network has no layer 9", "line 19, key claim.at.right.layer", "9", None, None)),
    ([BOTH, ("[data]", '[claim.at.right]\nposition = "{c}"\n\n[data]')], ("the template has no such slot", "line 19, key claim.at.right.position; {a}+{b}=", "'{c}'", None, None)),
    ([BOTH, ('layers = "all"', 'sites = ["transformer.h.0"]'), ("[data]", '[claim.at.right]\nplace = "mlp_output"\n\n[data]')], ("the place mlp_output has no layer", "line 19, key claim.at.right.place", "place = 'mlp_output' beside claim.sites", "a place and its layer", "add layer to claim.at.right, or name its site")),
    ([("[data]", '[claim.at.left]\nposition = "last"\n\n[data]')], ("two places of the sweep are one and the same", "line 18, key claim.at.left", "block_output of layer 0 at {a[first]} and block_output of layer 0 at last, where claim.at puts every variable at the same place", None, None)),
    ([("[data]", "[claim.at.rihgt]\nlayer = 0\n\n[data]")], ("a place is given for rihgt, which is not claimed", "line 18, key claim.at.rihgt", "rihgt", "claimed variables: left", "add rihgt to claim.variables or remove its place")),
    ([BOTH, ("[data]", '[claim.at.right]\nsite = "blocks.1.hook_resid_post"\nposition = -1\n\n[data]')], ("two featurizers overlap", None, None, None, "give the variables one place, or places that share nothing")),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=[words[0] for _, words in REFUSED])
def test_what_is_not_there_is_told_with_its_key(swept, tmp_path, changes, words):
    with pytest.raises(SpecError) as caught:
        swept(*changes)
    error = caught.value
    what, where, got, expected, fix = words
    assert error.what == what
    assert (error.where or "").startswith(f"{tmp_path / 'counting.toml'}, ")
    for found, wanted in (
        (error.where, where),
        (error.got, got),
        (error.expected, expected),
        (error.fix, fix),
    ):
        if wanted is not None:
            assert (found or "").removeprefix(f"{tmp_path / 'counting.toml'}, ") == wanted


UNEVEN = {"a": np.array([3, 12, 7]), "b": np.array([4, 5, 16])}


def test_a_number_in_prompts_of_different_length_is_told_before_any_run(swept):
    with pytest.raises(SpecError) as caught:
        swept(('"{a[first]}", "last"]', '"last", 1]'), template="{a}+{b}=", inputs=UNEVEN)
    error = caught.value
    assert error.what == "a number means different tokens in prompts of different length"
    assert (error.where or "").endswith("line 15, key claim.positions[1]; position 1, examples 0 and 1")
    assert (error.fix or "").startswith("say what is meant: 'last', or a slot such as '{b[last]}'; ")


def test_a_span_of_different_length_is_told(swept):
    with pytest.raises(SpecError, match="a span has different numbers of tokens") as caught:
        swept(('"last"]', '"{b}"]'), template="{a}+{b}=", inputs=UNEVEN)
    assert "key claim.positions[1]" in (caught.value.where or "")


def test_every_token_of_prompts_of_different_length_is_told(swept):
    with pytest.raises(SpecError, match="a span has different numbers of tokens"):
        swept(('positions = ["{a[first]}", "last"]\n', ""), template="{a}+{b}=", inputs=UNEVEN)


def test_a_prompt_beyond_the_window_is_told(swept):
    with pytest.raises(SpecError, match="a prompt does not fit the model's context window") as caught:
        swept(template="#" * 20 + "{a}+{b}=", inputs=UNEVEN)
    assert "key network.template" in (caught.value.where or "")


def test_places_by_name_are_those_of_a_language_model(spec_path):
    from commutes.search import build_algorithm, build_network

    def refused(change, *overrides):
        spec_path.write_text(spec_path.read_text().replace("layers = [0, 1]", change))
        spec = read_spec(spec_path, overrides=overrides)
        hypothesis = load_hypothesis(spec)
        algorithm = build_algorithm(hypothesis, spec)
        with pytest.raises(SpecError) as caught:
            grid(spec, algorithm, build_network(hypothesis, spec, algorithm, seed=0))
        return caught.value

    error = refused('layers = [0, 1]\npositions = ["last"]')
    assert error.what == "a position in words is one of a prompt"
    assert (error.got, error.expected) == ("'last'", "a number: small MLP is no language model")
    assert "key claim.positions[0]" in (error.where or "")
    error = refused('place = "block_output"\nlayers = [0, 1]')
    assert error.what == "layers and heads are those of a language model"
    assert "key claim.place" in (error.where or "")


def test_all_layers_of_any_network(spec_path):
    from commutes.search import build_algorithm, build_network

    spec = read_spec(spec_path, overrides=['claim.layers="all"'])
    hypothesis = load_hypothesis(spec)
    algorithm = build_algorithm(hypothesis, spec)
    found = grid(spec, algorithm, build_network(hypothesis, spec, algorithm, seed=0))
    assert [row.label for row in found.rows] == ["layers.0", "layers.1"]
    assert (found.down.name, found.across.name) == ("site", "coordinates per variable")


def test_the_family_of_maps_is_the_one_that_the_spec_names(swept):
    found, algorithm = swept()
    for name, family in (("rotation", "rotation"), ("oblique", "oblique map")):
        assert str(claim(found.rows[0], 2, algorithm, name).groups[0].features) == family
    with pytest.raises(SpecError, match=r"claim\.map"):
        swept((BOTH[0], BOTH[0] + '\nmap = "affine"'))
