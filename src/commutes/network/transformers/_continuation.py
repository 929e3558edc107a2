"""How a model itself goes on behind a prompt: the answer's tokens that are fed when several are read.

The tokens are always the base's own. Those of an expected answer would tell the model what it is to find out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from commutes.network._probe import check_mode
from commutes.network._state import address, changes, contents, hooks_of

Ids = tuple[int, ...]

# Prompts that are run at once; and prompts whose continuation is kept, of which each takes about a kilobyte.
_ROWS, _KEPT = 256, 2**15


class Continuation:
    """The tokens that a model answers next, the likeliest at every step, kept per prompt.

    Args:
        model: That continues the prompts; in evaluation mode wherever that matters.
        count: Tokens behind each prompt.
        options: What the model is called with beside tokens.
    """

    def __init__(self, model: nn.Module, count: int, options: Mapping[str, object]) -> None:
        self.count = count
        self._model = model
        self._options = {name: 1 if name == "logits_to_keep" else value for name, value in options.items()}
        self._known: tuple[object, ...] = ()
        self._kept: dict[Ids, Ids] = {}

    def around(self, model: nn.Module) -> Continuation:
        """The same of another model, which goes on in its own way."""
        return Continuation(model, self.count, self._options)

    def behind(self, rows: Sequence[Ids]) -> list[Ids]:
        """The next `count` tokens of every prompt.

        Raises:
            NetworkError: The model is in training mode with dropout or batch statistics.
        """
        if not self.count:
            return [()] * len(rows)
        self._forget_what_is_old()
        found = self._run([row for row in dict.fromkeys(rows) if row not in self._kept])
        answer = [found[row] if row in found else self._kept[row] for row in rows]
        self._kept.update(found)
        for row in list(self._kept)[: max(0, len(self._kept) - _KEPT)]:
            del self._kept[row]
        return answer

    def _forget_what_is_old(self) -> None:
        """A model that was trained since, or has other hooks, goes on in another way.

        Tensors count how often they were written into, but not what is written through `.data`, and addresses are given
        anew: so their values are looked at as well.
        """
        tensors = (*self._model.parameters(), *self._model.buffers())
        now = (hooks_of(self._model), [(address(t), changes(t)) for t in tensors], contents(tensors))
        if now != self._known:
            self._known, self._kept = now, {}

    def _run(self, rows: Sequence[Ids]) -> dict[Ids, Ids]:
        """Prompts of one length together: nothing is padded, so that none depends on the others beside it."""
        if rows:
            check_mode(dict(self._model.named_modules()))
        found: dict[Ids, Ids] = {}
        for length in sorted(set(map(len, rows))):
            alike = [row for row in rows if len(row) == length]
            for start in range(0, len(alike), _ROWS):
                batch = alike[start : start + _ROWS]
                found |= zip(batch, self._greedy(batch), strict=True)
        return found

    def _greedy(self, rows: Sequence[Ids]) -> list[Ids]:
        model: Any = self._model
        ids = torch.tensor(rows, device=next(model.parameters()).device)
        with torch.no_grad():
            for _ in range(self.count):
                logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **self._options).logits
                ids = torch.cat([ids, logits[:, -1].argmax(dim=-1, keepdim=True).to(ids.device)], dim=1)
        return [tuple(row) for row in ids[:, -self.count :].tolist()]
