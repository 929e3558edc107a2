"""`evaluate` against an oracle that shares no code with it: every count, on a claim that is neither right nor wrong."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from commutes import Algorithm, Alignment, Network, Rotation, census, counterfactuals, evaluate, one_source
from commutes.features import Subspace
from commutes.network import MLP

from . import oracle

VALUES = range(3)
ANSWERS = ["less", "same", "more"]


def comparison() -> Algorithm:
    """total = (a + b) mod 3, twice = 2c mod 3, verdict = how they compare: three answers, two variables."""
    algorithm = Algorithm("comparison")
    a, b, c = algorithm.inputs("a b c", domain=VALUES)
    total = algorithm.add("total", a, b, f=lambda a, b: (a + b) % 3, domain=VALUES)
    twice = algorithm.add("twice", c, f=lambda c: 2 * c % 3, domain=VALUES)
    algorithm.add("verdict", total, twice, f=_verdict, domain=ANSWERS, output=True)
    return algorithm.check()


def _verdict(total, twice):
    return ANSWERS[1 + (total > twice) - (total < twice)]


def by_hand(row, do):
    total = do.get("total", (row["a"] + row["b"]) % 3)
    twice = do.get("twice", 2 * row["c"] % 3)
    return {"total": total, "twice": twice, "verdict": _verdict(total, twice)}


def encode(values):
    return torch.from_numpy(np.stack([values[n] for n in "abc"], axis=1).astype(np.float32))


ORDER = ["more", "unsure", "less", "same", "never"]


@pytest.fixture(scope="module")
def claim():
    """A random network of six logits, one of them nameless, and random subspaces of 2 and 1 dimensions."""
    algorithm = comparison()
    module = MLP([3, 7, 5, 6], seed=4)
    network = Network(module, encode=encode, answers=ORDER, blocks="layers")
    rotation = Rotation(network.site("layers.0"))
    claim = Alignment(algorithm, {algorithm["total"]: rotation[:2], algorithm["twice"]: rotation[2:3]})
    basis = torch.linalg.qr(torch.randn(7, 3, generator=torch.Generator().manual_seed(1))).Q
    return claim.with_maps([Subspace(basis, basis)])


def designs(algorithm):
    total, twice = algorithm["total"], algorithm["twice"]
    return {
        "census": census(algorithm),
        "sampled": counterfactuals(algorithm, 300, seed=2),
        "joint": counterfactuals(algorithm, 240, swap=[{total}, {total, twice}], seed=3),
        "one source": counterfactuals(algorithm, 120, swap=[one_source(total, twice)], seed=3),
        "tiny": counterfactuals(algorithm, 10, seed=5),
    }


NAMES = ["census", "sampled", "joint", "one source", "tiny"]


def counted(claim, pairs):
    network, algorithm = claim.network, claim.algorithm
    module = network.module
    plain = {v.name: algorithm.values(v, pairs.inputs[v.name]) for v in algorithm.input_variables}
    inputs = [{name: column[i] for name, column in plain.items()} for i in range(len(pairs.ids))]
    rows = list(encode({name: np.array(column) for name, column in plain.items()}))
    listed = []
    for base, source, swap in zip(pairs.base, pairs.source, pairs.swap, strict=True):
        chosen = pairs.swaps[swap]
        listed.append(
            (
                int(base),
                [int(s) for s in source],
                {v.name: 0 if chosen.shared else i for i, v in enumerate(chosen.variables)},
            )
        )
    basis = claim.featurizers[0].reader
    return oracle.evaluation(
        module=module,
        stop=module.layers[0],
        rows=rows,
        answer_of=[*ORDER, None],
        inputs=inputs,
        pairs=listed,
        run=by_hand,
        output="verdict",
        bases={"total": basis[:, :2], "twice": basis[:, 2:]},
    )


@pytest.fixture(scope="module", params=NAMES)
def both(claim, request):
    pairs = designs(claim.algorithm)[request.param]
    return pairs, evaluate(claim, pairs), counted(claim, pairs)


def shared(label: str) -> str:
    return label.replace(" (one source)", "")


def test_every_hit_is_the_oracles(both):
    pairs, found, wanted = both
    assert found.hits.tolist() == wanted["hits"]
    assert pairs.effective.tolist() == wanted["effective"]
    assert len(pairs) == 10 or 0 < sum(wanted["hits"]) < len(pairs)
    rate = found.overall
    assert (rate.hits, rate.n) == (sum(wanted["hits"]), len(pairs))
    effective = [h for h, e in zip(wanted["hits"], wanted["effective"], strict=True) if e]
    assert (found.effective.hits, found.effective.n) == (sum(effective), len(effective))
    assert (found.accuracy.hits, found.accuracy.n) == wanted["accuracy"]


def test_every_pair_is_in_one_cell_and_every_cell_is_the_oracles(both):
    pairs, found, wanted = both
    measured = {
        (shared(c.swap), c.stratum): (c.rate.hits, c.rate.n) for c in found.cells if c.rate is not None
    }
    assert measured == wanted["cells"]
    assert sum(n for _, n in measured.values()) == len(pairs)
    for cell in found.cells:
        if cell.rate is None:
            assert (shared(cell.swap), cell.stratum) not in wanted["cells"]
            assert cell.status in ("impossible", "too small")


def test_variables_transitions_and_directions_are_the_oracles(both):
    pairs, found, wanted = both
    by_swap = Counter(pairs.swaps[s].label for s in pairs.swap)
    assert {name: r.n for name, r in found.variables.items()} == dict(by_swap)
    assert sum(r.hits for r in found.variables.values()) == sum(wanted["hits"])
    for name in ("transitions", "directions"):
        changes = {(shared(c.swap), c.before, c.after): (c.rate.hits, c.rate.n) for c in getattr(found, name)}
        assert changes == wanted[name]


def test_doing_nothing_and_a_constant_reach_what_counting_says(both):
    pairs, found, _ = both
    expected = pairs.algorithm.values(pairs.algorithm.output_variable, pairs.expected)
    clean = [
        found.pairs.algorithm.values("verdict", np.array([c]))[0] if c >= 0 else None for c in clean_of(found)
    ]
    nothing = [clean[b] == e for b, e in zip(pairs.base, expected, strict=True)]
    by_swap = {
        s: Counter(e for e, t in zip(expected, pairs.swap, strict=True) if t == s) for s in set(pairs.swap)
    }
    common = sum(counts.most_common(1)[0][1] for counts in by_swap.values())
    assert (found.floors["do nothing"].hits, found.floors["do nothing"].n) == (sum(nothing), len(pairs))
    assert found.floors["best constant"].hits == common
    assert found.floors["random subspace"].n == 5 * len(pairs)
    for cell in found.cells:
        if cell.rate is None:
            assert cell.floors == {}
            continue
        rows = [
            i
            for i in range(len(pairs))
            if (pairs.swaps[pairs.swap[i]].label, pairs.strata[pairs.stratum[i]]) == (cell.swap, cell.stratum)
        ]
        assert cell.floors["do nothing"] == pytest.approx(np.mean([nothing[i] for i in rows]))
        assert cell.inputs == len({i for r in rows for i in pairs.members[r] if i >= 0})


def clean_of(found):
    """The network's own answers, by the oracle's forward passes."""
    pairs = found.pairs
    module = MLP([3, 7, 5, 6], seed=4)
    plain = {v.name: pairs.algorithm.values(v, pairs.inputs[v.name]) for v in pairs.algorithm.input_variables}
    answers = []
    for row in encode({name: np.array(column) for name, column in plain.items()}):
        named = [*ORDER, None][oracle.argmax(oracle.forward(module, module.layers[0], row)[0])]
        answers.append(ANSWERS.index(named) if named in ANSWERS else -1)
    return answers


def probability(row):
    """Uniform over the values of total and twice, then over the inputs that give them: three a's for each total."""
    return 1 / 27


def natural_by_hand(pairs, swap, wanted):
    """Sum over cells of their probability times their rate, all by loops; None where a cell is missing."""
    swapped, one = swap.label.replace(" (one source)", "").split("+"), swap.shared or len(swap.variables) == 1
    rows = [dict(zip("abc", values, strict=True)) for values in itertools.product(VALUES, repeat=3)]
    mass = defaultdict(float)
    for base in rows:
        for sources in itertools.product(rows, repeat=1 if one else 2):
            got = [by_hand(source, {}) for source in sources]
            do = {name: got[0 if one else i][name] for i, name in enumerate(swapped)}
            expected, answer = by_hand(base, do)["verdict"], by_hand(base, {})["verdict"]
            cell = oracle.stratum(expected, answer, [g["verdict"] for g in got]), expected
            mass[cell] += probability(base) * np.prod([probability(s) for s in sources])
    hits = defaultdict(list)
    answers = pairs.algorithm.values("verdict", pairs.expected)
    for i, hit in enumerate(wanted["hits"]):
        if pairs.swaps[pairs.swap[i]] is swap:
            hits[pairs.strata[pairs.stratum[i]], answers[i]].append(hit)
    if any(cell not in hits for cell in mass):
        return None
    return sum(share * np.mean(hits[cell]) for cell, share in mass.items())


def test_natural_weighs_stratum_and_answer_as_the_distribution_does(both):
    pairs, found, wanted = both
    means = []
    for swap in pairs.swaps:
        value, mean = found.natural[swap.label], natural_by_hand(pairs, swap, wanted)
        means.append(mean)
        if mean is None:
            assert value is None
            continue
        assert value[0] == pytest.approx(mean)
        assert value[1] <= value[0] <= value[2]
        assert pairs.complete == (value[1] == value[2])
    if None in means:
        assert found.natural_mean is None
    else:
        assert found.natural_mean[0] == pytest.approx(np.mean(means))
        assert found.natural_mean[1] <= found.natural_mean[0] <= found.natural_mean[2]


def test_the_worst_cell_has_the_smallest_rate_and_bounds_of_the_minimum(both):
    from commutes.stats import lower_bound, upper_bound

    pairs, found, _ = both
    gated = [c for c in found.cells if c.status == "gated"]
    if not gated:
        assert found.worst is None
        return
    assert found.worst.cells == len(gated)
    short = [c for c in found.cells if c.status == "too small" and c.weight > 0]
    assert found.worst.too_small == len(short)
    must_change = [(c.swap, c.stratum) for c in short if c.stratum in ("flip", "novel") or "b=0" in c.stratum]
    assert list(found.ungated) == must_change
    assert found.worst.rate == min(c.rate.rate for c in gated)
    lows, highs = [], []
    for cell in gated:
        rows = [
            i
            for i in range(len(pairs))
            if (pairs.swaps[pairs.swap[i]].label, pairs.strata[pairs.stratum[i]]) == (cell.swap, cell.stratum)
        ]
        hits, members = found.hits[rows], pairs.members[rows]
        lows.append(hits.mean() if pairs.complete else lower_bound(hits, members, alpha=0.05))
        highs.append(hits.mean() if pairs.complete else upper_bound(hits, members, alpha=0.05 / len(gated)))
    assert found.worst.lower == pytest.approx(min(lows))
    assert found.worst.upper == pytest.approx(min(highs))
    assert found.worst.lower <= found.worst.rate <= found.worst.upper + 1e-12


def test_small_cells_are_shown_and_not_gated(both):
    pairs, found, _ = both
    for cell in found.cells:
        if cell.rate is None:
            continue
        enough = pairs.complete or (cell.rate.n >= 59 and cell.inputs >= 59)
        assert cell.status == ("gated" if enough else "too small")


def test_the_record_is_what_readers_expect(both):
    import json

    from commutes.report import as_evaluation

    _, found, _ = both
    record = found.record()
    as_evaluation(record)
    json.dumps(record, allow_nan=False)
    assert record["n"] == len(found.pairs)
    assert len(record["cells"]) == len(found.cells)
    assert str(found).startswith("IIA, ")
