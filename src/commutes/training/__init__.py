"""Fitting an alignment, and training a network to implement one."""

from commutes.training._closed_form import ClosedForm, closed_form, closed_forms
from commutes.training._closed_methods import METHODS
from commutes.training._fit import Progress, Settings, fit, fit_many
from commutes.training._iit import Trained, train_network
from commutes.training._iit_settings import IIT
from commutes.training._iit_strictness import Strictness, strictness
from commutes.training._summary import summary

__all__ = [
    "IIT",
    "METHODS",
    "ClosedForm",
    "Progress",
    "Settings",
    "Strictness",
    "Trained",
    "closed_form",
    "closed_forms",
    "fit",
    "fit_many",
    "strictness",
    "summary",
    "train_network",
]
