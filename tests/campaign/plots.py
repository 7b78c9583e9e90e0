"""Bars as SVG, without a library: a row a bar, its figure beside it. Readable on light and on dark pages."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

ROW = 20
LABEL_WIDTH = 380
BAR_WIDTH = 380
FIGURE_WIDTH = 100


def bars(path: Path, title: str, entries: Sequence[tuple[str, float, str]]) -> None:
    """Write one plot: label, length of its bar, and the figure that is written beside it."""
    longest = max((length for _, length, _ in entries), default=1.0) or 1.0
    width, height = LABEL_WIDTH + BAR_WIDTH + FIGURE_WIDTH, 40 + ROW * len(entries)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' font-family="sans-serif" font-size="12" role="img" aria-label="{escape(title)}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="20" font-size="14" font-weight="bold" fill="#222222">{escape(title)}</text>',
    ]
    for number, (label, length, figure) in enumerate(entries):
        top = 34 + number * ROW
        size = max(1.0, BAR_WIDTH * length / longest)
        lines += [
            f'<text x="{LABEL_WIDTH - 8}" y="{top + 12}" text-anchor="end" fill="#222222">{escape(label)}</text>',
            f'<rect x="{LABEL_WIDTH}" y="{top + 2}" width="{size:.1f}" height="{ROW - 6}" fill="#2f6f9f"/>',
            f'<text x="{LABEL_WIDTH + size + 6:.1f}" y="{top + 12}" fill="#222222">{escape(figure)}</text>',
        ]
    path.write_text("\n".join([*lines, "</svg>"]) + "\n", "utf-8")
