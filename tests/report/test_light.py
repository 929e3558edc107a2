import os
import subprocess
import sys
from pathlib import Path

import commutes

HEAVY = ("torch", "matplotlib", "pandas", "pyarrow", "jinja2", "numpy", "scipy", "rich")
SOURCE = str(Path(commutes.__file__).parents[1])


def loaded(code: str) -> str:
    code += f"; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    environment = os.environ | {"PYTHONPATH": SOURCE}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    return done.stdout.strip()


def test_the_package_is_light():
    assert (
        loaded(
            "import commutes.report, commutes.report.figures, commutes.report.html, commutes.report.tables"
        )
        == "[]"
    )


def test_the_test_above_can_fail():
    assert loaded("import commutes.report, jinja2") == "['jinja2']"
