"""What a challenge will take, said before anything is opened; and a budget that it keeps to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.errors import DataError
from commutes.evaluation import DRAWS
from commutes.report import CATALOGUE
from commutes.robustness._off_task import MOST
from commutes.robustness._refits import Procedure
from commutes.robustness._rival_algorithms import MADE
from commutes.training import ClosedForm

Budget = int | timedelta
"""Forward passes, or time. Which checks fit into a time depends on the machine: such a card may not come again."""

# What is known about every claim before its first check: the network's answers, its swaps and the floors beside them.
ALWAYS = frozenset({"A1", "A2", "A3"})


def planned(
    alignment: Alignment,
    train: Counterfactuals | None,
    select: Counterfactuals | None,
    test: Counterfactuals,
    *,
    settings: Procedure,
    refits: int,
    controls: int,
    rivals: int = 0,
    variants: int = 0,
    networks: int = 0,
    shifts: int = 0,
    off_task: int = 0,
) -> dict[str, int]:
    """Inputs that the network will be run on, about, by check of the catalogue.

    A check without refits takes its passes for each measured pair. Refits are counted as if none of them ended early.

    Args:
        alignment: The claim.
        train: What it was fitted on.
        select: What its step and start were chosen on.
        test: What is measured.
        settings: How it was fitted.
        refits: On untrained networks, and from other seeds.
        controls: Control functions of every variable.
        rivals: Rival algorithms that were declared, beside which some are made.
        variants: Other positions and templates.
        networks: Other trained networks.
        shifts: Declared ones, each with as many pairs as the test and their inputs.
        off_task: Inputs that the claim says nothing about.
    """
    fit = 0 if train is None else _fit(settings, train, select)
    each = len(test) + (fit if _learnt(alignment) else 0)
    swapped = sum(variable.kind == "inner" for variable in alignment.variables)
    again = refits if _learnt(alignment) else 0
    fits = {"B1": refits, "B2": controls * swapped, "E3": again, "E4": networks}
    known = {name: count * each for name, count in fits.items()}
    known |= {"A1": len(test.ids), "A2": (1 + DRAWS) * len(test)}
    # What was run for others is not run again: A2's swaps, and B1's refits.
    known |= dict.fromkeys(("A3", "A5", "A9", "C1"), 0)
    # A rival is fitted where the claim was not, too; without pairs to fit on it is not even measured.
    known["E5"] = 0 if train is None else (rivals + MADE) * (fit + len(test))
    times = {"A7": 1 + variants}
    known["E1"] = 3 * shifts * len(test)
    known["C9"] = (1 + len(test.swaps)) * min(off_task, MOST)
    return {
        entry.id: known.get(entry.id, times.get(entry.id, 1) * entry.effort * len(test))
        for entry in CATALOGUE
    }


def _learnt(alignment: Alignment) -> bool:
    return any(group.features.learnt for group in alignment.groups)


def _fit(settings: Procedure, train: Counterfactuals, select: Counterfactuals | None) -> int:
    if isinstance(settings, ClosedForm):
        return len(train.ids)
    # At the beginning, then every so many steps.
    measured = 0 if select is None else (1 + settings.steps // settings.every) * len(select)
    return settings.fits * (settings.steps * settings.batch + measured)


def check_budget(budget: Budget | None) -> None:
    """Refuse what is no budget.

    Raises:
        DataError: Neither a number of forward passes nor a time, or nothing at all.
    """
    number = isinstance(budget, int) and not isinstance(budget, bool) and budget > 0
    time = isinstance(budget, timedelta) and budget > timedelta(0)
    if budget is not None and not (number or time):
        raise DataError(
            "budget= is a number of forward passes or a time",
            got=repr(budget),
            expected="a whole number above 0, or a timedelta above 0",
            fix="such as 5_000_000, or timedelta(minutes=10)",
        )


def beyond(budget: Budget | None, needed: int, spent: int, seconds: float) -> str | None:
    """Why a check does not fit into what is left of the budget; None where it does.

    Args:
        budget: In all.
        needed: Forward passes that the check will take.
        spent: Forward passes so far.
        seconds: So far; a forward pass is taken to need as long as those before it.
    """
    if budget is None:
        return None
    if isinstance(budget, timedelta):
        expected = needed * seconds / spent if spent else 0.0
        left = budget.total_seconds() - seconds
        if expected <= left:
            return None
        return (
            f"it would take about {expected:,.0f} seconds, and {max(0.0, left):,.0f} of the"
            f" {budget.total_seconds():,.0f} seconds of the budget are left"
        )
    left = max(0, budget - spent)
    if needed <= left:
        return None
    return f"it would take about {needed:,} forward passes, and {left:,} of the {budget:,} of the budget are left"


def told(passes: Mapping[str, int]) -> dict[str, str]:
    """The dearest checks with their passes, for a line of progress."""
    dearest = sorted(passes, key=lambda name: -passes[name])[:3]
    return {name: f"{passes[name]:,}" for name in dearest if passes[name]}
