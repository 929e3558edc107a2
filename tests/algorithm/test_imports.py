from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "networkx", "pandas", "scipy", "matplotlib", "pyvene", "transformers")


def loaded(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_is_light_and_silent_on_import():
    assert loaded("import commutes.algorithm") == set()


def test_using_it_stays_light():
    program = "\n".join(
        [
            "import commutes.algorithm as ca",
            "a = ca.Algorithm('light')",
            "a.inputs('x y', domain=range(3))",
            "a.add('out', 'x', 'y', f=lambda x, y: x + y, output=True)",
            "a.run(a.enumerate_inputs()), a.fingerprint, a.svg(), a.mermaid()",
        ]
    )
    assert loaded(program) == set()


@pytest.mark.parametrize("module", ["networkx", "pandas"])
def test_the_test_above_can_fail(module):
    assert module in loaded(f"import commutes.algorithm, {module}")


def test_public_names():
    import commutes.algorithm

    names = ["Algorithm", "Columns", "Domain", "Finite", "Space", "Variable", "reals", "vectors"]
    assert sorted(commutes.algorithm.__all__) == names
    assert all(hasattr(commutes.algorithm, name) for name in names)
