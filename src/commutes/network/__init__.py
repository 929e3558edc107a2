"""Networks: any `torch.nn.Module`, with what its inputs and outputs mean and where a variable may live."""

from commutes.network._inputs import Inputs
from commutes.network._network import CHUNK, ModuleCall, Network
from commutes.network._site import Moment, Place, Site

__all__ = ["CHUNK", "Inputs", "ModuleCall", "Moment", "Network", "Place", "Site"]
