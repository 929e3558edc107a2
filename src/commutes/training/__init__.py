"""Fitting an alignment."""

from commutes.training._fit import Progress, Settings, fit, fit_many

__all__ = ["Progress", "Settings", "fit", "fit_many"]
