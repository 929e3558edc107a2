"""What a claim was tried on, in words: what is known when it is fixed, then what the checks that ran have added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.robustness._case import Outcome
from commutes.robustness._replacements import INTERCHANGE, MEAN, NOISE, RESAMPLE
from commutes.stats import Answer
from commutes.training import METHODS

# A check that has no power, or was not run, has not tried anything.
_TRIED = {str(answer.value) for answer in (Answer.SUPPORTED, Answer.REFUTED, Answer.INCONCLUSIVE)}

NOT_TESTED = "not tested"
_REST = "whatever is not run below"
_PUTS = {
    RESAMPLE: "other inputs with the source's value",
    MEAN: "the value's mean",
    NOISE: "draws about that mean",
}


def scope_of(alignment: Alignment, test: Counterfactuals, *, every_input: bool) -> dict[str, str]:
    """What the claim's own measurement covers: one network, one fit, the test pairs, swaps with clean sources."""
    if test.complete:
        inputs = f"the complete domain, {len(test):,} pairs of {len(test.ids):,} inputs"
    else:
        again = "; inputs recur, intervals allow for it" if test.reused else ""
        inputs = f"{len(test):,} pairs of {len(test.ids):,} distinct inputs, {test.distribution}{again}"
    if every_input:
        inputs += "; claimed of every input of the domain"
    learnt = any(group.features.learnt for group in alignment.groups)
    seed, method = (alignment.history.get(name, "unknown") for name in ("seed", "method"))
    how = f"maps computed by {method}" if method in METHODS else "one fit"
    fit = f"{how} (seed {seed})" if learnt else "nothing fitted"
    return {
        "network": f"one network: {alignment.network.name}",
        "inputs": inputs,
        "replacements": "interchange with clean sources",
        "seeds": f"{fit}, one network",
    }


def tried(scope: Mapping[str, str], outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """The scope with what checks have added to it, and what is left that nobody has tried.

    Args:
        scope: Of the claim.
        outcomes: Check id to what it found; what it has no power for, or did not run, adds nothing.
    """
    found = dict(scope)
    shifts, networks = _shifts(outcomes), _networks(outcomes)
    puts, fits = _replacements(outcomes), _fits(outcomes)
    if shifts:
        found["inputs"] += f"; E1 shifts them to {_listed(shifts)}"
    if networks:
        found["network"] += f"; E4 fits the claim again on {networks} others"
    if puts:
        found["replacements"] += f"; A7 puts {_listed(puts)} in their place"
    if fits:
        found["seeds"] += f"; E3 fits it {fits} times again"
    left = {"other inputs": shifts, "other networks": networks, "other replacements": puts}
    names = ", ".join(name for name, tests in left.items() if not tests)
    return found | {NOT_TESTED: f"{names}; {_REST}" if names else _REST}


def _rows(outcomes: Mapping[str, Outcome], check: str, figure: str) -> list[Mapping[str, object]]:
    """What a check's figures list, of which each line has an answer of its own; of those that found one."""
    if not _answered(outcomes, check):
        return []
    return [row for row in outcomes[check].figures[figure] if row["answer"] in _TRIED]


def _answered(outcomes: Mapping[str, Outcome], check: str) -> bool:
    return check in outcomes and str(outcomes[check].answer.value) in _TRIED


def _shifts(outcomes: Mapping[str, Outcome]) -> list[str]:
    return [str(row["name"]) for row in _rows(outcomes, "E1", "shifts")]


def _networks(outcomes: Mapping[str, Outcome]) -> int:
    return len(_rows(outcomes, "E4", "networks"))


def _replacements(outcomes: Mapping[str, Outcome]) -> list[str]:
    names = [str(row["replacement"]) for row in _rows(outcomes, "A7", "combinations")]
    return [_PUTS.get(name, name) for name in dict.fromkeys(names) if name != INTERCHANGE]


def _fits(outcomes: Mapping[str, Outcome]) -> int:
    return outcomes["E3"].figures["fits"] - 1 if _answered(outcomes, "E3") else 0


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
