"""Pairs of inputs with the answer that the algorithm expects, by stratum. Imports no torch."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from commutes.counterfactuals._census import census
from commutes.counterfactuals._coverage import Coverage, Share, best_constant
from commutes.counterfactuals._design import Design, Distribution, check_distribution
from commutes.counterfactuals._fresh import Fresh, drawn_without, input_sampler
from commutes.counterfactuals._given import given_pairs
from commutes.counterfactuals._nearest import Nearest, nearest_inputs
from commutes.counterfactuals._pairs_hash import pairs_hash
from commutes.counterfactuals._plan import GATED, Plan, plan
from commutes.counterfactuals._same_pairs import same_pairs
from commutes.counterfactuals._swap import Swap, one_source
from commutes.counterfactuals._value import Counterfactuals
from commutes.counterfactuals._verbs import counterfactuals
from commutes.counterfactuals._within import belongs, controlled_within, swapped_within

__all__ = [
    "GATED",
    "Counterfactuals",
    "Coverage",
    "Design",
    "Distribution",
    "Fresh",
    "Nearest",
    "Plan",
    "Share",
    "Swap",
    "belongs",
    "best_constant",
    "census",
    "check_distribution",
    "controlled_within",
    "counterfactuals",
    "drawn_without",
    "given_pairs",
    "input_sampler",
    "nearest_inputs",
    "one_source",
    "pairs_hash",
    "plan",
    "same_pairs",
    "swapped_within",
]


class _Callable(ModuleType):
    """An import of this package hides its verb of the same name in `commutes`: it can be called itself."""

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(counterfactuals)

    __call__ = staticmethod(counterfactuals)


sys.modules[__name__].__class__ = _Callable
