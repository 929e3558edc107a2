"""What is declared is what is there: dependencies, shipped files, version, entry point."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import commutes
from commutes.search import shipped

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def third_party(folder: Path) -> dict[str, Path]:
    """The packages that the files under `folder` import, with one file that does."""
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top != "commutes":
                    found.setdefault(top, file)
    return found


def test_everything_that_is_imported_is_declared(pyproject):
    dependencies = declared(pyproject["project"]["dependencies"])
    # Parts of a declared package under a name of their own, which it pins itself.
    parts = {"pydantic_core": "pydantic", "markupsafe": "jinja2"}
    for folder in ("src", "algorithms"):
        for name, file in third_party(ROOT / folder).items():
            assert parts.get(name, name) in dependencies, f"{file} imports {name}"


def test_the_version_is_said_once_and_the_same(pyproject):
    assert commutes.__version__ == pyproject["project"]["version"]


def test_the_script_is_the_function_that_is_there(pyproject):
    module, function = pyproject["project"]["scripts"]["commutes"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_types_are_declared():
    assert (ROOT / "src" / "commutes" / "py.typed").read_bytes() == b""


def test_every_shipped_spec_reads_and_names_a_shipped_hypothesis():
    from commutes.search import find_hypothesis, read_spec

    specs, hypotheses = shipped("alignments"), shipped("algorithms")
    assert {"equality", "boolean", "modular_addition"} <= set(hypotheses)
    for name, path in specs.items():
        spec = read_spec(path, given=name)
        assert find_hypothesis(spec.algorithm.file, beside=spec.folder, where="") in hypotheses.values()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that hatchling makes of this checkout, unpacked as an installer would."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed here")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (file,) = folder.glob("*.whl")
    site = folder / "site-packages"
    with zipfile.ZipFile(file) as archive:
        archive.extractall(site)
    return site


def test_the_wheel_holds_the_shipped_files_and_nothing_of_the_tests(wheel):
    for kind, suffix in (("algorithms", ".py"), ("alignments", ".toml")):
        inside = wheel / "commutes" / "_shipped" / kind
        assert {file.stem for file in inside.glob(f"*{suffix}")} == set(shipped(kind))  # type: ignore[arg-type]
    assert (wheel / "commutes" / "py.typed").exists()
    assert sorted(path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")) == [
        "commutes"
    ]


def test_a_shipped_name_works_after_a_plain_install_from_any_folder(wheel, tmp_path):
    code = (
        "import commutes\nfrom commutes.search import find_spec, load_hypothesis, read_spec\n"
        f"assert commutes.__file__.startswith({str(wheel)!r})\n"
        "spec = read_spec(find_spec('equality'), given='equality')\n"
        "print(spec.origin.path, load_hypothesis(spec).path)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    inside = wheel / "commutes" / "_shipped"
    assert ended.stdout.split() == [
        str(inside / "alignments" / "equality.toml"),
        str(inside / "algorithms" / "equality.py"),
    ]
