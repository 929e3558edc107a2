"""Networks: any `torch.nn.Module`, with what its inputs and outputs mean and where a variable may live."""

from commutes.network._examples import draw_inputs, examples, minibatches
from commutes.network._inputs import Columns, Inputs
from commutes.network._mlp import MLP, mlp_by_hand
from commutes.network._network import CHUNK, PROMPTS, TOKENS, ModuleCall, Network
from commutes.network._site import Moment, Place, Position, Site
from commutes.network._state import State, address, hooked, hooks_of, state_of
from commutes.network._train import train, train_many

__all__ = [
    "CHUNK",
    "MLP",
    "PROMPTS",
    "TOKENS",
    "Columns",
    "Inputs",
    "ModuleCall",
    "Moment",
    "Network",
    "Place",
    "Position",
    "Site",
    "State",
    "address",
    "draw_inputs",
    "examples",
    "hooked",
    "hooks_of",
    "minibatches",
    "mlp_by_hand",
    "state_of",
    "train",
    "train_many",
]
