"""The one place where an intervention is executed."""

from commutes.engine._capture import capture, captured
from commutes.engine._forward import Resume, Weights, forward, observe
from commutes.engine._interchange import Featurizer, SiteEdit, interchange
from commutes.engine._layout import PlaceLayout, SiteLayout, layouts
from commutes.engine._prepared import BUDGET, Batch, Prepared, prepare
from commutes.engine._resume import Certificate, certificate, resume_block
from commutes.engine._taps import Tap

__all__ = [
    "BUDGET",
    "Batch",
    "Certificate",
    "Featurizer",
    "PlaceLayout",
    "Prepared",
    "Resume",
    "SiteEdit",
    "SiteLayout",
    "Tap",
    "Weights",
    "capture",
    "captured",
    "certificate",
    "forward",
    "interchange",
    "layouts",
    "observe",
    "prepare",
    "resume_block",
]
