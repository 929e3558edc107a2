"""Hypothesis files: executed Python, loaded only from a path or a shipped name that the user gives."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import itertools
import linecache
import re
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import commutes
from commutes.errors import (
    AlgorithmError,
    CommutesError,
    CommutesWarning,
    NetworkError,
    SpecError,
    is_out_of_memory,
    memory_error,
    similar,
)
from commutes.search._shipped import find_hypothesis
from commutes.search._toml import shown

if TYPE_CHECKING:
    from commutes.search._spec import Spec

__all__ = ["Hypothesis", "blamed", "last_line", "load_hypothesis", "placed", "raised"]

_COUNTER = itertools.count()
_MOST_PRINTED = 200
_OURS = Path(commutes.__file__).resolve().parent
# Where torch calls a module, an engine's hooks included, which are then followed by frames of ours.
_CALLED = str(Path("torch", "nn", "modules", "module.py"))
_NO_DEVICE = re.compile(
    "not compiled with CUDA|no CUDA GPUs|no NVIDIA driver|invalid device ordinal|Invalid device string"
    "|device type at start of device string|not linked with support for|No HIP GPUs|MPS backend is not",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A hypothesis file that was executed."""

    path: Path
    """the file"""
    module: types.ModuleType
    """its names, under a private module name"""
    sha256: str
    """of the bytes that were executed"""

    def function(self, name: str, *, where: str) -> Callable[..., Any]:
        """The function `name` of the file.

        Args:
            name: As the spec gives it.
            where: File, line and key of the spec, for the message.

        Raises:
            SpecError: If the file has no such function, with the nearest one it has.
        """
        found = vars(self.module).get(name)
        if callable(found):
            return found
        own = [key for key, value in vars(self.module).items() if self._defines(key, value)]
        close = similar(name, own)
        what_is_there = f"a {type(found).__name__} of that name" if found is not None else ", ".join(own)
        raise SpecError(
            f"the hypothesis file has no function {name}",
            where=where,
            got=f"{shown(self.path)}, which defines {what_is_there or 'no function'}",
            expected=f"def {name}(...)",
            fix=(f"did you mean {close}? otherwise " if close else "") + f"define {name} in the file",
        )

    def _defines(self, name: str, value: object) -> bool:
        return (
            inspect.isfunction(value)
            and value.__module__ == self.module.__name__
            and not name.startswith("_")
        )


def load_hypothesis(spec: Spec) -> Hypothesis:
    """Execute the hypothesis file that `spec` names, as a private module and with `sys.path` unchanged.

    What the file prints while it is executed is captured and told as a `CommutesWarning`.

    Raises:
        SpecError: If there is no such file.
        AlgorithmError: If it is not Python, raises, or exits.
    """
    path = find_hypothesis(spec.algorithm.file, beside=spec.folder, where=spec.where("algorithm.file"))
    try:
        source = path.read_bytes()
    except OSError as error:
        raise SpecError(
            "the hypothesis file cannot be read",
            where=shown(path),
            got=error.strerror or str(error),
            expected="a readable Python file",
            fix="check its permissions",
        ) from error
    code = _compiled(source, path)
    sha256 = hashlib.sha256(source).hexdigest()
    module = types.ModuleType(f"_commutes_hypothesis_{sha256[:12]}_{next(_COUNTER)}")
    module.__file__ = str(path)
    # Dataclasses and annotations look their module up there; the private name meets nobody else's.
    sys.modules[module.__name__] = module
    try:
        _execute(code, module, path)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return Hypothesis(path, module, sha256)


def _compiled(source: bytes, path: Path) -> types.CodeType:
    try:
        return compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        line = (error.text or "").rstrip("\n").replace("\t", " ")[:100]
        caret = " " * (max(1, error.offset or 1) - 1) + "^"
        raise AlgorithmError(
            f"the hypothesis file is not Python: {error.msg}",
            where=f"{shown(path)}" + (f", line {error.lineno}" if error.lineno else ""),
            got=f"{line}\n{caret}" if line else "text that cannot be read",
            expected="a Python file in UTF-8",
            fix=f"correct line {error.lineno}" if error.lineno else "save the file as UTF-8",
        ) from None
    except ValueError as error:
        raise AlgorithmError(
            "the hypothesis file is not Python",
            where=shown(path),
            got=str(error),
            expected="a Python file in UTF-8",
            fix="name the file that defines the algorithm",
        ) from None


def _execute(code: types.CodeType, module: types.ModuleType, path: Path) -> None:
    printed = io.StringIO()
    search_path = list(sys.path)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            exec(code, vars(module))
    except SystemExit as error:
        line = last_line(error, path)
        raise AlgorithmError(
            "the hypothesis file exits when it is loaded",
            where=f"{shown(path)}, line {line}",
            got=f"exit({'' if error.code is None else repr(error.code)})",
            expected="a file that only defines things",
            fix='put what should only run as a script under if __name__ == "__main__":',
        ) from error
    except CommutesError as error:
        raise placed(error, path) from error
    except Exception as error:
        raise raised(error, path, "the hypothesis file raised when it was loaded") from error
    finally:
        sys.path[:] = search_path
    if printed.getvalue():
        text = printed.getvalue().strip()
        cut = text if len(text) <= _MOST_PRINTED else text[:_MOST_PRINTED] + "..."
        warnings.warn(
            f"{shown(path)} printed when it was loaded: {cut!r}; remove the print",
            CommutesWarning,
            stacklevel=3,
        )


def last_line(error: BaseException, path: Path) -> int:
    """The line of the file `path` that was being executed when `error` was raised."""
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return own[-1] if own and own[-1] is not None else 1


def placed(error: CommutesError, path: Path) -> CommutesError:
    """An error of ours that the user's file led to, with the line of the file."""
    place = f"{shown(path)}, line {last_line(error, path)}"
    where = place if error.where is None else f"{error.where}, at {place}"
    return type(error)(error.what, where=where, got=error.got, expected=error.expected, fix=error.fix)


def raised(error: Exception, path: Path, what: str) -> CommutesError:
    """An exception of the user's code in the library's form: its line, its words, no traceback."""
    line = last_line(error, path)
    text = linecache.getline(str(path), line).strip()
    where = f"{shown(path)}, line {line}" + (f": {text}" if text else "")
    if is_out_of_memory(error):
        return memory_error(error, where=where)
    got = f"{type(error).__name__}: {_first_line(error)}".rstrip(": ")
    if _NO_DEVICE.search(str(error)):
        return NetworkError(
            "a device that is not there",
            where=where,
            got=got,
            expected="a device of this machine; every machine has cpu",
            fix=f"choose the device in line {line} by torch.cuda.is_available(), or write cpu",
        )
    return AlgorithmError(
        what,
        where=where,
        got=got,
        expected="no exception",
        fix=f"correct line {line}; --debug shows the whole traceback",
    )


@contextlib.contextmanager
def blamed(hypothesis: Hypothesis) -> Generator[None]:
    """While this lasts, what the user's encode, module or decode raises is told as an error of their file.

    An exception is theirs if it came through a line of their file, or out of a module of theirs that is made of
    torch's: an exception in which our code was called last is none of theirs and goes on as it is.

    Raises:
        AlgorithmError: In place of their exception, with the innermost line of their file.
        NetworkError: Where their module raised without a line of their file, or asks for a device that is not there.
    """
    try:
        yield
    except (CommutesError, MemoryError):
        raise
    except Exception as error:
        frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        if str(hypothesis.path) in frames:
            raise raised(error, hypothesis.path, "the hypothesis file raised") from error
        if is_out_of_memory(error):
            raise memory_error(error) from error
        ours = max((row for row, name in enumerate(frames) if _OURS in Path(name).parents), default=0)
        if any(name.endswith(_CALLED) for name in frames[ours:]):
            raise NetworkError(
                "the network raised when it was run",
                where=f"the module that {shown(hypothesis.path)} builds",
                got=f"{type(error).__name__}: {_first_line(error)}",
                expected="a module that takes what encode returns",
                fix="compare the shapes of what encode returns with what the module takes; "
                "--debug shows the whole traceback",
            ) from error
        raise


def _first_line(error: BaseException) -> str:
    """What an exception says; torch's own add the frames of C++, one to a line."""
    lines = str(error).splitlines()
    return lines[0] if lines else ""
