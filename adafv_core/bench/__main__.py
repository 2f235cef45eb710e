"""`python -m adafv_core.bench` is `adafv bench`."""

import sys

from adafv_core.bench.cli import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m adafv_core.bench"))
