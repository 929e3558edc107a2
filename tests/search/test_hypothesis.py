from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from commutes.errors import AlgorithmError, CommutesError, CommutesWarning, SpecError
from commutes.search import load_hypothesis, read_spec


def load(spec_path: Path, text: str | bytes):
    file = spec_path.parent / "gate.py"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_hypothesis(read_spec(spec_path))


def refusal(spec_path: Path, text: str | bytes) -> CommutesError:
    before = set(sys.modules)
    with pytest.raises(CommutesError) as caught:
        load(spec_path, text)
    assert not {name for name in set(sys.modules) - before if name.startswith("_commutes_hypothesis")}
    return caught.value


def test_loading_leaves_the_search_path_and_the_folder_as_they_were(spec_path):
    before, files = list(sys.path), sorted(path.name for path in spec_path.parent.iterdir())
    hypothesis = load(spec_path, "import sys\nsys.path.insert(0, 'x')\ndef algorithm(): ...\n")
    assert sys.path == before
    assert sorted(path.name for path in spec_path.parent.iterdir()) == files
    assert hypothesis.path == spec_path.parent / "gate.py"
    assert str(spec_path.parent) not in sys.path


def test_two_files_of_one_name_do_not_meet(spec_path):
    first = load(spec_path, "def algorithm(): return 1\n")
    second = load(spec_path, "def algorithm(): return 2\n")
    assert first.module.__name__ != second.module.__name__
    assert first.module.__name__.startswith("_commutes_hypothesis_")
    assert "gate" not in sys.modules
    assert (first.function("algorithm", where="")(), second.function("algorithm", where="")()) == (1, 2)


def test_dataclasses_and_annotations_work_in_the_file(spec_path):
    text = (
        "from __future__ import annotations\nimport dataclasses, typing\n"
        "@dataclasses.dataclass\nclass P:\n    x: int = 3\n    y: typing.ClassVar[int] = 4\n"
        "def algorithm(): return [f.name for f in dataclasses.fields(P)]\n"
    )
    assert load(spec_path, text).function("algorithm", where="")() == ["x"]


def test_the_script_part_of_a_file_does_not_run(spec_path):
    load(spec_path, "if __name__ == '__main__':\n    raise SystemExit(1)\n")


def test_a_syntax_error_has_its_line_and_a_caret(spec_path):
    error = refusal(spec_path, "x = 1\ndef algorithm(:\n    pass\n")
    assert isinstance(error, AlgorithmError)
    assert error.what == "the hypothesis file is not Python: invalid syntax"
    assert error.where == f"{spec_path.parent / 'gate.py'}, line 2"
    assert error.got == "def algorithm(:\n              ^"
    assert error.fix == "correct line 2"


@pytest.mark.parametrize("text", [b"x = '\xff'\n", b"x = 1\0\n"])
def test_a_file_that_is_no_text_is_not_python(spec_path, text):
    assert refusal(spec_path, text).what.startswith("the hypothesis file is not Python")


@pytest.mark.parametrize(
    ("call", "got"), [("exit()", "exit()"), ("sys.exit(3)", "exit(3)"), ("quit('x')", "exit('x')")]
)
def test_a_file_that_exits_is_refused_and_we_go_on(spec_path, call, got):
    error = refusal(spec_path, f"import sys\nx = 1\n{call}\n")
    assert error.what == "the hypothesis file exits when it is loaded"
    assert error.where == f"{spec_path.parent / 'gate.py'}, line 3"
    assert error.got == got
    assert error.fix == 'put what should only run as a script under if __name__ == "__main__":'


def test_a_file_that_prints_is_heard_once_and_told(spec_path, capsys):
    with pytest.warns(
        CommutesWarning, match=r"gate\.py printed when it was loaded: 'hello'; remove the print"
    ):
        load(spec_path, "print('hello')\n")
    assert capsys.readouterr() == ("", "")


def test_a_file_that_prints_without_end_does_not_fill_the_screen(spec_path):
    with pytest.warns(CommutesWarning) as caught:
        load(spec_path, "print('x' * 100_000)\n")
    assert len(str(caught[0].message)) < 500


def test_a_quiet_file_gives_no_warning(spec_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(spec_path, "x = 1\n")


def test_a_file_that_raises_is_told_with_its_own_line(spec_path):
    error = refusal(spec_path, "def f():\n    return 1 / 0\n\nx = f()\n")
    assert error.what == "the hypothesis file raised when it was loaded"
    assert error.where == f"{spec_path.parent / 'gate.py'}, line 2: return 1 / 0"
    assert error.got == "ZeroDivisionError: division by zero"


def test_an_import_that_fails_is_told_with_the_line_of_the_import(spec_path):
    error = refusal(spec_path, "x = 1\nimport no_such_module_of_ours\n")
    assert error.where == f"{spec_path.parent / 'gate.py'}, line 2: import no_such_module_of_ours"
    assert error.got == "ModuleNotFoundError: No module named 'no_such_module_of_ours'"


def test_an_error_of_ours_keeps_its_words_and_gains_a_line(spec_path):
    text = "from commutes.algorithm import Algorithm\n\na = Algorithm('a')\na.input('x', domain=[0, 1])\na['y']\n"
    error = refusal(spec_path, text)
    assert isinstance(error, AlgorithmError)
    assert (error.where or "").endswith(f"{spec_path.parent / 'gate.py'}, line 5")


def test_ctrl_c_in_the_file_is_ctrl_c(spec_path):
    with pytest.raises(KeyboardInterrupt):
        load(spec_path, "raise KeyboardInterrupt\n")


def test_a_missing_function_is_told_with_the_nearest_one(spec_path):
    hypothesis = load(
        spec_path, "from math import floor\ndef algoritm(): ...\ndef network(): ...\ndef _hidden(): ...\n"
    )
    with pytest.raises(SpecError, match="the hypothesis file has no function algorithm") as caught:
        hypothesis.function("algorithm", where="a.toml, line 6, key algorithm.build")
    assert caught.value.where == "a.toml, line 6, key algorithm.build"
    assert caught.value.got == f"{hypothesis.path}, which defines algoritm, network"
    assert caught.value.fix == "did you mean algoritm? otherwise define algorithm in the file"


def test_a_name_that_is_no_function_is_refused(spec_path):
    hypothesis = load(spec_path, "algorithm = 3\n")
    with pytest.raises(SpecError) as caught:
        hypothesis.function("algorithm", where="")
    assert caught.value.got == f"{hypothesis.path}, which defines a int of that name"
    assert caught.value.fix == "define algorithm in the file"


def test_a_file_that_cannot_be_read_is_told(spec_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SpecError, match="the hypothesis file cannot be read") as caught:
        load_hypothesis(read_spec(spec_path))
    assert caught.value.got == "Permission denied"
