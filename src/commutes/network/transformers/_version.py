"""The oldest version of transformers with which language models are run as they are meant to be."""

from __future__ import annotations

import re
from importlib.metadata import version

from commutes.errors import NetworkError

# What is imported is there from 4.56 on. Blocks that return the hidden state alone, and masks that are made without
# numbers of tokens, came later; without them no edited run is a cone. 5.5 is the oldest that was tried and has both.
OLDEST = (5, 5)


def check_version() -> None:
    """Refuse a version that is older.

    Raises:
        NetworkError: It is.
    """
    installed = version("transformers")
    numbers = tuple(int(number) for number in re.findall(r"\d+", installed)[:2])
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise NetworkError(
            "transformers is too old",
            got=f"version {installed}",
            expected=f"{oldest} or newer",
            fix=f"pip install 'transformers>={oldest}'",
        )
