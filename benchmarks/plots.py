"""Draw the plots of docs/benchmarks.md as SVG.

Runs as: whoever writes the document. Pure: values in, text out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

OURS, FLOOR, OTHERS, INK, PALE = "#c2410c", "#94a3b8", "#475569", "#1e293b", "#e2e8f0"
WIDTH, LABEL_WIDTH, VALUE_WIDTH, ROW, TOP = 720, 130, 150, 26, 44
FONT = 'font-family="system-ui, sans-serif" font-size="13"'


@dataclass(frozen=True)
class Bar:
    """One value with its quartiles."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Marks:
    """One row of ratios: names and values; 1 is ours."""

    label: str
    marks: tuple[tuple[str, float], ...]


def colour(name: str) -> str:
    """Ours stands out, what is no server steps back."""
    if name.startswith(("floor", "loop")) or name.endswith("-aside"):
        return FLOOR
    return OURS if name.startswith("udsrv") else OTHERS


def document(height: float, title: str, parts: Sequence[str]) -> str:
    """Wrap ``parts``; the white ground keeps it readable on a dark page."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            f'width="{WIDTH}" height="{height:.0f}" role="img" {FONT} fill="{INK}">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
            f'<text x="14" y="26" font-weight="600" font-size="15">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def bars(title: str, values: Sequence[Bar]) -> str:
    """Horizontal bars from zero, with a whisker from quartile to quartile.

    One that is far longer than the others is cut, with a gap to show it: it would flatten them.
    """
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    longest = max((max(bar.value, bar.high) for bar in values), default=1.0)
    middle_value = sorted(bar.value for bar in values)[len(values) // 2] if values else 1.0
    shown = min(longest, 3 * middle_value) or 1.0
    parts = []
    for number, bar in enumerate(values):
        y = TOP + number * ROW
        middle = y + ROW / 2
        is_cut = bar.value > shown
        left, low, high, end = (
            LABEL_WIDTH + min(value, shown) / shown * room
            for value in (bar.value, bar.low, bar.high, max(bar.value, bar.high))
        )
        parts += [
            text(LABEL_WIDTH - 8, middle, bar.label, "end", is_ours=bar.label.startswith("udsrv")),
            f'<rect x="{LABEL_WIDTH}" y="{y + 4}" width="{left - LABEL_WIDTH:.1f}" '
            f'height="{ROW - 8}" fill="{colour(bar.label)}"/>',
            f'<path d="M{end - 34:.1f} {y + ROW}l8 -{ROW}" stroke="#ffffff" stroke-width="5"/>'
            if is_cut
            else line(low, middle, high, middle),
            text(end + 8, middle, short(bar.value), "start"),
        ]
    return document(TOP + len(values) * ROW + 12, title, parts)


def ratios(title: str, rows: Sequence[Marks], names: Sequence[str]) -> str:
    """A logarithmic axis of ratios, a row per scenario, a mark per server, numbered in a legend."""
    values = [value for row in rows for _, value in row.marks] or [1.0]
    low = 2.0 ** math.floor(math.log2(min(*values, 1.0)) - 0.2)
    high = 2.0 ** math.ceil(math.log2(max(*values, 1.0)) + 0.2)
    room = WIDTH - LABEL_WIDTH - 40
    top = TOP + 24

    def x_of(value: float) -> float:
        return LABEL_WIDTH + 10 + math.log(value / low) / math.log(high / low) * room

    bottom = top + len(rows) * ROW
    parts = []
    for number, name in enumerate(names):
        x = 24 + number * 100
        parts += [mark(x, TOP, number, name), text(x + 12, TOP, name, "start")]
    tick = low
    while tick <= high * 1.001:
        parts += [
            line(x_of(tick), top, x_of(tick), bottom, INK if tick == 1 else PALE),
            text(x_of(tick), bottom + 14, f"{tick:g}", "middle"),
        ]
        tick *= 2
    for number, row in enumerate(rows):
        middle = top + number * ROW + ROW / 2
        parts.append(text(LABEL_WIDTH, middle, row.label, "end"))
        for name, value in row.marks:
            parts.append(mark(x_of(value), middle, names.index(name), name))
    return document(bottom + 30, title, parts)


def mark(x: float, y: float, number: int, name: str) -> str:
    """A disc with a letter in it, so that colour is not needed to tell them apart."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="{colour(name)}" fill-opacity="0.9"/>'
        f'<text x="{x:.1f}" y="{y + 3.5:.1f}" text-anchor="middle" font-size="10" fill="#ffffff">'
        f"{'ABCDEFGHIJ'[number]}</text>"
    )


def text(x: float, y: float, words: str, anchor: str, *, is_ours: bool = False) -> str:
    """Words whose middle is at ``y``."""
    weight = ' font-weight="600"' if is_ours else ""
    return (
        f'<text x="{x:.1f}" y="{y + 4.5:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'
    )


def line(x1: float, y1: float, x2: float, y2: float, ink: str = INK) -> str:
    """A thin line."""
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{ink}" stroke-width="1.2"/>'


def short(value: float) -> str:
    """Three digits, more or less."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
