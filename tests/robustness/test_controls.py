"""Control functions: as many of each value, never the variable, never each other, under whatever names of values."""

from __future__ import annotations

from itertools import product

import pytest

from commutes import Algorithm, vectors
from commutes.robustness import controls
from tests.planted import equality, load


def table(algorithm: Algorithm, name: str, domain) -> tuple:
    variable = algorithm[name]
    return tuple(variable(*row) for row in product(*[domain] * len(variable.parents)))


def pattern(values) -> tuple:
    seen = {}
    return tuple(seen.setdefault(v, len(seen)) for v in values)


@pytest.mark.parametrize("seed", range(5))
def test_controls_have_the_marginals_and_are_distinct_up_to_relabelling(seed):
    algorithm = equality(4)
    true = table(algorithm, "left", range(4))
    found = controls(algorithm, algorithm["left"], count=6, seed=seed)
    tables = [table(control, "left", range(4)) for control in found]
    assert len(found) == 6
    assert all(sum(t) == sum(true) for t in tables)
    assert len({pattern(t) for t in [true, *tables]}) == 7
    for control in found:
        assert table(control, "right", range(4)) == table(algorithm, "right", range(4))
        assert [v.name for v in control.variables] == [v.name for v in algorithm.variables]
        assert control.name.endswith("left at random")


def test_a_relabelling_of_the_variable_is_no_control():
    """Of two values over two rows there are the variable and its negation, which is the same variable."""
    algorithm = Algorithm("parity")
    a, b = algorithm.inputs("a b", domain=range(2))
    algorithm.add("v", a, f=lambda a: a == 1, domain=[False, True])
    algorithm.add("y", "v", b, f=lambda v, b: v != (b == 1), domain=[False, True], output=True)
    assert controls(algorithm.check(), algorithm["v"], count=5, seed=0) == []


def test_all_that_there_are_are_found_and_no_more():
    boolean = load("boolean").algorithm()
    found = controls(boolean, boolean["ab"], count=50, seed=0)
    # One true row of four: three places besides the variable's own.
    assert len({pattern(table(c, "ab", (False, True))) for c in found}) == len(found) == 3


def test_controls_of_many_values_keep_how_often_each_occurs():
    algorithm = Algorithm("sum")
    a, b, c = algorithm.inputs("a b c", domain=range(3))
    algorithm.add("v", a, b, f=lambda a, b: a + b, domain=range(5))
    algorithm.add("y", "v", c, f=lambda v, c: v > 2 * c, domain=[False, True], output=True)
    true = table(algorithm.check(), "v", range(3))
    for control in controls(algorithm, algorithm["v"], count=5, seed=1):
        values = table(control, "v", range(3))
        assert sorted(values) == sorted(true)
        assert pattern(values) != pattern(true)


def test_the_same_seed_gives_the_same_controls():
    algorithm = equality(4)
    one, two, other = (
        [c.fingerprint for c in controls(algorithm, algorithm["left"], count=3, seed=s)] for s in (0, 0, 1)
    )
    assert one == two != other


def test_variables_of_one_algorithm_get_different_controls():
    algorithm = equality(4)
    left, right = (
        [table(c, name, range(4)) for c in controls(algorithm, algorithm[name], count=3, seed=0)]
        for name in ("left", "right")
    )
    assert left != right


def test_a_variable_of_infinite_parents_has_no_control_functions():
    algorithm = Algorithm("vectors")
    a, b = algorithm.inputs("a b", domain=vectors(2))
    algorithm.add("v", a, b, f=lambda a, b: a == b, domain=[False, True])
    algorithm.add("y", "v", f=lambda v: not v, domain=[False, True], output=True)
    assert controls(algorithm.check(), algorithm["v"], count=5, seed=0) == []
