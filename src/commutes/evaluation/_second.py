"""The same interchange through pyvene: a second opinion on what the engine of this library answers."""

from __future__ import annotations

import numpy as np
import torch

from commutes.alignment import Alignment, exchange
from commutes.errors import EngineError
from commutes.evaluation._answers import Outcome, joined
from commutes.evaluation._predictions import Bench
from commutes.evaluation._selfchecks import INPUTS, ROUNDING


def answered_by_pyvene(alignment: Alignment, bench: Bench) -> tuple[Outcome, float]:
    """The network's answer to every pair, and how far any logit is from the engine's on the pairs compared.

    Returns:
        The answers, and the largest difference of a logit, on `INPUTS` pairs per swapped set.

    Raises:
        EngineError: pyvene cannot run the interchange as declared, or answers otherwise than the engine.
    """
    prepared, pairs = bench.prepared, bench.pairs
    translated = exchange(alignment, prepared.inputs, prepared.plan)
    model = translated.model()
    found, order, worst, compared = [], [], 0.0, set[int]()
    with torch.no_grad():
        for rows, arguments in translated.calls(pairs, prepared.network.batch_size(prepared.inputs)):
            _, returned = model(**arguments)
            logits = translated.twin.logits(returned)
            swap = int(pairs.swap[rows[0]])
            if swap not in compared:
                compared.add(swap)
                worst = max(worst, _difference(alignment, bench, rows[:INPUTS], logits[:INPUTS]))
            found.append(bench.answers.outcome(logits))
            order.append(rows)
    return joined(found).take(np.argsort(np.concatenate(order))), worst


def _difference(alignment: Alignment, bench: Bench, rows: np.ndarray, theirs: torch.Tensor) -> float:
    prepared, pairs = bench.prepared, bench.pairs
    batch = prepared.batch(torch.from_numpy(pairs.base[rows]), torch.from_numpy(pairs.source[rows]))
    ours = prepared.logits(batch, alignment.featurizers, [m[rows] for m in bench.masks])
    gap = float((ours - theirs).abs().max())
    # Half precision rounds by more than the tolerance of a float32 run.
    allowed = max(ROUNDING, 16 * torch.finfo(ours.dtype).eps) * (1 + float(ours.abs().max()))
    if not gap <= allowed:
        raise EngineError(
            "pyvene answers otherwise than this library",
            where=f"{pairs.swaps[int(pairs.swap[rows[0]])].label}, {len(rows)} pairs",
            got=f"a logit that differs by {gap:.3g}",
            expected=f"at most {allowed:.3g}, which is rounding",
            fix="report it with the network; engine='commutes' and to_pyvene(alignment) each run alone",
        )
    return gap
