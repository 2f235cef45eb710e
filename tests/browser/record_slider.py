"""Records the keep-ratio slider on the running page as an animated WebP: `python tests/browser/record_slider.py`.

The app is started as a user starts it, with the worked example; a real browser moves the slider from 100 % down to 2 %
and back.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.browser import ARGUMENTS, chromium, settled
from helpers.running_app import running_app
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
VIEWPORT = {"width": 1240, "height": 860}
WIDTH_PX = 900
LOWEST = 0.02
FRAMES_DOWN = 26
MOVING_MS, RESTING_MS = 90, 1400
LARGEST_BYTES = 2 * 1000**2
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
RATIOS = "adafv.page.scores.steps.map((step) => step.ratio)"


def positions(ratios: list[float]) -> list[int]:
    """Slider positions from 100 % down to `LOWEST`, evenly spread over the slider."""
    top, low = len(ratios) - 1, min(range(len(ratios)), key=lambda i: abs(ratios[i] - LOWEST))
    return [round(top + (low - top) * step / (FRAMES_DOWN - 1)) for step in range(FRAMES_DOWN)]


def record(page: Page) -> tuple[list[Image.Image], list[int]]:
    """The frames and how long each is shown, in milliseconds."""
    page.uncheck("#answer-while-sliding")
    down = positions(page.evaluate(RATIOS))
    frames, durations = [], []
    for place in (*down, *reversed(down[1:-1])):
        page.locator("#keep-slider").fill(str(place))
        page.evaluate(PAINTED)
        frame = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        height = round(frame.height * WIDTH_PX / frame.width)
        frames.append(frame.resize((WIDTH_PX, height), Image.Resampling.LANCZOS))
        durations.append(RESTING_MS if place in (down[0], down[-1]) else MOVING_MS)
    return frames, durations


def write(frames: list[Image.Image], durations: list[int], path: Path) -> None:
    """Save the recording in the best quality that fits into `LARGEST_BYTES`."""
    for quality in (80, 70, 60, 50, 40):
        packed = io.BytesIO()
        options = {"duration": durations, "loop": 0, "quality": quality, "method": 4, "minimize_size": False}
        frames[0].save(packed, "WEBP", save_all=True, append_images=frames[1:], **options)
        if packed.tell() <= LARGEST_BYTES:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(packed.getvalue())
            print(f"{path}: {len(frames)} frames, {packed.tell() / 1000:.0f} kB, quality {quality}")
            return
    sys.exit(f"The recording stays above {LARGEST_BYTES:,} bytes: record fewer frames or a smaller page.")


def main() -> None:
    """Record into the file named on the command line, else docs/slider.webp."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "slider.webp"
    with running_app() as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        page = browser.new_page(viewport=VIEWPORT, color_scheme="light")
        page.goto(address)
        page.wait_for_function("window.adafv && adafv.page.scores && document.querySelector('.panels')")
        settled(page)
        frames, durations = record(page)
        browser.close()
    write(frames, durations, path)


if __name__ == "__main__":
    main()
