"""For those who build on the library: contracts to inherit, and networks of which the truth is known."""

from commutes.testing._contract import FeaturizerContract

__all__ = ["FeaturizerContract"]
