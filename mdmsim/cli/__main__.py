"""`python -m mdmsim.cli`: the same as `mdmsim`."""

import sys

from mdmsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
