"""The hypothesis: variables, domains and mechanisms, evaluated by column. Imports no torch."""

from commutes.algorithm._algorithm import Algorithm
from commutes.algorithm._domain import Domain
from commutes.algorithm._finite import Finite
from commutes.algorithm._model import Columns
from commutes.algorithm._space import Space, reals, vectors
from commutes.algorithm._variable import Variable

__all__ = ["Algorithm", "Columns", "Domain", "Finite", "Space", "Variable", "reals", "vectors"]
