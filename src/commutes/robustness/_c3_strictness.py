"""C3: does what lies outside the alignment leave the answer alone?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.engine import Featurizer
from commutes.errors import FitError
from commutes.features import swap
from commutes.robustness._a9_reach import NOTHING
from commutes.robustness._case import Case, Outcome, pairs_needed
from commutes.robustness._resampling import Beside, Taken, agreements, taken
from commutes.stats import Answer, Rate, gate, show
from commutes.training import Rest, rest_of, way_around
from commutes.training._iit_rest import whole

# Units that are taken one by one, and inputs on which each is: they are reported, the gate is on all at once.
UNITS, INPUTS = 32, 128


def strict(case: Case) -> Outcome:
    """How often the network's answer stays when all coordinates that carry no variable come from another input.

    Those that carry one are held as in the base, at every site. Where that leaves the answer open, the other input
    agrees on whatever else decides it.

    See Inducing Causal Structure for Interpretable Neural Networks, arXiv 2112.00826.
    """
    least, held = case.thresholds.strictness, agreements(case)
    try:
        rest = _rest(case)
    except FitError as error:
        what = f"{error.what}: {error.got}"
        return Outcome(Answer.VACUOUS, "nothing can be resampled", {"least": least}, reason=what)
    pairs = taken(case.test, np.unique(case.test.base), np.random.default_rng([case.seed, 63]), held)
    if not len(pairs):
        reason = _nobody(case, held)
        return Outcome(Answer.VACUOUS, "nothing can be resampled", {"least": least}, reason=reason)
    found = _measured(case, rest, pairs)
    joint = pairs.rate(found.joint)
    answer = gate(joint, least)
    reason = None if answer is Answer.REFUTED else _powerless(case, rest, found, pairs, least)
    return Outcome(
        Answer.VACUOUS if reason else answer,
        f"the answer stays in {joint} when all that carries no variable is taken from another input{_among(held)}, at"
        f" least {show(least)}{_alone(found.units)}",
        {
            "joint": joint.as_dict(),
            "least": least,
            "everything": pairs.rate(found.everything).as_dict(),
            "units": {name: share.as_dict() for name, share in found.units.items()},
            "left_out": rest.units - len(found.units),
            "agree_on": {
                str(site): [v.name for v in some]
                for site, some in zip(case.alignment.sites, held, strict=True)
            },
            "without_another": pairs.alone,
            "changed": pairs.members[~found.joint][:10].tolist(),
            "seed": case.seed,
        },
        n_to_decide=pairs_needed(
            answer, least, (joint.rate, joint.lower, joint.upper), len(case.test), complete=case.test.complete
        ),
        reason=reason,
        forward_passes=found.runs,
        refuted_at=lambda alpha: gate(pairs.rate(found.joint, alpha=alpha), least) is Answer.REFUTED,
    )


def _among(held: Sequence[Sequence[Variable]]) -> str:
    if len(set(held)) > 1:
        return " that agrees on whatever else decides there"
    return f" that agrees on {_listed(held[0])}" if held[0] else ""


def _nobody(case: Case, held: Sequence[Sequence[Variable]]) -> str:
    """Why no input has another to take from."""
    wanted = min(held, key=len)
    if not wanted:
        return "there is one base"
    path = way_around(case.alignment)
    nobody = f"no two inputs agree on {_listed(wanted)}: align {_listed(wanted)}"
    return f"{path} passes no aligned variable, and {nobody}" if path else nobody


def _listed(variables: Sequence[Variable]) -> str:
    return " and ".join(v.name for v in variables)


@dataclass(frozen=True, eq=False)
class _Found:
    joint: np.ndarray
    """Whether each answer stays when all units are taken."""
    everything: np.ndarray
    """And when all coordinates of the sites are, those of the variables too."""
    units: dict[str, Rate]
    runs: int


def _rest(case: Case) -> Rest:
    prepared = case.bench.prepared
    written = {
        site: tuple(prepared.positions[site].get(i) for i in range(len(layout.places)))
        for site, layout in prepared.plan.items()
    }
    return rest_of(case.alignment, prepared.plan, written)


def _measured(case: Case, rest: Rest, pairs: Taken) -> _Found:
    alignment, device = case.alignment, case.alignment.network.device
    sizes = [group.dimension for group in alignment.groups]
    held = [Beside(a, m, k) for a, m, k in zip(alignment.featurizers, rest.maps, sizes, strict=True)]
    columns = pairs.source.shape[1]
    inputs, where = np.unique(pairs.base, return_inverse=True)
    itself = Taken(
        inputs, np.repeat(inputs[:, None], columns, axis=1), pairs.column, 0, whole=False, drawn=False
    )
    clean = _said(case, held, _masks(rest, None, sizes, pairs, device), itself)[where]

    def stays(
        maps: Sequence[Featurizer], masks: Sequence[torch.Tensor], of: Taken, rows: np.ndarray
    ) -> np.ndarray:
        said = _said(case, maps, masks, of)
        if case.bench.answers.spelling is None:
            return case.bench.answers.match(said, clean[rows])
        return (said == clean[rows]).reshape(len(said), -1).all(axis=1)

    every = np.arange(len(pairs))
    joint = stays(held, _masks(rest, None, sizes, pairs, device), pairs, every)
    widths = [group.width for group in alignment.groups]
    slot = [torch.arange(columns + 1, device=device)[None, :, None] == c for c in pairs.column]
    all_of_it = [one.expand(1, -1, width) for one, width in zip(slot, widths, strict=True)]
    everything = stays(whole(widths, device), all_of_it, pairs, every)
    rng = np.random.default_rng([case.seed, 64])
    units = np.sort(rng.choice(rest.units, min(UNITS, rest.units), replace=False))
    rows, few = pairs.some(INPUTS, rng)
    single = {}
    for unit in units:
        masks = _masks(rest, torch.tensor([unit]), sizes, pairs, device)
        single[rest.name(int(unit))] = few.rate(stays(held, masks, few, rows))
    return _Found(joint, everything, single, len(inputs) + 2 * len(pairs) + len(units) * len(few))


def _masks(
    rest: Rest, unit: torch.Tensor | None, sizes: Sequence[int], pairs: Taken, device: torch.device
) -> list[torch.Tensor]:
    """Per site what comes from where: units from the site's own other input, variables from the base, which is last.

    Args:
        rest: The units.
        unit: One of them; None is all.
        sizes: Coordinates that carry a variable, per site.
        pairs: Who takes from whom.
        device: Of the masks.

    Returns:
        Shape of each: (1, columns + 1, k + units).
    """
    found, slots = [], pairs.source.shape[1] + 1
    for units, size, column in zip(rest.masks(unit, 1, device), sizes, pairs.column, strict=True):
        mask = torch.zeros(1, slots, size + units.shape[2], dtype=torch.bool, device=device)
        mask[:, column, size:] = units[:, 0]
        mask[:, -1, :size] = True
        found.append(mask)
    return found


def _said(case: Case, maps: Sequence[Featurizer], masks: Sequence[torch.Tensor], pairs: Taken) -> np.ndarray:
    """What is answered when something is taken from the other inputs and from the base itself, alike for all pairs.

    The likeliest columns, since answers that are no value of the output differ from one another, too; or what a custom
    `decode=` makes of the logits.
    """
    bench = case.bench
    first = np.zeros(len(case.test.ids), np.int64)
    first[case.test.base] = np.arange(len(case.test))
    runs = bench.edited(
        maps,
        rows=first[pairs.base],
        source=np.concatenate([pairs.source, pairs.base[:, None]], axis=1),
        masks=[mask.expand(len(pairs), -1, -1) for mask in masks],
    )
    columns = bench.answers.spelling is not None
    return np.concatenate(
        [logits.argmax(dim=-1).cpu().numpy() if columns else bench.answers.decode(logits) for logits in runs]
    )


def _powerless(case: Case, rest: Rest, found: _Found, pairs: Taken, least: float) -> str | None:
    """Why an answer that stays says nothing."""
    moved = _moved(case, rest, pairs)
    if moved < NOTHING:
        return f"what lies outside the alignment hardly differs between inputs: {moved:.1g} of the whole difference"
    everything = pairs.rate(found.everything)
    if everything.upper >= least:
        return f"the answer stays as well, in {everything}, when all coordinates of the sites are taken"
    return None


def _moved(case: Case, rest: Rest, pairs: Taken) -> float:
    """Length of the difference outside the alignment over that of the whole one."""
    _, some = pairs.some(case.bench.at_once, np.random.default_rng([case.seed, 65]))
    base, source = torch.from_numpy(some.base), torch.from_numpy(some.source)
    prepared, total = case.bench.prepared, np.zeros(2)
    here, there = (prepared.batch(base, x).sources for x in (base.unsqueeze(1), source))
    with torch.no_grad():
        for one, other, column, outside in zip(here, there, pairs.column, rest.maps, strict=True):
            old, new = one[:, 0], other[:, column]
            total[0] += float((swap(outside, old, new) - old).double().square().sum())
            total[1] += float((new - old).double().square().sum())
    return float(np.sqrt(total[0] / total[1])) if total[1] > 0 else 0.0


def _alone(units: dict[str, Rate]) -> str:
    name, worst = min(units.items(), key=lambda pair: pair[1].rate)
    if worst.rate == 1:
        return f"; no answer changes with one of {len(units)} units alone"
    return f"; of {len(units)} units alone the worst is {name}, {show(worst.rate)}"
