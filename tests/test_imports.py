"""The house imports one way only, and light things stay light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "commutes"

# Each package may import those before it; the first five only what stands beside them.
ORDER = (
    "errors", "algorithm", "counterfactuals", "stats", "report", "network", "engine", "features", "alignment",
    "evaluation", "training", "search", "robustness", "cli",
)  # fmt: skip
PURE = {
    "errors": set(),
    "algorithm": {"errors"},
    "counterfactuals": {"errors", "algorithm"},
    "stats": {"errors"},
    "report": {"errors", "stats"},
}
# The job stands on top of the sweep and of the challenge; it lives beside the sweep, whose store it writes. What holds
# a finished job against itself stands there, too.
ON_TOP = {f"search.{name}": {"robustness"} for name in ("_job", "_verify", "_replayed", "_against")}

TORCH = {"torch", "transformers", "pyvene", "safetensors.torch"}
SLOW = {"networkx", "scipy", "pandas", "pyarrow", "matplotlib", "transformers", "pyvene", "rich", "jinja2"}
HEAVY = ("torch", "scipy.stats", "pandas", "pyvene", "transformers", "matplotlib")


def module_name(file: Path, root: Path) -> str:
    parts = list(file.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imported(file: Path, root: Path, *, top_level: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a file imports; with `top_level`, outside functions."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = file.relative_to(root.parent).parent.parts
    for node in top_level_nodes(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def top_level_nodes(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported: not functions, not `if TYPE_CHECKING`."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting = [*node.orelse, *waiting]
        elif isinstance(node, ast.If | ast.With | ast.Try | ast.ClassDef):
            waiting = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)] + waiting


def home(name: str) -> str | None:
    """The package of ours that a dotted name leads to."""
    parts = name.split(".")
    if parts[0] != "commutes" or len(parts) == 1:
        return None
    if parts[1] in (*ORDER, "testing", "_shipped"):
        return parts[1]
    import commutes

    # `from commutes import Algorithm` goes the way that the lazy name goes.
    where = commutes._HOME_OF.get(parts[1])
    return None if where is None else where.split(".")[1]


def wrong_ways(root: Path) -> list[str]:
    """Every import under `root` that goes against the order."""
    found = []
    for file in sorted(root.rglob("*.py")):
        module = module_name(file, root)
        package = module.split(".")[0]
        if package in ("__init__", "__main__"):
            continue
        for line, name in imported(file, root):
            target = home(name)
            if target is None or target == package or target in allowed(package) | ON_TOP.get(module, set()):
                continue
            found.append(f"{module}, line {line}: {package} imports {target}")
    return found


def allowed(package: str) -> set[str]:
    if package == "testing":
        return set(ORDER) - {"cli"}
    return PURE.get(package, set(ORDER[: ORDER.index(package)]) if package in ORDER else set())


def test_imports_go_one_way():
    assert wrong_ways(SOURCE) == []


def test_every_package_has_its_place_in_the_order():
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert packages <= {*ORDER, "testing"}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("algorithm/_a.py", "from commutes.network import Network\n"),
        ("algorithm/_a.py", "from commutes import Network\n"),
        ("algorithm/_a.py", "def f():\n    import commutes.engine\n"),
        ("stats/_a.py", "from commutes.algorithm import Algorithm\n"),
        ("report/_a.py", "from ..robustness import Report\n"),
        ("report/_a.py", "from .. import robustness\n"),
        ("search/_other.py", "from commutes.robustness import challenge\n"),
        ("testing/_a.py", "from commutes.cli import main\n"),
        ("training/_a.py", "from commutes.testing import planted\n"),
    ],
)
def test_the_walk_finds_an_import_that_goes_the_wrong_way(tmp_path, file, text):
    root = tmp_path / "commutes"
    (root / file).parent.mkdir(parents=True)
    (root / file).write_text(text)
    assert len(wrong_ways(root)) == 1


def test_the_walk_lets_the_right_way_pass(tmp_path):
    root = tmp_path / "commutes"
    (root / "network").mkdir(parents=True)
    (root / "network" / "_a.py").write_text(
        "from commutes.algorithm import Algorithm\nfrom commutes import Variable, __version__\n"
        "from commutes.network._b import b\nfrom . import _b\nimport torch\n"
    )
    assert wrong_ways(root) == []


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """One cycle of modules that import each other when they are loaded, or nothing."""
    done: set[str] = set()
    for start in graph:
        trail: list[str] = []
        stack = [(start, iter(sorted(graph[start])))]
        trail.append(start)
        while stack:
            node, rest = stack[-1]
            step = next((n for n in rest if n in graph and n not in done), None)
            if step is None:
                done.add(node)
                stack.pop()
                trail.pop()
            elif step in trail:
                return [*trail[trail.index(step) :], step]
            else:
                trail.append(step)
                stack.append((step, iter(sorted(graph[step]))))
    return []


def loaded_with(root: Path) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    names = {
        module_name(file, root): file
        for file in root.rglob("*.py")
        if file.parent != root or file.stem == "errors"
    }
    for name, file in names.items():
        targets = (target.removeprefix("commutes.") for _, target in imported(file, root, top_level=True))
        graph[name] = {t if t in names else t.rpartition(".")[0] for t in targets} - {name}
    return graph


def test_no_modules_wait_for_each_other_when_they_are_loaded():
    assert cycle(loaded_with(SOURCE)) == []


def test_the_search_for_cycles_finds_one():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_what_needs_no_torch_never_imports_it():
    found = [
        f"{file.relative_to(SOURCE)}, line {line}: {name}"
        for package in ("algorithm", "counterfactuals", "stats", "report")
        for file in sorted((SOURCE / package).rglob("*.py"))
        for line, name in imported(file, SOURCE)
        if any(name == heavy or name.startswith(heavy + ".") for heavy in TORCH)
    ]
    assert found == []


def test_slow_libraries_are_imported_where_they_are_used():
    found = [
        f"{file.relative_to(SOURCE)}, line {line}: {name}"
        for file in sorted(SOURCE.rglob("*.py"))
        for line, name in imported(file, SOURCE, top_level=True)
        if name.split(".")[0] in SLOW
    ]
    assert found == []


def loaded_by(code: str) -> list[str]:
    """Which of the heavy modules a fresh process has after `code`."""
    listing = f"import sys\n{code}\nprint([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", listing],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    return ast.literal_eval(ended.stderr.strip().splitlines()[-1])


@pytest.mark.parametrize(
    "code",
    [
        "import commutes",
        "import commutes; dir(commutes); commutes.__version__",
        "from commutes import Algorithm, counterfactuals, plan",
        "from commutes.cli import main; assert main(['--help']) == 0",
        "from commutes.cli import main; assert main(['run', '--help']) == 0",
        "from commutes.cli import main; assert main(['schema']) == 0",
        "import commutes.search, commutes.stats, commutes.report",
    ],
)
def test_a_light_thing_stays_light(code):
    assert loaded_by(code) == []


@pytest.mark.parametrize("name", HEAVY)
def test_the_listing_would_find_each_of_the_heavy_modules(name):
    assert name in loaded_by(f"import types\nsys.modules[{name!r}] = types.ModuleType({name!r})")


def test_the_listing_finds_torch_where_it_is_really_imported():
    assert "torch" in loaded_by("from commutes import Network")


def test_every_public_name_is_found_where_the_lazy_table_says():
    import commutes

    assert set(commutes.__all__) == set(commutes._HOME_OF) | {"__version__"}
    for name in commutes.__all__:
        assert getattr(commutes, name) is not None
    with pytest.raises(AttributeError, match="module 'commutes' has no attribute 'nothing'"):
        commutes.nothing


def test_importing_prints_nothing():
    code = "import commutes; from commutes import Network, Algorithm, challenge"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")
