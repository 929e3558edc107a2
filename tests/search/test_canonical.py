from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commutes.search import canonical, digest, plain

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values)
def test_canonical_json_reads_back_as_the_value(value):
    assert json.loads(canonical(value)) == value


@given(st.dictionaries(st.text(), st.integers()))
def test_the_order_of_keys_is_no_part_of_the_hash(value):
    assert digest(dict(reversed(value.items()))) == digest(value)


def test_the_hash_is_sha256_of_the_canonical_bytes():
    assert digest({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


def test_values_that_look_alike_have_different_hashes():
    assert len({digest(v) for v in (1, True, 1.0, "1", [1], None, "None")}) == 7


def test_a_key_that_is_no_string_is_refused_since_json_would_spell_it_like_one():
    with pytest.raises(TypeError, match="a key that is no string: 1"):
        canonical({"1": "a", "inner": {1: "b"}})


def test_nan_has_no_canonical_spelling():
    with pytest.raises(ValueError):
        canonical(float("nan"))


def test_the_hash_does_not_depend_on_the_seed_of_pythons_own():
    code = "from commutes.search import digest; print(digest({'b': [1, 2.5, None], 'a': {'x': True}}))"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code], env=_environment(seed), capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert len(answers) == 1


def _environment(seed: str) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONHASHSEED": seed}


def test_plain_turns_numpy_into_plain_values_and_says_where_numbers_are_missing():
    record = {
        "rate": np.float64("nan"),
        "cells": [np.int64(3), {"low": float("-inf")}],
        "hits": np.array([True]),
    }
    body, missing = plain(record)
    assert body == {"rate": None, "cells": [3, {"low": None}], "hits": [True]}
    assert missing == {"rate": "nan", "cells.1.low": "-inf"}
    assert type(body["cells"][0]) is int
    assert type(body["hits"][0]) is bool


def test_plain_refuses_what_has_no_plain_form():
    with pytest.raises(TypeError, match="no plain form for set at cells"):
        plain({"cells": {1, 2}})
