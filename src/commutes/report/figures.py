"""The figures of a run, as PNG and as SVG."""

from __future__ import annotations

from commutes.report._curves import fit_curves
from commutes.report._heat import heat_map
from commutes.report._strata import strata_map

__all__ = ["fit_curves", "heat_map", "strata_map"]
