"""Run the checks against a claim that was fixed first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from commutes.algorithm import Algorithm
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.errors import AlignmentError, DataError
from commutes.evaluation import bench, label_of, measure
from commutes.network import Network
from commutes.report import CATALOGUE, LEVELS
from commutes.robustness._a3_adequacy import adequacy_of
from commutes.robustness._case import Case, Declared, Outcome, Progress, Thresholds
from commutes.robustness._claim import fixed_claim, opened
from commutes.robustness._cost import ALWAYS, Budget, beyond, check_budget, planned, told
from commutes.robustness._declared import check_networks, check_variants
from commutes.robustness._multiplicity import corrected
from commutes.robustness._off_task import Given as OffTaskInputs
from commutes.robustness._off_task import check_apart, off_task_of
from commutes.robustness._refits import Procedure, Refit, reseeded, untrained
from commutes.robustness._registry import CHECKS
from commutes.robustness._report import Report, Timed
from commutes.robustness._rungs import rungs_of
from commutes.robustness._shift import Shift
from commutes.stats import Answer
from commutes.training import METHODS, ClosedForm, Settings

PASSES, REFITS = "forward passes", "refits"
IN_PYTHON = "a call of challenge in Python, with the seeds and versions above"


def challenge(
    alignment: Alignment,
    *,
    test: Counterfactuals,
    train: Counterfactuals | None = None,
    select: Counterfactuals | None = None,
    level: str = "R2",
    target: float = Thresholds.target,
    behaviour: float = Thresholds.behaviour,
    refits: int = 5,
    controls: int = 3,
    seed: int = 0,
    budget: Budget | None = None,
    rivals: Mapping[str, Algorithm] | None = None,
    variants: Mapping[str, Alignment] | None = None,
    networks: Sequence[Network] = (),
    replicated: float = Thresholds.replicated,
    shifts: Sequence[Shift] = (),
    off_task: OffTaskInputs | None = None,
    damage: float = Thresholds.damage,
    every_input: bool = False,
    selection: Mapping[str, Any] | None = None,
    ledger: Path | None = None,
    reproduce: str = IN_PYTHON,
    progress: Progress | None = None,
) -> Report:
    """Try to break the claim: cheapest checks first, each answered with one of five words.

    Args:
        alignment: A fitted claim.
        test: Interventions on inputs that were neither fitted on nor selected on, or a complete domain.
        train: What it was fitted on; the nulls are fitted on the same. Not needed where nothing is learnt.
        select: What its start and step were chosen on; the nulls are chosen on the same.
        level: How far to go: "R1" behaves, "R2" controls, "R3" mediates, "R4" generalises, "R5" discriminates.
        target: Interchange-intervention accuracy that the worst cell must reach.
        behaviour: Accuracy that the network itself must reach.
        refits: Refits on untrained networks, at least 5.
        controls: Control functions per variable, at least 3.
        seed: Of the nulls and of the random subspaces.
        budget: Forward passes, or a timedelta, that the checks may take: those that do not fit are not run. What is
            planned is told before anything is opened, through `progress` and on the card.
        rivals: Other algorithms over the same inputs, by name, which the data must tell from the claim's (A3) and
            which must do worse in its place (E5).
        variants: The claim at other positions or under other templates, fitted on the same parts, by name: the verdict
            must be the same there (A7).
        networks: At least 3 networks that were trained for the task independently of the claim's and of each other,
            with modules of the same paths: the claim is fitted again on each (E4). Whether they are independent only
            their owner knows.
        replicated: Share of such networks that the claim must be shown to hold on; three of three show .368.
        shifts: Changes of the inputs under which the claim must hold without another fit, at least 2 (E1).
        off_task: Inputs that the claim says nothing about (C9): pairs of another algorithm for the same network, values
            by name of the claim's inputs, or (another claim, its pairs), which are then edited on each other's inputs.
        damage: Share of them whose answer an edit may change.
        every_input: Claim it of every input of the domain: one counterexample, found by chance, by going through all
            pairs or by a search, then refutes it (E2).
        selection: The record of the sweep from which the claim was chosen, for the card.
        ledger: A folder that counts how often the test split was opened, and keeps refits: a challenge that was broken
            off, or goes further another time, does not repeat them.
        reproduce: The command or call that makes the same card again.
        progress: Called with (stage, step, steps, figures).

    Raises:
        AlignmentError: The alignment or a variant is not fitted.
        NetworkError: Networks that are one and the same, or that the claim cannot be fitted on.
        DataError: The test pairs share inputs with the fit or the selection, train= or select= is missing, or a shift
            cannot be made of this claim.
    """
    _check_kinds(
        {"alignment": (alignment, Alignment), "test": (test, Counterfactuals)},
        {
            "train": (train, Counterfactuals), "select": (select, Counterfactuals), "rivals": (rivals, Mapping),
            "variants": (variants, Mapping), "networks": (networks, Sequence), "shifts": (shifts, Sequence),
            "every_input": (every_input, bool), "selection": (selection, Mapping), "ledger": (ledger, Path),
            **{
                f"rivals, {name!r}": (one, Algorithm)
                for name, one in (rivals.items() if isinstance(rivals, Mapping) else ())
            },
        },
    )  # fmt: skip
    _check_options(
        level,
        target=target,
        behaviour=behaviour,
        replicated=replicated,
        damage=damage,
        refits=refits,
        controls=controls,
        seed=seed,
    )
    check_budget(budget)
    learnt = any(group.features.learnt for group in alignment.groups)
    thresholds = Thresholds(target=target, behaviour=behaviour, replicated=replicated, damage=damage)
    _check_data(alignment, train, select, test, learnt=learnt)
    declared = Declared(
        rivals=rivals or {},
        variants=variants or {},
        networks=tuple(networks),
        shifts=tuple(shifts),
        off_task=off_task_of(off_task, alignment),
        every_input=every_input,
    )
    check_apart(declared.off_task, test)
    check_variants(declared.variants, test)
    check_networks(alignment, declared.networks)
    settings = _settings(alignment) if learnt else Settings()
    moved = rungs_of(shifts, alignment, test)
    claim = fixed_claim(
        alignment, test, thresholds, settings,
        level=level, seed=seed, refits=refits, controls=controls, rivals=declared.rivals,
        variants=declared.variants, networks=declared.networks,
        shifts=[rung.content() for rung in moved], every_input=every_input, off_task=declared.off_task,
    )  # fmt: skip
    costs = _costs(
        level,
        planned(
            alignment, train, select, test,
            settings=settings, refits=refits, controls=controls, rivals=len(declared.rivals),
            variants=len(declared.variants), networks=len(declared.networks),
            shifts=len(shifts), off_task=0 if declared.off_task is None else declared.off_task.n,
        ),
    )  # fmt: skip
    if progress is not None:
        progress(PASSES, 0, sum(costs.values()), told(costs))
    # Whether the data can tell the claim from its rivals is known from labels alone, before the network runs.
    adequate = adequacy_of(test, thresholds.adequacy, rivals)
    count = opened(alignment, test, claim, ledger)
    label = label_of(alignment, test, census=test.complete)
    evaluation = measure(alignment, test, label=label, seed=seed, target=target)

    folder = None if ledger is None else ledger / REFITS

    @cache
    def nulls() -> list[Refit]:
        return untrained(
            alignment, train, select, test,
            count=refits, settings=settings, seed=seed, folder=folder, progress=_staged(progress, "untrained networks"),
        )  # fmt: skip

    @cache
    def again() -> list[Refit]:
        assert train is not None  # asked only of claims that were fitted
        return reseeded(
            alignment, train, select, test,
            count=refits, settings=settings, seed=seed, folder=folder,
            progress=_staged(progress, "other fitting seeds"),
        )  # fmt: skip

    case = Case(
        alignment, train, select, test, thresholds, settings, seed, refits, controls,
        bench(alignment, test), evaluation, adequate, nulls, again, progress, declared,
        folder,
    )  # fmt: skip
    timed = _run(case, costs, budget, progress)
    return Report(
        alignment,
        claim,
        count,
        thresholds,
        level,
        evaluation,
        timed,
        seed,
        selection,
        reproduce,
        sum(costs.values()),
    )


def _run(
    case: Case, costs: Mapping[str, int], budget: Budget | None, progress: Progress | None
) -> dict[str, Timed]:
    """The checks of `costs`, cheapest first, as far as the budget goes; corrected for being several."""
    outcomes: dict[str, Outcome] = {}
    seconds: dict[str, float] = {}
    total, spent, begin = sum(costs.values()), 0, time.perf_counter()
    for name in costs:
        start = time.perf_counter()
        why = None if name in ALWAYS else beyond(budget, costs[name], spent, start - begin)
        outcomes[name] = CHECKS[name](case) if why is None else Outcome(Answer.NOT_RUN, "", reason=why)
        seconds[name] = time.perf_counter() - start
        spent += outcomes[name].forward_passes
        if progress is not None:
            progress("checks", len(outcomes), len(costs), {name: str(outcomes[name].answer.value)})
            progress(PASSES, min(spent, total), total, {})
    return {name: Timed(outcome, seconds[name]) for name, outcome in corrected(outcomes).items()}


def _costs(level: str, passes: Mapping[str, int]) -> dict[str, int]:
    """What the checks that decide levels up to this one take, in the order in which they are run."""
    gating = {entry.id for entry in CATALOGUE if entry.level is not None and entry.level <= level}
    # Whether a variable is kept elsewhere as well decides whether D4 has power: it is found on the way.
    asked = gating | ({"C7"} if "D4" in gating else set())
    return {name: passes[name] for name in CHECKS if name in asked}


def _settings(alignment: Alignment) -> Procedure:
    """How the claim's maps were found: those of its nulls are found in the same way."""
    history = alignment.history
    if history.get("method") in METHODS and {"nuisance", "size"} <= history.keys():
        # Of methods that have no such choice the history has none.
        return ClosedForm(history["method"], history["nuisance"] or ClosedForm.nuisance, history["size"])
    missing = [name for name in Settings.__dataclass_fields__ if name not in history]
    if missing:
        raise AlignmentError(
            "it is not known how the alignment was fitted",
            got=f"a history without {', '.join(missing)}",
            expected="an alignment that cm.fit or cm.closed_form returned, so that the nulls can be fitted in the "
            "same way",
            fix="fit it with cm.fit",
        )
    found: dict[str, Any] = {name: history[name] for name in Settings.__dataclass_fields__}
    # A file gives lists back.
    found["init"] = tuple(found["init"])
    return Settings(**found)


def _check_data(
    alignment: Alignment,
    train: Counterfactuals | None,
    select: Counterfactuals | None,
    test: Counterfactuals,
    *,
    learnt: bool,
) -> None:
    alignment.featurizers  # noqa: B018 - refuses an unfitted alignment before anything is opened
    alignment.masks(test)  # refuses pairs of another algorithm, or of variables that are not aligned
    needed = {"train": (train, alignment.fitted_ids), "select": (select, alignment.selected_ids)}
    for name, (given, ids) in needed.items():
        if not learnt or not len(ids):
            continue
        if given is None:
            raise DataError(
                "a learnt claim is challenged with the data that it was fitted and chosen on",
                got=f"no {name}=",
                expected="train=, and select= where it was chosen, so that the nulls get the same",
                fix=f"pass {name}=, the pairs that cm.fit got",
            )
        if not np.isin(given.input_ids, ids).all():
            raise DataError(
                "the claim was fitted or chosen on other inputs than these",
                where=f"{name}=",
                got=f"{int((~np.isin(given.input_ids, ids)).sum()):,} of {len(given.input_ids):,} are new to it",
                expected="the very pairs that cm.fit got, so that the nulls get the same",
                fix="look whether two parts have changed places, or fit again",
            )
    if learnt and select is not None and not len(alignment.selected_ids):
        raise DataError(
            "the claim was fitted without a selection split, its nulls cannot be given one",
            got="select=",
            expected="no select=, or an alignment that was fitted with select=",
            fix="leave select= out, or fit again with it",
        )
    used = test.input_ids
    words = {"fitted": alignment.fitted_ids, "selected": alignment.selected_ids}
    for word, ids in words.items():
        seen = int(np.isin(used, ids).sum())
        if seen and not test.complete:
            raise DataError(
                f"the claim was {'fitted' if word == 'fitted' else 'chosen'} on these inputs",
                where=f"{len(test):,} pairs" + (f" of the part {test.part!r}" if test.part else ""),
                got=f"{seen:,} of {len(used):,} inputs were {word} on",
                expected="inputs that neither the fit nor the selection has seen",
                fix="pass the test part of pairs.split(...)",
            )


def _check_kinds(
    needed: Mapping[str, tuple[object, type]], allowed: Mapping[str, tuple[object, type]]
) -> None:
    """Refuse what is of another kind than the argument, before anything is run.

    Args:
        needed: Argument to what was given and what it is.
        allowed: The same of arguments that may be left out.
    """
    for name, (given, kind) in {**needed, **allowed}.items():
        left_out = given is None and name in allowed
        text = kind is Sequence and isinstance(given, str)
        if not left_out and (text or not isinstance(given, kind)):
            raise DataError(
                "an argument is of another kind",
                where=f"cm.challenge, {name}",
                got=f"{type(given).__name__}: {given!r:.60}",
                expected=_KINDS.get(kind, kind.__name__),
                fix=f"see help(cm.challenge), {name.split(',')[0]}",
            )


_KINDS: Mapping[type, str] = {
    Mapping: "a mapping from names", Sequence: "a list, also of one", Path: "a pathlib.Path",
}  # fmt: skip


def _check_options(
    level: str,
    *,
    target: float,
    behaviour: float,
    replicated: float,
    damage: float,
    refits: int,
    controls: int,
    seed: int,
) -> None:
    names = [one.name for one in LEVELS]
    if level not in names:
        raise DataError(
            "there is no such level",
            got=repr(level),
            expected=", ".join(names),
            fix="ask for level='R2'",
        )
    shares = {"target": target, "behaviour": behaviour, "replicated": replicated, "damage": damage}
    for name, share in shares.items():
        number = isinstance(share, int | float) and not isinstance(share, bool)
        if not number or not 0 < share <= 1:
            raise DataError(
                f"{name}= is a share",
                got=repr(share),
                expected="a number above 0 and up to 1",
                fix="such as 0.9",
            )
    if damage == 1:
        raise DataError(
            "damage= of 1 is a gate that no claim can miss",
            got="1",
            expected="a share below 1",
            fix="such as 0.05",
        )
    for name, whole in (("refits", refits), ("controls", controls), ("seed", seed)):
        if isinstance(whole, bool) or not isinstance(whole, int) or whole < 0:
            raise DataError(f"{name}= is a whole number", got=repr(whole), expected="a whole number from 0")


def _staged(progress: Progress | None, stage: str) -> Callable[[int, int, Mapping[str, float]], None] | None:
    if progress is None:
        return None
    return lambda step, steps, figures: progress(stage, step, steps, figures)
