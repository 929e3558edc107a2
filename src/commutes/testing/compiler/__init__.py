"""A compiler from programs over sequences to transformers whose every variable has a known place."""

from commutes.testing.compiler._compile import compile_program
from commutes.testing.compiler._compiled import Compiled, Home, Status
from commutes.testing.compiler._program import (
    Aggregate,
    Indices,
    Map,
    Program,
    Select,
    SelectorWidth,
    SequenceMap,
    SOp,
    Tokens,
)
from commutes.testing.compiler._programs import PROGRAMS, program

__all__ = [
    "PROGRAMS",
    "Aggregate",
    "Compiled",
    "Home",
    "Indices",
    "Map",
    "Program",
    "SOp",
    "Select",
    "SelectorWidth",
    "SequenceMap",
    "Status",
    "Tokens",
    "compile_program",
    "program",
]
