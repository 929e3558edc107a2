"""The claim at other places and under other prompts: found in the network first, fitted when the claim is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from commutes.errors import SpecError
from commutes.search._asked import Asked, asked, located, moved, told
from commutes.search._grid import Grid, grid

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm
    from commutes.alignment import Alignment
    from commutes.network import Network
    from commutes.search._spec import Spec
    from commutes.search._store import Store
    from commutes.search._sweep import Data, Told

__all__ = ["check_variants", "fitted_variants"]


@dataclass(frozen=True, eq=False)
class _Variant:
    """A sweep over one place and one size, in the spec's words."""

    spec: Spec
    plan: Grid


def check_variants(
    spec: Spec, algorithm: Algorithm, network: Network, *, inputs: Mapping[str, np.ndarray] | None = None
) -> None:
    """Find the place of every variant in the network, wherever the claim will be chosen.

    Args:
        spec: Declares variants.
        algorithm: Of the claim.
        network: Trained or not.
        inputs: On which positions are held against the prompts; by default one example.

    Raises:
        SpecError: A place, position or prompt that there is not, or one of the places that are swept: the claim
            itself may be chosen there, and it is no variant of itself.
    """
    swept, size = asked(spec, network), max(spec.claim.sizes)
    for name, part in spec.challenge.variants.items():
        tried: set[object] = set()
        for place in swept:
            other = moved(spec, network, part, place, f"challenge.variants.{name}")
            if part.template is None:
                _refuse_swept(spec, network, name, other, swept)
            # Every prompt is tokenised for a position once, not for each of the places that it stands beside.
            some = inputs if other.position not in tried else None
            tried.add(other.position)
            _variant(spec, algorithm, network, name, place, size, some)


def fitted_variants(
    store: Store, spec: Spec, network: Network, drawn: Data, claim: tuple[int, int], progress: Told | None
) -> dict[str, Alignment]:
    """Every variant, fitted on the same parts with the same steps and starts, from the store where it has been.

    Args:
        store: Of the run.
        spec: Declares them.
        network: Trained.
        drawn: The data.
        claim: The number of the chosen place among those that are swept, and the chosen size.
        progress: Told what is fitted.
    """
    from commutes.search._sweep import aligned, sweep

    place, size = asked(spec, network)[claim[0]], claim[1]
    found = {}
    for name in spec.challenge.variants:
        one = _variant(spec, drawn.train.algorithm, network, name, place, size, None)
        (cell,) = sweep(store, one.spec, one.plan, drawn, _named(progress, name))
        found[name] = aligned(one.spec, store, drawn, cell)
    return found


def _variant(
    spec: Spec,
    algorithm: Algorithm,
    network: Network,
    name: str,
    place: Asked,
    size: int,
    inputs: Mapping[str, np.ndarray] | None,
) -> _Variant:
    part, key = spec.challenge.variants[name], f"challenge.variants.{name}"
    other = moved(spec, network, part, place, key)
    read = network
    if part.template is not None:
        from commutes.network.transformers import reread

        template = part.template
        read = told(spec, f"{key}.template", lambda: reread(network, template), listed=False)
    claim = spec.claim.model_copy(
        update={
            "place": None if other.layer is None else other.name,
            "layers": None if other.layer is None else (other.layer,),
            "sites": (other.name,) if other.layer is None else None,
            "heads": None if other.head is None else (other.head,),
            "positions": None if other.position is None else (other.position,),
            "sizes": (size,),
        }
    )
    alone = spec.model_copy(update={"claim": claim})
    try:
        return _Variant(alone, grid(alone, algorithm, read, inputs=inputs))
    except SpecError as error:
        raise SpecError(
            error.what, where=spec.where(key), got=error.got, expected=error.expected, fix=error.fix
        ) from error


def _refuse_swept(spec: Spec, network: Network, name: str, other: Asked, swept: Sequence[Asked]) -> None:
    """Places are the same where every claimed variable is at the same one: some have a table of their own."""
    own = [located(spec, network, variable, other) for variable in spec.claim.variables]
    for place in swept:
        if own == [located(spec, network, variable, place) for variable in spec.claim.variables]:
            raise SpecError(
                "the variant is a place that is swept",
                where=spec.where(f"challenge.variants.{name}"),
                got=f"{other}, where the claim itself may be chosen",
                expected="a place at which the claim is not looked for",
                fix="name another place, or take this one out of the sweep",
            )


def _named(progress: Told | None, name: str) -> Told | None:
    if progress is None:
        return None
    return lambda stage, step, steps, figures=None: progress(
        f"variant {name}: {stage}", step, steps, figures or {}
    )
