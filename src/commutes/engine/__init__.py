"""The one place where an intervention is executed."""

from commutes.engine._admission import cone_certificate
from commutes.engine._capture import capture, captured
from commutes.engine._counted import bytes_of
from commutes.engine._forward import Resume, Start, Weights, forward, observe
from commutes.engine._interchange import Featurizer, SiteEdit, interchange
from commutes.engine._layout import PlaceLayout, SiteLayout, layouts
from commutes.engine._memory import clean_rows_within, half, rows_within
from commutes.engine._prepare import BUDGET, prepare, prepare_all
from commutes.engine._prepared import Batch, Cone, Edited, Prepared, logits_joined, logits_together
from commutes.engine._resume import Certificate, certificate, resume_block
from commutes.engine._taps import Tap

__all__ = [
    "BUDGET",
    "Batch",
    "Certificate",
    "Cone",
    "Edited",
    "Featurizer",
    "PlaceLayout",
    "Prepared",
    "Resume",
    "SiteEdit",
    "SiteLayout",
    "Start",
    "Tap",
    "Weights",
    "bytes_of",
    "capture",
    "captured",
    "certificate",
    "clean_rows_within",
    "cone_certificate",
    "forward",
    "half",
    "interchange",
    "layouts",
    "logits_joined",
    "logits_together",
    "observe",
    "prepare",
    "prepare_all",
    "resume_block",
    "rows_within",
]
