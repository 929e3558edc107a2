from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from commutes import __version__
from commutes.cli import _main
from commutes.cli._status import Status, guarded
from commutes.errors import AlgorithmError, ArtefactError, CommutesError, SpecError, StoreError

COMMANDS = ("run", "challenge", "verify", "replay", "check", "show", "tree", "sites", "schema")


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    run = f"{sys.executable} -m commutes"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command.replace('commutes', run)}"],
        cwd=cwd, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_every_command_and_the_exit_statuses(command, arguments):
    ended = command(*arguments)
    assert ended.status == 0
    assert ended.err == ""
    for word in (
        "run",
        "challenge",
        "verify",
        "check",
        "show",
        "tree",
        "sites",
        "schema",
        "Exit status: 0 completed",
        "130 interrupted",
    ):
        assert word in ended.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(command, name):
    ended = command(name, "--help")
    assert ended.status == 0
    assert f"commutes {name}" in ended.out


def test_the_version_is_that_of_the_package(command):
    assert command("--version").out == f"commutes {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chek",), "No such command 'chek'. Did you mean 'check'"),
        (("check",), "Missing argument 'SPEC'."),
        (("check", "x.toml", "--jsn"), "No such option: --jsn"),
        (("show", "a", "b"), "unexpected extra argument"),
    ],
)
def test_a_wrong_command_is_one_line_and_the_way_to_the_help(command, arguments, words):
    ended = command(*arguments)
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err.startswith(f"error: {words}") or words in ended.err
    assert ended.err.splitlines()[-1].startswith("  do:       see commutes")
    assert len(ended.err.splitlines()) == 2


def raising(error: BaseException):
    @guarded
    def work(debug: bool = False) -> int:
        raise error

    return work


def caused(error: CommutesError, cause: BaseException) -> CommutesError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SpecError("x"), 2),
        (AlgorithmError("x"), 2),
        (StoreError("x"), 2),
        (ArtefactError("x"), 5),
        (caused(ArtefactError("x"), FileNotFoundError(2, "gone")), 5),
        (caused(ArtefactError("x"), PermissionError(13, "no")), 2),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 2),
        (RuntimeError("odd"), 70),
    ],
)
def test_every_exception_has_its_status_and_no_traceback(error, status, capsys):
    assert raising(error)() == status
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert "Traceback" not in told.err


def test_a_fault_of_ours_is_never_the_status_of_a_refuted_claim(capsys):
    assert raising(RuntimeError("odd"))() not in (Status.COMPLETED, Status.REFUTED, Status.INCONCLUSIVE)
    assert "RuntimeError: odd" in (told := capsys.readouterr().err)
    assert "run the same command with --debug and report what it prints" in told


def test_debug_shows_the_traceback_and_the_same_words(capsys):
    assert raising(SpecError("what is wrong", fix="mend it"))(debug=True) == 2
    told = capsys.readouterr().err
    assert "Traceback (most recent call last)" in told
    assert told.endswith("error: what is wrong\n  do:       mend it\n")


def test_hostile_text_in_a_message_cannot_steer_the_terminal(capsys):
    raising(SpecError("no \x1b[2J\u202e[/red] such", where="a\x07b"))()
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "no \\x1b[2J\\u202e[/red] such" in told
    assert "a\\x07b" in told


def test_a_closed_pipe_ends_in_silence_with_the_status_of_the_command(project):
    ended = shell("commutes schema | head -1", project)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "{\n", "")


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(project, redirect):
    ended = shell(f"commutes schema {redirect}", project)
    assert ended.returncode == 0
    assert ended.stderr == ""


def test_a_terminal_that_knows_only_ascii_is_no_error(project):
    (project / "ü.toml").mkdir()
    ended = shell("PYTHONIOENCODING=ascii commutes check ü.toml", project)
    assert ended.returncode == 2
    assert "\\xfc.toml" in ended.stderr


def test_a_warning_of_ours_is_one_line(capsys, monkeypatch):
    import warnings

    from commutes.cli import _output
    from commutes.errors import CommutesWarning

    monkeypatch.setattr(warnings, "showwarning", _output.show_warning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a file\x1bprinted", CommutesWarning, stacklevel=1)
        warnings.warn("other", UserWarning, stacklevel=1)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "warning: a file\\x1bprinted"
    assert second.startswith("warning: UserWarning: other (")


def test_main_leaves_the_way_of_showing_warnings_as_it_was(command):
    import warnings

    before = warnings.showwarning
    command("--version")
    assert warnings.showwarning is before


def test_the_usage_error_is_the_one_that_typer_raises():
    assert _main._UsageError.__name__ == "UsageError"
