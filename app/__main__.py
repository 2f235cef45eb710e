"""`python -m app` starts the page. What can be refused at once is, before anything heavy is imported."""

import sys

from app.preflight import settings_to_start_with

if __name__ == "__main__":
    settings = settings_to_start_with(sys.argv[1:])
    from app.main import start

    start(settings)
