"""Several subspaces of one site, made to leave each other alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from commutes.errors import AlignmentError
from commutes.features._subspace import BIORTHOGONAL, Subspace

# A coordinate read in float32 is wrong by 1e-7 of itself, and the writers carry that on by at most this factor:
# beyond it EᵀD would miss the identity by more than BIORTHOGONAL.
WORST_CONDITION = 1e3


def joint(subspaces: Sequence[Subspace]) -> list[Subspace]:
    """The same readers with D (EᵀD)^-1 for writers, over all of them together, so that E_iᵀ D_j = 0.

    Subspaces that were found one by one leak: writing one moves what another reads.

    Args:
        subspaces: Reader, writer and centre of each, of one site.

    Raises:
        AlignmentError: None, of different widths, more dimensions than the site has, or so nearly overlapping that
            no writer can serve one without the other.
    """
    if not subspaces:
        raise AlignmentError("there is nothing to join", got="no subspace", expected="at least one")
    widths = sorted({len(s.reader) for s in subspaces})
    if len(widths) > 1:
        raise AlignmentError(
            "the subspaces belong to states of different widths",
            got=" and ".join(map(str, widths)),
            expected="subspaces of one site",
        )
    sizes = [s.dimension for s in subspaces]
    if sum(sizes) > widths[0]:
        raise AlignmentError(
            "more dimensions are asked for than the site has",
            got=f"{' + '.join(map(str, sizes))} = {sum(sizes)}",
            expected=f"at most {widths[0]} together",
            fix="give the variables fewer dimensions, or align with a wider site",
        )
    readers = torch.cat([s.reader for s in subspaces], dim=1)
    writers = torch.cat([s.writer for s in subspaces], dim=1)
    product = (readers.T.double() @ writers.double()).cpu()
    condition = float(torch.linalg.cond(product))
    if not condition <= WORST_CONDITION:
        raise AlignmentError(
            "the subspaces overlap",
            got=f"EᵀD over all of them has condition number {condition:.2g}",
            expected=f"at most {WORST_CONDITION:g}",
            fix="two variables are read or written along nearly the same directions: ask for fewer dimensions, "
            "or find them on pairs in which only one of them changes",
        )
    solved = (writers.cpu().double() @ torch.linalg.inv(product)).to(writers)
    parts = solved.split(sizes, dim=1)
    return [Subspace(s.reader, part.contiguous(), s.centre) for s, part in zip(subspaces, parts, strict=True)]


def stacked(subspaces: Sequence[Subspace]) -> Subspace:
    """One subspace with the columns of all, as a group of variables at one site needs it; `joint` comes first.

    The centre is the first one's: of subspaces of one site it is the site's mean.

    Raises:
        AlignmentError: They leak into each other: EᵀD over all of them is not the identity.
    """
    reader = torch.cat([s.reader for s in subspaces], dim=1)
    writer = torch.cat([s.writer for s in subspaces], dim=1)
    together = Subspace(reader, reader if torch.equal(reader, writer) else writer, subspaces[0].centre)
    defect = together.defect()
    if not defect <= BIORTHOGONAL:
        raise AlignmentError(
            "the subspaces leak into each other",
            got=f"max |EᵀD - I| = {defect:.2g} over all of them",
            expected=f"at most {BIORTHOGONAL:g}",
            fix="stack joint(subspaces)",
        )
    return together
