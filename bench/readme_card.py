"""Run the README's code as it stands and print the card, or put it into the README.

python bench/readme_card.py            prints the card
python bench/readme_card.py --write    replaces the card in the README
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SEED = 0  # of the network that the README's code is shown with


def code() -> str:
    """The README's first block of Python."""
    match = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert match is not None
    return match.group(1)


def given() -> dict[str, Any]:
    """What the README's code takes as given: a trained network, and how it reads inputs."""
    from commutes.search import (
        build_algorithm,
        build_network,
        find_spec,
        load_hypothesis,
        read_spec,
        train_network,
    )

    spec = read_spec(find_spec("equality"))
    hypothesis = load_hypothesis(spec)
    algorithm = build_algorithm(hypothesis, spec)
    untrained = build_network(hypothesis, spec, algorithm, seed=SEED)
    network = train_network(hypothesis, spec, untrained, algorithm, seed=SEED)
    embed = hypothesis.function("SymbolVectors", where="README")(20)
    return {"trained_mlp": network.module, "embed": embed}


def card() -> str:
    """What the README's code prints last."""
    names = given()
    printed = io.StringIO()
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(code(), "README.md", "exec"), names)
            assert Path("reports/equality/report.json").is_file()
        finally:
            os.chdir(before)
    return str(names["report"])


def shortened(text: str) -> str:
    """The card without the lists of what was not run above R2."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("R3 mediates"))
    end = next(i for i in range(start, len(lines)) if lines[i].startswith("────"))
    return "\n".join([*lines[:start], "[...]", *lines[end:]])


def shown() -> str:
    """The card in the README."""
    match = re.search(r"<!-- card -->\n```text\n(.*?)```\n<!-- /card -->", README.read_text(), re.DOTALL)
    assert match is not None
    return match.group(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the card in the README")
    text = shortened(card())
    if not parser.parse_args().write:
        print(text)
        return
    whole = README.read_text()
    block = f"<!-- card -->\n```text\n{text}\n```\n<!-- /card -->"
    README.write_text(re.sub(r"<!-- card -->.*?<!-- /card -->", lambda _: block, whole, flags=re.DOTALL))


if __name__ == "__main__":
    main()
