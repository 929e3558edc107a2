"""What a network does with the tensor of a site: every operation that takes it, found by watching one clean run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from commutes.engine import forward
from commutes.network import Inputs, Moment, Network

# Rows of the run that is watched: what takes a tensor is the same for every input.
ROWS = 2

# Operations that hand on the same numbers. What returns a view of the tensor is followed whatever its name.
_COPIES = ("clone", "contiguous")
# Operations with a weight as (in, out), and where in their arguments the input and the weight are.
_PRODUCTS = {"matmul": (0, 1), "__matmul__": (0, 1), "mm": (0, 1), "addmm": (1, 2)}
_ADDITIONS = ("add", "__add__", "__radd__", "__iadd__", "add_")
# Results that are no tensors say what a tensor holds only where these give them; all others ask for its shape or type.
_VALUES = ("item", "tolist", "numpy", "__array__", "__bool__", "__float__", "__int__", "equal", "allclose")


class Use(NamedTuple):
    """One operation that takes a tensor."""

    path: str
    """The innermost module in which it happens."""
    what: str
    """Its name."""
    weight: torch.Tensor | None
    """Of a linear map that reads the last axis alike at every position; None for all else.  # shape: (out, in)"""

    @property
    def adds(self) -> bool:
        """Whether the tensor is a summand, as in a residual stream."""
        return self.what in _ADDITIONS

    @property
    def where(self) -> str:
        """The module, as a sentence names it."""
        return self.path or "the module itself"


def uses(network: Network, inputs: Inputs, moment: Moment) -> list[Use]:
    """Everything that takes the tensor of a moment, as an edited run has it: the edit's own copy, and views of it.

    Args:
        network: Whose module is run once, clean.
        inputs: Of which the first few are run.
        moment: At which the tensor arrives.
    """
    few = inputs.rows(torch.arange(min(ROWS, inputs.n)))
    found: list[Use] = []
    with _located(network) as innermost:
        watch = _Watch(network, innermost, found)
        with torch.no_grad(), watch:
            logits = forward(network, few.args, few.kwargs, taps={moment: watch.follow})
    if watch.follows(logits):
        found.append(Use(network.read_path, "the answer itself", None))
    return found


@contextmanager
def _located(network: Network) -> Iterator[Callable[[], str]]:
    """In which it is known which module is running."""
    running: list[str] = [""]
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for path, module in network.module.named_modules():

            def enter(_m: object, _a: object, path: str = path) -> None:
                running.append(path)

            def leave(_m: object, _a: object, _o: object) -> None:
                running.pop()

            handles += [
                module.register_forward_pre_hook(enter),
                module.register_forward_hook(leave, always_call=True),
            ]
        yield lambda: running[-1]
    finally:
        for handle in handles:
            handle.remove()


class _Watch(TorchFunctionMode):
    """Sees every operation of a run, and notes those that take a followed tensor."""

    def __init__(self, network: Network, innermost: Callable[[], str], found: list[Use]) -> None:
        super().__init__()
        self.innermost, self.found = innermost, found
        module = network.module
        self.constant = {_lies(t) for t in (*module.parameters(), *module.buffers())}
        # By where their numbers lie, which views share. They are held, so that nothing else comes to lie there.
        self.followed: dict[int, torch.Tensor] = {}

    def follow(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy in the tensor's place: what used the tensor before the edit does not see the edit."""
        copy = tensor.clone()
        self.followed[_lies(copy)] = copy
        return copy

    def follows(self, value: object) -> bool:
        """Whether this is a followed tensor or a view of one."""
        return isinstance(value, torch.Tensor) and _lies(value) in self.followed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        taken = [t for t in _tensors((args, kwargs)) if self.follows(t)]
        before = [_writes(t) for t in taken]
        result = func(*args, **kwargs)
        if taken:
            written = [_writes(t) for t in taken] != before
            self._note(getattr(func, "__name__", str(func)), args, kwargs, result, written=written)
        return result

    def _note(self, name: str, args: Any, kwargs: Any, result: object, *, written: bool) -> None:
        made = list(_tensors(result))
        if not made and name not in _VALUES:
            return
        if not written and made and all(self.follows(t) for t in made):
            return
        if not written and name in _COPIES and isinstance(result, torch.Tensor):
            self.followed[_lies(result)] = result
            return
        self.found.append(Use(self.innermost(), name, self._weight(name, args, kwargs)))

    def _weight(self, name: str, args: Any, kwargs: Any) -> torch.Tensor | None:
        given = dict(enumerate(args)) | kwargs
        if name == "linear":
            read, weight = given.get(0, given.get("input")), given.get(1, given.get("weight"))
        elif name in _PRODUCTS:
            read, weight = (given.get(i) for i in _PRODUCTS[name])
            weight = weight.T if isinstance(weight, torch.Tensor) and weight.ndim == 2 else None
        else:
            return None
        if not isinstance(read, torch.Tensor) or not isinstance(weight, torch.Tensor):
            return None
        constant = _lies(weight) in self.constant and not self.follows(weight)
        return weight.detach() if constant and weight.ndim == 2 and self._whole(read) else None

    def _whole(self, read: torch.Tensor) -> bool:
        """Whether it has all numbers of a followed tensor, those of the last axis still on the last axis."""
        whole = self.followed.get(_lies(read))
        return (
            whole is not None
            and read.numel() == whole.numel()
            and (read.shape[-1], read.stride(-1)) == (whole.shape[-1], whole.stride(-1))
        )


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _tensors(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _tensors(member)


def _writes(tensor: torch.Tensor) -> int:
    """How often it was written into; 0 for one that does not count it."""
    return 0 if tensor.is_inference() else tensor._version


def _lies(tensor: torch.Tensor) -> int:
    """Where its numbers lie; 0 for one that lies in no one place."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0
