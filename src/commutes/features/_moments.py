"""What the closed forms need to know of states: moments by class, from one pass that can be cut and merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from commutes.errors import FitError

# Numbers in the scatter matrices of all classes together: 2 GiB in double precision.
LARGEST = 2**28


@dataclass(frozen=True, eq=False)
class Moments:
    """Counts, means, scatters and two fourth-order sums by class, about each class's own mean, in double precision.

    y below is a state minus its class's mean. Merging moments of two parts gives those of the whole, by the exact
    formulas (no approximation, rounding alone); parts may be merged in any grouping.
    See Updating Formulae and a Pairwise Algorithm for Computing Sample Variances (Chan, Golub and LeVeque, 1979).
    """

    labels: tuple[int, ...]
    """The classes that occur, ascending."""
    counts: torch.Tensor
    """n of each class.  # shape: (c,)"""
    means: torch.Tensor
    """# shape: (c, d)"""
    scatters: torch.Tensor
    """Sum of y yᵀ.  # shape: (c, d, d)"""
    cubes: torch.Tensor
    """Sum of |y|² y: what `quartics` need when a mean moves.  # shape: (c, d)"""
    quartics: torch.Tensor
    """Sum of |y|⁴, from which Ledoit and Wolf know how far the scatter is to be trusted.  # shape: (c,)"""

    @property
    def n(self) -> int:
        """States in all classes."""
        return int(self.counts.sum())

    @property
    def width(self) -> int:
        """d, coordinates of a state."""
        return self.means.shape[1]

    @cached_property
    def mean(self) -> torch.Tensor:
        """The mean of all states.  # shape: (d,)"""
        return (self.counts[:, None] * self.means).sum(dim=0) / self.counts.sum()

    @cached_property
    def within(self) -> torch.Tensor:
        """Covariance within the classes, over n.  # shape: (d, d)"""
        return self.scatters.sum(dim=0) / self.counts.sum()

    @cached_property
    def between(self) -> torch.Tensor:
        """Covariance of the class means, weighted by the classes' shares.  # shape: (d, d)"""
        gaps = (self.means - self.mean) * (self.counts / self.counts.sum()).sqrt()[:, None]
        return gaps.T @ gaps

    @property
    def covariance(self) -> torch.Tensor:
        """Covariance of all states, over n: within plus between.  # shape: (d, d)"""
        return self.within + self.between

    @property
    def second(self) -> torch.Tensor:
        """E[x xᵀ], about the origin: for differences and gradients.  # shape: (d, d)"""
        return self.covariance + torch.outer(self.mean, self.mean)

    def one(self, label: int) -> Moments:
        """One class alone.

        Raises:
            FitError: There is no such class.
        """
        if label not in self.labels:
            raise FitError(
                "no state is of this class", got=str(label), expected=", ".join(map(str, self.labels))
            )
        row = [self.labels.index(label)]
        return Moments((label,), *(t[row] for t in self._sums()))

    def pooled(self) -> Moments:
        """The same states without their classes, all of class 0."""
        return merge([Moments((0,), *self.one(label)._sums()) for label in self.labels])

    def shrunk(self) -> tuple[torch.Tensor, float]:
        """The covariance within the classes, moved towards a multiple of the identity, and how far, from 0 to 1.

        (1 - s) S + s (tr S / d) I with the s that minimises the expected squared error.
        See A well-conditioned estimator for large-dimensional covariance matrices (Ledoit and Wolf, 2004).
        """
        scatter, n, d = self.within, float(self.counts.sum()), self.width
        size, level = scatter.square().sum(), scatter.trace() / d
        # Squared distance of S from the multiple of the identity, and how much of it is noise.
        apart = size - d * level**2
        noise = ((self.quartics.sum() / n - size) / n).clamp(min=0)
        share = float((noise / apart).clamp(max=1)) if float(apart) > 0 else 0.0
        eye = torch.eye(d, dtype=scatter.dtype, device=scatter.device)
        return (1 - share) * scatter + share * level * eye, share

    def _sums(self) -> tuple[torch.Tensor, ...]:
        return self.counts, self.means, self.scatters, self.cubes, self.quartics


def moments(states: torch.Tensor, labels: Sequence[int] | np.ndarray | torch.Tensor | None = None) -> Moments:
    """The moments of these states; what closed forms make of them is in double precision, `.to(dtype=)` moves it.

    Args:
        states: Activations, differences or gradients; with several vectors per example each of them counts.
            # shape: (n, ..., d)
        labels: The class of each example, as whole numbers or truth values; all of one class by default.  # shape: (n,)

    Raises:
        FitError: No states, a number that is not finite, labels of another length, or scatters beyond memory.
    """
    flat = states.detach().reshape(-1, states.shape[-1])
    codes = _codes(labels, states)
    classes = sorted(set(codes.tolist()))
    _admit(flat, len(classes))
    # Metal has no double precision.
    flat = (flat.cpu() if flat.device.type == "mps" else flat).double()
    where = torch.from_numpy(codes).to(flat.device)
    return merge([_of_one(flat[where == label], label) for label in classes])


def merge(parts: Sequence[Moments]) -> Moments:
    """The moments of all the states of the parts, classes kept apart.

    Raises:
        FitError: No part, or parts of different widths.
    """
    widths = sorted({part.width for part in parts})
    if len(widths) != 1:
        raise FitError(
            "moments of one width are merged",
            got=f"states of {' and '.join(map(str, widths))} numbers" if widths else "nothing",
            expected="at least one part, all of one site",
        )
    labels = tuple(sorted({label for part in parts for label in part.labels}))
    merged = [_merged([part.one(label) for part in parts if label in part.labels]) for label in labels]
    sums = zip(*(m._sums() for m in merged), strict=True)
    return Moments(labels, *(torch.cat(list(tensors)) for tensors in sums))


def _of_one(states: torch.Tensor, label: int) -> Moments:
    mean = states.mean(dim=0)
    y = states - mean
    squares = y.square().sum(dim=1)
    count = torch.tensor([float(len(states))], dtype=states.dtype, device=states.device)
    sums = (mean[None], (y.T @ y)[None], (squares @ y)[None], squares.square().sum()[None])
    return Moments((label,), count, *sums)


def _merged(parts: Sequence[Moments]) -> Moments:
    """Parts of one class: every sum is moved to the common mean, then added."""
    total = sum(part.counts for part in parts)
    assert isinstance(total, torch.Tensor)
    mean = sum(part.counts[:, None] * part.means for part in parts) / total[:, None]
    assert isinstance(mean, torch.Tensor)
    moved = [_about(part, mean) for part in parts]
    scatters, cubes, quartics = (torch.stack(sums).sum(dim=0) for sums in zip(*moved, strict=True))
    return Moments(parts[0].labels, total, mean, scatters, cubes, quartics)


def _about(part: Moments, point: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The sums of one class about another point: y becomes y + g, and the sum of y is 0."""
    g, n, scatter = (part.means - point)[0], part.counts[0], part.scatters[0]
    length, spread, turned = g.square().sum(), scatter.trace(), scatter @ g
    cube = part.cubes[0] + 2 * turned + (spread + n * length) * g
    quartic = (
        part.quartics[0] + 4 * (g @ turned) + 4 * (part.cubes[0] @ g) + 2 * length * spread + n * length**2
    )
    return (scatter + n * torch.outer(g, g))[None], cube[None], quartic[None]


def _codes(labels: Sequence[int] | np.ndarray | torch.Tensor | None, states: torch.Tensor) -> np.ndarray:
    n = len(states)
    if labels is None:
        codes = np.zeros(n, dtype=np.int64)
    else:
        given = np.asarray(labels.cpu() if isinstance(labels, torch.Tensor) else labels)
        if given.shape != (n,) or given.dtype.kind not in "biu":
            raise FitError(
                "every state needs one class",
                got=f"labels of shape {given.shape} and type {given.dtype} for {n:,} states",
                expected=f"{n:,} whole numbers or truth values",
            )
        codes = given.astype(np.int64)
    each = states[0].numel() // states.shape[-1] if n else 1
    return np.repeat(codes, each)


def _admit(flat: torch.Tensor, classes: int) -> None:
    if not len(flat):
        raise FitError("there are no states", got="none", expected="at least one")
    size = classes * flat.shape[1] ** 2
    if size > LARGEST:
        raise FitError(
            "the scatter matrices would not fit into memory",
            got=f"{classes} classes of {flat.shape[1]:,} x {flat.shape[1]:,} numbers",
            expected=f"at most {LARGEST:,} numbers",
            fix="work in the leading principal components: principal(states), then lift(subspace, basis)",
        )
    bad = torch.nonzero(~torch.isfinite(flat).all(dim=1)).squeeze(1)
    if len(bad):
        raise FitError(
            "activations are not finite",
            got=f"{len(bad):,} of {len(flat):,} states, the first is number {int(bad[0])}",
            expected="finite numbers",
            fix="look at what the network does with that input, or leave it out",
        )
