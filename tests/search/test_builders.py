# ruff: noqa: E501 - the texts of files and messages stand as they are
from __future__ import annotations

import numpy as np
import pytest

from commutes.errors import AlgorithmError, CommutesError, SpecError
from commutes.search import (
    build_algorithm,
    build_network,
    distribution,
    load_hypothesis,
    read_spec,
    train_network,
)


def made(spec_path, old="", new="", *overrides):
    file = spec_path.parent / "gate.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    spec = read_spec(spec_path, overrides=overrides)
    return load_hypothesis(spec), spec


def algorithm_refusal(spec_path, *change) -> CommutesError:
    hypothesis, spec = made(spec_path, *change)
    with pytest.raises(CommutesError) as caught:
        build_algorithm(hypothesis, spec)
    return caught.value


def test_the_algorithm_is_built_with_its_options_and_checked(spec_path):
    hypothesis, spec = made(spec_path, "", "", "algorithm.options.values=8")
    algorithm = build_algorithm(hypothesis, spec)
    assert algorithm.input_count == 8**3


def test_an_option_that_the_function_does_not_take_is_told_before_it_is_called(spec_path):
    error = algorithm_refusal(spec_path, "", "", "algorithm.options.value=8")
    assert isinstance(error, SpecError)
    assert error.what == "algorithm() takes no option value"
    assert error.where == "--set algorithm.options.value=8"
    assert (error.expected, error.fix) == ("one of values", "did you mean values? otherwise remove it")


def test_a_type_error_inside_the_function_is_the_functions_own(spec_path):
    error = algorithm_refusal(spec_path, 'gate = Algorithm("gate")', "gate = len(3)")
    assert isinstance(error, AlgorithmError)
    assert error.what == "algorithm() of the hypothesis file raised"
    assert (error.where or "").endswith("line 7: gate = len(3)")
    assert error.got == "TypeError: object of type 'int' has no len()"


def test_a_function_that_returns_nothing_is_told_to_return(spec_path):
    error = algorithm_refusal(spec_path, "    return gate\n", "    pass\n")
    assert error.what == "algorithm() of the hypothesis file returned something else"
    assert (error.got, error.expected, error.fix) == ("nothing", "a commutes.Algorithm", "return it")


def test_a_function_that_exits_is_refused(spec_path):
    error = algorithm_refusal(spec_path, "    return gate\n", "    raise SystemExit(2)\n")
    assert (error.what, error.got) == ("algorithm() exits", "exit(2)")


def test_an_algorithm_that_is_not_well_formed_keeps_its_own_words(spec_path):
    error = algorithm_refusal(spec_path, 'gate.add("both", a, b,', 'gate.add("both", a, "bb",')
    assert isinstance(error, AlgorithmError)
    assert "hypothesis file" not in error.what


def test_the_network_is_built_untrained_and_from_its_seed(spec_path):
    hypothesis, spec = made(spec_path, "", "", "network.options.width=5")
    algorithm = build_algorithm(hypothesis, spec)
    network, again, other = (build_network(hypothesis, spec, algorithm, seed=seed) for seed in (1, 1, 2))
    assert network.fingerprint == again.fingerprint != other.fingerprint
    assert network.blocks == ("layers.0", "layers.1")
    assert network.module.head.in_features == 5


@pytest.mark.parametrize(
    ("old", "new", "what", "expected"),
    [
        ("def network(algorithm, *, seed, width=8):", "def network(algorithm, width=8):\n    seed = 1", "network() does not take seed", "def network(algorithm, *, seed)"),
        ('blocks="layers", name="small MLP")', 'blocks="layers", name="small MLP").module', "network() of the hypothesis file returned something else", "a commutes.Network"),
    ],
)  # fmt: skip
def test_a_network_function_of_another_form_is_told(spec_path, old, new, what, expected):
    hypothesis, spec = made(spec_path, old, new)
    with pytest.raises(CommutesError) as caught:
        build_network(hypothesis, spec, build_algorithm(hypothesis, spec), seed=0)
    assert caught.value.what == what
    assert caught.value.expected == expected


def test_the_seed_is_no_option_of_the_user(spec_path):
    hypothesis, spec = made(spec_path, "", "", "network.options.seed=8")
    with pytest.raises(SpecError, match=r"network\(\) takes no option seed"):
        build_network(hypothesis, spec, build_algorithm(hypothesis, spec), seed=0)


def test_training_reports_its_progress(spec_path):
    hypothesis, spec = made(spec_path)
    algorithm = build_algorithm(hypothesis, spec)
    network = build_network(hypothesis, spec, algorithm, seed=0)
    told = []
    trained = train_network(
        hypothesis, spec, network, algorithm, seed=0, progress=lambda *what: told.append(what)
    )
    assert trained is network
    assert told == [(1, 1, {"loss": 0.5})]


def test_a_network_that_needs_no_training_is_left_alone(spec_path):
    hypothesis, spec = made(spec_path, "def train(", "def teach(", "network.train=false")
    network = object()
    assert train_network(hypothesis, spec, network, object(), seed=0) is network  # type: ignore[arg-type]


def test_a_train_function_without_progress_is_told(spec_path):
    hypothesis, spec = made(spec_path, "*, seed, progress=None", "*, seed")
    with pytest.raises(SpecError, match=r"train\(\) does not take progress") as caught:
        train_network(hypothesis, spec, object(), object(), seed=0)  # type: ignore[arg-type]
    assert caught.value.expected == "def train(network, algorithm, *, seed, progress)"


def test_a_distribution_is_a_built_in_name_or_one_of_the_file(spec_path):
    from commutes.counterfactuals import Distribution

    hypothesis, spec = made(spec_path, "", "", 'data.distribution="inputs"')
    assert distribution(hypothesis, spec) == "inputs"
    text = (
        "from commutes.counterfactuals import Distribution\n"
        "def _draw(rng, n):\n    return {v: rng.integers(0, 6, n) for v in 'abc'}\n"
        "FRESH = Distribution('fresh', _draw)\n"
    )
    hypothesis, spec = made(spec_path, "def train(", text + "def train(", 'data.distribution="FRESH"')
    found = distribution(hypothesis, spec)
    assert isinstance(found, Distribution)
    assert set(found.draw(np.random.default_rng(0), 2)) == {"a", "b", "c"}
    hypothesis, spec = made(spec_path, "", "", 'data.distribution="FRESCH"')
    with pytest.raises(SpecError, match="there is no distribution FRESCH") as caught:
        distribution(hypothesis, spec)
    assert caught.value.expected == "one of values, inputs, FRESH"
    assert (caught.value.fix or "").startswith("did you mean FRESH?")
