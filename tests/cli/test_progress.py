from __future__ import annotations

import io
import sys

import pytest

from commutes.cli._progress import reporting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(capsys, *calls) -> list[str]:
    with reporting() as report:
        for call in calls:
            report(*call)
    return capsys.readouterr().err.splitlines()


def test_stages_have_their_own_lines(capsys):
    assert told(
        capsys, ("fit", 1, 2, {}), ("check", 1, 4, {}), ("fit", 2, 2, {"IIA": 0.98765, "loss": 1e-5})
    ) == [
        "fit: 1 of 2",
        "check: 1 of 4",
        "fit: 2 of 2 (IIA 0.988, loss 1e-05)",
    ]


def test_steps_within_a_tenth_are_not_repeated(capsys):
    assert len(told(capsys, *(("fit", step, 10_000, {}) for step in range(1, 10_001)))) == 11


@pytest.mark.parametrize("steps", [0, -1])
def test_a_stage_of_unknown_length_is_no_error(capsys, steps):
    assert len(told(capsys, ("fit", 0, steps, {}), ("fit", 5, steps, {}))) == 1


def test_figures_may_be_words(capsys):
    assert told(capsys, ("fit", 1, 1, {"at": "layers.0", "n": 3, "none": None})) == [
        "fit: 1 of 1 (at layers.0, n 3, none None)"
    ]


def test_hostile_stages_are_shown_as_text(capsys):
    assert told(capsys, ("fit \x1b[2J [/]", 1, 1, {})) == ["fit \\x1b[2J [/]: 1 of 1"]


def test_a_terminal_gets_bars(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with reporting() as report:
        report("train [/] \x07", 1, 2, {"loss": 0.5})
        report("train [/] \x07", 2, 2, {"loss": 0.25})
    assert "train [/] \\x07" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
    assert "loss 0.25" in terminal.getvalue()


def test_a_dumb_terminal_gets_lines(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    with reporting() as report:
        report("train", 1, 1, {})
    assert terminal.getvalue() == "train: 1 of 1\n"


def test_quiet_says_nothing(capsys):
    with reporting(quiet=True) as report:
        report("train", 1, 1, {})
    assert capsys.readouterr().err == ""


def test_without_standard_error_nothing_is_said(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with reporting() as report:
        report("train", 1, 1, {})
