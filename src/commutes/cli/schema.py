"""`commutes schema`: what a spec may hold."""

from __future__ import annotations

import json

from commutes.cli import _output
from commutes.cli._status import Status, guarded

__all__ = ["schema"]


@guarded
def schema() -> int:
    """Print the JSON Schema of a spec."""
    from commutes.search import json_schema

    _output.say(json.dumps(json_schema(), indent=2))
    return Status.COMPLETED
