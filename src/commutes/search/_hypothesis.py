"""Hypothesis files: executed Python, loaded only from a path or a shipped name that the user gives."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import itertools
import linecache
import sys
import traceback
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commutes.errors import AlgorithmError, CommutesError, CommutesWarning, SpecError, nearest
from commutes.search._shipped import find_hypothesis
from commutes.search._toml import shown

if TYPE_CHECKING:
    from commutes.search._spec import Spec

__all__ = ["Hypothesis", "last_line", "load_hypothesis", "raised"]

_COUNTER = itertools.count()
_MOST_PRINTED = 200


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
        close = nearest(name, own)
        what_is_there = f"a {type(found).__name__} of that name" if found is not None else ", ".join(own)
        raise SpecError(
            f"the hypothesis file has no function {name}",
            where=where,
            got=f"{shown(self.path)}, which defines {what_is_there or 'no function'}",
            expected=f"def {name}(...)",
            fix=(f"did you mean {close[0]}? otherwise " if close else "") + f"define {name} in the file",
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
        raise _placed(error, path) from error
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


def _placed(error: CommutesError, path: Path) -> CommutesError:
    place = f"{shown(path)}, line {last_line(error, path)}"
    where = place if error.where is None else f"{error.where}, at {place}"
    return type(error)(error.what, where=where, got=error.got, expected=error.expected, fix=error.fix)


def raised(error: Exception, path: Path, what: str) -> AlgorithmError:
    """An exception of the user's code in the library's form: its line, its words, no traceback."""
    line = last_line(error, path)
    text = linecache.getline(str(path), line).strip()
    return AlgorithmError(
        what,
        where=f"{shown(path)}, line {line}" + (f": {text}" if text else ""),
        got=f"{type(error).__name__}: {error}",
        expected="no exception",
        fix=f"correct line {line}; --debug shows the whole traceback",
    )
