"""Featurizers: invertible maps of a site, up to a residual that is always kept; and closed forms that find them."""

from commutes.features._affine import Affine, AffineMap, affine
from commutes.features._autoencoder import SparseAutoencoder
from commutes.features._captured import difference_moments, differences, gradients, state_moments
from commutes.features._contrast import Contrast, contrast
from commutes.features._coordinates import Coordinates, Neurons
from commutes.features._dictionary import Codes, Dictionary, Latents
from commutes.features._difference_of_means import difference_of_means
from commutes.features._directions import Directions
from commutes.features._gates import Boundless, Gated, Mask
from commutes.features._gradients import Products, active_subspace, attribution, products
from commutes.features._joint import joint, stacked
from commutes.features._layouts import load_dictionary
from commutes.features._lda import lda
from commutes.features._leace import leace
from commutes.features._moments import Moments, merge, moments
from commutes.features._nuisance import HeldPairs, nuisance_pairs, transitions
from commutes.features._oblique import Oblique
from commutes.features._parametrisation import Parametrisation
from commutes.features._pca import lift, pca, pca_of_differences, principal
from commutes.features._reversible import Reversible, ReversibleMap, reversible
from commutes.features._rotation import Rotation, random_raw, rotation
from commutes.features._slices import Features, Slice
from commutes.features._spectrum_null import ChosenSize, choose_size, null_spectrum
from commutes.features._subspace import BIORTHOGONAL, Subspace, orthonormal
from commutes.features._verbs import erase, swap

__all__ = [
    "BIORTHOGONAL",
    "Affine",
    "AffineMap",
    "Boundless",
    "ChosenSize",
    "Codes",
    "Contrast",
    "Coordinates",
    "Dictionary",
    "Directions",
    "Features",
    "Gated",
    "HeldPairs",
    "Latents",
    "Mask",
    "Moments",
    "Neurons",
    "Oblique",
    "Parametrisation",
    "Products",
    "Reversible",
    "ReversibleMap",
    "Rotation",
    "Slice",
    "SparseAutoencoder",
    "Subspace",
    "active_subspace",
    "affine",
    "attribution",
    "choose_size",
    "contrast",
    "difference_moments",
    "difference_of_means",
    "differences",
    "erase",
    "gradients",
    "joint",
    "lda",
    "leace",
    "lift",
    "load_dictionary",
    "merge",
    "moments",
    "nuisance_pairs",
    "null_spectrum",
    "orthonormal",
    "pca",
    "pca_of_differences",
    "principal",
    "products",
    "random_raw",
    "reversible",
    "rotation",
    "stacked",
    "state_moments",
    "swap",
    "transitions",
]
