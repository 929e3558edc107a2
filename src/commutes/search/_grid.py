"""The places and sizes that a spec asks for, held against the algorithm and the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from commutes.errors import NetworkError, SpecError, similar

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm, Variable
    from commutes.network import Network, Site
    from commutes.search._spec import Spec

__all__ = ["Grid", "GridRow", "claimed_variables", "grid", "needed_width", "sample_values", "swap_sets"]


@dataclass(frozen=True, eq=False)
class GridRow:
    """One place of the sweep."""

    label: str
    """the module's path"""
    site: Site
    """the place itself"""
    width: int
    """how many coordinates it has"""


@dataclass(frozen=True, eq=False)
class Grid:
    """The cells of a sweep: every place with every size."""

    rows: tuple[GridRow, ...]
    """the places, in the order of the spec"""
    sizes: tuple[int, ...]
    """dimensions per variable, in the order of the spec"""
    variables: tuple[Variable, ...]
    """the claimed variables"""

    @property
    def cells(self) -> tuple[tuple[GridRow, int], ...]:
        """Every place with every size, place by place."""
        return tuple((row, size) for row in self.rows for size in self.sizes)


def claimed_variables(spec: Spec, algorithm: Algorithm) -> tuple[Variable, ...]:
    """The variables that the spec claims, as variables of the algorithm.

    Raises:
        SpecError: If one is not an inner variable, with the nearest one that is.
    """
    inner = {variable.name: variable for variable in algorithm.inner_variables}
    for row, name in enumerate(spec.claim.variables):
        if name in inner:
            continue
        known = {variable.name: variable.kind for variable in algorithm.variables}
        close = similar(name, inner)
        raise SpecError(
            f"{name} is the {known[name]} of the algorithm"
            if name in known
            else f"there is no variable {name}",
            where=spec.where(f"claim.variables.{row}"),
            got=name,
            expected=f"inner variables of {algorithm.name}: {', '.join(inner) or 'it has none'}",
            fix=f"did you mean {close}?"
            if close
            else f"claim one of {', '.join(inner)}"
            if inner
            else "declare a variable between the inputs and the output, and claim it",
        )
    for row, names in enumerate(spec.claim.joint):
        for name in names:
            if name not in spec.claim.variables:
                close = similar(name, spec.claim.variables)
                raise SpecError(
                    f"a joint swap names {name}, which is not claimed",
                    where=spec.where(f"claim.joint.{row}"),
                    got=name,
                    expected=f"claimed variables: {', '.join(spec.claim.variables)}",
                    fix=(f"did you mean {close}? otherwise " if close else "")
                    + f"add {name} to claim.variables or remove it here",
                )
    return tuple(inner[name] for name in spec.claim.variables)


def swap_sets(spec: Spec, algorithm: Algorithm) -> list[set[Variable]]:
    """What the spec swaps: each claimed variable alone, then the joint sets."""
    return [{algorithm[name] for name in names} for names in spec.claim.swaps]


def needed_width(spec: Spec) -> int:
    """The coordinates that the largest size takes: the variables of one place live side by side."""
    return max(spec.claim.sizes) * len(spec.claim.variables)


def sample_values(algorithm: Algorithm, n: int, *, seed: int) -> dict[str, np.ndarray]:
    """`n` inputs, each variable drawn from its domain: enough to learn shapes from, not to measure with."""
    rng = np.random.default_rng([seed, 0x5EED])
    columns = {v.name: algorithm.domain(v).sample(rng, n) for v in algorithm.input_variables}
    return algorithm.arrays(columns)


def grid(spec: Spec, algorithm: Algorithm, network: Network) -> Grid:
    """The sweep that the spec asks for, every place found and every size held against its width.

    Args:
        spec: Names layers or sites, and sizes.
        algorithm: Gives the variables, and one example on which the places' widths are learnt.
        network: Trained or not.

    Raises:
        SpecError: A layer beyond the last block, a module that does not exist, a size beyond the width.
    """
    from commutes.engine import layouts

    variables = claimed_variables(spec, algorithm)
    labels = _labels(spec, network)
    sites = [_site(spec, network, row, label) for row, label in enumerate(labels)]
    inputs = network.encode(sample_values(algorithm, 1, seed=spec.seed))
    found = layouts(network, inputs, sites)
    rows = tuple(GridRow(label, site, found[site].width) for label, site in zip(labels, sites, strict=True))
    for size_row, size in enumerate(spec.claim.sizes):
        for row in rows:
            if size * len(variables) > row.width:
                raise _too_wide(spec, size_row, size, len(variables), row)
    return Grid(rows, spec.claim.sizes, variables)


def _labels(spec: Spec, network: Network) -> tuple[str, ...]:
    if spec.claim.sites is not None:
        return spec.claim.sites
    layers, count = spec.claim.layers or (), len(network.blocks)
    for row, layer in enumerate(layers):
        if layer >= count:
            raise SpecError(
                f"the network has no layer {layer}",
                where=spec.where(f"claim.layers.{row}"),
                got=str(layer),
                expected=f"0 to {count - 1}: {network.name} has {count} blocks"
                if count
                else f"claim.sites, since {network.name} declares no blocks",
                fix=f"`commutes sites {spec.origin.given or 'SPEC'}` lists the places",
            )
    return tuple(network.blocks[layer] for layer in layers)


def _site(spec: Spec, network: Network, row: int, label: str) -> Site:
    try:
        return network.site(label)
    except NetworkError as error:
        raise SpecError(
            error.what,
            where=spec.where(f"claim.sites.{row}"),
            got=error.got,
            expected=error.expected,
            fix=f"`commutes sites {spec.origin.given or 'SPEC'}` lists the places",
        ) from error


def _too_wide(spec: Spec, size_row: int, size: int, variables: int, row: GridRow) -> SpecError:
    count = f"{variables} variables x {size} dimensions" if variables > 1 else f"{size} dimensions"
    return SpecError(
        f"the size {size} does not fit into {row.label}",
        where=spec.where(f"claim.sizes.{size_row}"),
        got=f"{count} = {variables * size}" if variables > 1 else count,
        expected=f"at most {row.width} in all, the width of {row.label}",
        fix=f"use sizes of at most {row.width // variables}"
        if row.width >= variables
        else "choose a wider place",
    )
