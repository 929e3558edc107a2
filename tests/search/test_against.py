"""What a spec holds its claim against: other places and prompts, off-task inputs, a budget."""

from __future__ import annotations

import json
import runpy
import shutil
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

import commutes.robustness._challenge as challenge_module
import commutes.search._job as job
import commutes.search._sweep as sweeping
from commutes.errors import AlgorithmError, CommutesError, SpecError
from commutes.robustness import CHECKS, Report
from commutes.search import build_off_task, check_variants, load_hypothesis, read_spec, run
from tests.search.test_job import QUICK

ONE = ("claim.layers=[0]", "claim.sizes=[1]")
LATER = "challenge.variants.later.layer=1"
R4 = 'challenge.level="R4"'
# The inputs of the hypothesis are below 6.
OUTSIDE = {"a": [7, 8, 9], "b": [6, 6, 7], "c": [8, 8, 8]}

FUNCTIONS = """

def others():
    return {"a": [7, 8, 9], "b": [6, 6, 7], "c": [8, 8, 8]}


def pairs():
    from commutes.counterfactuals import counterfactuals
    from commutes.algorithm import Algorithm

    sums = Algorithm("sums")
    a, b, c = sums.inputs("a b c", domain=range(7, 12))
    total = sums.add("total", a, b, f=lambda a, b: (a + b) % 2, domain=[0, 1])
    sums.add("out", total, c, f=lambda total, c: total == c % 2, domain=[False, True], output=True)
    return counterfactuals(sums, 40, seed=0)


def nothing():
    pass


def fails():
    raise ValueError("no such thing")
"""


def spec_of(path, *overrides: str):
    return read_spec(path, given="and_or.toml", overrides=[*QUICK, *ONE, *overrides])


@pytest.fixture
def functions(project):
    path = project / "gate.py"
    path.write_text(path.read_text() + FUNCTIONS)
    return project / "and_or.toml"


def written(folder: Path, name: str, columns: dict) -> str:
    """A file of values beside the spec; the override that names it."""
    frame, path = pd.DataFrame(columns), folder / name
    if name.endswith(".csv"):
        frame.to_csv(path, index=False)
    elif name.endswith(".parquet"):
        frame.to_parquet(path)
    elif name.startswith("rows"):
        path.write_text(frame.to_json(orient="records") or "")
    else:
        path.write_text(json.dumps(columns))
    return f'challenge.off_task="{name}"'


def noted(patch: pytest.MonkeyPatch, *checks: str) -> list[dict]:
    """What the job hands to `challenge`, which runs these checks alone."""
    found = []
    real = job.challenge

    def challenged(alignment, **given):
        found.append(given | {"alignment": alignment})
        return real(alignment, **given)

    patch.setattr(job, "challenge", challenged)
    patch.setattr(challenge_module, "CHECKS", {name: CHECKS[name] for name in checks})
    return found


DECLARED = (
    R4, LATER, 'challenge.off_task="others.csv"', "challenge.damage=0.5", "challenge.replicated=0.5",
    'challenge.budget="10 minutes"',
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with its run, what was handed to `challenge` and what came of it."""
    folder = tmp_path_factory.mktemp("project")
    texts = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
    (folder / "and_or.toml").write_text(texts["SPEC"])
    (folder / "gate.py").write_text(texts["HYPOTHESIS"])
    written(folder, "others.csv", OUTSIDE)
    with pytest.MonkeyPatch.context() as patch:
        found = noted(patch, "A1", "A7", "C9")
        report = run(spec_of(folder / "and_or.toml", *DECLARED), out=folder / "run").report
    return folder, found[0], report


def refusal(spec, tmp_path, kind: type[CommutesError] = SpecError) -> CommutesError:
    with pytest.raises(kind) as caught:
        run(spec, out=tmp_path / "run")
    # Before anything is trained, fitted or written.
    assert not (tmp_path / "run").exists()
    return caught.value


# Variants.


def test_a_variant_is_fitted_at_its_place_and_asked_by_a7(made):
    _, given, report = made
    (name, variant), claim = *given["variants"].items(), given["alignment"]
    assert (name, str(claim.sites[0]), str(variant.sites[0])) == ("later", "layers.0", "layers.1")
    assert variant.fitted
    assert set(variant.fitted_ids) == set(claim.fitted_ids)
    assert variant.history["seed"] == claim.history["seed"]
    assert list(report.claim.content["variants"]) == ["later"]
    rows = report.outcomes["A7"].outcome.figures.get("combinations", [])
    assert {row["variant"] for row in rows} <= {None, "later"}


def test_below_r4_no_variant_is_fitted(functions, tmp_path, monkeypatch):
    found = noted(monkeypatch, "A1")
    spec = spec_of(functions, LATER, 'challenge.off_task="pairs"')
    report = run(spec, out=tmp_path / "run").report
    (given,) = found
    assert given["variants"] == {}
    assert given["budget"] is None
    assert len(given["off_task"]) == 40
    assert isinstance(report, Report)
    assert "off_task" in report.claim.content


def test_a_variant_that_the_network_has_not_is_told_before_the_long_work(spec_path, tmp_path):
    def told(override: str) -> CommutesError:
        return refusal(spec_of(spec_path, R4, override), tmp_path)

    error = told("challenge.variants.later.layer=7")
    assert (error.what, error.where) == (
        "the network has no layer 7",
        "--set challenge.variants.later.layer=7",
    )
    error = told('challenge.variants.later.site="layers.9"')
    assert error.what == "there is no such module in the network"
    assert error.where == '--set challenge.variants.later.site="layers.9"'
    error = told('challenge.variants.later.template="{a}"')
    assert error.what == "a template is how a language model is read"
    error = told("challenge.variants.later.layer=0")
    assert (error.what, error.got) == (
        "the variant is a place that is swept",
        "layers.0, where the claim itself may be chosen",
    )
    assert error.fix == "name another place, or take this one out of the sweep"


def test_variants_of_a_language_model(tmp_path, counting_model):
    from commutes.counterfactuals import counterfactuals
    from commutes.search import all_inputs, build_network
    from tests.counting import project

    path = project(tmp_path / "counting", counting_model)

    def checked(*overrides: str):
        spec = read_spec(path, overrides=[*overrides, "claim.layers=[0]", 'claim.positions=["last"]'])
        hypothesis = load_hypothesis(spec)
        algorithm = hypothesis.module.algorithm().check()
        network = build_network(hypothesis, spec, algorithm, seed=0)
        inputs = all_inputs([counterfactuals(algorithm, 40, seed=0)])
        check_variants(spec, algorithm, network, inputs=inputs)

    checked('challenge.variants.early.position="{a[first]}"', "challenge.variants.later.layer=1")
    # The same place under another prompt is no place that is swept.
    checked('challenge.variants.other.template="{b:02d}+{a:02d}="')
    for override, what in (
        ('challenge.variants.early.position="{c}"', "the template has no such slot"),
        ('challenge.variants.early.position="last"', "the variant is a place that is swept"),
        ('challenge.variants.other.template="{a:02d}+{c}="', None),
    ):
        with pytest.raises(SpecError) as caught:
            checked(override)
        assert what is None or caught.value.what == what
        assert caught.value.where is not None
        assert caught.value.where.startswith(f"--set {override}")


# Off task.


@pytest.mark.parametrize("name", ["others.csv", "others.parquet", "others.json", "rows.json"])
def test_off_task_inputs_from_a_file(spec_path, name):
    spec = spec_of(spec_path, written(spec_path.parent, name, OUTSIDE))
    assert build_off_task(load_hypothesis(spec), spec) == OUTSIDE


def test_off_task_inputs_from_a_function(functions):
    spec = spec_of(functions, 'challenge.off_task="others"')
    assert build_off_task(load_hypothesis(spec), spec) == OUTSIDE
    assert build_off_task(load_hypothesis(spec), spec_of(functions)) is None


def test_off_task_inputs_are_edited_by_c9(made):
    _, given, report = made
    assert (given["off_task"], given["damage"]) == (OUTSIDE, 0.5)
    assert report.outcomes["C9"].outcome.forward_passes >= 3
    # Three inputs show no more than that some of them are left alone.
    assert report.answers["C9"] in ("refuted", "inconclusive")


def test_off_task_inputs_that_are_none_are_told_before_the_long_work(functions, tmp_path):
    folder = functions.parent

    def told(override: str, kind: type[CommutesError] = SpecError) -> CommutesError:
        return refusal(spec_of(functions, R4, override), tmp_path, kind)

    error = told('challenge.off_task="absent.csv"')
    assert error.what == "there is no such file"
    assert error.where == '--set challenge.off_task="absent.csv"'
    (folder / "folder.csv").mkdir()
    assert told('challenge.off_task="folder.csv"').what == "the path of a file is a folder"
    for name, text in (
        ("bad.json", "[1, 2"),
        ("bad.json", "3"),
        ("bad.json", '[{"a": 1}, {"b": 1}]'),
        ("bad.json", '{"a": 1}'),
        ("bad.csv", ""),
        ("bad.parquet", "PAR1"),
    ):
        (folder / name).write_text(text)
        error = told(f'challenge.off_task="{name}"')
        assert error.what == "the file cannot be read as a table"
        assert None not in (error.got, error.expected, error.fix)
    error = told(written(folder, "gap.json", OUTSIDE | {"b": [6, None, 7]}))
    assert error.what == "a value is missing in the file"
    assert (error.got or "").endswith("nothing under b in row 2")
    error = told(written(folder, "some.csv", {"a": [7], "b": [7]}))
    assert (error.what, error.got) == (
        "off-task inputs are encoded together with the claim's own",
        "columns a, b",
    )
    error = told(written(folder, "inside.csv", {"a": [1], "b": [2], "c": [3]}))
    assert (error.what, error.got) == (
        "gate says something about these inputs",
        "1 of 1 inputs are in its domain",
    )
    error = told(written(folder, "texts.csv", {"a": ["x"], "b": ["y"], "c": ["z"]}))
    assert error.what == "off-task values are of another kind than the claim's"
    assert error.where == '--set challenge.off_task="texts.csv"; off_task=, a'
    error = told('challenge.off_task="other"')
    assert (error.what, error.fix) == (
        "the hypothesis file has no function other",
        "did you mean others? otherwise define other in the file",
    )
    error = told('challenge.off_task="nothing"', AlgorithmError)
    assert error.what == "nothing() of the hypothesis file returned something else"
    assert error.expected == "Counterfactuals of another algorithm, or values by input"
    error = told('challenge.off_task="fails"', AlgorithmError)
    assert error.what == "fails() of the hypothesis file raised"


def test_other_off_task_inputs_in_the_same_file_are_asked_anew_and_nothing_is_fitted_again(
    made, tmp_path, monkeypatch
):
    folder, given, report = made
    project = tmp_path / "project"
    shutil.copytree(folder, project)
    spec = spec_of(project / "and_or.toml", *DECLARED)
    assert run(spec, out=project / "run").report is None
    written(project, "others.csv", OUTSIDE | {"a": [10, 11, 12]})
    monkeypatch.setattr(sweeping, "fit_many", lambda *_, **__: pytest.fail("fitted again"))
    found = noted(monkeypatch, "A1", "C9")
    again = run(spec, out=project / "run").report
    assert isinstance(again, Report)
    assert again.claim.fingerprint != report.claim.fingerprint
    first, second = (one["variants"]["later"].featurizers[0].reader for one in (given, found[0]))
    assert first.equal(second)


def test_a_budget_and_the_shares_reach_the_challenge(made):
    _, given, report = made
    assert given["budget"] == timedelta(minutes=10)
    assert report.thresholds.replicated == 0.5
    assert report.thresholds.damage == 0.5
