"""What a model of pyvene's swaps: interventions, and the parts of them that variables can be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from commutes.engine.pyvene import pyvene
from commutes.errors import AlignmentError

SOFT = 1.0
"""How far the gates of a mask may be from open and closed, summed over all of them: as much as one gate."""


@dataclass(frozen=True, eq=False)
class Part:
    """What one variable can be: some coordinates of one intervention."""

    key: str
    """pyvene's name of the representation."""
    representation: Any
    intervention: Any
    member: int | None
    """Of the intervention's partition; None is all of it."""

    @property
    def is_rotation(self) -> bool:
        """Whether there is a map; otherwise neurons are swapped as they are."""
        return hasattr(self.intervention, "rotate_layer")

    @property
    def basis(self) -> torch.Tensor:
        """The map.  # shape: (d, k)"""
        return self.intervention.rotate_layer.weight.detach()

    def coordinates(self, width: int) -> list[int]:
        """Columns of the map, or neurons among `width`."""
        if self.member is not None:
            return list(self.intervention.subspace_partition[self.member])
        if self.is_mask:
            return self._open()
        if type(self.intervention) is pyvene().LowRankRotatedSpaceIntervention:
            return list(range(self.basis.shape[1]))
        # Of fewer neurons than it was told of pyvene takes those that there are.
        most = self.intervention.interchange_dim
        return list(range(width if most is None else min(int(most), width)))

    @property
    def is_mask(self) -> bool:
        """Whether it has gates of its own."""
        return type(self.intervention) in masked()

    def _open(self) -> list[int]:
        """What a mask takes as its temperature goes to 0.

        Raises:
            AlignmentError: Nothing, numbers that are not finite, or gates that are far from open and closed.
        """
        bounded = hasattr(self.intervention, "intervention_boundaries")
        temperature = float(self.intervention.temperature.detach())
        if bounded:
            size = len(self.intervention.intervention_population)
            # As pyvene bounds it.
            end = self.intervention.intervention_boundaries.detach()[0].double().clamp(1e-3, 1.0) * size
            mask = end - torch.arange(size, device=end.device)
        else:
            mask = (self.intervention.masks if self.is_rotation else self.intervention.mask).detach().double()
        if not bool(torch.isfinite(mask).all()) or not temperature > 0:
            raise AlignmentError(
                "a mask with numbers that are not finite",
                where=str(self),
                got=f"{int((~torch.isfinite(mask)).sum())} of {len(mask)}, at temperature {temperature:g}",
                expected="finite numbers, and a temperature above 0",
            )
        soft = float((torch.sigmoid(mask / temperature) - (mask > 0).double()).abs().sum())
        if soft > SOFT:
            raise AlignmentError(
                "the gates of a mask are still soft",
                where=str(self),
                got=f"temperature {temperature:g}: in all {soft:.3g} of {len(mask)} gates from open or closed",
                expected=f"at most {SOFT:g}: here every coordinate is swapped as a whole or not at all",
                fix="cool it with set_temperature, and see that pyvene still finds what it found",
            )
        found = torch.nonzero(mask > 0).flatten().tolist()
        if not found:
            raise AlignmentError(
                "a mask with no gate on swaps nothing",
                where=str(self),
                got=f"{len(mask)} numbers, none above 0",
                expected="at least one above 0",
                fix="write None for this part",
            )
        return found

    def __str__(self) -> str:
        return self.key if self.member is None else f"{self.key}, subspace {self.member}"


def parts_of(intervenable: Any) -> list[Part]:
    """The parts in order; of linked representations each has the next member of their partition.

    Raises:
        AlignmentError: No such model, interventions that are no orthogonal subspace and no plain swap, or one map
            at several places.
    """
    if not isinstance(intervenable, pyvene().IntervenableModel) or intervenable.mode != "parallel":
        raise AlignmentError(
            "an alignment is made of a model of pyvene's that intervenes in parallel",
            got=f"mode {intervenable.mode!r}"
            if hasattr(intervenable, "mode")
            else type(intervenable).__name__,
            expected="a pyvene.IntervenableModel of mode 'parallel'",
        )
    found: list[Part] = []
    everywhere = [intervenable.interventions[key] for key in intervenable.sorted_keys]
    uses, turn = Counter(map(id, everywhere)), Counter[int]()
    places: dict[int, tuple[Any, ...]] = {}
    for key, intervention in zip(intervenable.sorted_keys, everywhere, strict=True):
        representation = intervenable.representations[key]
        _check_kind(intervention, representation, key)
        place = (representation.layer, representation.component, representation.unit)
        if places.setdefault(id(intervention), place) != place:
            raise AlignmentError(
                "one map at several places",
                where=key,
                got="a link to another place, where pyvene would put the state of the first",
                expected="linked representations at one place",
                fix="give each place a map of its own",
            )
        members = range(len(intervention.subspace_partition or ()))
        if uses[id(intervention)] > 1 and members:
            members = members[turn[id(intervention)] :][:1]
            turn[id(intervention)] += 1
        chosen = list(members) or [None]
        found += [Part(key, representation, intervention, member) for member in chosen]
    return found


def masked() -> tuple[type, ...]:
    """Interventions with gates of their own: one variable each."""
    pv = pyvene()
    return (
        pv.BoundlessRotatedSpaceIntervention,
        pv.SigmoidMaskRotatedSpaceIntervention,
        pv.SigmoidMaskIntervention,
    )


def _check_kind(intervention: Any, representation: Any, key: str) -> None:
    pv = pyvene()
    plain = (
        pv.LowRankRotatedSpaceIntervention,
        pv.RotatedSpaceIntervention,
        pv.VanillaIntervention,
        *masked(),
    )
    got = f"a {type(intervention).__name__}"
    known = type(intervention) in plain
    if known and intervention.is_source_constant:
        got += " with a constant for its source"
    elif known and representation.unit not in ("pos", "h.pos"):
        got += f" on unit {representation.unit!r}"
    elif type(intervention) in masked() and intervention.subspace_partition is not None:
        got += " with a partition, which it does not look at"
    elif known:
        return
    raise AlignmentError(
        "an intervention that is no interchange of a subspace",
        where=key,
        got=got,
        expected=f"one of {', '.join(k.__name__ for k in plain)}, at positions or heads",
    )
