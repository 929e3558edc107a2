"""What the tests of the closed forms share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

import commutes as cm
from commutes.errors import CommutesError, FitError
from commutes.features import (
    Features,
    Subspace,
)
from tests.planted import Planted

FORMS = (cm.Oblique, cm.Rotation)
Family = type[cm.Oblique] | type[cm.Rotation]


def claimed(case: Planted, family: Callable[[cm.Site], Features], k: int = 1, **of: Any) -> cm.Alignment:
    hidden = family(case.network.site("site"))
    slices = of or {"left": slice(0, k), "right": slice(k, 2 * k)}
    return cm.Alignment(
        case.algorithm, {case.algorithm[name]: hidden[index] for name, index in slices.items()}
    )


def found(case: Planted, method: str = "contrast", **options: Any) -> cm.Alignment:
    family, k = options.pop("family", cm.Oblique), options.pop("k", 1)
    return cm.closed_form(claimed(case, family, k), case.parts[0], method=method, **{"seed": 0, **options})  # type: ignore[arg-type]


def of_map(alignment: cm.Alignment, group: int = 0) -> Subspace:
    featurizer = alignment.featurizers[group]
    assert isinstance(featurizer, Subspace)
    return featurizer


def notes(alignment: cm.Alignment, name: str = "left", group: int = 0) -> dict[str, Any]:
    return alignment.history["maps"][group]["variables"][name]


def said(act: Callable[[], object], kind: type[CommutesError] = FitError) -> str:
    with pytest.raises(kind) as caught:
        act()
    return str(caught.value)


def bits(algorithm_name: str = "two bits") -> cm.Algorithm:
    algorithm = cm.Algorithm(algorithm_name)
    algorithm.inputs("a b", domain=[0, 1])
    algorithm.add("first", "a", f=lambda a: a, domain=[0, 1])
    algorithm.add("second", "b", f=lambda b: b, domain=[0, 1])
    algorithm.add(
        "out", "first", "second", f=lambda first, second: first != second, domain=[False, True], output=True
    )
    return algorithm


def stacked_inputs(values: Mapping[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([values[n] for n in values], axis=1).astype(np.float32))
