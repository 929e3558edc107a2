# ruff: noqa: E501 - the table of refusals has one line per refusal
from __future__ import annotations

import json
import shlex
from datetime import timedelta
from pathlib import Path

import pytest

from commutes.errors import SpecError
from commutes.search import Spec, json_schema, read_spec

from .conftest import SPEC


def read(path: Path, text: str = SPEC, *overrides: str) -> Spec:
    path.write_text(text)
    return read_spec(path, overrides=overrides)


def refusal(path: Path, text: str = SPEC, *overrides: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        read(path, text, *overrides)
    return caught.value


def test_what_is_left_out_has_its_default(spec_path):
    spec = read(spec_path)
    assert spec.resolved() == {
        "format": 1,
        "name": "and or",
        "seed": 3,
        "algorithm": {"file": "gate.py", "build": "algorithm", "options": {}},
        "network": {
            "build": "network",
            "train": "train",
            "options": {},
            "pretrained": None,
            "revision": None,
            "dtype": None,
            "device": None,
            "device_map": None,
            "template": None,
            "answers": None,
            "answer_tokens": None,
        },
        "claim": {
            "variables": ["both"],
            "joint": [],
            "place": None,
            "layers": [0, 1],
            "sites": None,
            "heads": None,
            "positions": None,
            "sizes": [1, 2],
            "map": "rotation",
            "at": {},
        },
        "data": {
            "pairs": 400,
            "split": {"train": 0.5, "select": 0.2, "test": 0.3},
            "distribution": "values",
            "census": False,
        },
        "fit": {
            "method": "das",
            "steps": 1000,
            "lr": 0.05,
            "batch": 256,
            "starts": 3,
            "objective": "vocabulary",
            "cohort": 12,
        },
        "challenge": {
            "level": "R2",
            "target": 0.9,
            "behaviour": 0.95,
            "refits": 5,
            "controls": 3,
            "shifts": {},
            "every_input": False,
            "rivals": [],
            "networks": 0,
            "replicated": 1 / 3,
            "variants": {},
            "off_task": None,
            "damage": 0.05,
            "budget": None,
        },
    }


def test_a_resolved_spec_reads_back_as_the_same_run(spec_path):
    spec = read(spec_path)
    again = Spec.model_validate_json(json.dumps(spec.resolved()))
    assert again.fingerprint == spec.fingerprint


def test_the_fingerprint_changes_with_what_matters_and_with_nothing_else(spec_path):
    spec = read(spec_path)
    assert (
        read(spec_path, "# a comment\n" + SPEC.replace("lr = 0.05", "lr    = 5e-2")).fingerprint
        == spec.fingerprint
    )
    assert read(spec_path, SPEC.replace("lr = 0.05", "lr = 0.06")).fingerprint != spec.fingerprint
    assert read(spec_path, SPEC, "seed=4").fingerprint != spec.fingerprint


@pytest.mark.parametrize(
    ("budget", "allowed"),
    [
        ("5_000_000", 5_000_000),
        ('"10 minutes"', timedelta(minutes=10)),
        ('"1 minute"', timedelta(seconds=60)),
        ('"1.5 hours"', timedelta(minutes=90)),
        ('"90 seconds"', timedelta(seconds=90)),
    ],
)
def test_a_budget_is_a_number_of_passes_or_a_time(spec_path, budget, allowed):
    spec = read(spec_path, SPEC, f"challenge.budget={budget}")
    assert spec.challenge.allowed == allowed
    assert Spec.model_validate_json(json.dumps(spec.resolved())).challenge.allowed == allowed
    assert read(spec_path).challenge.allowed is None


def test_a_spec_is_frozen(spec_path):
    with pytest.raises(ValueError, match="frozen"):
        read(spec_path).fit.lr = 0.1  # type: ignore[misc]


def test_a_mark_and_windows_line_ends_change_nothing(spec_path):
    plain = read(spec_path)
    spec_path.write_bytes(b"\xef\xbb\xbf" + SPEC.replace("\n", "\r\n").encode())
    assert read_spec(spec_path).fingerprint == plain.fingerprint


def test_a_whole_number_may_stand_for_a_real_one(spec_path):
    assert read(spec_path, SPEC, "fit.lr=1").fit.lr == 1.0


REFUSED = [
    # what is changed in the spec, (what, where, got, expected, do); None is not looked at
    (("lr = 0.05", "lrr = 0.05"), ("unknown key fit.lrr", "line 17, key fit.lrr", "lrr", "one of method, steps, lr, batch, starts, objective, cohort", "did you mean fit.lr? otherwise remove the key")),
    (("[fit]", "[fitt]"), ("unknown key fitt", "line 16, key fitt", None, None, "did you mean fit? otherwise remove the key")),
    (("seed = 3", "steps = 3"), ("unknown key steps", "line 3, key steps", None, None, "did you mean fit.steps? otherwise remove the key")),
    (("pairs = 400", 'pairs = "400"'), ("data.pairs is a number in quotes", "line 14, key data.pairs", '"400"', "a whole number of at least 1: how many pairs of inputs are drawn in all", "remove the quotes: 400")),
    (("sizes = [1, 2]", 'sizes = [1]\njoint = [["both"]]'), ("['both'] is no set of variables to swap at once", "line 12, key claim.joint[0]", '["both"]', "at least two claimed variables; each is swapped alone in any case", "name another variable in it, or remove it")),
    (("sizes = [1, 2]", 'sizes = [1]\njoint = [["b", "a", "b"]]'), ("'b' is listed twice", None, None, None, "remove one 'b'")),
    (("sizes = [1, 2]", 'sizes = [1]\njoint = [["a", "b"], ["b", "a"]]'), ("('a', 'b') is listed twice", None, None, None, None)),
    (("lr = 0.05", "qqq = 1"), ("unknown key fit.qqq", None, None, None, "remove the key")),
    (("pairs = 400", 'pairs = "many"'), ("data.pairs is text", None, '"many"', None, "write a number, without quotes")),
    (("pairs = 400", "pairs = 400.0"), ("data.pairs is not a whole number", None, "400.0", None, "write a whole number, without a decimal point")),
    (("pairs = 400", "pairs = 0"), ("data.pairs is out of range", "line 14, key data.pairs", "0", None, "write a number in that range")),
    (("pairs = 400", "pairs = true"), ("data.pairs is true, which is no whole number", None, "true", None, "write a number such as 1")),
    (("lr = 0.05", "lr = nan"), ("fit.lr is not a finite number", "line 17, key fit.lr", "NaN", "a finite number above 0: the learning rate", "write a finite number")),
    (("lr = 0.05", "lr = -inf"), ("fit.lr is not a finite number", None, "-Infinity", None, None)),
    (("lr = 0.05", "lr = 0.0"), ("fit.lr is out of range", None, "0.0", None, None)),
    (("lr = 0.05", "lr = true"), ("fit.lr is not a number", None, "true", None, "write a number")),
    (("lr = 0.05", "batch = 0"), ("fit.batch is out of range", "line 17, key fit.batch", "0", "a whole number of at least 1: pairs per step", None)),
    (("lr = 0.05", 'method = "dass"'), ("fit.method has a value that is not known", None, '"dass"', 'the method: "das" (distributed alignment search)', None)),
    (("[0, 1]", "[]"), ("claim.layers is an empty list", "line 10, key claim.layers", "[]", None, "list at least one")),
    (("[0, 1]", "[true]"), ("claim.layers[0] is true, which is no whole number", "line 10, key claim.layers[0]", "true", None, "write a number such as 1")),
    (("[0, 1]", "0"), ("claim.layers is not a list", None, "0", None, "put it in square brackets")),
    (("[0, 1]", "[0, -1]"), ("the layer -1 is negative", "line 10, key claim.layers[1]", "-1", "layers counted from 0, the first block", "count from the front: of 12 blocks the last is 11; `commutes sites` lists them")),
    (("[0, 1]", '"every"'), ("claim.layers has a value that is not known", "line 10, key claim.layers", '"every"', None, "choose one of these")),
    (("[0, 1]", '[0, "1"]'), ("claim.layers[1] is a number in quotes", "line 10, key claim.layers[1]", '"1"', None, "remove the quotes: 1")),
    (("sizes = [1, 2]", "sizes = [1]\nheads = [-1]"), ("the head -1 is negative", "line 12, key claim.heads[0]", "-1", "heads counted from 0", "count from the front: of 8 heads the last is 7; `commutes sites` lists them")),
    (("sizes = [1, 2]", 'sizes = [1]\nposition = "last"'), ("unknown key claim.position", "line 12, key claim.position", None, None, "did you mean claim.positions? otherwise remove the key")),
    (("sizes = [1, 2]", "sizes = [1]\npositions = [true]"), ("the position is no number and no word", "line 12, key claim.positions[0]", "true", 'a token by number (-1 is the last), or "last", "every", a slot such as "{b}" or "{b[first]}", or a list of several that are read as one place', "write one token's place, with words in quotes")),
    (("sizes = [1, 2]", 'sizes = [1]\npositions = [["last"]]'), ("the position is no number and no word", "line 12, key claim.positions[0]", '["last"]', None, None)),
    (("sizes = [1, 2]", 'sizes = [1]\npositions = [["last", "last"]]'), ("'last' is listed twice", "line 12, key claim.positions[0]", None, None, None)),
    (("sizes = [1, 2]", 'sizes = [1]\npositions = ["last", "last"]'), ("'last' is listed twice", "line 12, key claim.positions", None, None, None)),
    (("sizes = [1, 2]", 'sizes = [1]\npositions = "last"'), ("claim.positions is not a list", "line 12, key claim.positions", '"last"', None, "put it in square brackets")),
    (("layers = [0, 1]\n", 'place = "block_output"\nsites = ["head"]\n'), ("the claim names both place and sites", "line 8, key claim", None, "place with layers, or sites alone", "remove one of them")),
    (("sizes = [1, 2]", "sizes = [1]\nat.both = { layers = 0 }"), ("unknown key claim.at.both.layers", "line 12, key claim.at.both.layers", "layers", "one of place, layer, site, head, position", "did you mean claim.layers? otherwise remove the key")),
    (("sizes = [1, 2]", "sizes = [1]\nat.both = { layer = -1 }"), ("the layer -1 is negative", "line 12, key claim.at.both.layer", "-1", None, None)),
    (("sizes = [1, 2]", "sizes = [1]\nat.both = { layer = 1.5 }"), ("claim.at.both.layer is not a whole number", None, "1.5", "a whole number from 0: this layer, instead of claim.layers", None)),
    (("sizes = [1, 2]", "sizes = [1]\nat.both = {}"), ("the table says nothing of the variable's place", "line 12, key claim.at.both", None, "at least one of place, layer, site, head, position", "say what differs from the other variables, or remove the table")),
    (("sizes = [1, 2]", 'sizes = [1]\nat.both = { site = "head", layer = 0 }'), ("the place is given twice", None, None, "site, or place and layer", "remove site, or place and layer")),
    (("sizes = [1, 2]", 'sizes = [1]\nat."b c" = { layer = 0 }'), ("claim.at.b c is not a Python name", None, None, None, None)),
    (("[claim]", '[network]\npretrained = "model"\n[claim]'), ("a pretrained model is read through a prompt, and the spec has none", "line 8, key network", None, 'template, such as template = "{a}+{b}="', "add template with the algorithm's inputs as slots")),
    (("[claim]", '[network]\ntemplate = "{a}"\n[claim]'), ("template is of a pretrained model, and none is named", "line 8, key network", None, None, 'add pretrained = "folder or repository", or hand the function options of its own')),
    (("[claim]", '[network]\npretrained = "m"\ntemplate = "{a}"\nbuild = "network"\n[claim]'), ("the network is given twice: pretrained, and build", None, None, None, "remove pretrained or build")),
    (("[claim]", '[network]\npretrained = "m"\ntemplate = "{a}"\ntrain = "train"\n[claim]'), ("the network is given twice: pretrained, and train", None, None, None, None)),
    (("[claim]", '[network]\npretrained = "m"\ntemplate = 3\n[claim]'), ("the template is no prompt", "line 10, key network.template", "3", None, "write the prompt in quotes, each input of the algorithm in braces")),
    (("[claim]", '[network]\npretrained = "m"\ntemplate = [{ role = "user" }]\n[claim]'), ("the template is no prompt", None, None, None, None)),
    (("[claim]", '[network]\npretrained = "m"\ntemplate = "{a}"\nanswers = { 1 = 2 }\n[claim]'), ("the answers are no texts", "line 11, key network.answers", None, None, "write one text with {} in it, or one text for each value of the output")),
    (("[claim]", '[network]\npretrained = "m"\ntemplate = "{a}"\ndtype = "int8"\n[claim]'), ("network.dtype has a value that is not known", None, '"int8"', None, "choose one of these")),
    (("[claim]", '[network]\npretrained = "m"\ntemplate = "{a}"\ndevice = "gpu"\n[claim]'), ("'gpu' is no device", "line 11, key network.device", '"gpu"', '"cpu", "cuda", a numbered one such as "cuda:1", or "mps"', "name one of these, or remove device for the CPU")),
    (("[claim]", '[network]\npretrained = "m"\ntemplate = "{a}"\ndevice = "cpu"\ndevice_map = "auto"\n[claim]'), ("where the model runs is said twice: device, and device_map", "line 8, key network", None, "device for one device, device_map for several", "remove one of the two")),
    (("[claim]", '[network]\npretrained = "m"\ntemplate = "{a}"\ndevice_map = { lm_head = 1.5 }\n[claim]'), ("the device map names no devices", "line 11, key network.device_map", None, 'a word such as "auto", or a table such as { transformer = 0, lm_head = "cuda:1" }', "write one word, or one device for each part of the model")),
    (("[claim]", '[network]\ndevice_map = "auto"\n[claim]'), ("device_map is of a pretrained model, and none is named", None, None, None, None)),
    (("[claim]", '[network]\npretrained = "m"\ntemplate = "{a}"\nanswer_tokens = 0\n[claim]'), ("network.answer_tokens is out of range", "line 11, key network.answer_tokens", "0", None, None)),
    (("[0, 1]", "[0, 1, 0]"), ("0 is listed twice", "line 10, key claim.layers", "[0, 1, 0]", "each entry once", "remove one 0")),
    (("[1, 2]", "[1, 2, 2]"), ("2 is listed twice", "line 11, key claim.sizes", None, None, "remove one 2")),
    (("[1, 2]", "[0]"), ("claim.sizes[0] is out of range", "line 11, key claim.sizes[0]", "0", "a list of whole numbers of at least 1: dimensions per variable", None)),
    (('["both"]', "[]"), ("claim.variables is an empty list", "line 9, key claim.variables", None, "a list of names of inner variables of the algorithm", None)),
    (('["both"]', '"both"'), ("claim.variables is not a list", None, None, None, "put it in square brackets")),
    (('variables = ["both"]\n', ""), ("the key claim.variables is missing", "line 8, key claim.variables", "nothing", None, "add variables under [claim]")),
    (('name = "and or"\n', ""), ("the key name is missing", "key name", "nothing", None, "add name to the spec")),
    (("layers = [0, 1]\n", ""), ("the claim names no place in the network", None, None, "exactly one of claim.layers and claim.sites", "add layers = [0] or sites = [a module's path] under [claim]")),
    (("layers = [0, 1]\n", 'layers = [0]\nsites = ["head"]\n'), ("the claim names both layers and sites", None, None, None, "remove one of them")),
    (("seed = 3", "seed = -1"), ("seed is out of range", "line 3, key seed", None, None, None)),
    (('"gate.py"', "3"), ("algorithm.file is not text", "line 6, key algorithm.file", "3", None, "put it in quotes")),
    (('"and or"', '"../x"'), ("'../x' cannot name a run: it holds '/'", "line 2, key name", '"../x"', None, "choose a name that can also be the name of a folder")),
    (('"and or"', '""'), ("'' cannot name a run", None, None, None, None)),
    (('"and or"', '"-x"'), ("'-x' cannot name a run", None, None, None, None)),
    (('"and or"', '"a\\u001b[2J"'), ("'a\\x1b[2J' cannot name a run: it holds '\\x1b'", None, None, None, None)),
    (('"and or"', '"' + "x" * 101 + '"'), ("the name of the run is too long", None, None, "at most 100 bytes", None)),
    (('file = "gate.py"', 'file = "gate.py"\nbuild = "two words"'), ("algorithm.build is not a Python name", None, None, None, None)),
    (('file = "gate.py"', 'file = "gate.py"\noptions = { at = 1979-05-27 }'), ("the option is a date", "line 7, key algorithm.options.at", None, None, "put it in quotes")),
    (('file = "gate.py"', 'file = "gate.py"\noptions = { x = [nan] }'), ("the option nan is not a finite number", "line 7, key algorithm.options.x", None, None, None)),
    (("[fit]\n", "[challenge.shifts.far]\n[fit]\n"), ("the shift says nothing of what is shifted", "line 16, key challenge.shifts.far", None, "distribution, or one of domain, template, independent, resample (with or without a distribution)", "say what is shifted, or remove it")),
    (("[fit]\n", "[challenge.shifts.far]\nindependent = ['a']\nresample = ['b']\n[fit]\n"), ("the shift changes several things", "line 16, key challenge.shifts.far", None, None, "declare two shifts, each with a name")),
    (("[fit]\n", "[challenge]\nlevel = 'R6'\n[fit]\n"), ("challenge.level has a value that is not known", None, '"R6"', 'one of "R0" to "R5": how far the claim is challenged', None)),
    (("[fit]\n", "[challenge]\nrefits = 4\n[fit]\n"), ("challenge.refits is out of range", None, "4", "a whole number of at least 5: refits on untrained networks", None)),
    (("[fit]\n", "[challenge.variants.late]\n[fit]\n"), ("the variant says nothing of what is other", "line 16, key challenge.variants.late", "{}", "at least one of place, layer, site, head, position, template", "say what differs from the claim, or remove it")),
    (("[fit]\n", "[challenge.variants.late]\nsite = 'head'\nlayer = 1\n[fit]\n"), ("the place is given twice", "line 16, key challenge.variants.late", None, "site, or place and layer", "remove site, or place and layer")),
    (("[fit]\n", "[challenge.variants.late]\nlayers = [1]\n[fit]\n"), ("unknown key challenge.variants.late.layers", "line 17, key challenge.variants.late.layers", "layers", "one of place, layer, site, head, position, template", "did you mean claim.layers? otherwise remove the key")),
    (("[fit]\n", "[challenge.variants.late]\nlayer = -1\n[fit]\n"), ("the layer -1 is negative", "line 17, key challenge.variants.late.layer", "-1", None, None)),
    (("[fit]\n", "[challenge.variants.late]\ntemplate = ''\n[fit]\n"), ("the template is no prompt", "line 17, key challenge.variants.late.template", '""', None, None)),
    (("[fit]\n", "[challenge]\nvariants = ['late']\n[fit]\n"), ("challenge.variants is not a table", None, '["late"]', None, "write key = value pairs in a table")),
    (("[fit]\n", "[challenge]\noff_task = 'others.txt'\n[fit]\n"), ("the off-task inputs are no function and no table", "line 17, key challenge.off_task", '"others.txt"', "the name of a function in the hypothesis file, or a file that ends in .csv or .json or .parquet", "name one of these; a path is relative to the spec")),
    (("[fit]\n", "[challenge]\noff_task = ''\n[fit]\n"), ("the off-task inputs are no function and no table", None, '""', None, None)),
    (("[fit]\n", "[challenge]\noff_task = 3\n[fit]\n"), ("challenge.off_task is not text", None, "3", None, "put it in quotes")),
    (("[fit]\n", "[challenge]\nbudget = 0\n[fit]\n"), ("the budget is no number of forward passes and no time", "line 17, key challenge.budget", "0", 'a whole number above 0, or a time such as "90 seconds", "10 minutes" or "1.5 hours"', "write a number without quotes, or a time in quotes")),
    *((("[fit]\n", f"[challenge]\nbudget = {bad}\n[fit]\n"), ("the budget is no number of forward passes and no time", "line 17, key challenge.budget", None, None, None)) for bad in ("true", "1e6", '"1000"', '"ten minutes"', '"0 minutes"', '"-1 minutes"', '"10 days"', '"1e9 hours"', "[1]")),
    (("[fit]\n", "[challenge]\ndamage = 0\n[fit]\n"), ("challenge.damage is out of range", None, "0", None, None)),
    (("[fit]\n", "[challenge]\ndamage = 1\n[fit]\n"), ("challenge.damage is out of range", None, "1", "a number above 0 and below 1: the share of off-task inputs whose answer an edit may change", None)),
    (("[fit]\n", "[challenge]\nreplicated = 1.5\n[fit]\n"), ("challenge.replicated is out of range", None, "1.5", None, None)),
    (("[fit]\nlr = 0.05", "fit = 3"), ("unknown key data.fit", "line 16, key data.fit", None, None, "did you mean fit? otherwise remove the key")),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), REFUSED, ids=[words[0] for _, words in REFUSED])
def test_a_bad_spec_is_refused_with_its_place_and_the_cure(spec_path, change, words):
    assert change[0] in SPEC
    error = refusal(spec_path, SPEC.replace(*change))
    what, where, got, expected, fix = words
    assert error.what == what
    assert error.where is not None
    assert error.where.startswith(str(spec_path))
    for found, wanted in (
        (error.where, where),
        (error.got, got),
        (error.expected, expected),
        (error.fix, fix),
    ):
        if wanted is not None:
            assert (found or "").removeprefix(f"{spec_path}, ") == wanted
    assert None not in (error.got, error.expected, error.fix)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "\ufeff"])
def test_an_empty_spec_is_told_so(spec_path, text):
    assert refusal(spec_path, text).what == "the spec is empty"


def test_a_spec_of_a_newer_version_is_told_before_its_keys_are_judged(spec_path):
    error = refusal(spec_path, SPEC.replace("format = 1", "format = 2\nnew_key = 1"))
    assert error.what == "the spec was written for a newer version of commutes"
    assert (error.got, error.fix) == ("format = 2", "upgrade: pip install --upgrade commutes")


@pytest.mark.parametrize("value", ["true", '"1"', "1.0", "0"])
def test_a_format_that_is_not_a_known_number_is_refused(spec_path, value):
    assert (
        refusal(spec_path, SPEC.replace("format = 1", f"format = {value}")).what
        == "the format of the spec is not known"
    )


def test_a_spec_without_a_format_is_refused(spec_path):
    assert refusal(spec_path, SPEC.replace("format = 1\n", "")).what == "the spec does not say its format"


def test_several_problems_are_told_in_the_order_of_the_file(spec_path):
    error = refusal(spec_path, SPEC.replace("lr = 0.05", "lrr = 1\nbatch = 0").replace("[0, 1]", "[true]"))
    assert error.what.startswith("claim.layers[0]")
    assert error.fix is not None
    assert error.fix.splitlines() == [
        "write a number such as 1",
        f"then, at {spec_path}, line 17, key fit.lrr: unknown key fit.lrr",
        f"then, at {spec_path}, line 18, key fit.batch: fit.batch is out of range",
    ]


def test_a_message_stays_on_one_screen_whatever_the_user_wrote(spec_path):
    text = SPEC.replace("[fit]", "[fit]\n" + "".join(f"x{i} = 1\n" for i in range(500)))
    text = text.replace('["both"]', '"' + "b" * 100_000 + '"')
    told = str(refusal(spec_path, text))
    assert len(told.splitlines()) < 20
    assert max(map(len, told.splitlines())) < 300


# overrides


def test_an_override_replaces_one_value_and_keeps_its_siblings(spec_path):
    spec = read(spec_path, SPEC, "fit.steps=10", "claim.layers=[1]", 'data.distribution="inputs"')
    assert (spec.fit.steps, spec.fit.lr) == (10, 0.05)
    assert spec.claim.layers == (1,)
    assert spec.claim.sizes == (1, 2)
    assert spec.data.distribution == "inputs"
    assert spec.data.pairs == 400


def test_an_override_with_a_table_merges_it(spec_path):
    spec = read(spec_path, SPEC, "fit={steps=10}")
    assert (spec.fit.steps, spec.fit.lr) == (10, 0.05)


def test_a_later_override_wins(spec_path):
    assert read(spec_path, SPEC, "fit.steps=10", "fit.steps=20").fit.steps == 20


def test_an_override_does_not_change_the_list_or_the_file_it_came_from(spec_path):
    overrides = ["fit.steps=10"]
    spec_path.write_text(SPEC)
    read_spec(spec_path, overrides=overrides)
    assert overrides == ["fit.steps=10"]
    assert spec_path.read_text() == SPEC


@pytest.mark.parametrize(
    ("override", "what", "fix"),
    [
        ("fit.lrr=1", "unknown key fit.lrr", "did you mean fit.lr? otherwise remove the key"),
        ("fit.lr=nan", "fit.lr is not a finite number", "write a finite number"),
        ("fit.steps=true", "fit.steps is true, which is no whole number", "write a number such as 1"),
        ("fit=3", "fit is not a table", "write a table [fit] with its keys below it"),
        ("fit.lr", "an override is not of the form key=value", "write for example --set fit.lr=1e-3"),
        ("=3", "an override is not of the form key=value", None),
        ("a b=3", "an override is not of the form key=value", None),
        ("algorithm.file=equality", "the value of an override is not TOML", "for text write --set 'algorithm.file=\"equality\"'"),
        ("fit.lr=", "the value of an override is not TOML", None),
        ("name.x=1", "name is not a table", "set name itself, or correct the key"),
        ("data.split.train=0.4", "the shares of the split add up to 0.9", "set all three shares so that they add up to 1"),
    ],
)  # fmt: skip
def test_a_bad_override_is_told_as_the_user_typed_it(spec_path, override, what, fix):
    error = refusal(spec_path, SPEC, override)
    assert error.what == what
    assert error.where == f"--set {override}"
    if fix is not None:
        assert error.fix == fix


# where it came from


def test_a_spec_knows_its_folder_and_the_place_of_its_keys(spec_path):
    spec = read(spec_path, SPEC, "fit.steps=7")
    assert spec.folder == spec_path.parent
    assert spec.where("claim.layers") == f"{spec_path}, line 10, key claim.layers"
    assert spec.where("claim.layers.1") == f"{spec_path}, line 10, key claim.layers[1]"
    assert spec.where("fit.steps") == "--set fit.steps=7"
    assert spec.where("challenge.level") == f"{spec_path}, key challenge.level"


def test_the_command_repeats_the_run(spec_path):
    spec_path.write_text(SPEC)
    spec = read_spec(spec_path, given="my specs/and or.toml", overrides=["claim.layers=[1]"])
    assert shlex.split(spec.command) == [
        "commutes",
        "run",
        "--set",
        "claim.layers=[1]",
        "my specs/and or.toml",
    ]
    dashed = read_spec(spec_path, given="-x.toml")
    assert shlex.split(dashed.command) == ["commutes", "run", "--", "-x.toml"]


def test_all_layers_and_a_place_by_name(spec_path):
    text = SPEC.replace(
        "layers = [0, 1]", 'place = "mlp_output"\nlayers = "all"\npositions = ["last", -2, ["{b}", -2]]'
    )
    spec = read(spec_path, text + "[claim.at.both]\nhead = 1\n")
    claim = spec.claim
    assert (claim.place, claim.layers, claim.positions) == ("mlp_output", "all", ("last", -2, ("{b}", -2)))
    assert (claim.at["both"].head, claim.at["both"].layer) == (1, None)
    assert Spec.model_validate_json(json.dumps(spec.resolved())).claim == claim


def test_a_pretrained_model_is_neither_built_nor_trained(spec_path):
    given = '[network]\npretrained = "m"\ntemplate = [{ role = "user", content = "{a}" }]\nanswers = " {}"\n'
    spec = read(spec_path, SPEC.replace("[claim]", given + "[claim]"))
    network = spec.network
    assert (network.build, network.train) == (None, None)
    assert network.template == ({"role": "user", "content": "{a}"},)
    assert Spec.model_validate_json(json.dumps(spec.resolved())).network == network
    assert read(spec_path, SPEC).network.build == "network"


def test_a_network_without_training_is_said_by_false(spec_path):
    assert read(spec_path, SPEC, "network.train=false").network.train is None
    assert refusal(spec_path, SPEC, "network.train=true").what == "network.train is not text"


def test_the_schema_describes_every_key_and_forbids_others():
    schema = json_schema()
    tables = [schema, *schema["$defs"].values()]
    assert all(table["additionalProperties"] is False for table in tables)
    assert all("description" in entry for table in tables for entry in table["properties"].values())
    json.dumps(schema, allow_nan=False)
