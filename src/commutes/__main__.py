"""`python -m commutes`, for where the script is not on the path."""

import sys

from commutes.cli import main

if __name__ == "__main__":
    sys.exit(main())
