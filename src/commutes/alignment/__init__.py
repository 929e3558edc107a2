"""Alignments: which variable lives where, saved and loaded."""

from commutes.alignment._alignment import Alignment, Group
from commutes.alignment._saving import load, save

__all__ = ["Alignment", "Group", "load", "save"]
