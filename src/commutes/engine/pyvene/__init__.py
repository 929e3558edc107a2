"""pyvene as a second engine: sites in its words, what it is called with, and where it would do something else."""

from commutes.engine.pyvene._call import Representation, call, represented
from commutes.engine.pyvene._place import Carrier, carrier, path_of
from commutes.engine.pyvene._taken import first_item
from commutes.engine.pyvene._twin import Twin, cannot, pyvene, twin, weights_of

__all__ = [
    "Carrier",
    "Representation",
    "Twin",
    "call",
    "cannot",
    "carrier",
    "first_item",
    "path_of",
    "pyvene",
    "represented",
    "twin",
    "weights_of",
]
