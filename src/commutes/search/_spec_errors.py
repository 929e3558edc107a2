"""One problem of a spec in words: where, got, expected, what to do."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from commutes.errors import SpecError, similar
from commutes.search._spec_part import TAGS
from commutes.search._toml import Key

__all__ = ["first_error", "spelt"]

_MOST = 60


def first_error(
    error: ValidationError,
    model: type[BaseModel],
    raw: Mapping[str, Any],
    place: Callable[[Key], str],
    lines: Mapping[Key, tuple[int, ...]],
) -> SpecError:
    """The first problem of the file as an error; the others in one line each below it."""
    problems = sorted(_causes(error), key=lambda item: _line(item, lines))
    told = [_describe(item, model, raw, place) for item in problems]
    first = told[0]
    if len(told) > 1:
        rest = [f"then, at {other.where}: {other.what}" for other in told[1:4]]
        more = [f"and {len(told) - 4} more"] if len(told) > 4 else []
        first = SpecError(
            first.what,
            where=first.where,
            got=first.got,
            expected=first.expected,
            fix="\n".join([first.fix or "correct it", *rest, *more]),
        )
    return first


def _causes(error: ValidationError) -> list[ErrorDetails]:
    # A list whose entries were refused is also reported as too short, which it is not.
    found = error.errors(include_url=False)
    keys = [_key(problem) for problem in found]
    return [
        problem
        for problem, key in zip(found, keys, strict=True)
        if not any(len(other) > len(key) and other[: len(key)] == key for other in keys)
    ]


def _line(problem: ErrorDetails, lines: Mapping[Key, tuple[int, ...]]) -> int:
    key = _key(problem)
    return next((lines[key[:end]][0] for end in range(len(key), 0, -1) if key[:end] in lines), 0)


def _key(problem: ErrorDetails) -> Key:
    # What pydantic adds to the keys of the file: the kind of a value, and that the key itself is meant.
    return tuple(str(part) for part in problem["loc"] if part not in (*TAGS, "[key]"))


def _describe(
    problem: ErrorDetails, model: type[BaseModel], raw: Mapping[str, Any], place: Callable[[Key], str]
) -> SpecError:
    key, kind = _key(problem), problem["type"]
    name, where = spelt(key), place(key)
    if kind == "extra_forbidden":
        return _unknown(key, model, where)
    if kind == "missing":
        short = name.rsplit(".", 1)[-1]
        return SpecError(
            f"the key {name} is missing",
            where=where,
            got="nothing",
            expected=_expected(key, model),
            fix=f"add {short} under [{'.'.join(key[:-1])}]" if len(key) > 1 else f"add {short} to the spec",
        )
    if kind == "refused":
        context = problem.get("ctx", {})
        return SpecError(
            context["what"],
            where=where,
            got=_got(_value(raw, key)),
            expected=context["expected"],
            fix=context["fix"],
        )
    what, fix = _words(kind, name, problem.get("input"))
    return SpecError(
        what, where=where, got=_got(problem.get("input")), expected=_expected(key, model), fix=fix
    )


def _unknown(key: Key, model: type[BaseModel], where: str) -> SpecError:
    known = list(_model_at(model, key[:-1]).model_fields)
    # A key that exists in another table was put into the wrong one more often than it was misspelt.
    elsewhere = [path for path in _all_keys(model) if path[-1] == key[-1]]
    close = similar(key[-1], known)
    near = ".".join((*key[:-1], close)) if close else None
    home = ".".join(elsewhere[0]) if elsewhere else near
    return SpecError(
        f"unknown key {'.'.join(key)}",
        where=where,
        got=key[-1],
        expected=f"one of {', '.join(known)}",
        fix=f"did you mean {home}? otherwise remove the key" if home else "remove the key",
    )


def _words(kind: str, name: str, value: Any) -> tuple[str, str]:
    if kind in ("int_type", "int_from_float") and isinstance(value, bool):
        return f"{name} is {str(value).lower()}, which is no whole number", "write a number such as 1"
    if kind in ("int_type", "float_type") and isinstance(value, str):
        return f"{name} is a number in quotes" if _is_number(value) else f"{name} is text", (
            f"remove the quotes: {value}" if _is_number(value) else "write a number, without quotes"
        )
    sentences = {
        "int_type": (f"{name} is not a whole number", "write a whole number, without a decimal point"),
        "int_from_float": (f"{name} is not a whole number", "write a whole number, without a decimal point"),
        "float_type": (f"{name} is not a number", "write a number"),
        "finite_number": (f"{name} is not a finite number", "write a finite number"),
        "string_type": (f"{name} is not text", "put it in quotes"),
        "string_too_short": (f"{name} is empty text", "write a name"),
        "string_pattern_mismatch": (
            f"{name} is not a Python name",
            "write the name as it stands in the file",
        ),
        "tuple_type": (f"{name} is not a list", "put it in square brackets"),
        "too_short": (f"{name} is an empty list", "list at least one"),
        "dict_type": (f"{name} is not a table", "write key = value pairs in a table"),
        "model_type": (f"{name} is not a table", f"write a table [{name}] with its keys below it"),
        "literal_error": (f"{name} has a value that is not known", "choose one of these"),
    }
    bounds = "greater_than", "greater_than_equal", "less_than", "less_than_equal"
    if kind in bounds:
        return f"{name} is out of range", "write a number in that range"
    return sentences.get(
        kind, (f"{name} cannot be read", "correct it; `commutes schema` describes every key")
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _got(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= _MOST else text[: _MOST - 3] + "..."


def _value(raw: Mapping[str, Any], key: Key) -> Any:
    value: Any = raw
    for part in key:
        if isinstance(value, list) and part.isdigit():
            value = value[int(part)]
        elif isinstance(value, Mapping) and part in value:
            value = value[part]
    return value if key else "the whole spec"


def spelt(key: Key) -> str:
    """("claim", "layers", "0") as claim.layers[0]."""
    return (
        "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in key).removeprefix(".") or "the spec"
    )


def _expected(key: Key, model: type[BaseModel]) -> str:
    names = list(_declared(model, tuple(part for part in key if not part.isdigit())))
    owner, last = model, len(names)
    for depth, name in enumerate(names, start=1):
        found = owner.model_fields.get(name)
        if found is None:
            break
        inner = _inner_model(found.annotation)
        if inner is None or depth == last:
            return found.description or "a value"
        owner = inner
    return "a spec as `commutes schema` describes it"


def _model_at(model: type[BaseModel], key: Key) -> type[BaseModel]:
    names = list(_declared(model, key))
    for name in names:
        inner = _inner_model(model.model_fields[name].annotation)
        assert inner is not None, "only tables with declared keys forbid others"
        model = inner
    return model


def _declared(model: type[BaseModel], key: Key) -> Iterator[str]:
    """The names of a key that the tables declare: where a table's keys are the user's own, those are left out."""
    names = iter(key)
    for name in names:
        yield name
        field = model.model_fields.get(name)
        if field is None:
            return
        if get_origin(field.annotation) is dict:
            next(names, None)
        model = _inner_model(field.annotation) or model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) in (Annotated, Union, types.UnionType, dict):
        return next((found for part in get_args(annotation) if (found := _inner_model(part))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _all_keys(model: type[BaseModel], prefix: Key = ()) -> list[Key]:
    keys: list[Key] = []
    for name, entry in model.model_fields.items():
        keys.append((*prefix, name))
        # A table under names of the user's own has no place that could be named.
        inner = None if get_origin(entry.annotation) is dict else _inner_model(entry.annotation)
        if inner is not None:
            keys += _all_keys(inner, (*prefix, name))
    return keys
