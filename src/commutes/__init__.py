"""Causal abstraction, tested: does your network implement your algorithm?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Names are resolved on first use, so that `import commutes` stays light: no torch, no pandas.
_HOMES: dict[str, tuple[str, ...]] = {
    "commutes.algorithm": ("Algorithm", "Finite", "Space", "Variable", "reals", "vectors"),
    "commutes.counterfactuals": (
        "Counterfactuals",
        "Distribution",
        "census",
        "counterfactuals",
        "one_source",
        "plan",
    ),
    "commutes.network": ("Network", "Site"),
    "commutes.features": (
        "Affine",
        "Boundless",
        "Coordinates",
        "Dictionary",
        "Directions",
        "Mask",
        "Oblique",
        "Reversible",
        "Rotation",
        "Subspace",
        "load_dictionary",
    ),
    "commutes.alignment": ("Alignment", "from_pyvene", "load", "save", "to_pyvene"),
    "commutes.evaluation": ("Evaluation", "evaluate"),
    "commutes.training": (
        "IIT",
        "Strictness",
        "Trained",
        "closed_form",
        "fit",
        "fit_many",
        "strictness",
        "train_network",
    ),
    "commutes.robustness": ("Report", "Shift", "challenge", "replay"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm, Finite, Space, Variable, reals, vectors
    from commutes.alignment import Alignment, from_pyvene, load, save, to_pyvene
    from commutes.counterfactuals import (
        Counterfactuals,
        Distribution,
        census,
        counterfactuals,
        one_source,
        plan,
    )
    from commutes.evaluation import Evaluation, evaluate
    from commutes.features import (
        Affine,
        Boundless,
        Coordinates,
        Dictionary,
        Directions,
        Mask,
        Oblique,
        Reversible,
        Rotation,
        Subspace,
        load_dictionary,
    )
    from commutes.network import Network, Site
    from commutes.robustness import Report, Shift, challenge, replay
    from commutes.training import (
        IIT,
        Strictness,
        Trained,
        closed_form,
        fit,
        fit_many,
        strictness,
        train_network,
    )

__all__ = [
    "IIT",
    "Affine",
    "Algorithm",
    "Alignment",
    "Boundless",
    "Coordinates",
    "Counterfactuals",
    "Dictionary",
    "Directions",
    "Distribution",
    "Evaluation",
    "Finite",
    "Mask",
    "Network",
    "Oblique",
    "Report",
    "Reversible",
    "Rotation",
    "Shift",
    "Site",
    "Space",
    "Strictness",
    "Subspace",
    "Trained",
    "Variable",
    "__version__",
    "census",
    "challenge",
    "closed_form",
    "counterfactuals",
    "evaluate",
    "fit",
    "fit_many",
    "from_pyvene",
    "load",
    "load_dictionary",
    "one_source",
    "plan",
    "reals",
    "replay",
    "save",
    "strictness",
    "to_pyvene",
    "train_network",
    "vectors",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'commutes' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
