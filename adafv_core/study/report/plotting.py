"""Small charts drawn with Pillow alone: lines, error bars, bars and histograms on two axes with a legend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Tick = tuple[float, str]

INK, FAINT, GRID = "#1b2026", "#565e67", "#e3e3df"
_ZOOM = 3
_MARKS = ("circle", "square", "diamond", "triangle", "cross")


@dataclass
class Chart:
    """One chart; sizes in pixels of the finished picture.

    x_ticks, y_ticks: (value, label). log_x: x on a logarithmic axis. legend: right of the axes, in drawing order.
    """

    title: str
    x_label: str
    y_label: str
    x_range: Point
    y_range: Point
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    width: int = 640
    height: int = 400
    legend_width: int = 150
    log_x: bool = False
    _legend: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._picture = Image.new("RGB", (self.width * _ZOOM, self.height * _ZOOM), "white")
        self._draw = ImageDraw.Draw(self._picture)
        self._left, self._right = 62, self.width - 14 - self.legend_width
        self._top, self._bottom = 40, self.height - 52
        self._axes()

    def line(self, points: Sequence[Point], color: str, label: str = "", width: float = 1.6, mark: int = -1) -> None:
        """A polyline. mark: which sign stands at each point, −1 for none."""
        places = [self._at(*point) for point in points]
        if len(places) > 1:
            self._draw.line(places, fill=color, width=round(width * _ZOOM), joint="curve")
        for place in places if mark >= 0 else []:
            self._mark(place, _MARKS[mark % len(_MARKS)], color, 2.2 + width)
        self._name(label, color, _MARKS[mark % len(_MARKS)] if mark >= 0 else "line")

    def error_bar(self, x: float, low: float, high: float, color: str) -> None:
        """A vertical bar with caps from `low` to `high`."""
        (across, lower), (_, upper) = self._at(x, low), self._at(x, high)
        cap = 3 * _ZOOM
        for ends in (
            (across, lower, across, upper),
            (across - cap, lower, across + cap, lower),
            (across - cap, upper, across + cap, upper),
        ):
            self._draw.line(ends, fill=color, width=_ZOOM)

    def bar(self, left: float, right: float, height: float, color: str, label: str = "") -> None:
        """A filled bar from y = 0."""
        (x0, y0), (x1, y1) = self._at(left, height), self._at(right, max(0.0, self.y_range[0]))
        self._draw.rectangle((x0, min(y0, y1), x1, max(y0, y1)), fill=color)
        self._name(label, color, "square")

    def steps(self, edges: Sequence[float], heights: Sequence[float], color: str, label: str = "") -> None:
        """A histogram's outline, its area filled lightly. edges: one more than heights."""
        outline = [(edges[0], 0.0)]
        for place, height in enumerate(heights):
            outline += [(edges[place], height), (edges[place + 1], height)]
        outline.append((edges[-1], 0.0))
        places = [self._at(*point) for point in outline]
        veil = Image.new("L", self._picture.size, 0)
        ImageDraw.Draw(veil).polygon(places, fill=60)
        self._picture.paste(color, (0, 0), veil)
        self._draw.line(places, fill=color, width=round(1.6 * _ZOOM), joint="curve")
        self._name(label, color, "square")

    def finished(self) -> Image.Image:
        """The chart with its legend, RGB, width × height."""
        x = (self._right + 16) * _ZOOM
        for number, (label, color, sign) in enumerate(self._legend):
            y = (self._top + 10 + 18 * number) * _ZOOM
            if sign == "line":
                self._draw.line((x - 6 * _ZOOM, y, x + 6 * _ZOOM, y), fill=color, width=2 * _ZOOM)
            else:
                self._mark((x, y), sign, color, 4.5)
            self._text((x + 12 * _ZOOM, y), label, 12, INK, "lm")
        return self._picture.resize((self.width, self.height), Image.Resampling.LANCZOS)

    def _axes(self) -> None:
        self._text((self._left * _ZOOM, 16 * _ZOOM), self.title, 14, INK, "lm")
        for value, label in self.y_ticks:
            _, y = self._at(self.x_range[0], value)
            self._draw.line((self._left * _ZOOM, y, self._right * _ZOOM, y), fill=GRID, width=_ZOOM)
            self._text(((self._left - 7) * _ZOOM, y), label, 12, FAINT, "rm")
        for value, label in self.x_ticks:
            x, _ = self._at(value, self.y_range[0])
            self._draw.line((x, self._bottom * _ZOOM, x, (self._bottom + 4) * _ZOOM), fill=FAINT, width=_ZOOM)
            self._text((x, (self._bottom + 8) * _ZOOM), label, 12, FAINT, "mt")
        base = self._bottom * _ZOOM
        self._draw.line((self._left * _ZOOM, base, self._right * _ZOOM, base), fill=FAINT, width=_ZOOM)
        middle = (self._left + self._right) / 2 * _ZOOM
        self._text((middle, (self.height - 14) * _ZOOM), self.x_label, 12, INK, "mm")
        self._upright(self.y_label)

    def _upright(self, text: str) -> None:
        font = _font(12)
        length = round(font.getlength(text)) + 2
        strip = Image.new("RGB", (length, 16 * _ZOOM), "white")
        ImageDraw.Draw(strip).text((0, 8 * _ZOOM), text, fill=INK, font=font, anchor="lm")
        turned = strip.rotate(90, expand=True)
        self._picture.paste(turned, (3 * _ZOOM, round((self._top + self._bottom) / 2 * _ZOOM - length / 2)))

    def _at(self, x: float, y: float) -> Point:
        scale: Callable[[float], float] = math.log if self.log_x else float
        low, high = (scale(end) for end in self.x_range)
        across = (scale(x) - low) / (high - low)
        up = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        return (
            (self._left + across * (self._right - self._left)) * _ZOOM,
            (self._bottom - up * (self._bottom - self._top)) * _ZOOM,
        )

    def _mark(self, place: Point, sign: str, color: str, radius: float) -> None:
        x, y, r = *place, radius * _ZOOM
        if sign == "circle":
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
        elif sign == "square":
            self._draw.rectangle((x - 0.85 * r, y - 0.85 * r, x + 0.85 * r, y + 0.85 * r), fill=color)
        elif sign == "diamond":
            self._draw.polygon([(x, y - 1.2 * r), (x + 1.2 * r, y), (x, y + 1.2 * r), (x - 1.2 * r, y)], fill=color)
        elif sign == "triangle":
            self._draw.polygon([(x, y - 1.1 * r), (x + 1.1 * r, y + 0.8 * r), (x - 1.1 * r, y + 0.8 * r)], fill=color)
        else:
            wide = max(1, round(0.6 * r))
            self._draw.line((x - r, y - r, x + r, y + r), fill=color, width=wide)
            self._draw.line((x - r, y + r, x + r, y - r), fill=color, width=wide)

    def _name(self, label: str, color: str, sign: str) -> None:
        if label and (label, color, sign) not in self._legend:
            self._legend.append((label, color, sign))

    def _text(self, place: Point, text: str, size: int, color: str, anchor: str) -> None:
        self._draw.text(place, text, fill=color, font=_font(size), anchor=anchor)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _ZOOM)


def beside(charts: Sequence[Image.Image]) -> Image.Image:
    """Charts side by side on white."""
    joined = Image.new("RGB", (sum(one.width for one in charts), max(one.height for one in charts)), "white")
    left = 0
    for one in charts:
        joined.paste(one, (left, 0))
        left += one.width
    return joined
