"""`python -m app` opens the page. Settings are checked before anything heavy is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from app.preflight import settings_to_start_with
from app.stopping import end_at_once_on_signals


def main(arguments: Sequence[str], prog: str = "python -m app") -> None:
    """Open the page and serve it until it is stopped. prog: the command that the help shows."""
    end_at_once_on_signals()
    settings = settings_to_start_with(arguments, prog)
    from app.main import start

    start(settings)


if __name__ == "__main__":
    main(sys.argv[1:])
