"""Names for inputs and for algorithms that depend on values alone: ids and fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from commutes.algorithm._domain import Domain
from commutes.algorithm._finite import Finite
from commutes.algorithm._hash import hash64, mix, words
from commutes.algorithm._mechanism import Mechanism
from commutes.algorithm._model import Model
from commutes.algorithm._space import Space
from commutes.algorithm._values import framed, token


@dataclass(frozen=True)
class Fingerprint:
    """The digest of an algorithm, and per mechanism whether its table is "complete" or "sampled"."""

    digest: str
    kinds: dict[str, str]


def input_ids(model: Model, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Hashes of name and value, summed over the inputs: the order of declaration does not count."""
    total: np.ndarray | None = None
    for name in model.inputs:
        domain, column = model.domains[name], inputs[name]
        salt = mix(np.array([hash64(name.encode())], dtype=np.uint64))
        if isinstance(domain, Finite):
            hashed = mix(domain.hashes ^ salt)[column]
        else:
            hashed = np.broadcast_to(salt, len(column))
            for part in words(column + 0.0).T:  # -0.0 is 0.0
                hashed = mix(hashed ^ part)
        total = hashed if total is None else total + hashed
    assert total is not None
    return mix(total)


def fingerprint(model: Model) -> Fingerprint:
    """SHA-256 over the variables in the order of their names: kind, parents, domain, table.

    Parents and values are put into an order of their own, so that neither the order of parameters nor that of
    a domain's values counts.
    """
    digest, kinds = hashlib.sha256(b"commutes algorithm 1"), {}
    for variable in sorted(model.variables, key=lambda variable: variable.name):
        name, mechanism = variable.name, model.mechanisms.get(variable.name)
        parents = sorted(model.parents[name])
        digest.update(framed(name.encode(), variable.kind.encode(), *(parent.encode() for parent in parents)))
        digest.update(_domain_token(model.domains[name]))
        if mechanism is not None:
            kinds[name] = "complete" if mechanism.complete else "sampled"
            digest.update(framed(kinds[name].encode(), _table(mechanism, parents)))
    return Fingerprint(digest.hexdigest(), kinds)


def _table(mechanism: Mechanism, parents: list[str]) -> bytes:
    """The answers of a mechanism, its parents in the order given, each value as its rank by token."""
    if not mechanism.complete:
        sample = mechanism.sample()
        return _ranked(mechanism.domain, mechanism.column(sample, len(sample[0])))
    table = mechanism.table()
    trailing = range(len(parents), table.ndim)
    table = table.transpose([*(mechanism.parents.index(parent) for parent in parents), *trailing])
    for axis, parent in enumerate(parents):
        domain = cast(Finite, mechanism.domains[mechanism.parents.index(parent)])
        table = table.take(_by_token(domain), axis=axis)
    return _ranked(mechanism.domain, table)


def _ranked(domain: Domain, column: np.ndarray) -> bytes:
    if isinstance(domain, Finite):
        ranks = np.empty(domain.size, dtype=np.int64)
        ranks[_by_token(domain)] = np.arange(domain.size)
        return ranks[column].astype("<i8").tobytes()
    return column.astype("<f8").tobytes()


def _by_token(domain: Finite) -> np.ndarray:
    tokens = [token(value) for value in domain.values]
    return np.array(sorted(range(domain.size), key=tokens.__getitem__), dtype=np.int64)


def _domain_token(domain: Domain) -> bytes:
    if isinstance(domain, Finite):
        return framed(b"finite", *sorted(map(token, domain.values)))
    space = cast(Space, domain)
    return framed(b"space", space.name.encode(), repr(space.width).encode(), repr(space.tolerance).encode())
