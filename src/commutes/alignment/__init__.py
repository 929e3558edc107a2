"""Alignments: which variable lives where, saved and loaded, exchanged with pyvene."""

from commutes.alignment._alignment import Alignment
from commutes.alignment._from_pyvene import from_pyvene
from commutes.alignment._groups import Group
from commutes.alignment._saved_maps import declared
from commutes.alignment._saving import load, save
from commutes.alignment._to_pyvene import exchange, pyvene_calls, to_pyvene

__all__ = [
    "Alignment",
    "Group",
    "declared",
    "exchange",
    "from_pyvene",
    "load",
    "pyvene_calls",
    "save",
    "to_pyvene",
]
