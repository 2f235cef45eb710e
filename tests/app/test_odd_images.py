"""Odd and hostile image files: through the library and the page each becomes the right picture or one sentence."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.app_context import shared_address, shared_context
from helpers.odd_images import EITHER, REFUSED, RIGHT, OddImage, claiming, encoded, odd_images, scene
from PIL import Image, ImageOps

from adafv_core.errors import ImageError
from adafv_core.images import read_picture
from app.api.ask import read_api_request
from app.wire.parse import METHOD_OPTIONS, AskSettings

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


def reference(data: bytes, upright: bool) -> np.ndarray:
    """The picture in a file as plain Pillow decodes it: (height, width, 3) uint8, on white, 16 bits cut to 8."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.seek(0)
        opened.load()
        picture = ImageOps.exif_transpose(opened) if upright else opened
        if picture.mode.startswith("I"):
            deep = np.asarray(picture)
            levels = (deep >> 8).astype(np.uint8)
            levels[deep == picture.info.get("transparency", -1)] = 255
            return np.stack([levels] * 3, -1)
        if not picture.has_transparency_data:
            return np.asarray(picture.convert("RGB"))
        clear = picture.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB"))


def outcome(odd: OddImage, file: Path, page: bool) -> str:
    """What came of it: "right", "refused", or what is wrong. page: through the endpoints' own reading of a call."""
    try:
        if page:
            more = {name: getattr(AskSettings, name) for name in (*METHOD_OPTIONS, "positions", "with_full")}
            values = {"image": str(file), "prompt": "What is it?", "keep_ratio": 0.1, "method": "adafv", **more}
            found = read_api_request(shared_context(), values, "pocket").picture.image
        else:
            found = read_picture(file).image
    except ImageError as error:
        text = str(error)
        one = "\n" not in text and len(text) < 400 and text.endswith(".") and "Traceback" not in text
        return REFUSED if one else f"said {text!r}"
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    if found.mode != "RGB":
        return f"mode {found.mode}"
    if not odd.exact:
        return RIGHT
    expected = reference(odd.whole or odd.data, upright=page)
    return RIGHT if np.array_equal(np.asarray(found), expected) else "another picture"


@pytest.mark.parametrize("page", [False, True], ids=["library", "page"])
def test_each_is_the_right_picture_or_refused_in_a_sentence(page: bool, tmp_path: Path) -> None:
    """Bit-equal to a plain decode; a damaged file that is not refused shows what the undamaged one does."""
    assert len(odd_images()) >= 200 and len({odd.name for odd in odd_images()}) == len(odd_images())
    wrong, seen = [], Counter[str]()
    for odd in odd_images():
        file = tmp_path / odd.name
        file.write_bytes(odd.data)
        wanted, came = (odd.page if page else odd.library), outcome(odd, file, page)
        seen[came] += 1
        if came != wanted and not (wanted == EITHER and came in (RIGHT, REFUSED)):
            wrong.append(f"{odd.name}: {wanted}, but {came}")
    assert not wrong, "\n".join(wrong)
    assert min(seen[RIGHT], seen[REFUSED]) >= 60


def test_the_endpoint_answers_or_refuses_each_kind(tmp_path: Path) -> None:
    """Uploads of one file in eight, and what `/scores` says to each."""
    client = Client(shared_address(), verbose=False)
    chosen = [odd for odd in odd_images()[::8] if odd.data and len(odd.data) < 1_000_000]
    assert len(chosen) >= 25
    for odd in chosen:
        file = tmp_path / odd.name
        file.write_bytes(odd.data)
        try:
            told = client.predict(handle_file(file), "What is it?", api_name="/scores")
            assert told["n_kept"] == 20 and odd.page != REFUSED, odd.name
        except AppError as error:
            assert odd.page != RIGHT and str(error).endswith(".") and "\n" not in str(error), (odd.name, error)
            assert str(tmp_path) not in str(error) and "Traceback" not in str(error)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_claims_other_dimensions_is_refused(progressive: bool, tmp_path: Path) -> None:
    """Also when it is decoded at half its size, and never one that fills what it claims."""
    from adafv_core.images import load_whole, open_file

    for width, height in ((160, 120), (161, 121), (33, 500)):
        for subsampling in (0, 2):
            picture = scene(width, height)
            data = encoded(picture, "JPEG", progressive=progressive, subsampling=subsampling)
            for factor in (1, 2, 4):
                for claimed in ((width, height), (width, 2 * height), (width, height // 2), (width + 32, height)):
                    file = tmp_path / "claimed.jpg"
                    file.write_bytes(claiming(data, *claimed))
                    with open_file(file) as opened:
                        opened.draft(None, (opened.width // factor, opened.height // factor))
                        if claimed == (width, height):
                            load_whole(opened)
                            continue
                        with pytest.raises((ImageError, OSError)) as refused:
                            load_whole(opened)
                        assert "that its header claims" in str(refused.value) or "truncated" in str(refused.value)
