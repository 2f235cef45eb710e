"""Notices JPEG files whose header claims other dimensions than their data fill.

libjpeg decodes such a file without an error: it stops early and leaves data over, or it fills what is missing with
gray. `JpegData` feeds Pillow's decoder one JPEG so that both show while it decodes, at no extra cost.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass

from PIL import Image, ImageFile

from adafv_core.errors import ImageError

_OTHER_SIZE = "The picture is damaged: its data do not fill the size that its header claims; save it again."
_SEGMENT = re.compile(rb"\xff+([^\x00\xff])")
_END_OF_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_SOF, _SOS, _EOI = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}, 0xDA, b"\xff\xd9"
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_FILLER = b"\xff\x00" * 10
"""Bits of no Huffman code, which complete no block: 10 bytes, more than libjpeg reads ahead."""
_TAILS = tuple(bytes([value]) * 16 for value in (0x55, 0xAA, 0x00, 0x33, 0xD6, 0x6B))
_LEAST_PIXELS = 64


@dataclass(frozen=True)
class _Scan:
    """The first scan of a file: its entropy-coded data are bytes start..end. alone: whether it has no other scan."""

    start: int
    end: int
    alone: bool


def is_jpeg(start: bytes) -> bool:
    """Whether the first three bytes of a file are those of a JPEG file."""
    return start == b"\xff\xd8\xff"


class JpegData(io.BytesIO):
    """The bytes of a JPEG file, opened by `Image.open` and decoded by `load`.

    Those of a scan come in pieces. Before its last bytes the last row of pixels must still be missing, or the header
    claims too few pixels; after them it must be there, or the header claims too many.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = data
        self._opened: ImageFile.ImageFile | None = None
        self._stops: list[int] = []
        self._marks: dict[tuple[int, int], object] = {}

    def load(self, opened: ImageFile.ImageFile) -> None:
        """Decode the picture that was opened from these bytes.

        Raises ImageError if the claimed dimensions are not those of the data, and what Pillow raises for damage.
        Dimensions of as many blocks, such as a picture's on its side, cannot be told apart.
        """
        scan = _first_scan(self._data)
        width, height = opened.size
        if scan is None or width * height < _LEAST_PIXELS:
            opened.load()
            return
        if not scan.alone:
            if not _fits(self._data, scan):
                raise ImageError(_OTHER_SIZE)
            opened.load()
            return
        self._stops = [scan.end - _spare(scan), scan.end]
        self._opened = opened
        opened.load()
        if len(self._stops) == 2:  # all rows were there before the last bytes were asked for
            raise ImageError(_OTHER_SIZE)

    def read(self, size: int | None = -1) -> bytes:
        if self._opened is None or size is None or size < 0 or self._opened._im is None:
            return super().read(size)
        if not self._marks:
            self._mark(self._opened)
        at = self.tell()
        if self._stops and at == self._stops[0]:
            if len(self._stops) == 1 and not self._last_row_is_there(self._opened):
                raise ImageError(_OTHER_SIZE)
            self._stops.pop(0)
        piece = super().read(min(size, self._stops[0] - at) if self._stops else size)
        return piece + _FILLER if len(self._stops) == 1 and self.tell() == self._stops[0] else piece

    def _mark(self, opened: ImageFile.ImageFile) -> None:
        """Give pixels of the last row values that no decoder would by chance."""
        width, height = opened.size
        bands = len(opened.getbands())
        for x in range(min(width, 64)):
            ink = tuple((37 + 101 * x + 59 * band + 13 * x * x) % 256 for band in range(bands))
            opened.im.putpixel((x, height - 1), ink if bands > 1 else ink[0])
            self._marks[x, height - 1] = opened.im.getpixel((x, height - 1))

    def _last_row_is_there(self, opened: ImageFile.ImageFile) -> bool:
        return any(opened.im.getpixel(place) != value for place, value in self._marks.items())


def _first_scan(data: bytes) -> _Scan | None:
    """Where the first scan's data are; None for a file that is not built like a JPEG or whose scan does not end."""
    at, progressive = 2, False
    while (found := _SEGMENT.match(data, at)) is not None and found.end() + 2 <= len(data):
        kind, at = found[1][0], found.end()
        at += struct.unpack_from(">H", data, at)[0]
        if kind in _SOF:
            progressive = kind in _PROGRESSIVE
        if kind == _SOS:
            ending = _END_OF_SCAN.search(data, at)
            if ending is None:
                return None
            alone = not progressive and ending[0].endswith(_EOI)
            return _Scan(at, ending.start(), alone)
    return None


def _fits(data: bytes, scan: _Scan) -> bool:
    """Whether the first scan, of several, holds as many pixels as the header claims.

    More bytes after it may change no pixel, and other bytes at its end have to change one, unless all pixels are alike.
    Only this scan is decoded, at an eighth of the size.
    """
    found = _eighth(data[: scan.end] + _EOI)
    if any(_eighth(data[: scan.end] + 32 * tail + _EOI).tobytes() != found.tobytes() for tail in _TAILS[:2]):
        return False
    if all(low == high for low, high in (band.getextrema() for band in found.split())):
        return True
    cut = scan.end - _spare(scan)
    endings = (data[:cut] + tail[: scan.end - cut] + _EOI for tail in _TAILS)
    return any(_eighth(one).tobytes() != found.tobytes() for one in endings)


def _spare(scan: _Scan) -> int:
    """Bytes at the end of a scan that an encoder may leave unused."""
    length = scan.end - scan.start
    return 1 + min(length // 2, 8 + length // 4096)


def _eighth(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
        opened.draft(None, (max(1, opened.width // 8), max(1, opened.height // 8)))
        opened.load()
        return opened
