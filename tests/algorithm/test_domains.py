from __future__ import annotations

from enum import Enum, IntEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commutes.algorithm import Finite, reals, vectors
from commutes.algorithm._space import Space
from commutes.errors import DomainError


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


atoms = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.none(),
    st.sampled_from([*Colour, *Level]),
)
PLAIN = "bool, int, float, str, bytes, None, an Enum member, or a tuple or frozenset of these"
NAN = "NaN equals nothing, not even itself, so it cannot label anything"
nests = lambda part: st.tuples(part, part) | st.frozensets(part, max_size=2)
values = st.recursive(atoms, nests, max_leaves=3)


def kind_and_value(value):
    """Sameness, written down independently: bools, numbers, enum members and texts never meet."""
    if isinstance(value, tuple):
        return ("tuple", tuple(map(kind_and_value, value)))
    if isinstance(value, frozenset):
        return ("frozenset", frozenset(map(kind_and_value, value)))
    if isinstance(value, Enum):
        return ("enum", type(value), value.name)
    if isinstance(value, bool):
        return ("bool", value)
    return ("number", value) if isinstance(value, (int, float)) else (type(value), value)


@given(st.lists(values, min_size=1, max_size=12, unique_by=kind_and_value))
def test_encoding_and_decoding_are_inverse_in_the_order_of_the_values(listed):
    domain = Finite(listed)
    codes = domain.encode(listed)
    assert codes.dtype == np.int64
    assert codes.tolist() == list(range(len(listed)))
    decoded = domain.decode(codes[::-1])
    assert list(map(kind_and_value, decoded)) == list(map(kind_and_value, listed[::-1]))
    assert domain == Finite(listed)
    assert len(set(domain.hashes.tolist())) == len(listed)


@given(st.lists(values, min_size=1, max_size=8, unique_by=kind_and_value), values)
def test_membership_is_sameness(listed, value):
    assert (value in Finite(listed)) == (kind_and_value(value) in map(kind_and_value, listed))


@given(st.lists(st.one_of(st.integers(-5, 5), st.booleans(), st.floats(-5, 5)), min_size=1, max_size=20))
def test_the_fast_way_for_numbers_agrees_with_the_slow_one(sequence):
    domain = Finite(range(-3, 3))
    codes, bad = domain.attempt(sequence)
    slow = [domain._find(value) for value in sequence]
    assert codes.tolist() == slow
    assert bad == next((row for row, code in enumerate(slow) if code < 0), None)


@given(st.lists(st.tuples(atoms, atoms), min_size=1, max_size=5), st.randoms())
def test_tuples_that_come_again_are_found_as_each_is_alone(listed, random):
    domain = Finite({kind_and_value(value): value for value in listed}.values())
    again = [*listed, *((int(x) if type(x) is bool else x, y) for x, y in listed), *listed]
    random.shuffle(again)
    assert domain.attempt(again)[0].tolist() == [domain._find(value) for value in again]


def test_true_is_not_one():
    numbers, bools = Finite((0, 1)), Finite((False, True))
    assert numbers != bools
    assert True not in numbers
    assert 1 not in bools
    assert Finite((0, 1, True)).code(True) == 2
    assert Finite((0, 1)) == Finite((0.0, 1.0))
    assert hash(Finite((0, 1))) == hash(Finite((0.0, 1.0)))
    assert 1.0 in numbers
    assert Level.LOW not in numbers


def test_numpy_scalars_are_the_values_that_they_stand_for():
    assert np.bool_(True) in Finite((False, True))
    assert np.int32(1) in Finite((0, 1))
    assert np.str_("a") in Finite(("a", "b"))
    assert Finite(np.arange(3)) == Finite(range(3))
    assert type(Finite(np.arange(3)).values[0]) is int
    assert Finite((-0.0,)).values == (0.0,)


def test_a_range_far_from_zero_and_huge_integers():
    assert Finite((2**70, 2**70 + 1)).encode([2**70 + 1]).tolist() == [1]
    assert Finite((2**53, 2**53 + 1)).encode([2**53 + 1, 2**53]).tolist() == [1, 0]
    assert 2**80 not in Finite(range(3))
    assert Finite((5, -1, 3)).encode(np.array([3, 5, -1], dtype=np.int8)).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("domain", "value", "text"),
    [
        (
            Finite(("left", "right")),
            "lefft",
            "value outside the domain\n  got:      'lefft' (str)\n  expected: {'left', 'right'}\n"
            "  do:       the nearest value is 'left'",
        ),
        (
            Finite(range(20)),
            25,
            "value outside the domain\n  got:      25 (int)\n  expected: {0, 1, 2, ..., 19}\n"
            "  do:       the nearest value is 19",
        ),
        (
            Finite((False, True)),
            1,
            "value outside the domain\n  got:      1 (int)\n  expected: {False, True}\n"
            "  do:       write True (bool): it equals 1 in Python but is another value here",
        ),
        (
            Finite((0, 1)),
            False,
            "value outside the domain\n  got:      False (bool)\n  expected: {0, 1}\n"
            "  do:       write 0 (int): it equals False in Python but is another value here",
        ),
        (
            Finite((0.0, 1.0)),
            float("nan"),
            "value outside the domain\n  got:      nan (float)\n  expected: {0.0, 1.0}\n"
            f"  do:       use {PLAIN}: {NAN}",
        ),
        (
            Finite(((1, 2), (2, 1))),
            [1, 2],
            "value outside the domain\n  got:      [1, 2] (list)\n  expected: {(1, 2), (2, 1)}\n"
            f"  do:       use {PLAIN}: "
            "it cannot be hashed",
        ),
        (
            vectors(2),
            (0.0, 0.0, 0.0),
            "value outside the domain\n  got:      (0.0, 0.0, 0.0) (tuple)\n"
            "  expected: vectors in [-1, 1], 2 floats\n  do:       use a tuple of 2 floats within it",
        ),
        (
            reals(0, 1),
            2.0,
            "value outside the domain\n  got:      2.0 (float)\n"
            "  expected: real numbers in [0, 1]\n  do:       use a float within the domain",
        ),
    ],
)
def test_the_error_says_what_is_nearest(domain, value, text):
    assert value not in domain
    with pytest.raises(DomainError) as caught:
        raise domain.outside(value)
    assert str(caught.value) == text


def test_code_and_encode_raise_at_the_first_value_outside():
    with pytest.raises(DomainError, match="value outside the domain"):
        Finite("ab").code("c")
    with pytest.raises(DomainError) as caught:
        Finite("ab").encode(["a", "c", "d"])
    assert caught.value.where == "row 1"
    assert caught.value.got == "'c' (str)"


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        (
            (0, 1, 0),
            "a value occurs twice in a domain\n  where:    values 0 and 2 of the domain\n"
            "  got:      0 (int)\n  do:       list every value once",
        ),
        (
            (0.5, float("nan")),
            f"this value cannot be in a domain: {NAN}\n"
            "  where:    value 1 of the domain\n  got:      nan (float)\n"
            f"  expected: {PLAIN}\n"
            "  do:       use plain values: a tuple instead of a list, None instead of NaN",
        ),
        (
            ([1], [2]),
            "this value cannot be in a domain: it cannot be hashed\n"
            "  where:    value 0 of the domain\n  got:      [1] (list)\n"
            f"  expected: {PLAIN}\n"
            "  do:       use plain values: a tuple instead of a list, None instead of NaN",
        ),
        (
            (),
            "a domain without values\n  got:      none\n  expected: at least one\n"
            "  do:       list the values, in order",
        ),
        (
            range(10**9),
            "a domain of 1,000,000,000 values is too large to list\n  expected: at most 1,000,000 values\n"
            "  do:       sample instead: describe it by a Space, with draw(rng, n) and contains(value)",
        ),
    ],
)
def test_what_cannot_be_a_finite_domain(listed, text):
    with pytest.raises(DomainError) as caught:
        Finite(listed)
    assert str(caught.value) == text


def test_a_nested_nan_and_a_foreign_object_are_refused():
    with pytest.raises(DomainError, match="NaN equals nothing"):
        Finite([(1, float("nan"))])
    with pytest.raises(DomainError, match="a object is not a plain value"):
        Finite([object()])


def test_arrays_have_the_narrowest_honest_dtype():
    codes = np.array([1, 0])
    assert Finite((False, True)).array(codes).dtype == bool
    assert Finite(range(3)).array(codes).dtype == np.int64
    assert Finite((0.5, 1)).array(codes).dtype == np.float64
    assert Finite(((1, 2), (3, 4))).array(codes).tolist() == [[3, 4], [1, 2]]
    for mixed in ((False, 1), ("a", "b"), ((1, 2), (3,)), (("a", 1), ("b", 2)), tuple(Colour), (2**70, 1)):
        table = Finite(mixed).array(codes)
        assert table.dtype == object
        assert table.shape == (2,)
        assert table.tolist() == [mixed[1], mixed[0]]


def test_a_column_is_not_mistaken_for_values():
    assert Finite(range(3)).fault(np.array([0, 2])) is None
    assert Finite(range(3)).fault(np.array([0, 3])) == "code 3 in row 1"
    assert Finite(range(3)).fault(np.array([-1])) == "code -1 in row 0"
    assert Finite((False, True)).fault(np.array([True])) == "an array of dtype bool and shape (1,)"
    assert reals().fault(np.array([0.5])) is None
    assert reals().fault(np.array([np.nan])) == "NaN or infinity"
    assert reals(0, 1).fault(np.array([0.5, 2.0])) == "2.0 in row 1"
    assert reals(0, 1).fault(np.array([0.5, 2.0]), members=False) is None
    assert vectors(2).fault(np.zeros((3, 3))) == "an array of dtype float64 and shape (3, 3)"


def test_spaces_draw_what_they_contain():
    rng = np.random.default_rng(0)
    for space in (vectors(3), vectors(2, 0, 5), reals(), reals(2, 3), vectors(2, -np.inf, np.inf)):
        drawn = space.sample(rng, 50)
        assert space.fault(drawn) is None
        assert all(value in space for value in space.decode(drawn))
        assert space.size is None
        assert (space.array(drawn) == drawn).all()


def test_spaces_refuse_what_is_no_number():
    for value in (True, "1", None, (1.0,), float("inf"), [1.0]):
        assert value not in reals()
    for value in (1.0, (1.0, "a"), (1.0, float("nan")), (0.5, 0.5, 0.5), (True, False)):
        assert value not in vectors(2)
    assert (1, 0) in vectors(2)
    assert vectors(2).attempt([(0.5, 0.5), (0.5,)])[1] == 1
    assert vectors(2).encode([(-0.0, 1)]).tobytes() == np.array([[0.0, 1.0]]).tobytes()
    assert reals().encode([]).shape == (0,)
    assert vectors(2).encode([]).shape == (0, 2)


def test_a_space_of_ones_own():
    circle = Space(
        "the unit circle",
        draw=lambda rng, n: (lambda a: np.stack([np.cos(a), np.sin(a)], axis=1))(rng.uniform(0, 7, n)),
        contains=lambda point: abs(point[0] ** 2 + point[1] ** 2 - 1) < 1e-9,
        width=2,
    )
    assert (1.0, 0.0) in circle
    assert (1.0, 1.0) not in circle
    assert circle.sample(np.random.default_rng(0), 5).shape == (5, 2)
    assert circle.describe() == "the unit circle, 2 floats"


@pytest.mark.parametrize(
    ("draw", "got"),
    [
        (lambda rng, n: rng.uniform(2, 3, n), "(float64)"),
        (lambda rng, n: rng.uniform(0, 1, (n, 2)), "(ndarray)"),
        (lambda rng, n: rng.uniform(0, 1, n + 1), "an array of shape (4,)"),
        (lambda rng, n: 0.5, "an array of shape ()"),
    ],
)
def test_a_sampler_that_leaves_its_domain_is_refused(draw, got):
    space = Space("a unit interval", draw=draw, contains=lambda value: 0 <= value <= 1)
    with pytest.raises(DomainError) as caught:
        space.sample(np.random.default_rng(0), 3)
    assert caught.value.what == "the sampler of a domain left the domain"
    assert caught.value.where == "a unit interval"
    assert caught.value.got is not None
    assert got in caught.value.got
    assert caught.value.expected == "3 values, shape (3,)"


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0), (0.0, np.inf), (np.nan, 1.0)])
def test_bounds_that_enclose_nothing(bounds):
    with pytest.raises(DomainError) as caught:
        reals(*bounds)
    assert str(caught.value) == (
        f"bounds that enclose nothing to draw from\n  got:      low={bounds[0]}, high={bounds[1]}\n"
        "  expected: low < high, both finite or both infinite\n  do:       give both bounds, or neither"
    )


@pytest.mark.parametrize("width", [0, -1, True])
def test_a_vector_needs_a_width(width):
    with pytest.raises(DomainError, match="a vector needs a width"):
        vectors(width)
