"""Fitting an alignment, and training a network to implement one."""

from commutes.training._closed_form import ClosedForm, closed_form, closed_forms
from commutes.training._closed_methods import METHODS
from commutes.training._fit import Progress, Settings, fit, fit_many
from commutes.training._iit import Trained, train_network
from commutes.training._iit_rest import Rest, left_open, rest_of, way_around
from commutes.training._iit_settings import IIT
from commutes.training._iit_strictness import Strictness, donors, strictness
from commutes.training._size import Sized, smallest_size
from commutes.training._summary import summary

__all__ = [
    "IIT",
    "METHODS",
    "ClosedForm",
    "Progress",
    "Rest",
    "Settings",
    "Sized",
    "Strictness",
    "Trained",
    "closed_form",
    "closed_forms",
    "donors",
    "fit",
    "fit_many",
    "left_open",
    "rest_of",
    "smallest_size",
    "strictness",
    "summary",
    "train_network",
    "way_around",
]
