"""What a hypothesis file makes: the algorithm, the untrained network, the trained one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from commutes.errors import AlgorithmError, CommutesError, SpecError, similar
from commutes.search._hypothesis import Hypothesis, last_line, placed, raised
from commutes.search._toml import shown

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm
    from commutes.counterfactuals import Distribution
    from commutes.network import Network
    from commutes.search._spec import Spec

__all__ = [
    "Progress",
    "build_algorithm",
    "build_network",
    "build_rivals",
    "distribution",
    "named_distribution",
    "train_network",
]


class Progress(Protocol):
    """What a function that takes a while calls after some of its steps."""

    def __call__(self, step: int, steps: int, figures: dict[str, float], /) -> None:
        """`step` of `steps` are done; `figures` are a few numbers worth showing."""


def build_algorithm(hypothesis: Hypothesis, spec: Spec) -> Algorithm:
    """The algorithm that the file builds with the options of the spec, checked.

    Raises:
        SpecError: If the function is missing or does not take an option.
        AlgorithmError: If it raises, returns something else, or the algorithm is not well-formed.
    """
    from commutes.algorithm import Algorithm

    name, where = spec.algorithm.build, spec.where("algorithm.build")
    build = hypothesis.function(name, where=where)
    _fits(build, name, 0, (), spec.algorithm.options, spec, "algorithm")
    built = called(hypothesis, name, build, (), spec.algorithm.options)
    if not isinstance(built, Algorithm):
        raise wrong_type(hypothesis, name, built, "a commutes.Algorithm")
    return built.check()


def build_network(hypothesis: Hypothesis, spec: Spec, algorithm: Algorithm, *, seed: int) -> Network:
    """The untrained network that the file builds for `algorithm`, or the language model that the spec names.

    Raises:
        SpecError: If the function is missing or does not take an option, or the model cannot be had.
        AlgorithmError: If the function raises or returns something else.
    """
    from commutes.network import Network

    if spec.network.pretrained is not None:
        from commutes.search._language_model import language_model

        return language_model(spec, algorithm)
    name, where = spec.network.build, spec.where("network.build")
    assert name is not None, "a network is built wherever none is named"
    build = hypothesis.function(name, where=where)
    _fits(build, name, 1, ("seed",), spec.network.options, spec, "network")
    built = called(hypothesis, name, build, (algorithm,), {"seed": seed, **spec.network.options})
    if not isinstance(built, Network):
        raise wrong_type(hypothesis, name, built, "a commutes.Network")
    return built


def train_network(
    hypothesis: Hypothesis,
    spec: Spec,
    network: Network,
    algorithm: Algorithm,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Network:
    """The network that the file trains from `network`; `network` itself where the spec says `train = false`.

    Raises:
        SpecError: If the function is missing or has another signature.
        AlgorithmError: If it raises or returns something else.
    """
    from commutes.network import Network

    name = spec.network.train
    if name is None:
        return network
    train = hypothesis.function(name, where=spec.where("network.train"))
    _fits(train, name, 2, ("seed", "progress"), {}, spec, "network")
    trained = called(hypothesis, name, train, (network, algorithm), {"seed": seed, "progress": progress})
    if not isinstance(trained, Network):
        raise wrong_type(hypothesis, name, trained, "a commutes.Network")
    return trained


def distribution(hypothesis: Hypothesis, spec: Spec) -> str | Distribution:
    """The distribution of inputs that the spec names: a built-in name, or an object of the hypothesis file.

    Raises:
        SpecError: If there is no such distribution.
    """
    return named_distribution(hypothesis, spec, spec.data.distribution, "data.distribution")


def named_distribution(hypothesis: Hypothesis, spec: Spec, name: str, key: str) -> str | Distribution:
    """The distribution of this name, for the key of the spec that names it.

    Raises:
        SpecError: If there is none.
    """
    if name in ("values", "inputs"):
        return name
    from commutes.counterfactuals import Distribution

    found = vars(hypothesis.module).get(name)
    if isinstance(found, Distribution):
        return found
    own = [key for key, value in vars(hypothesis.module).items() if isinstance(value, Distribution)]
    known = ["values", "inputs", *own]
    close = similar(name, known)
    raise SpecError(
        f"there is no distribution {name}",
        where=spec.where(key),
        got=repr(name),
        expected=f"one of {', '.join(known)}",
        fix=(f"did you mean {close}? otherwise " if close else "") + f"define {name} in the hypothesis file",
    )


def build_rivals(hypothesis: Hypothesis, spec: Spec) -> dict[str, Algorithm]:
    """The rival algorithms that the spec names, by the names of their functions.

    Raises:
        SpecError: If a function is missing.
        AlgorithmError: If it raises or returns something else.
    """
    from commutes.algorithm import Algorithm

    found: dict[str, Algorithm] = {}
    for row, name in enumerate(spec.challenge.rivals):
        build = hypothesis.function(name, where=spec.where(f"challenge.rivals.{row}"))
        built = called(hypothesis, name, build, (), {})
        if not isinstance(built, Algorithm):
            raise wrong_type(hypothesis, name, built, "a commutes.Algorithm")
        found[name] = built
    return found


def called(
    hypothesis: Hypothesis,
    name: str,
    function: Callable[..., Any],
    given: tuple[Any, ...],
    named: Mapping[str, Any],
) -> Any:
    try:
        return function(*given, **named)
    except SystemExit as error:
        raise AlgorithmError(
            f"{name}() exits",
            where=f"{shown(hypothesis.path)}, line {last_line(error, hypothesis.path)}",
            got=f"exit({error.code!r})",
            expected=f"{name}() returns",
            fix="remove the call of exit",
        ) from error
    except CommutesError as error:
        raise placed(error, hypothesis.path) from error
    except Exception as error:
        raise raised(error, hypothesis.path, f"{name}() of the hypothesis file raised") from error


def _fits(
    function: Callable[..., Any],
    name: str,
    positional: int,
    required: tuple[str, ...],
    options: Mapping[str, Any],
    spec: Spec,
    table: str,
) -> None:
    """Refuse options that the function does not take; a TypeError from within is then the file's own."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)][positional:]
    for option in options:
        if option not in named or option in required:
            free = [other for other in named if other not in required]
            close = similar(option, free)
            raise SpecError(
                f"{name}() takes no option {option}",
                where=spec.where(f"{table}.options.{option}"),
                got=option,
                expected=f"one of {', '.join(free)}" if free else "no options",
                fix=f"did you mean {close}? otherwise remove it" if close else "remove it",
            )
    missing = [word for word in required if word not in named]
    if missing:
        first = ("algorithm",) if positional == 1 else ("network", "algorithm")[:positional]
        raise SpecError(
            f"{name}() does not take {' and '.join(missing)}",
            where=spec.where(f"{table}.{'train' if positional == 2 else 'build'}"),
            got=f"def {name}{inspect.signature(function)}",
            expected=f"def {name}({', '.join(first)}, *, {', '.join(required)})",
            fix=f"add {', '.join(missing)} to its parameters",
        )


def wrong_type(hypothesis: Hypothesis, name: str, value: object, expected: str) -> AlgorithmError:
    return AlgorithmError(
        f"{name}() of the hypothesis file returned something else",
        where=shown(hypothesis.path),
        got="nothing" if value is None else f"a {type(value).__name__}",
        expected=expected,
        fix="return it" if value is None else f"return {expected} from {name}()",
    )
