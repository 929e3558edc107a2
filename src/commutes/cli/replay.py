"""`commutes replay`: run the counterexample of a run again."""

from __future__ import annotations

import json
from dataclasses import asdict

from commutes.cli import _output
from commutes.cli._options import DebugOption, JsonOption, RunArgument, SpecOption
from commutes.cli._prepared import prepared_run
from commutes.cli._status import Status, guarded

__all__ = ["replay"]


@guarded
def replay(
    run: RunArgument, spec: SpecOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> int:
    """Run the pairs again that a run's checks have kept as counterexamples (E1, E2)."""
    ready = prepared_run(run, spec)
    from commutes.search import replayed

    found = replayed(ready.spec, run)
    if as_json:
        _output.say(json.dumps([{"check": one.check} | asdict(one.pair) for one in found], default=repr))
    elif found:
        _output.say("\n".join(_output.visible(f"{one.check}  {one.pair}") for one in found))
    else:
        _output.say("no check of this run has kept a counterexample")
    return Status.COMPLETED
