"""Moments of what a network does at a site: activations, differences, gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from commutes.engine import SiteLayout, Tap, captured, forward, layouts
from commutes.errors import FitError
from commutes.features._moments import Moments, merge, moments
from commutes.network import Inputs, Moment, Site

Values = Mapping[str, np.ndarray]


def state_moments(
    site: Site,
    values: Values,
    labels: Sequence[int] | np.ndarray | None = None,
    *,
    source: bool = False,
    chunk: int | None = None,
) -> Moments:
    """Moments of a site's clean states, from one pass over the inputs.

    Args:
        site: Where.
        values: Inputs by name, as `Algorithm.arrays` gives them.
        labels: The variable's value in each input, as a whole number (a code).  # shape: (n,)
        source: Whether to read at the source's positions where they differ.
        chunk: Inputs per forward; the network's own number by default.

    Raises:
        FitError: Labels that do not fit, states that are not finite, or scatters beyond memory.
    """
    codes = None if labels is None else np.asarray(labels)
    site.network.check_mode()
    inputs = site.network.encode(values)
    _check_count(codes, inputs.n)
    parts = [
        moments(states, None if codes is None else codes[rows.numpy()])
        for rows, states in _states(site, inputs, chunk, source=source)
    ]
    return merge(parts)


def difference_moments(
    site: Site,
    base: Values,
    source: Values,
    labels: Sequence[int] | np.ndarray | None = None,
    *,
    chunk: int | None = None,
) -> Moments:
    """Moments of h_source - h_base, from one pass over the pairs; arguments as for `state_moments`."""
    codes = None if labels is None else np.asarray(labels)
    site.network.check_mode()
    bases, sources = site.network.encode(base), site.network.encode(source)
    _check_count(codes, bases.n)
    _check_pairs(bases, sources)
    parts = [
        moments(delta, None if codes is None else codes[rows.numpy()])
        for rows, delta in _deltas(site, bases, sources, chunk)
    ]
    return merge(parts)


def differences(site: Site, base: Values, source: Values, *, chunk: int | None = None) -> torch.Tensor:
    """h_source - h_base of every pair, where the pairs themselves are needed.  # shape: (n, groups, d)"""
    site.network.check_mode()
    bases, sources = site.network.encode(base), site.network.encode(source)
    _check_pairs(bases, sources)
    return torch.cat([delta for _, delta in _deltas(site, bases, sources, chunk)])


def gradients(
    site: Site,
    values: Values,
    *,
    plus: Sequence[int] | np.ndarray,
    minus: Sequence[int] | np.ndarray,
    source: bool = False,
    chunk: int | None = None,
) -> torch.Tensor:
    """The gradient of logit(plus) - logit(minus) with respect to the site, at every input.

    A site of several places gets the total derivative of each: what passes through a later place counts.

    Args:
        site: Where.
        values: Inputs by name.
        plus: Column of the logits for each input.  # shape: (n,)
        minus: Column that is taken off.  # shape: (n,)
        source: Whether to read at the source's positions where they differ.
        chunk: Inputs per forward.

    Returns:
        Shape (n, groups, d).

    Raises:
        FitError: Not one column of each per input.
    """
    network = site.network
    network.check_mode()
    inputs = network.encode(values)
    columns = [torch.as_tensor(np.asarray(c), device=network.device) for c in (plus, minus)]
    if any(c.shape != (inputs.n,) for c in columns):
        raise FitError(
            "every input needs two columns of the logits",
            got=" and ".join(str(tuple(c.shape)) for c in columns),
            expected=f"shape ({inputs.n},) of each",
        )
    plan = layouts(network, inputs, [site])[site]
    found = [
        _gradient(plan, batch, [c[rows.to(c.device)] for c in columns], source=source)
        for rows, batch in _batches(site, inputs, chunk)
    ]
    return torch.cat(found)


def _gradient(
    plan: SiteLayout, batch: Inputs, columns: Sequence[torch.Tensor], *, source: bool
) -> torch.Tensor:
    leaves: dict[Moment, torch.Tensor] = {}

    def added(moment: Moment) -> Tap:
        def tap(tensor: torch.Tensor) -> torch.Tensor:
            leaves[moment] = torch.zeros_like(tensor, requires_grad=True)
            return tensor + leaves[moment]

        return tap

    network = plan.site.network
    with torch.enable_grad():
        logits = forward(network, batch.args, batch.kwargs, taps={m: added(m) for m in plan.site.moments})
        gap = logits.gather(1, columns[0][:, None]) - logits.gather(1, columns[1][:, None])
        moments_in_order = list(leaves)
        slopes = torch.autograd.grad(gap.sum(), [leaves[m] for m in moments_in_order])
    by_moment = dict(zip(moments_in_order, slopes, strict=True))
    parts = []
    for place in plan.places:
        table = place.positions(batch.values, batch.n, source=source)
        slope = by_moment[place.place.moment]
        parts.append(place.read(slope, None if table is None else table.to(slope.device)))
    return plan.join(parts)


def _batches(site: Site, inputs: Inputs, chunk: int | None) -> Iterator[tuple[torch.Tensor, Inputs]]:
    size = chunk or site.network.chunk
    for start in range(0, inputs.n, size):
        rows = torch.arange(start, min(start + size, inputs.n))
        yield rows, inputs.rows(rows)


def _states(
    site: Site, inputs: Inputs, chunk: int | None, *, source: bool
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rows and their states, forward by forward."""
    plan = layouts(site.network, inputs, [site])
    for rows, batch in _batches(site, inputs, chunk):
        yield rows, captured(site.network, batch, plan, source=source, chunk=batch.n)[site]


def _deltas(
    site: Site, bases: Inputs, sources: Inputs, chunk: int | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    runs = zip(
        _states(site, bases, chunk, source=False), _states(site, sources, chunk, source=True), strict=True
    )
    for (rows, before), (_, after) in runs:
        yield rows, after - before


def _check_count(codes: np.ndarray | None, n: int) -> None:
    if codes is not None and codes.shape != (n,):
        raise FitError(
            "every input needs one class",
            got=f"labels of shape {codes.shape} for {n:,} inputs",
            expected=f"shape ({n},)",
        )


def _check_pairs(bases: Inputs, sources: Inputs) -> None:
    if bases.n != sources.n:
        raise FitError(
            "every base needs its source",
            got=f"{bases.n:,} bases and {sources.n:,} sources",
            expected="as many of both",
        )
