"""Networks of which it is known what they compute and where, with right and wrong claims about each."""

from commutes.testing.zoo._linear import LINEAR, linear
from commutes.testing.zoo._member import KINDS, Family, Member, Told, Truth, as_fitted
from commutes.testing.zoo._members import FAMILIES, members
from commutes.testing.zoo._programs import compiled
from commutes.testing.zoo._trained import trained_member

__all__ = [
    "FAMILIES",
    "KINDS",
    "LINEAR",
    "Family",
    "Member",
    "Told",
    "Truth",
    "as_fitted",
    "compiled",
    "linear",
    "members",
    "trained_member",
]
