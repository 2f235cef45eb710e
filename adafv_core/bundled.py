"""Where the bundled files are: beside `adafv_core` in a clone, inside it once it is installed.

Under ROOT lie `assets/` (the pocket model, stored study results, an example image) and `app/` (the page). A wheel
carries both in `adafv_core/_bundled/`, so that it adds no top-level package named `app` to site-packages.
"""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).resolve().parent / "_bundled"

ROOT = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).resolve().parents[1]
ASSETS = ROOT / "assets"
