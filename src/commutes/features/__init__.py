"""Featurizers: invertible maps of a site, up to a residual that is always kept."""

from commutes.features._coordinates import Coordinates, Neurons
from commutes.features._rotation import Rotation, random_raw, rotation
from commutes.features._slices import Features, Slice
from commutes.features._subspace import BIORTHOGONAL, Subspace, orthonormal

__all__ = [
    "BIORTHOGONAL",
    "Coordinates",
    "Features",
    "Neurons",
    "Rotation",
    "Slice",
    "Subspace",
    "orthonormal",
    "random_raw",
    "rotation",
]
