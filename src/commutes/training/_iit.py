"""Interchange-intervention training: a network is trained until it implements the algorithm as the alignment says.

Where a fit looks for where a network keeps the variables, this makes it keep them at places of our choice.
See Inducing Causal Structure for Interpretable Neural Networks, arXiv 2112.00826.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.errors import FitError, is_out_of_memory, memory_error
from commutes.network import Network, minibatches
from commutes.network._train import alone
from commutes.training._iit_choice import Score, about, score
from commutes.training._iit_loss import Draw, Lesson, lesson, total
from commutes.training._iit_settings import IIT, check_training, trained_parameters
from commutes.training._settings import check_seed

Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training gave."""

    network: Network
    """The trained network."""
    alignment: Alignment
    """The claim about it, with the hashed ids of the inputs that it was trained and selected on."""
    history: Mapping[str, Any]
    """Settings and curves; the alignment has them as `history["network_training"]`."""


def train_network(
    alignment: Alignment,
    pairs: Counterfactuals,
    *,
    seed: int,
    settings: IIT | None = None,
    select: Counterfactuals | None = None,
    progress: Progress | None = None,
) -> Trained:
    """A copy of the alignment's network, trained to implement the algorithm where the alignment says.

    Loss = w_interchange CE(N with v swapped, H with v swapped) + w_behaviour CE(N(base), y) + w_strict CE(N(base) with
    what carries no variable taken from another input, y). All runs have the weights of the moment, the sources' too,
    and the gradient flows through base and source runs alike, unless `detach_source`. What has `requires_grad` is
    trained, in the mode in which the network answers: without dropout, and with batch statistics as they are.

    Afterwards the network and the alignment that were given, the global generators, the number of threads and the
    gradient mode are as before; one CPU thread gives the same bits for the same seed. A language model whose answers
    have several tokens reads, at every step, what it then answers itself, as when it is evaluated.

    Args:
        alignment: The claim; neurons, or maps that are known (fitted before) and stay as they are.
        pairs: Interchange interventions to train on.
        seed: Of the batches, and of what the strict term takes.
        settings: Weights of the terms, steps, rates.
        select: Interventions on other inputs, on which the step is chosen, the untrained network being step 0: by the
            lowest of worst cell, behaviour and strictness, as far as their terms have a weight; of equally good steps
            the latest. Without it the last step is taken.
        progress: Called with (step, steps, figures).

    Raises:
        AlignmentError: The alignment is not fitted, or the pairs swap a variable that is not aligned.
        DataError: Training and selection share inputs, or no pair's answer changes.
        FitError: Nothing to train, nothing that a strict term could take, an answer that does not hang on the aligned
            variables alone under one, or a loss that is not finite.
        NetworkError: The network has a custom `decode=`, or is in training mode with dropout or batch statistics.
    """
    settings = IIT() if settings is None else settings
    if not isinstance(settings, IIT):
        raise FitError(
            "settings of a training of a network are an IIT",
            got=repr(settings),
            expected="cm.IIT(steps=2_000)",
        )
    check_seed(seed)
    check_training(alignment, pairs, select, settings)
    module = copy.deepcopy(alignment.network.module)
    parameters = trained_parameters(module)
    training = _Training(alignment, module, parameters, settings, select, seed, progress)
    try:
        with alone(seed, parameters):
            history = training.run(pairs)
            untaught = [v.name for v in alignment.variables if not (pairs.source_of(v) >= 0).any()]
            history["untaught"] = untaught
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise memory_error(error, where=f"{min(settings.batch, len(pairs))} pairs a step") from error
    module.zero_grad(set_to_none=True)
    network = alignment.network.with_module(module)
    claim = about(alignment, network)
    trained = claim.with_maps(
        claim.featurizers,
        fitted_ids=pairs.input_ids,
        selected_ids=None if select is None else select.input_ids,
        history={**alignment.history, "network_training": history},
    )
    return Trained(network, trained, history)


class _Training:
    """One training: the copy that is trained, the best of its weights so far, and the curves."""

    def __init__(
        self,
        alignment: Alignment,
        module: torch.nn.Module,
        parameters: list[torch.nn.Parameter],
        settings: IIT,
        select: Counterfactuals | None,
        seed: int,
        progress: Progress | None,
    ) -> None:
        self.alignment, self.module, self.parameters = alignment, module, parameters
        self.settings, self.select, self.seed, self.progress = settings, select, seed, progress
        self.best: list[torch.Tensor] = []
        self.chosen = (-math.inf, 0)
        self.losses: list[tuple[int, dict[str, float]]] = []
        self.scores: list[tuple[int, Score]] = []

    def run(self, pairs: Counterfactuals) -> dict[str, Any]:
        """Descend, put the chosen weights back, and say what was done."""
        settings, course = self.settings, self.settings.course
        claim = about(self.alignment, self.alignment.network.with_module(self.module))
        task = lesson(claim, pairs, strict=settings.strict > 0)
        optimiser = torch.optim.AdamW(self.parameters, lr=settings.lr, weight_decay=settings.weight_decay)
        self._measure(0)
        for step, draw in zip(range(settings.steps), self._draws(task), strict=False):
            weights = settings.weights_at(step)
            terms = task.terms(draw, weights, detach_source=settings.detach_source)
            loss = total(terms, weights)
            self._check(step + 1, loss, terms)
            optimiser.zero_grad()
            loss.backward()
            if settings.clip is not None:
                torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip)
            for group in optimiser.param_groups:
                group["lr"] = course.rate(step)
            optimiser.step()
            if (step + 1) % settings.every == 0 or step + 1 == settings.steps:
                self._note(step + 1, loss, terms)
        if self.select is not None:
            self._restore()
        return self._history()

    def _draws(self, task: Lesson) -> Iterator[Draw]:
        """Pairs epoch after epoch, each with an input and a unit for the strict term."""
        n = min(self.settings.batch, len(task.base))
        order, others = (int(s) for s in np.random.default_rng([self.seed, 0]).integers(2**62, size=2))
        generator = torch.Generator().manual_seed(others)
        every = torch.arange(len(task.base))
        for rows, _ in minibatches(every, every, batch=n, seed=order):
            donors = task.base[torch.randint(len(every), (n,), generator=generator)]
            units = None
            if task.rest is not None and self.settings.strictness == "unit":
                units = torch.randint(task.rest.units, (n,), generator=generator)
            yield Draw(rows, donors, units)

    def _check(self, step: int, loss: torch.Tensor, terms: Mapping[str, torch.Tensor]) -> None:
        if not math.isfinite(float(loss.detach())):
            if step == 1:
                raise FitError(
                    "the loss is not finite before anything was changed",
                    where=f"step {step} of {self.settings.steps}",
                    got=", ".join(f"{name} {float(term.detach()):.3g}" for name, term in terms.items()),
                    expected="finite answers of the network as it is given",
                    fix="look at its logits on these inputs: the training is not at fault",
                )
            raise FitError(
                "the loss is no longer finite",
                where=f"step {step} of {self.settings.steps}",
                got=", ".join(f"{name} {float(term.detach()):.3g}" for name, term in terms.items()),
                expected="finite numbers",
                fix=f"lower the learning rate (it is {self.settings.lr:g}), or shorten gradients with clip=1.0",
            )

    def _note(self, step: int, loss: torch.Tensor, terms: Mapping[str, torch.Tensor]) -> None:
        figures = {"loss": float(loss.detach())} | {name: float(t.detach()) for name, t in terms.items()}
        self.losses.append((step, figures))
        self._measure(step)
        if self.progress is not None:
            found = {"selection": self.scores[-1][1].worst} if self.scores else {}
            self.progress(step, self.settings.steps, figures | found)

    def _measure(self, step: int) -> None:
        """Measure the present weights on the selection split, and keep them if none were better."""
        for parameter in self.parameters:
            if not bool(torch.isfinite(parameter.detach()).all()):
                raise FitError(
                    "the network's weights are no longer finite"
                    if step
                    else "the network's weights are not finite",
                    where=f"step {step} of {self.settings.steps}",
                    got="NaN or infinity",
                    expected="finite numbers",
                    fix=f"lower the learning rate (it is {self.settings.lr:g})"
                    if step
                    else "load the network again",
                )
        if self.select is None:
            self.chosen = (0.0, step)
            return
        with torch.no_grad():
            found = score(self.alignment, self.module, self.select, self.settings, seed=self.seed)
        self.scores.append((step, found))
        # Of equals the later: it has seen more pairs, and the learning rate has fallen since.
        if found.worst >= self.chosen[0]:
            self.chosen = (found.worst, step)
            self.best = [parameter.detach().clone() for parameter in self.parameters]

    def _restore(self) -> None:
        with torch.no_grad():
            for parameter, kept in zip(self.parameters, self.best, strict=True):
                parameter.copy_(kept)

    def _history(self) -> dict[str, Any]:
        names = list(dict.fromkeys(name for _, figures in self.losses for name in figures))
        parts = (
            ("interchange", "behaviour", "strict") if self.settings.strict else ("interchange", "behaviour")
        )
        return {
            "method": "interchange-intervention training",
            "seed": self.seed,
            **asdict(self.settings),
            "losses": {
                name: [[step, found[name]] for step, found in self.losses if name in found] for name in names
            },
            "selection": {
                name: [[step, getattr(found, name)] for step, found in self.scores] for name in parts
            },
            "chosen_step": self.chosen[1],
        }
