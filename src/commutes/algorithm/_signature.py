"""What a mechanism's signature says: its parents are its parameters, its domain is its return annotation."""

from __future__ import annotations

import builtins
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal

import numpy as np

from commutes.algorithm._domain import Domain
from commutes.algorithm._finite import Finite
from commutes.algorithm._values import show, typed
from commutes.errors import AlgorithmError, DomainError

Mechanism = Callable[..., Any]


def parameters(name: str, function: Mechanism) -> tuple[str, ...]:
    """The parameter names of a mechanism: the names of its parents."""
    signature = _signature(function)
    if signature is None:
        raise AlgorithmError(
            f"the parameters of the mechanism of {name} cannot be read",
            got=show(function),
            expected="a function written in Python",
            fix=f"name the parents: algorithm.add({name!r}, 'a', 'b', f=...)",
        )
    for parameter in signature.parameters.values():
        problem = _unfit(parameter)
        if problem is not None:
            raise AlgorithmError(
                f"parameter {parameter} of the mechanism of {name} cannot be a parent: {problem}",
                where=location(function),
                expected="plain parameters, each the name of a parent",
                fix=f"name the parents: algorithm.add({name!r}, 'a', 'b', f=...)",
            )
    return tuple(signature.parameters)


def check_arity(name: str, function: Mechanism, parents: Sequence[str]) -> None:
    """Refuse a mechanism that cannot be called with one argument per parent."""
    signature = _signature(function)
    if signature is None:
        return
    try:
        signature.bind(*parents)
    except TypeError as error:
        raise AlgorithmError(
            f"the mechanism of {name} does not take one argument per parent: {error}",
            where=location(function),
            got=f"{len(parents)} parent{'' if len(parents) == 1 else 's'} ({', '.join(parents) or 'none'})",
            expected=f"what f{signature} takes",
            fix="give as many parents as f has parameters, in the same order",
        ) from None


def declared_domain(
    name: str, function: Mechanism, domain: object, local_names: Mapping[str, Any]
) -> Domain | None:
    """The domain that `domain=` or the return annotation declares; None where neither does."""
    annotated = _annotated_domain(name, function, domain is None, local_names)
    if domain is None:
        return annotated
    given = as_domain(domain, where=name)
    if annotated is not None and annotated != given:
        raise AlgorithmError(
            f"{name} is declared with two domains",
            where=location(function),
            got=f"domain= says {given.describe()}, the return annotation says {annotated.describe()}",
            fix="keep one of them",
        )
    return given


def as_domain(domain: object, *, where: str) -> Domain:
    """The domain meant by `domain=`: a `Domain`, a range, a sequence, `bool`, an Enum, or a Literal."""
    if isinstance(domain, Domain):
        return domain
    try:
        found = _from_annotation(domain)
        if found is not None:
            return found
        if isinstance(domain, (range, list, tuple)):
            return Finite(domain)
        if isinstance(domain, np.ndarray) and domain.ndim:
            return Finite(domain.tolist() if domain.ndim == 1 else map(tuple, domain.tolist()))
    except DomainError as error:
        error.where = f"{error.where or 'the domain'} of {where}"
        raise
    hint = "write sorted(...): a set has no order" if isinstance(domain, (set, frozenset)) else None
    raise DomainError(
        f"this is not a domain for {where}",
        got=typed(domain),
        expected="a range, a list or tuple of values, bool, an Enum, a Finite or a Space",
        fix=hint or "list the values, in order",
    )


def location(function: Mechanism) -> str | None:
    """`line 12 of equality.py`, where a mechanism was written."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return None if code is None else f"line {code.co_firstlineno} of {code.co_filename.rsplit('/', 1)[-1]}"


def _signature(function: Mechanism) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):  # some builtins have none
        return None


def _unfit(parameter: inspect.Parameter) -> str | None:
    if parameter.kind is parameter.VAR_POSITIONAL or parameter.kind is parameter.VAR_KEYWORD:
        return "it stands for any number of arguments, and names none"
    if parameter.kind is parameter.KEYWORD_ONLY:
        return "it is keyword-only, and parents are passed in order"
    if parameter.default is not parameter.empty:
        return "it has a default, and a parent always has a value"
    return None


def _annotated_domain(
    name: str, function: Mechanism, needed: bool, local_names: Mapping[str, Any]
) -> Domain | None:
    """The domain of the return annotation, which `from __future__ import annotations` turns into text."""
    annotation = getattr(function, "__annotations__", {}).get("return")
    if isinstance(annotation, str):
        closure = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
        names = {**vars(builtins), **getattr(function, "__globals__", {}), **local_names, **closure}
        try:
            annotation = eval(annotation, names)
        except Exception as error:
            if not needed:
                return None
            raise AlgorithmError(
                f"the return annotation of {name} cannot be read: {type(error).__name__}: {error}",
                where=location(function),
                got=f"-> {annotation}",
                expected="an annotation whose names are known where the mechanism is written",
                fix=f"correct it, or give the domain: domain=[...] for {name}",
            ) from error
    return _from_annotation(annotation)


def _from_annotation(annotation: Any) -> Domain | None:
    """The values of `bool`, `Literal[...]`, an Enum class or a union of these; None for others."""
    if annotation is bool:
        return Finite((False, True))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return Finite(annotation)
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return Finite(typing.get_args(annotation))
    if origin is typing.Union or origin is types.UnionType:
        parts = [
            Finite((None,)) if part is type(None) else _from_annotation(part)
            for part in typing.get_args(annotation)
        ]
        if all(isinstance(part, Finite) for part in parts):
            return Finite(value for part in parts for value in typing.cast(Finite, part).values)
    return None
