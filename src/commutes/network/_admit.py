"""What a network is told about itself: read, checked, and refused where it cannot be."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from torch import nn

from commutes.errors import NetworkError, SiteError, nearest


def no_such(path: str, modules: Mapping[str, nn.Module], names: Iterable[str] = ()) -> SiteError:
    """The error for a place that is not there; `names` are those that stand for places."""
    return SiteError(
        "there is no such module in the network",
        got=repr(path),
        expected="one of its modules; nearest: "
        + ", ".join(nearest(path, [*names, *filter(None, modules)], 3)),
        fix="list the places with `commutes sites SPEC` or dict(module.named_modules())",
    )


def distinct(answers: Iterable[Hashable]) -> tuple[Hashable, ...]:
    """The answers, at least two and no two alike."""
    listed = tuple(answers)
    if len(listed) < 2 or len({(type(a), a) for a in listed}) != len(listed):
        raise NetworkError(
            "answers= lists the output values in the order of the logits",
            got=repr(listed),
            expected="at least two distinct values",
        )
    return listed


def block_paths(blocks: str | Sequence[str] | None, modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Paths of the modules that run in order."""
    if blocks is None:
        return ()
    if isinstance(blocks, str):
        if blocks not in modules:
            raise no_such(blocks, modules)
        container = modules[blocks]
        if not isinstance(container, nn.ModuleList | nn.Sequential):
            raise NetworkError(
                "blocks= names one module that is no list of modules",
                where=blocks,
                got=type(container).__name__,
                expected="a ModuleList or Sequential, or a list of paths",
            )
        return tuple(f"{blocks}.{name}" if blocks else name for name, _ in container.named_children())
    for path in blocks:
        if path not in modules:
            raise no_such(path, modules)
    return tuple(blocks)


def unread(answers: object) -> NetworkError:
    """The error for a network that is not told how to read its inputs."""
    if isinstance(answers, Mapping):
        return NetworkError(
            "answers= maps values to tokens, but there is no tokenizer",
            got="answers= as a mapping",
            expected="a tokenizer and a template= with it, or values in the order of the logits",
        )
    return NetworkError(
        "a network needs to know how it reads its inputs",
        got="neither encode= nor a tokenizer",
        expected="encode=, from the algorithm's inputs to tensors, or a tokenizer with template=",
    )


def refuse_tokens() -> NetworkError:
    """The error for answers of so many tokens where there are no tokens."""
    return NetworkError(
        "answer_tokens= is of a language model",
        got="answer_tokens=, and no tokenizer",
        expected="a tokenizer and a template= with it",
        fix="leave answer_tokens= out: without a tokenizer every answer is one logit",
    )


def refuse_both(**given: object) -> None:
    """Refuse what the template already says."""
    doubled = [f"{name}=" for name, value in given.items() if value is not None]
    if doubled:
        raise NetworkError(
            "a language model is read through its template",
            got=f"a tokenizer or template=, and {' and '.join(doubled)}",
            expected="one of the two",
            fix="leave the tokenizer and template= out to encode and read in your own way",
        )


def no_language(path: str) -> SiteError:
    """The error for a layer or head where there is no tokenizer."""
    return SiteError(
        "layers and heads are those of a language model",
        where=path,
        got="a network without a tokenizer",
        expected="Network(model, tokenizer, template=..., answers=...)",
        fix="name the module by its path and the head by part=",
    )
