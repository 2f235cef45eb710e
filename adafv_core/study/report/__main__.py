"""`python -m adafv_core.study.report`."""

from __future__ import annotations

import sys

from adafv_core.study.report.documents import main

if __name__ == "__main__":
    sys.exit(main())
