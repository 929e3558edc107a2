from __future__ import annotations

from pathlib import Path

import pytest

from commutes.errors import SpecError
from commutes.search import _shipped, find_hypothesis, find_spec, shipped, shipped_folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as a wheel installs it: the shipped files are inside."""
    package = tmp_path / "site-packages" / "commutes"
    for name in ("algorithms/equality.py", "algorithms/boolean.py", "alignments/equality.toml"):
        file = package / "_shipped" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    monkeypatch.setattr(_shipped, "_PACKAGE", package)
    return package / "_shipped"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_in_a_checkout_the_files_lie_beside_the_source():
    root = Path(__file__).parents[2]
    assert shipped_folder("algorithms") == root / "algorithms"
    assert {"equality", "boolean", "modular_addition"} <= set(shipped("algorithms"))


def test_in_a_wheel_they_lie_in_the_package(installed):
    assert shipped("algorithms") == {
        "boolean": installed / "algorithms" / "boolean.py",
        "equality": installed / "algorithms" / "equality.py",
    }


def test_a_folder_beside_site_packages_is_not_taken_for_ours(tmp_path, monkeypatch):
    package = tmp_path / "lib" / "site-packages" / "commutes"
    package.mkdir(parents=True)
    (tmp_path / "lib" / "algorithms").mkdir()
    (tmp_path / "lib" / "algorithms" / "foreign.py").write_text("")
    monkeypatch.setattr(_shipped, "_PACKAGE", package)
    assert shipped("algorithms") == {}


def test_a_shipped_name_works_from_any_folder(installed, elsewhere):
    assert find_spec("equality") == installed / "alignments" / "equality.toml"


def test_a_file_that_exists_comes_before_a_shipped_name(installed, elsewhere):
    (elsewhere / "equality").write_text("")
    assert find_spec("equality") == Path("equality")


def test_a_folder_of_that_name_does_not_hide_a_shipped_name(installed, elsewhere):
    (elsewhere / "equality").mkdir()
    assert find_spec("equality") == installed / "alignments" / "equality.toml"
    (elsewhere / "other").mkdir()
    assert find_spec("other") == Path("other")


@pytest.mark.parametrize(
    "name", ["a b.toml", "ü.toml", "50%.toml", "-x.toml", "a\nb.toml", "x" * 250 + ".toml"]
)
def test_a_path_may_hold_what_a_file_system_allows(elsewhere, name):
    (elsewhere / name).write_text("")
    assert find_spec(name) == Path(name)


def test_a_missing_spec_is_told_with_the_nearest_names(installed, elsewhere):
    (elsewhere / "mine.toml").write_text("")
    with pytest.raises(SpecError, match="there is no such spec") as caught:
        find_spec("equalty")
    assert caught.value.got == "'equalty', which is neither a file nor a shipped spec"
    assert caught.value.expected == "one of the shipped specs: equality\nor a file of .: mine.toml"
    assert caught.value.fix == "did you mean equality? otherwise give the path of a .toml file"
    with pytest.raises(SpecError) as caught:
        find_spec("min.toml")
    assert caught.value.fix == "did you mean mine.toml? otherwise give the path of a .toml file"


@pytest.mark.parametrize("name", ["x" * 300, "missing/folder/x.toml"])
def test_a_path_that_cannot_exist_is_a_missing_spec(installed, elsewhere, name):
    with pytest.raises(SpecError, match="there is no such spec"):
        find_spec(name)


@pytest.mark.parametrize("name", ["", " ", "a\0b"])
def test_no_name_is_refused(name):
    with pytest.raises(SpecError, match="the name of the spec is empty or holds a NUL character"):
        find_spec(name)


def test_a_hypothesis_file_is_a_shipped_name_or_a_path_beside_the_spec(installed, tmp_path):
    folder = tmp_path / "specs"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "mine.py").write_text("")
    assert find_hypothesis("equality", beside=folder, where="") == installed / "algorithms" / "equality.py"
    assert find_hypothesis("code/mine.py", beside=folder, where="") == folder / "code" / "mine.py"
    absolute = str(folder / "code" / "mine.py")
    assert find_hypothesis(absolute, beside=tmp_path, where="") == folder / "code" / "mine.py"


def test_a_bare_name_never_loads_a_file_that_happens_to_lie_about(installed, tmp_path):
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(SpecError, match="no hypothesis file of the name 'mine' is shipped") as caught:
        find_hypothesis("mine", beside=tmp_path, where="a.toml, line 6, key algorithm.file")
    assert caught.value.where == "a.toml, line 6, key algorithm.file"
    assert caught.value.fix == 'for the file beside the spec write file = "mine.py"'


def test_a_missing_hypothesis_file_is_told_with_the_nearest_names(installed, tmp_path):
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(SpecError, match="there is no such hypothesis file") as caught:
        find_hypothesis("min.py", beside=tmp_path, where="")
    assert caught.value.got == str(tmp_path / "min.py")
    assert (
        caught.value.fix == "did you mean mine.py? otherwise give a path relative to the spec, ending in .py"
    )
    with pytest.raises(SpecError) as caught:
        find_hypothesis("bolean", beside=tmp_path / "nowhere", where="")
    assert caught.value.expected == "one of the shipped names: boolean, equality"
    assert (caught.value.fix or "").startswith("did you mean boolean?")
    (tmp_path / "dir.py").mkdir()
    with pytest.raises(SpecError) as caught:
        find_hypothesis("dir.py", beside=tmp_path, where="")
    assert caught.value.got == f"{tmp_path / 'dir.py'}, which is a folder"
