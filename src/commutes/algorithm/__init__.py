"""The hypothesis: variables, domains and mechanisms, evaluated by column. Imports no torch."""

from commutes.algorithm._algorithm import Algorithm
from commutes.algorithm._domain import Domain, Finite, Space, reals, vectors
from commutes.algorithm._model import Columns
from commutes.algorithm._variable import Variable

__all__ = ["Algorithm", "Columns", "Domain", "Finite", "Space", "Variable", "reals", "vectors"]
