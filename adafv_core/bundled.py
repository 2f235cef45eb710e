"""The location of the bundled files: next to `adafv_core` in a clone, inside it when installed.

ROOT contains `assets/` (the pocket model, stored study results, an example image) and `app/` (the page). A wheel has
both in `adafv_core/_bundled/`, so that it adds no top-level package named `app` to site-packages.
"""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).resolve().parent / "_bundled"

ROOT = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).resolve().parents[1]
ASSETS = ROOT / "assets"
