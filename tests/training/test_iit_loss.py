"""The loss of interchange-intervention training beside two runs written out by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from commutes import Counterfactuals, counterfactuals
from commutes.network import MLP
from commutes.training import IIT
from commutes.training._iit_loss import Draw, Lesson, lesson, total

from .iit_case import WIDTH, basis, double, encode_double, hidden, neurons, two_sums

ALL = {"interchange": 1.0, "behaviour": 1.0, "strict": 1.0}


def only(name: str) -> dict[str, float]:
    return {other: float(other == name) for other in ALL}


def forward(module: MLP, x: torch.Tensor, mix=None) -> torch.Tensor:
    """The network written out, its first hidden layer changed on the way."""
    weights = dict(module.named_parameters())
    state = torch.relu(x @ weights["layers.0.0.weight"].T + weights["layers.0.0.bias"])
    state = state if mix is None else mix(state)
    state = torch.relu(state @ weights["layers.1.0.weight"].T + weights["layers.1.0.bias"])
    return state @ weights["head.weight"].T + weights["head.bias"]


def first_layer(module: MLP, x: torch.Tensor) -> torch.Tensor:
    weights = dict(module.named_parameters())
    return torch.relu(x @ weights["layers.0.0.weight"].T + weights["layers.0.0.bias"])


class Case:
    """A lesson with its draw, and what is needed to compute its terms by hand."""

    def __init__(self, kind: str, *, strictness: str = "unit", joint: bool = False) -> None:
        self.algorithm = two_sums()
        self.net = double()
        self.kind = kind
        if kind == "neurons":
            self.claim = neurons(self.net, self.algorithm, left=[1, 4], right=[0, 7])
            eye = torch.eye(WIDTH, dtype=torch.float64)
            self.left, self.right = eye[:, [1, 4]], eye[:, [0, 7]]
        else:
            self.claim = hidden(self.net, self.algorithm, torch.float64, left=0, right=2)
            self.left, self.right = (basis(i, i + 2, torch.float64).reader for i in (0, 2))
        swap = [{self.algorithm["left"]}, {self.algorithm["right"]}]
        both = [{self.algorithm["left"], self.algorithm["right"]}]
        self.pairs: Counterfactuals = counterfactuals(
            self.algorithm, 90, swap=swap + (both if joint else []), seed=2
        )
        self.task: Lesson = lesson(self.claim, self.pairs, strict=True)
        generator = torch.Generator().manual_seed(9)
        rows = torch.randperm(len(self.pairs), generator=generator)[:40]
        donors = self.task.base[torch.randint(len(self.pairs), (40,), generator=generator)]
        assert self.task.rest is not None
        self.units = torch.randint(self.task.rest.units, (40,), generator=generator)
        self.draw = Draw(rows, donors, self.units if strictness == "unit" else None)
        self.x = encode_double(self.algorithm.arrays(self.pairs.inputs))

    def by_hand(self, name: str, *, detach: bool = False) -> torch.Tensor:
        """One term, from the definition."""
        module, pairs, rows = self.net.module, self.pairs, self.draw.rows.numpy()
        base = self.x[pairs.base[rows]]
        codes = pairs.expected[rows] if name == "interchange" else pairs.base_answer[rows]
        if name == "behaviour":
            return cross_entropy(forward(module, base), torch.from_numpy(codes))

        def mix(state: torch.Tensor) -> torch.Tensor:
            out = []
            for i, row in enumerate(rows):
                new = state[i]
                if name == "interchange":
                    for variable, columns in (("left", self.left), ("right", self.right)):
                        source = pairs.source_of(variable)[row]
                        if source >= 0:
                            new = new + columns @ (columns.T @ (self.taken(source, detach) - state[i]))
                else:
                    columns = self.rest_columns(i)
                    donor = self.taken(int(self.draw.donors[i]), detach)
                    new = new + columns @ (columns.T @ (donor - state[i]))
                out.append(new)
            return torch.stack(out)

        return cross_entropy(forward(module, base, mix), torch.from_numpy(codes))

    def taken(self, source: int, detach: bool) -> torch.Tensor:
        state = first_layer(self.net.module, self.x[source : source + 1])[0]
        return state.detach() if detach else state

    def rest_columns(self, i: int) -> torch.Tensor:
        if self.kind == "neurons":
            eye = torch.eye(WIDTH, dtype=torch.float64)
            rest = eye[:, [c for c in range(WIDTH) if c not in (0, 1, 4, 7)]]
        else:
            rest = self.task.rest.maps[0].reader  # type: ignore[union-attr]
        return rest if self.draw.units is None else rest[:, [int(self.units[i])]]

    def gradients(self, loss: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(loss, list(self.net.module.parameters())))


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("name", list(ALL))
@pytest.mark.parametrize("strictness", ["unit", "joint"])
@pytest.mark.parametrize("kind", ["neurons", "rotation"])
def test_every_term_and_its_gradient_through_both_runs_are_those_by_hand(kind, strictness, name, detach):
    case = Case(kind, strictness=strictness, joint=True)
    terms = case.task.terms(case.draw, only(name), detach_source=detach)
    assert list(terms) == [name]
    wanted = case.by_hand(name, detach=detach)
    assert float((terms[name] - wanted).detach().abs()) < 1e-10
    for found, expected in zip(case.gradients(terms[name]), case.gradients(wanted), strict=True):
        assert float((found - expected).abs().max()) < 1e-8


@pytest.mark.parametrize("name", ["interchange", "strict"])
def test_a_detached_source_gives_another_gradient_and_the_same_loss(name):
    case = Case("neurons")
    whole, cut = (case.task.terms(case.draw, only(name), detach_source=d)[name] for d in (False, True))
    assert float((whole - cut).detach().abs()) < 1e-12
    assert float((case.gradients(whole)[0] - case.gradients(cut)[0]).abs().max()) > 1e-4


def test_the_columns_that_carry_no_variable_are_orthogonal_to_those_that_do():
    case = Case("rotation")
    assert case.task.rest is not None
    rest = case.task.rest.maps[0].reader  # type: ignore[attr-defined]
    assert rest.shape == (WIDTH, WIDTH - 4)
    assert float((rest.T @ torch.cat([case.left, case.right], dim=1)).abs().max()) < 1e-6


def test_each_weight_is_applied_once():
    case = Case("neurons")
    terms = case.task.terms(case.draw, ALL)
    weights = {"interchange": 0.4, "behaviour": 3.0, "strict": 0.25}
    by_hand = (
        0.4 * case.by_hand("interchange") + 3.0 * case.by_hand("behaviour") + 0.25 * case.by_hand("strict")
    )
    assert float((total(terms, weights) - by_hand).detach().abs()) < 1e-10
    # A term is the same whatever the weights are.
    weighted = case.task.terms(case.draw, weights)
    assert all(torch.equal(weighted[name], terms[name]) for name in ALL)
    assert IIT(interchange=0.4, behaviour=3.0, strict=0.25).weights == weights


def test_terms_without_weight_are_not_run():
    case = Case("neurons")
    runs: list[int] = []
    handle = case.net.module.get_submodule("layers.0").register_forward_hook(
        lambda _m, _a, out: runs.append(len(out))
    )
    case.task.terms(case.draw, only("behaviour"))
    handle.remove()
    assert runs == [40]


@pytest.mark.parametrize("strictness", ["unit", "joint"])
def test_the_strict_term_never_touches_what_carries_a_variable(strictness):
    case = Case("neurons", strictness=strictness)
    seen: list[torch.Tensor] = []
    handle = case.net.module.get_submodule("layers.1").register_forward_pre_hook(
        lambda _m, args: seen.append(args[0].detach().clone())
    )
    case.task.terms(case.draw, only("strict"))
    handle.remove()
    (state,) = seen
    with torch.no_grad():
        module = case.net.module
        base = module.layers[0](case.x[case.pairs.base[case.draw.rows.numpy()]])
        donor = module.layers[0](case.x[case.draw.donors])
    aligned = [0, 1, 4, 7]
    assert torch.equal(state[:, aligned], base[:, aligned])
    rest = [c for c in range(WIDTH) if c not in aligned]
    if strictness == "joint":
        assert torch.equal(state[:, rest], donor[:, rest])
        return
    for i, unit in enumerate(case.units.tolist()):
        changed = np.nonzero((state[i] != base[i]).numpy())[0].tolist()
        assert changed in ([], [rest[unit]])
        assert float(state[i, rest[unit]]) == float(donor[i, rest[unit]])


def test_the_states_that_are_taken_are_those_of_the_present_weights():
    case = Case("neurons")
    before = case.task.terms(case.draw, ALL)
    with torch.no_grad():
        for parameter in case.net.module.parameters():
            parameter.mul_(1.5)
    after = case.task.terms(case.draw, ALL)
    for name in ALL:
        assert float((after[name] - case.by_hand(name)).detach().abs()) < 1e-10
        assert float((after[name] - before[name]).detach().abs()) > 1e-3


def test_a_network_that_writes_in_place_gives_the_same_gradient():
    case = Case("neurons")
    changed = copy.deepcopy(case.net.module)
    for layer in changed.layers:
        layer[1].inplace = True
    claim = case.claim.on(case.net.with_module(changed))
    task = lesson(claim, case.pairs, strict=True)
    loss = total(task.terms(case.draw, ALL), ALL)
    found = torch.autograd.grad(loss, list(changed.parameters()))
    wanted = case.gradients(total(case.task.terms(case.draw, ALL), ALL))
    assert all(float((a - b).abs().max()) < 1e-12 for a, b in zip(found, wanted, strict=True))
