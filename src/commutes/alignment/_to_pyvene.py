"""An alignment as a model of pyvene's that is ready to run and to save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.alignment._alignment import Alignment, _sample
from commutes.alignment._groups import Group
from commutes.alignment._opened import opened
from commutes.counterfactuals import Counterfactuals
from commutes.engine import Featurizer, SiteLayout, layouts
from commutes.engine.pyvene import Carrier, Representation, Twin, call, carrier, pyvene, represented, twin
from commutes.errors import AlignmentError
from commutes.features import Coordinates, Neurons, Subspace
from commutes.network import Inputs, Site


def to_pyvene(alignment: Alignment) -> Any:
    """A `pyvene.IntervenableModel` with the alignment's maps in it, one representation per variable in order.

    Variables of one map share it: they are linked and take each its part of the map's `subspace_partition`. The
    model inside has the network's own weights, and leaves the network's gradients, mode and hooks alone.
    `pyvene_calls` gives what it is called with.

    Raises:
        AlignmentError: Not fitted, or maps that are no orthogonal subspaces and no neurons, of masks behind open gates.
        EngineError: A site where pyvene does something else than is declared; the message says what.

    See pyvene: A Library for Understanding and Improving PyTorch Models via Interventions, arXiv 2403.07809.
    """
    _ = alignment.featurizers  # refuses one that is not fitted
    inputs = alignment.network.encode(_sample(alignment.algorithm))
    plan = layouts(alignment.network, inputs, alignment.sites)
    return exchange(alignment, inputs, plan).model()


def pyvene_calls(
    alignment: Alignment, pairs: Counterfactuals, *, chunk: int | None = None
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """What `to_pyvene(alignment)` is called with to make the pairs' interchanges, batch by batch.

    Args:
        alignment: Fitted or not: its maps are in the model.
        pairs: Interchange interventions of its algorithm.
        chunk: Pairs per call; the network's own number by default.

    Yields:
        Which pairs, as indices, and `base`, `sources`, `unit_locations` and `subspaces`. All pairs of a call swap
        the same variables.
    """
    alignment.masks(pairs)  # refuses pairs of another algorithm, or of variables that are not aligned
    inputs = alignment.network.encode(alignment.algorithm.arrays(pairs.inputs))
    plan = layouts(alignment.network, inputs, alignment.sites)
    yield from exchange(alignment, inputs, plan).calls(pairs, chunk or alignment.network.batch_size(inputs))


@dataclass(frozen=True, eq=False)
class Exchange:
    """An alignment in pyvene's words."""

    alignment: Alignment
    inputs: Inputs
    twin: Twin
    carriers: tuple[Carrier, ...]
    """One per group."""
    parts: tuple[Representation, ...]
    """One per variable, in the alignment's order."""

    def model(self) -> Any:
        """The intervenable model with the alignment's maps."""
        pv = pyvene()
        found: dict[Variable, Any] = {}
        for number, (group, where, featurizer) in enumerate(
            zip(self.alignment.groups, self.carriers, self.alignment.featurizers, strict=True)
        ):
            _check_family(group, featurizer)
            if isinstance(featurizer, Neurons):
                found |= {v: _neurons(where, featurizer, columns) for v, columns in group.columns.items()}
            else:
                found |= _linked(where, group, _orthogonal(featurizer, group), str(number))
        ordered = [found[v] for v in self.alignment.variables]
        return pv.IntervenableModel(pv.IntervenableConfig(ordered), self.twin.model)

    def calls(self, pairs: Counterfactuals, chunk: int) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        """Batches of pairs that swap the same variables."""
        for number in range(len(pairs.swaps)):
            members = np.nonzero(pairs.swap == number)[0]
            for start in range(0, len(members), chunk):
                rows = members[start : start + chunk]
                sources = [_source(pairs, v, rows) for v in self.alignment.variables]
                base = torch.from_numpy(pairs.base[rows])
                yield rows, call(self.twin, self.inputs, self.parts, base, sources)


def exchange(alignment: Alignment, inputs: Inputs, plan: Mapping[Site, SiteLayout]) -> Exchange:
    """Find pyvene's words for an alignment; of a mask what it chose.

    Raises:
        AlignmentError: A mask with no gate on.
        EngineError: pyvene has none, or would do something else there.
    """
    alignment = opened(alignment)
    other = twin(alignment.network, inputs)
    groups = alignment.groups
    carriers = tuple(
        carrier(other, inputs, plan[g.site], rotated=not isinstance(g.features, Coordinates)) for g in groups
    )
    parts: dict[Variable, Representation] = {}
    for group, where in zip(groups, carriers, strict=True):
        for number, variable in enumerate(group.columns):
            if isinstance(group.features, Coordinates):
                # Neurons are a partition of one: without it pyvene would swap all of them.
                subspace = 0
            else:
                subspace = number if len(group.columns) > 1 else None
            parts[variable] = represented(where, subspace, inputs)
    return Exchange(alignment, inputs, other, carriers, tuple(parts[v] for v in alignment.variables))


def _source(pairs: Counterfactuals, variable: Variable, rows: np.ndarray) -> torch.Tensor | None:
    found = pairs.source_of(variable)[rows] if variable in pairs.variables else None
    return None if found is None or found[0] < 0 else torch.from_numpy(found)


def _check_family(group: Group, featurizer: Featurizer) -> None:
    """Places and subspaces were chosen by the claim's featurizer, before its map was seen."""
    if isinstance(group.features, Coordinates) != isinstance(featurizer, Neurons):
        raise AlignmentError(
            "the map is of another family than the featurizer",
            where=str(group.site),
            got=f"a {type(featurizer).__name__} for {group.features}",
            expected="neurons for Coordinates, and for no other featurizer",
        )


def _orthogonal(featurizer: Featurizer, group: Group) -> torch.Tensor:
    """The map's basis, its columns variable by variable."""
    if not isinstance(featurizer, Subspace) or not torch.equal(featurizer.reader, featurizer.writer):
        what = "an oblique map" if isinstance(featurizer, Subspace) else type(featurizer).__name__
        raise AlignmentError(
            "pyvene has no such map",
            where=str(group.site),
            got=what,
            expected="an orthogonal subspace, or neurons",
            fix="save the alignment with cm.save",
        )
    order = [c for columns in group.columns.values() for c in columns]
    basis = featurizer.reader.detach()[:, order]
    # Its parametrisation has no half precision.
    return basis.to(torch.promote_types(basis.dtype, torch.float32))


def _linked(where: Carrier, group: Group, basis: torch.Tensor, link: str) -> dict[Variable, Any]:
    pv = pyvene()
    sizes = [len(columns) for columns in group.columns.values()]
    ends = list(accumulate(sizes))
    several = len(sizes) > 1
    partition = [[end - size, end] for end, size in zip(ends, sizes, strict=True)] if several else None
    spread = where.spread(basis)
    # It draws a rotation from the global generator, and completes ours to a square one by more of it.
    with torch.random.fork_rng(devices=[]):
        rotation = pv.LowRankRotatedSpaceIntervention(
            embed_dim=len(spread),
            low_rank_dimension=spread.shape[1],
            subspace_partition=partition,
            # Where every position goes through the same map they must not be strung together.
            keep_last_dim=where.each and where.heads is None,
        ).to(spread.dtype)
        rotation.rotate_layer.weight = spread.cpu()
    representation = pv.RepresentationConfig(
        layer=where.layer,
        component=where.component,
        unit=where.unit,
        max_number_of_units=len(where.heads or ()) or (1 if where.each else where.count or 1),
        low_rank_dimension=spread.shape[1],
        subspace_partition=partition,
        intervention_link_key=link if several else None,
        intervention=rotation.to(spread.device),
    )
    return dict.fromkeys(group.columns, representation)


def _neurons(where: Carrier, featurizer: Neurons, columns: Sequence[int]) -> Any:
    pv = pyvene()
    chosen = where.neurons([int(featurizer.index[c]) for c in columns])
    # Two numbers are read as the ends of a range; naming the last twice swaps it twice, which is once.
    partition = [chosen if len(chosen) != 2 else [*chosen, chosen[-1]]]
    return pv.RepresentationConfig(
        layer=where.layer,
        component=where.component,
        unit=where.unit,
        max_number_of_units=1 if where.each else where.count or 1,
        subspace_partition=partition,
        intervention=pv.VanillaIntervention(embed_dim=where.width, subspace_partition=partition),
    )
