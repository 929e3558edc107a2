"""Hooks that fire exactly as often as declared, and are gone afterwards whatever happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import torch
from torch import nn

from commutes.errors import EngineError, SiteError, nearest
from commutes.network import Moment, Network

# Modules that an error names at most.
_NAMED = 10

Tap = Callable[[torch.Tensor], torch.Tensor | None]
"""Sees the tensor at a moment; returns what shall stand in its place, or None to leave it."""


class Enough(BaseException):
    """Not an error: raised inside a forward once nothing more is needed of it.

    No `Exception`, so that a forward which handles those does not swallow it.
    """


class Called(NamedTuple):
    """What a module is called with."""

    args: tuple[object, ...]
    named: dict[str, object]


@dataclass(eq=False)
class _Count:
    """How often each module fired in one forward."""

    fired: Counter[tuple[str, str]] = field(default_factory=Counter)


@contextmanager
def tapped(
    network: Network, taps: Mapping[Moment, Tap], *, again: Callable[[], object], stop_early: bool = False
) -> Iterator[None]:
    """Install the taps for one forward and remove them, also after an exception.

    Args:
        network: Whose module is run inside the block.
        taps: What to do at each moment.
        again: The forward once more; asked for to name what runs where something did not.
        stop_early: End the forward (by raising `Enough`) after the last tap has fired.

    Raises:
        EngineError: A module fired less or more often than its moment says; of one that did not run the error names
            those that do.
    """
    count = _Count()
    pending = set(taps)
    handles: list[torch.utils.hooks.RemovableHandle] = []
    by_module: dict[tuple[str, str], dict[Moment, Tap]] = {}
    for moment, tap in taps.items():
        by_module.setdefault((moment.path, moment.side), {})[moment] = tap

    def fire(key: tuple[str, str], value: object) -> object:
        """Apply the taps of this call; returns the replacement, or None where nothing changes."""
        call = count.fired[key]
        count.fired[key] += 1
        changed: object = None
        for moment, tap in by_module[key].items():
            if moment.call is not None and moment.call != call:
                continue
            current = value if changed is None else changed
            new = tap(_tensor(current, moment))
            pending.discard(moment)
            if new is not None:
                changed = _put(current, moment, new)
        if stop_early and not pending:
            raise Enough
        return changed

    try:
        for path, side in by_module:
            module = network.module.get_submodule(path)
            handles.append(_install(module, (path, side), fire))
        yield
    finally:
        for handle in handles:
            handle.remove()
    _check_counts(taps, count.fired, network, again)


def _install(
    module: nn.Module, key: tuple[str, str], fire: Callable[[tuple[str, str], object], object]
) -> torch.utils.hooks.RemovableHandle:
    if key[1] == "output":

        def after(_module: nn.Module, _args: object, output: object) -> object:
            return fire(key, output)

        return module.register_forward_hook(after)

    def before(_module: nn.Module, args: tuple[object, ...], named: dict[str, object]) -> Called | None:
        changed = fire(key, Called(args, named))
        return None if changed is None else cast("Called", changed)

    return module.register_forward_pre_hook(before, with_kwargs=True)


def _tensor(value: object, moment: Moment) -> torch.Tensor:
    if isinstance(value, Called):
        if isinstance(moment.item, str):
            return _activations(_argument(value.named, moment), moment)
        value = value.args
    if moment.side == "input" and value == ():
        raise SiteError(
            "the module has no input that can be a site",
            where=str(moment),
            got="no positional arguments",
            expected="at least one tensor passed by position",
            fix="choose an argument by its name with item='...', or use the output of the module that makes it",
        )
    if moment.item is not None and not isinstance(value, tuple | list):
        raise SiteError(
            "item= chooses among several values, and there is one",
            where=str(moment),
            got=_kind(value),
            expected="a tuple",
            fix="leave item= out",
        )
    if isinstance(value, tuple | list):
        item = moment.item
        if item is None and moment.side == "input" and len(value) == 1:
            item = 0
        if not isinstance(item, int) or not -len(value) <= item < len(value):
            what = f"{len(value)} arguments" if moment.side == "input" else f"a tuple of {len(value)}"
            members = ", ".join(_kind(v) for v in value)
            raise SiteError(
                "the site is one of several values",
                where=str(moment),
                got=f"{what}: {members}",
                expected=f"item= from 0 to {len(value) - 1}",
                fix="choose one with network.site(path, item=...)",
            )
        value = value[item]
    return _activations(value, moment)


def _argument(named: Mapping[str, object], moment: Moment) -> object:
    if moment.item not in named:
        raise SiteError(
            "the module is not called with that argument by name",
            where=str(moment),
            got=", ".join(named) or "no arguments by name",
            expected="the name of an argument that holds a tensor",
            fix="arguments that are passed by position are chosen with item=0, 1, ...",
        )
    return named[str(moment.item)]


def _activations(value: object, moment: Moment) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        raise SiteError(
            "the site holds no activations",
            where=str(moment),
            got=_kind(value),
            expected="a tensor of floating-point numbers",
            fix="list the places with `commutes sites SPEC`",
        )
    return value


def _put(value: object, moment: Moment, new: torch.Tensor) -> object:
    if isinstance(value, Called):
        if isinstance(moment.item, str):
            return Called(value.args, {**value.named, moment.item: new})
        return Called(cast("tuple[object, ...]", _put(value.args, moment, new)), value.named)
    if isinstance(value, tuple | list):
        item = moment.item if isinstance(moment.item, int) else 0
        members = list(value)
        members[item] = new
        # A named tuple takes its members one by one.
        make = getattr(type(value), "_make", type(value))
        return make(members)
    return new


def _kind(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
    return "None" if value is None else type(value).__name__


def _check_counts(
    taps: Mapping[Moment, Tap], fired: Counter[tuple[str, str]], network: Network, again: Callable[[], object]
) -> None:
    for moment in taps:
        times = fired[(moment.path, moment.side)]
        if moment.call is None and times == 1:
            continue
        if moment.call is not None and times > moment.call:
            continue
        raise EngineError(
            "a module did not fire as declared",
            where=f"{moment} of {network.name}",
            got="did not run" if times == 0 else f"ran {times} times",
            expected="exactly one call" if moment.call is None else f"at least {moment.call + 1} calls",
            fix=_instead(moment, network, again)
            if times == 0
            else f"say which call with call=0 to {times - 1}",
        )


def _instead(moment: Moment, network: Network, again: Callable[[], object]) -> str:
    """The modules that run, those first that are spelt most alike."""
    ran = _running(network, again)
    if not ran:
        return "list what runs with `commutes sites SPEC`"
    named = nearest(moment.path, ran, _NAMED)
    more = len(ran) - len(named)
    rest = f" and {more} more, which `commutes sites SPEC` lists" if more else ""
    return f"name a module that runs: {', '.join(named)}{rest}"


def _running(network: Network, again: Callable[[], object]) -> list[str]:
    """Paths of the modules that run in a forward, in their order."""
    ran: dict[str, None] = {}
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for path, module in network.module.named_modules():
            if path:
                # It answers None, so that nothing changes.
                handles.append(
                    module.register_forward_pre_hook(lambda _m, _a, path=path: ran.setdefault(path))
                )
        # What is wrong with a second run is not what is to be said.
        with torch.no_grad(), suppress(Exception):
            again()
    finally:
        for handle in handles:
            handle.remove()
    return list(ran)
