"""The app as on a machine with a GPU, on one without: the page offers a real model. Settings as of `python -m app`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from app.main import launch, make_page, open_context
from app.settings import read_settings

if __name__ == "__main__":
    settings = read_settings(sys.argv[1:])
    page = make_page(replace(open_context(settings), gpu=True))
    launch(page, settings)
    page.block_thread()
