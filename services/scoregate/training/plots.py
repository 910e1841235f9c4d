"""Plots as inline SVG: lines with bands, bars with intervals. Nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from scoregate.values import frozen

WIDTH: Final = 460
HEIGHT: Final = 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 44
COLOURS: Final = ("#1b6ca8", "#c8553d", "#4c8b5a", "#8a6fb0", "#b08a2e", "#555555")

Point = tuple[float, float]


@frozen
class Line:
    """Points in order of x; `low` and `high` are a band around them, `dots` marks each, `dashed` is a reference."""

    name: str
    points: Sequence[Point]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: bool = False
    dashed: bool = False


@frozen
class Bar:
    """One bar, with an interval where it is known."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def chart(lines: Sequence[Line], x_label: str, y_label: str, *, box: tuple[float, float, float, float]) -> str:
    """Draw lines; `box` is (least x, largest x, least y, largest y)."""
    x0, x1, y0, y1 = box
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    def at(x: float, y: float) -> str:
        across = LEFT + (min(max(x, x0), x1) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y1 - min(max(y, y0), y1)) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f},{down:.1f}"

    parts = [*_axes(x0, x1, y0, y1, x_label, y_label)]
    solid = 0
    for line in lines:
        colour = "#999999" if line.dashed else COLOURS[solid % len(COLOURS)]
        solid += not line.dashed
        if line.low:
            up = [at(x, y) for (x, _), y in zip(line.points, line.high, strict=True)]
            down = [at(x, y) for (x, _), y in zip(line.points, line.low, strict=True)]
            parts.append(f'<polygon points="{" ".join(up + down[::-1])}" fill="{colour}" opacity="0.15"/>')
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        places = " ".join(at(x, y) for x, y in line.points)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>')
        if line.dots:
            for x, y in line.points:
                across, down_at = at(x, y).split(",")
                parts.append(f'<circle cx="{across}" cy="{down_at}" r="3" fill="{colour}"/>')
    parts += _legend([line for line in lines if line.name])
    return _svg(WIDTH, HEIGHT, parts, y_label)


def bars(values: Sequence[Bar], *, most: float, mark: float | None = None) -> str:
    """Draw bars to the right from 0 to `most`, one below the other; `mark` is a bound."""
    row, left, wide = 20, 220, 640
    scale = (wide - left - 90) / (most or 1.0)
    height = row * len(values) + 8
    parts = []
    for i, bar in enumerate(values):
        y = 4 + i * row
        long = max(0.0, min(bar.value, most)) * scale
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(bar.name)}</text>')
        parts.append(f'<rect x="{left}" y="{y + 3}" width="{long:.1f}" height="12" fill="{COLOURS[0]}" opacity=".7"/>')
        if bar.low is not None and bar.high is not None:
            ends = [left + max(0.0, min(end, most)) * scale for end in (bar.low, bar.high)]
            parts.append(f'<path d="M{ends[0]:.1f},{y + 9} H{ends[1]:.1f}" stroke="#222" stroke-width="2"/>')
        after = left + max(long, min(bar.high or 0.0, most) * scale) + 6
        parts.append(f'<text x="{after:.1f}" y="{y + 13}">{_tick(bar.value)}</text>')
    if mark is not None:
        x = left + mark * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}" stroke="{COLOURS[1]}"/>')
    return _svg(wide, height, parts, "bars")


def _axes(x0: float, x1: float, y0: float, y1: float, x_label: str, y_label: str) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<path d="M{LEFT},{TOP} V{bottom} H{right}" fill="none" stroke="#444"/>']
    for i in range(5):
        x, y = LEFT + i / 4 * (right - LEFT), bottom - i / 4 * (bottom - TOP)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{_tick(x0 + i / 4 * (x1 - x0))}</text>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(y0 + i / 4 * (y1 - y0))}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>')
    half = (TOP + bottom) / 2
    parts.append(
        f'<text x="12" y="{half}" text-anchor="middle" transform="rotate(-90 12 {half})">{escape(y_label)}</text>'
    )
    return parts


def _legend(lines: Sequence[Line]) -> list[str]:
    parts, solid = [], 0
    for i, line in enumerate(lines):
        colour = "#999999" if line.dashed else COLOURS[solid % len(COLOURS)]
        solid += not line.dashed
        y = TOP + 8 + 15 * i
        parts.append(f'<line x1="{LEFT + 12}" x2="{LEFT + 30}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{LEFT + 35}" y="{y + 4}" class="legend">{escape(line.name)}</text>')
    return parts


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _svg(width: int, height: int, parts: Sequence[str], title: str) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{escape(title)}">{body}</svg>'
