"""Alignments go to pyvene and come back: the same subspaces, the same logits, nothing of the user's touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import commutes as cm
from commutes.alignment import pyvene_calls
from commutes.engine.pyvene import pyvene
from commutes.errors import AlignmentError, DataError, EngineError
from commutes.features import Gated, Neurons, Subspace, random_raw, rotation
from tests.network.transformers import models as M
from tests.parity.claims import by_engine, by_pyvene, fitted, sums
from tests.planted import exact, planted

ANGLE = 1e-6


def apart(first: cm.Alignment, second: cm.Alignment) -> float:
    """The largest angle between what the alignments have for one variable."""
    return max(float(first.subspace(v).angles(second.subspace(v)).max()) for v in first.variables)


def claims(network: cm.Network, algorithm: cm.Algorithm) -> dict[str, tuple[cm.Alignment, dict[str, Any]]]:
    """Alignments, and what pyvene does not know of them."""
    left, right = algorithm["left"], algorithm["right"]

    def rotated(**where: Any) -> cm.Rotation:
        return cm.Rotation(network.site(layer=1, **where))

    block = rotated(path="block_output", position="{b[last]}")
    first = cm.Rotation(network.site("block_output", layer=0, position="{a[last]}", source_position="last"))
    last = cm.Rotation(network.site("mlp_output", layer=2, position="last"))
    heads = rotated(path="head_attention_value_output", head=[2, 0], position="last")
    both: list[str | int] = ["{a[last]}", "{b[last]}"]
    each = rotated(path="block_output", position=both, each=True)
    together = rotated(path="block_output", position=both)
    shared = rotated(path="head_query_output", head=1, position=both, each=True)
    neurons = cm.Coordinates(network.site("mlp_activation", layer=1, position="last"))
    slices: dict[str, tuple[dict[cm.Variable, Any], dict[str, Any]]] = {
        "two variables, one map": ({left: block[:2], right: block[2:5]}, {"position": "{b[last]}"}),
        "columns in another order": ({left: block[[4, 0]], right: block[[2]]}, {"position": "{b[last]}"}),
        "one variable": ({right: block[:3]}, {"position": "{b[last]}"}),
        "two sites": (
            {left: first[:2], right: last[:1]},
            {"position": {left: "{a[last]}", right: "last"}, "source_position": {left: "last"}},
        ),
        "heads": ({left: heads[:1], right: heads[1:3]}, {"position": "last", "head": [2, 0]}),
        "one map for each position": ({left: each[:2], right: each[2:3]}, {"position": both}),
        "positions together": ({left: together[:2], right: together[2:3]}, {"position": both}),
        "one map for a head's positions": ({left: shared[:2]}, {"position": both, "head": 1}),
        "neurons": ({left: neurons[[3, 7]], right: neurons[[0, 1, 9]]}, {"position": "last"}),
    }
    return {name: (fitted(cm.Alignment(algorithm, s)), said) for name, (s, said) in slices.items()}


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_what_goes_to_pyvene_comes_back(family: str) -> None:
    algorithm, network = sums(family), M.network(family)
    for name, (alignment, said) in claims(network, algorithm).items():
        model = cm.to_pyvene(alignment)
        variables = alignment.variables
        back = cm.from_pyvene(model, algorithm, network, variables=variables, **said)
        assert apart(alignment, back) < ANGLE, name
        pairs = cm.counterfactuals(algorithm, 6, seed=0, swap=[set(variables)])
        with torch.no_grad():
            logits = by_pyvene(alignment, pairs)
            assert torch.allclose(logits, by_pyvene(back, pairs), atol=1e-10), name
            assert torch.allclose(logits, by_engine(back, pairs), atol=1e-10), name


def test_one_representation_per_variable_linked_where_a_map_is_shared() -> None:
    algorithm, network = sums("gpt2"), M.network("gpt2")
    left, right = algorithm["left"], algorithm["right"]
    space = cm.Rotation(network.site("block_output", layer=1, position="last"))
    other = cm.Rotation(network.site("head_query_output", layer=2, head=1, position="last"))
    third = cm.Algorithm("three")
    a, b = third.inputs("a b", domain=range(5))
    third.add("left", a, f=lambda a: a % 2)
    third.add("middle", b, f=lambda b: b % 2)
    third.add("right", a, f=lambda a: a % 3)
    third.add(
        "digit", "left", "middle", "right", f=lambda left, middle, right: left + middle + right, output=True
    )
    spaces = {third["left"]: space[2:4], third["middle"]: other[:1], third["right"]: space[:2]}
    model = cm.to_pyvene(fitted(cm.Alignment(third, spaces)))
    one, two, three = (model.representations[key] for key in model.sorted_keys)
    assert (one.component, one.layer, one.unit, one.low_rank_dimension) == ("block_output", 1, "pos", 4)
    assert (two.component, two.layer, two.unit, two.low_rank_dimension) == (
        "head_query_output",
        2,
        "h.pos",
        1,
    )
    assert one.subspace_partition == three.subspace_partition == [[0, 2], [2, 4]]
    assert one.intervention_link_key == three.intervention_link_key is not None
    assert two.intervention_link_key is two.subspace_partition is None
    maps = [model.interventions[key] for key in model.sorted_keys]
    assert maps[0] is maps[2]
    assert maps[0] is not maps[1]
    alone = cm.to_pyvene(fitted(cm.Alignment(algorithm, {left: space[:1]})))
    assert next(iter(alone.representations.values())).subspace_partition is None
    assert right not in alone.sorted_keys


def test_pyvene_saves_it_and_loads_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    algorithm, network = sums("gpt2"), M.network("gpt2", dtype=torch.float32)
    alignment = claims_of_float32(network, algorithm)
    cm.to_pyvene(alignment).save(str(tmp_path / "saved"))
    # What pyvene wraps it freezes: not the network's own module.
    loaded = pyvene().IntervenableModel.load(str(tmp_path / "saved"), M.model("gpt2", dtype=torch.float32))
    capsys.readouterr()
    back = cm.from_pyvene(
        loaded, algorithm, network, variables=alignment.variables, position="{b[last]}", fitted_on=None
    )
    assert apart(alignment, back) < ANGLE
    pairs = cm.counterfactuals(algorithm, 6, seed=0)
    with torch.no_grad():
        assert torch.allclose(by_pyvene(alignment, pairs), by_pyvene(back, pairs), atol=1e-4)


def claims_of_float32(network: cm.Network, algorithm: cm.Algorithm) -> cm.Alignment:
    space = cm.Rotation(network.site("block_output", layer=1, position="{b[last]}"))
    alignment = cm.Alignment(algorithm, {algorithm["left"]: space[:2], algorithm["right"]: space[2:5]})
    return fitted(alignment, dtype=torch.float32)


def of_a_user(model: Any, kind: str = "low rank", **fields: Any) -> Any:
    """A model as a user of pyvene makes it, on a model of theirs."""
    pv = pyvene()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        rotation = (
            pv.LowRankRotatedSpaceIntervention(embed_dim=16, low_rank_dimension=6, **fields)
            if kind == "low rank"
            else pv.RotatedSpaceIntervention(embed_dim=16, **fields)
        ).double()
    where = pv.RepresentationConfig(layer=1, component="block_output", unit="pos", intervention=rotation)
    return pv.IntervenableModel(pv.IntervenableConfig([where]), model)


def wrapped(intervention: Any) -> Any:
    """A model with this behind its second block."""
    where = pyvene().RepresentationConfig(
        layer=1, component="block_output", unit="pos", intervention=intervention
    )
    return pyvene().IntervenableModel(pyvene().IntervenableConfig([where]), M.model("gpt2"))


def as_a_user_runs(theirs: Any, network: cm.Network, pairs: cm.Counterfactuals, **options: Any) -> Any:
    """Logits of the answer's position, of pairs that swap one variable at the last digit."""
    inputs = network.encode(pairs.algorithm.arrays(pairs.inputs))
    base, source = (
        {k: t[torch.from_numpy(rows)] for k, t in inputs.kwargs.items()}
        for rows in (pairs.base, pairs.source[:, 0])
    )
    where = {"sources->base": inputs.kwargs["input_ids"].shape[1] - 2}
    return theirs(base, [source], where, **options)[1].logits[:, -1]


@pytest.mark.parametrize("kind", ["low rank", "square"])
def test_the_parts_of_one_representation_of_pyvene_become_variables(kind: str) -> None:
    algorithm, network = sums("gpt2"), M.network("gpt2")
    left, right = algorithm["left"], algorithm["right"]
    theirs = of_a_user(M.model("gpt2"), kind, subspace_partition=[[0, 2], [2, 3], [3, 6]])
    alignment = cm.from_pyvene(
        theirs, algorithm, network, variables=[right, None, left], position="{b[last]}"
    )
    weight = next(iter(theirs.interventions.values())).rotate_layer.weight.detach()
    for variable, columns in ((right, [0, 1]), (left, [3, 4, 5])):
        expected = Subspace(weight[:, columns], weight[:, columns])
        assert alignment.subspace(variable).angles(expected).max() < ANGLE
    pairs = cm.counterfactuals(algorithm, 4, seed=0, swap=[{left}])
    with torch.no_grad():
        out = as_a_user_runs(theirs, network, pairs, subspaces=2)
        assert torch.allclose(out, by_pyvene(alignment, pairs), atol=1e-10)


MASKED: dict[str, tuple[str, list[int]]] = {
    "boundless": ("BoundlessRotatedSpaceIntervention", [0, 1, 2, 3, 4]),
    "masked rotation": ("SigmoidMaskRotatedSpaceIntervention", [1, 6, 9]),
    "masked neurons": ("SigmoidMaskIntervention", [1, 6, 9]),
}


def masked(kind: str, chosen: list[int], temperature: float = 1e-6) -> Any:
    """An intervention of pyvene's with gates of its own, of which these are on."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        found = getattr(pyvene(), MASKED[kind][0])(embed_dim=16).double()
    with torch.no_grad():
        if kind == "boundless":
            # Not at a coordinate, which would be swapped by half.
            found.set_intervention_boundaries((len(chosen) - 0.5) / 16)
        else:
            mask = found.masks if kind == "masked rotation" else found.mask
            mask.fill_(-1)[chosen] = 1
    found.set_temperature(torch.tensor(temperature))
    return found


@pytest.mark.filterwarnings(
    "ignore:To copy construct from a tensor"
)  # pyvene's, at every run of masked neurons
@pytest.mark.parametrize("kind", list(MASKED))
def test_what_a_mask_of_pyvenes_takes_is_what_comes_back(kind: str) -> None:
    """Cooled to the end pyvene answers alike, but for coordinate 0 of a boundary, which it swaps by half for ever."""
    algorithm, network = sums("gpt2"), M.network("gpt2")
    left, chosen = algorithm["left"], MASKED[kind][1]
    theirs = masked(kind, chosen)
    model = wrapped(theirs)
    alignment = cm.from_pyvene(model, algorithm, network, variables=[left], position="{b[last]}")
    basis = theirs.rotate_layer.weight.detach() if "rotat" in MASKED[kind][0].lower() else torch.eye(16)
    expected = Subspace(basis[:, chosen].double(), basis[:, chosen].double())
    assert alignment.subspace(left).to(dtype=torch.float64).angles(expected).max() < ANGLE
    assert alignment.subspace(left).reader.shape[1] == len(chosen)
    pairs = cm.counterfactuals(algorithm, 4, seed=0, swap=[{left}])
    with torch.no_grad():
        out = as_a_user_runs(model, network, pairs)
        gap = float((out - by_pyvene(alignment, pairs)).abs().max())
    # A rotation of pyvene's is drawn in single precision, and orthonormal as far.
    assert gap > 1e-4 if kind == "boundless" else gap < 1e-6


@pytest.mark.parametrize("family", [cm.Mask, cm.Boundless])
def test_a_mask_goes_to_pyvene_as_what_it_chose(family: Any) -> None:
    algorithm, network = sums("gpt2"), M.network("gpt2")
    left, right = algorithm["left"], algorithm["right"]
    site = network.site("block_output", layer=1, position="{b[last]}")
    features = cm.Mask(cm.Coordinates(site)) if family is cm.Mask else cm.Boundless(site)
    claim = cm.Alignment(algorithm, {left: features[:4], right: features[4:7]})
    inner = (
        Neurons(torch.arange(7)) if family is cm.Mask else rotation(random_raw(16, 7, 2, dtype=torch.float64))
    )
    gate = torch.tensor([True, False, True, False, False, True, True])
    alignment = claim.with_maps([Gated(inner, gate)])
    model = cm.to_pyvene(alignment)
    back = cm.from_pyvene(model, algorithm, network, variables=[left, right], position="{b[last]}")
    for variable, k in ((left, 2), (right, 2)):
        assert back.subspace(variable).reader.shape[1] == k
    assert apart(alignment, back) < ANGLE
    pairs = cm.counterfactuals(algorithm, 6, seed=0, swap=[{left, right}, {left}])
    with torch.no_grad():
        logits = by_pyvene(alignment, pairs)
        assert torch.allclose(logits, by_engine(alignment, pairs), atol=1e-10)
    gap: Any = cm.evaluate(alignment, pairs, engine="pyvene").self_checks["pyvene beside this engine"]
    assert gap < 1e-10


def test_a_mask_with_no_gate_on_is_refused_both_ways() -> None:
    algorithm, network = sums("gpt2"), M.network("gpt2")
    left, right = algorithm["left"], algorithm["right"]
    model = wrapped(masked("masked neurons", []))
    words = "a mask with no gate on swaps nothing"
    refused(
        AlignmentError,
        words,
        lambda: cm.from_pyvene(model, algorithm, network, variables=[left], position="last"),
    )
    space = cm.Boundless(network.site("block_output", layer=1, position="last"))
    claim = cm.Alignment(algorithm, {left: space[:2], right: space[2:4]})
    basis = rotation(random_raw(16, 4, 0, dtype=torch.float64))
    closed = claim.with_maps([Gated(basis, torch.tensor([True, True, False, False]))])
    refused(AlignmentError, words, lambda: cm.to_pyvene(closed))


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
@pytest.mark.parametrize("kind", list(MASKED))
def test_masks_that_are_not_done_are_refused_and_others_are_told(kind: str) -> None:
    """Soft gates are another interchange than hard ones; NaN is no gate; what a mask chose was found on some inputs."""
    algorithm, network = sums("gpt2"), M.network("gpt2")
    left, chosen = algorithm["left"], MASKED[kind][1]

    def back(theirs: Any) -> cm.Alignment:
        return cm.from_pyvene(wrapped(theirs), algorithm, network, variables=[left], position="{b[last]}")

    refused(AlignmentError, "the gates of a mask are still soft", lambda: back(masked(kind, chosen, 50.0)))
    broken = masked(kind, chosen)
    with torch.no_grad():
        for name in ("intervention_boundaries", "masks", "mask"):
            if hasattr(broken, name):
                getattr(broken, name)[0] = float("nan")
    refused(AlignmentError, "a mask with numbers that are not finite", lambda: back(broken))
    alignment = back(masked(kind, chosen))
    told = [{"variable": "left", "open": len(chosen), "of": 16, "gates": "some"}]
    assert alignment.history["gates"] == told
    pairs = cm.counterfactuals(algorithm, 8, seed=0, swap=[{left}])
    assert cm.evaluate(alignment, pairs).label == "the inputs that it was fitted on are not known"


def test_inputs_that_pyvene_fitted_on_are_refused_if_they_are_told_and_labelled_if_not() -> None:
    algorithm, network = sums("gpt2"), M.network("gpt2")
    theirs = of_a_user(M.model("gpt2"))
    pairs = cm.counterfactuals(algorithm, 8, seed=0, swap=[{algorithm["left"]}])
    arguments: dict[str, Any] = {"variables": [algorithm["left"]], "position": "last"}
    told = cm.from_pyvene(theirs, algorithm, network, fitted_on=pairs, **arguments)
    with pytest.raises(DataError, match="the alignment was fitted on these inputs"):
        cm.evaluate(told, pairs)
    untold = cm.from_pyvene(theirs, algorithm, network, **arguments)
    assert cm.evaluate(untold, pairs).label == "the inputs that it was fitted on are not known"


def test_any_module_goes_through_pyvene() -> None:
    """A network that pyvene does not know, with neurons and with a rotation: the truth scores 1 there too."""
    algorithm, network, alignment = exact()
    pairs = cm.counterfactuals(algorithm, 60, seed=0, swap=[{"left"}, {"right"}, {"left", "right"}])
    found = cm.evaluate(alignment, pairs, engine="pyvene")
    assert (found.overall.rate, found.label) == (1.0, "through pyvene")
    assert found.self_checks["pyvene beside this engine"] == 0
    back = cm.from_pyvene(cm.to_pyvene(alignment), algorithm, network, variables=alignment.variables)
    assert back.slices.keys() == alignment.slices.keys()
    assert cm.evaluate(back, pairs).overall.rate == 1.0

    case = planted()
    told, test = case.told(), case.parts[2]
    found = cm.evaluate(told, test, engine="pyvene")
    assert np.array_equal(found.answered, cm.evaluate(told, test).answered)
    assert found.overall.rate == 1.0
    back = cm.from_pyvene(
        cm.to_pyvene(told), case.algorithm, case.network, variables=told.variables, fitted_on=test
    )
    assert apart(told, back) < ANGLE


def test_nothing_of_the_users_is_touched() -> None:
    algorithm, network = sums("gpt2"), M.network("gpt2", dtype=torch.float32)
    module: Any = network.module
    module.transformer.h[0].requires_grad_(False)
    flags = [p.requires_grad for p in module.parameters()]
    module.transformer.ln_f.train()  # where it makes no difference, for pyvene sets all modes at once
    modes = [part.training for part in module.modules()]
    alignment = claims_of_float32(network, algorithm)
    pairs = cm.counterfactuals(algorithm, 6, seed=0)
    before = torch.random.get_rng_state()
    model = cm.to_pyvene(alignment)
    cm.evaluate(alignment, pairs, engine="pyvene")
    assert torch.equal(before, torch.random.get_rng_state())
    assert [p.requires_grad for p in module.parameters()] == flags
    assert [part.training for part in module.modules()] == modes
    assert not any(p.requires_grad for p in model.model.parameters())
    # The weights are the network's own memory, so that what is trained there is what pyvene runs.
    theirs = dict(model.model.named_parameters())
    assert all(p.data_ptr() == theirs[name].data_ptr() for name, p in module.named_parameters())


def test_calls_are_batches_of_one_swapped_set() -> None:
    algorithm, network = sums("gpt2"), M.network("gpt2")
    left, right = algorithm["left"], algorithm["right"]
    space = cm.Rotation(network.site("block_output", layer=1, position="{b[last]}"))
    alignment = fitted(cm.Alignment(algorithm, {left: space[:2], right: space[2:5]}))
    pairs = cm.counterfactuals(algorithm, 12, seed=0, swap=[{left}, {right}, {left, right}])
    seen = []
    for rows, call in pyvene_calls(alignment, pairs, chunk=3):
        assert len(rows) <= 3
        (swap,) = set(pairs.swap[rows].tolist())
        taken = [source is not None for source in call["sources"]]
        assert taken == [v in pairs.swaps[swap].variables for v in (left, right)]
        assert call["subspaces"] == [[[0]] * len(rows), [[1]] * len(rows)]
        seen += rows.tolist()
    assert sorted(seen) == list(range(12))


@pytest.mark.slow
def test_pyvene_says_nothing_on_stdout() -> None:
    code = """
import sys
import commutes as cm
from tests.planted import exact
assert "pyvene" not in sys.modules
algorithm, network, alignment = exact()
pairs = cm.counterfactuals(algorithm, 20, seed=0)
cm.evaluate(alignment, pairs, engine="pyvene")
cm.from_pyvene(cm.to_pyvene(alignment), algorithm, network, variables=alignment.variables)
assert "pyvene" in sys.modules
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert ended.stdout == ""


@pytest.mark.slow
def test_pyvene_alone_would_have_said_something() -> None:
    loud = subprocess.run([sys.executable, "-c", "import pyvene"], capture_output=True, text=True, check=True)
    assert loud.stdout != ""


def test_the_page_shows_code_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "pyvene.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    algorithm, network = sums("gpt2"), M.network("gpt2", dtype=torch.float32)
    left, right = algorithm["left"], algorithm["right"]
    train, test = cm.counterfactuals(algorithm, 24, seed=0).split(train=0.5, test=0.5)
    names: dict[str, Any] = {
        "algorithm": algorithm, "network": network, "alignment": claims_of_float32(network, algorithm),
        "train": train, "test": test, "left": left, "right": right,
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    exec(code, names)
    assert apart(names["back"], names["alignment"]) < ANGLE
    assert names["second"].label == "through pyvene"
    assert (tmp_path / "exported" / "config.json").exists()


# What cannot be exchanged is refused.


def refused(error: type[Exception], words: str, what: Any) -> None:
    with pytest.raises(error) as caught:
        what()
    assert words in str(caught.value)


def test_maps_that_pyvene_does_not_have_are_refused() -> None:
    algorithm, network = sums("gpt2"), M.network("gpt2")
    space = cm.Rotation(network.site("block_output", layer=1, position="last"))
    claim = cm.Alignment(algorithm, {algorithm["left"]: space[:2]})
    refused(AlignmentError, "the alignment is not fitted", lambda: cm.to_pyvene(claim))
    reader = torch.eye(16, dtype=torch.float64)[:, :2]
    writer = reader + torch.eye(16, dtype=torch.float64)[:, 2:4]
    leaning = cm.Oblique(network.site("block_output", layer=1, position="last"))
    oblique = cm.Alignment(algorithm, {algorithm["left"]: leaning[:2]}).with_maps([Subspace(reader, writer)])
    refused(AlignmentError, "an oblique map", lambda: cm.to_pyvene(oblique))

    class Cube:
        def read(self, state: torch.Tensor, /) -> torch.Tensor:
            return state[..., :2] ** 3

        def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
            return state

    refused(AlignmentError, "Cube", lambda: cm.to_pyvene(claim.with_maps([Cube()])))
    # A subspace where neurons were declared would be swapped by columns that nobody named.
    neurons = cm.Coordinates(network.site("block_output", layer=1, position="last"))
    plain = cm.Alignment(algorithm, {algorithm["left"]: neurons[:2]})
    swapped = plain.with_maps([Subspace(reader, reader)])
    refused(AlignmentError, "a Subspace for neurons", lambda: cm.to_pyvene(swapped))


def test_interventions_that_are_no_subspace_are_refused() -> None:
    pv = pyvene()
    algorithm, network = sums("gpt2"), M.network("gpt2")
    left, right = algorithm["left"], algorithm["right"]

    def back(model: Any, variables: Any = (left,), position: Any = "last") -> Any:
        return lambda: cm.from_pyvene(model, algorithm, network, variables=variables, position=position)

    def made(*representations: Any, **options: Any) -> Any:
        config = pv.IntervenableConfig(list(representations), **options)
        return pv.IntervenableModel(config, M.model("gpt2"))

    def at(layer: int, intervention: Any, **fields: Any) -> Any:
        unit = fields.pop("unit", "pos")
        return pv.RepresentationConfig(layer, "block_output", unit, 1, intervention=intervention, **fields)

    def low_rank(width: int = 16) -> Any:
        with torch.random.fork_rng():
            return pv.LowRankRotatedSpaceIntervention(embed_dim=width, low_rank_dimension=2).double()

    refused(AlignmentError, "got:      str", back("a model"))
    refused(AlignmentError, "mode 'serial'", back(made(at(1, low_rank()), mode="serial")))
    added = pv.AdditionIntervention(embed_dim=16)
    refused(AlignmentError, "a AdditionIntervention", back(made(at(1, added))))
    with torch.random.fork_rng():
        boundless = pv.BoundlessRotatedSpaceIntervention(embed_dim=16, subspace_partition=[[0, 2], [2, 4]])
    refused(AlignmentError, "with a partition, which it does not look at", back(made(at(1, boundless))))
    constant = pv.VanillaIntervention(embed_dim=16, source_representation=torch.zeros(16))
    refused(AlignmentError, "a constant for its source", back(made(at(1, constant))))
    refused(AlignmentError, "on unit 'h'", back(made(at(1, low_rank(), unit="h"))))
    shared = low_rank()
    linked = made(at(0, shared, intervention_link_key=0), at(2, shared, intervention_link_key=0))
    refused(AlignmentError, "one map at several places", back(linked, (left, right)))
    good = made(at(1, low_rank()))
    refused(AlignmentError, "variables and parts differ in number", back(good, (left, right)))
    refused(AlignmentError, "a map of 24 coordinates", back(made(at(1, low_rank(24)))))
    other = pv.IntervenableModel(pv.IntervenableConfig([at(1, low_rank())]), M.model("gpt2", n_layer=2))
    refused(AlignmentError, "other weights than the network", back(other))


def test_variables_of_one_map_are_at_one_place() -> None:
    algorithm, network = sums("gpt2"), M.network("gpt2")
    left, right = algorithm["left"], algorithm["right"]
    theirs = of_a_user(M.model("gpt2"), subspace_partition=[[0, 2], [2, 6]])
    apart_ = {left: "last", right: "{b[last]}"}
    refused(
        AlignmentError,
        "variables of one map are at one place",
        lambda: cm.from_pyvene(theirs, algorithm, network, variables=[left, right], position=apart_),
    )


def test_an_unknown_engine_is_refused() -> None:
    algorithm, _, alignment = exact()
    pairs = cm.counterfactuals(algorithm, 10, seed=0)
    refused(EngineError, "'commutes' or 'pyvene'", lambda: cm.evaluate(alignment, pairs, engine="nnsight"))  # type: ignore[arg-type]
