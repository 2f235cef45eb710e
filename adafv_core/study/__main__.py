"""`python -m adafv_core.study`."""

from __future__ import annotations

import sys

from adafv_core.study.cli import main

if __name__ == "__main__":
    sys.exit(main())
