"""The hypothesis files of algorithms/, loaded as a user's file is."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from provenance import ROOT


def shipped(name: str) -> ModuleType:
    """The module of algorithms/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "algorithms" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
