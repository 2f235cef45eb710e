"""`python -m app` opens the page. Settings are checked before anything heavy is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from app.preflight import settings_to_start_with


def main(arguments: Sequence[str], prog: str = "python -m app") -> None:
    """Open the page and serve it until it is stopped. prog: the command that the help shows."""
    settings = settings_to_start_with(arguments, prog)
    from app.main import start

    start(settings)


if __name__ == "__main__":
    main(sys.argv[1:])
