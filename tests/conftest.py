"""Settings that every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Bits depend on the number of threads, and two workers on two cores are faster with one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
# A test that reaches for a hub has no business to.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def counting_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny language model that has learnt its task; see tests/counting.py."""
    from tests.counting import save_model

    folder = tmp_path_factory.mktemp("counting") / "model"
    save_model(folder)
    return folder
