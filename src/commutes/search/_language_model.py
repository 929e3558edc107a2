"""A language model that a spec names by a folder or a repository: loaded, and given its prompt and its answers."""

from __future__ import annotations

import contextlib
import os
import string
from collections.abc import Generator, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commutes.errors import SpecError, is_out_of_memory, similar
from commutes.search._asked import check_layers, told
from commutes.search._claimed import sample_values

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm
    from commutes.network import Network
    from commutes.search._spec import Spec

__all__ = ["answer_texts", "language_model"]


def language_model(spec: Spec, algorithm: Algorithm) -> Network:
    """The model that `network.pretrained` names; no code of its repository is run.

    Raises:
        SpecError: It cannot be had, or its prompt or answers do not fit it or the algorithm.
    """
    from commutes.network import Network
    from commutes.network.transformers import pretrained

    asked = spec.network
    assert asked.pretrained is not None, "only called for a spec that names one"
    answers = answer_texts(spec, algorithm)
    name = _folder_or_repository(spec, asked.pretrained)
    _check_depth(spec, name)
    with _no_bars():
        model, tokenizer = told(
            spec,
            "network.pretrained",
            lambda: pretrained(name, revision=asked.revision, dtype=asked.dtype, device_map=asked.device_map),
            listed=False,
        )
    if asked.device is not None:
        model = _moved(spec, model, asked.device)

    def read() -> Network:
        network = Network(
            model,
            tokenizer,
            template=asked.template,
            answers=answers,
            answer_tokens=asked.answer_tokens,
            name=asked.pretrained,
        )
        # One prompt is written now: a slot that is no input is told before anything is drawn or fitted.
        network.encode(sample_values(algorithm, 1, seed=spec.seed))
        return network

    return told(spec, "network", read, listed=False)


def _check_depth(spec: Spec, name: str) -> None:
    """Refuse a layer that the configuration has not got, before any weights are loaded or fetched."""
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(
            name, revision=spec.network.revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError):
        return  # what keeps the configuration from being read is told where the model is loaded
    depth = getattr(config.get_text_config(), "num_hidden_layers", None)
    if isinstance(depth, int):
        check_layers(spec, str(spec.network.pretrained), depth)


@contextlib.contextmanager
def _no_bars() -> Generator[None]:
    """While this lasts the library shows no bars of its own: progress is told in one way."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def answer_texts(spec: Spec, algorithm: Algorithm) -> dict[Hashable, str]:
    """How every value of the output is written behind the prompt.

    Raises:
        SpecError: An output of infinitely many values, a text that is no format, a table that lacks a value.
    """
    from commutes.algorithm import Finite

    output = algorithm.output_variable
    domain, given = algorithm.domain(output), spec.network.answers
    if not isinstance(domain, Finite):
        raise SpecError(
            "a language model answers with one of finitely many texts",
            where=spec.where("network.pretrained"),
            got=f"{output.name} in {domain.describe()}",
            expected="an output with a finite domain",
            fix="build the network in the hypothesis file, with an encode of its own",
        )
    if isinstance(given, Mapping):
        return _by_table(spec, given, domain.values)
    form = "{}" if given is None else given
    _check_form(spec, form)
    try:
        return {value: form.format(value) for value in domain.values}
    except (ValueError, TypeError) as error:
        raise SpecError(
            "the answers cannot be written as asked",
            where=spec.where("network.answers"),
            got=f"{form!r}: {error}",
            expected=f"a format that takes {domain.describe()}",
            fix='write answers = "{}", or a table from values to texts',
        ) from None


def _check_form(spec: Spec, form: str) -> None:
    try:
        fields = [(name, flag) for _, name, _, flag in string.Formatter().parse(form) if name is not None]
    except ValueError:
        fields = []
    # One bare pair of braces: a name inside would reach into the value's attributes.
    if fields != [("", None)]:
        raise SpecError(
            "the answers do not say where the value stands",
            where=spec.where("network.answers"),
            got=repr(form),
            expected='text with {} in it once, such as " {}" or "{:02d}"',
            fix="write {{ and }} for braces that are no place",
        )


def _by_table(spec: Spec, given: Mapping[str, str], values: tuple[Hashable, ...]) -> dict[Hashable, str]:
    named = {str(value): value for value in values}
    unknown = [name for name in given if name not in named]
    missing = [name for name in named if name not in given]
    if not unknown and not missing:
        return {value: given[name] for name, value in named.items()}
    wrong = unknown or missing
    close = similar(unknown[0], missing or named) if unknown else None
    shown = ", ".join(list(named)[:8]) + (", ..." if len(named) > 8 else "")
    raise SpecError(
        f"the answers name {wrong[0]}, which is no value of the output"
        if unknown
        else f"the answers leave out {wrong[0]}",
        where=spec.where(f"network.answers.{unknown[0]}" if unknown else "network.answers"),
        got=f"texts for {len(given)} of {len(named)} values" if not unknown else repr(unknown[0]),
        expected=f"one text for each of {shown}",
        fix=f"did you mean {close}?" if close else "write one text for each value",
    )


def _folder_or_repository(spec: Spec, name: str) -> str:
    path = spec.folder / Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if name.startswith((".", "~", os.sep)):
        raise SpecError(
            "there is no such model",
            where=spec.where("network.pretrained"),
            got=f"{path}, which is no folder",
            expected="a folder made by save_pretrained, or a repository such as openai-community/gpt2",
            fix="check the path; it is relative to the spec",
        )
    return name


def _moved(spec: Spec, model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        raise SpecError(
            "a device that is not there",
            where=spec.where("network.device"),
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            expected="a device of this machine; every machine has cpu",
            fix="remove device, or name another",
        ) from error
