"""The oldest version of transformers that has what is imported here."""

from __future__ import annotations

import re
from importlib.metadata import version

from commutes.errors import NetworkError

# The first with caches made of layers that know their configuration, and with `dtype=` for the weights.
OLDEST = (4, 56)


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
