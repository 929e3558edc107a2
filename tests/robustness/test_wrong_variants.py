"""Every check has a test in which a wrong variant of its statistic is shown to let something pass."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from commutes.robustness import CHECKS

from .wrong_variants import WRONG_VARIANTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_has_a_wrong_variant_that_is_caught(check):
    assert WRONG_VARIANTS.get(check), f"name {check}'s test in tests/robustness/wrong_variants.py"


@pytest.mark.parametrize("place", sorted({place for places in WRONG_VARIANTS.values() for place in places}))
def test_what_is_named_is_a_test_that_asserts(place):
    file, name = place.split("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    assert any(isinstance(node, ast.Assert) for node in ast.walk(found))
    decorators = [ast.unparse(decorator) for decorator in found.decorator_list]
    assert not any("skip" in text or "xfail" in text for text in decorators)
