"""Two pictures in SVG: a histogram of shares, and a bar that divides one whole.  The numbers always stand beside them."""

from __future__ import annotations

import html
from collections.abc import Sequence

HATCH = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" class="wrong"/><path d="M0 0V6" class="hatch"/></pattern></defs></svg>\n'
)


def histogram(counts: Sequence[int], title: str, name: str, small: bool = False) -> str:
    """Students by tenths of the points.  `name` is unique on its page; a small one has neither numbers nor axis."""
    top = max(counts, default=0) or 1
    step, high, above = (12, 34, 2) if small else (52, 130, 18)
    bars = []
    for i, n in enumerate(counts):
        tall = high * n / top
        if n:
            bars.append(
                f'<rect class="right" x="{i * step + 1}" y="{above + high - tall:.1f}" width="{step - 2}" '
                f'height="{tall:.1f}"/>'
            )
            if not small:
                middle = i * step + step / 2
                bars.append(f'<text x="{middle}" y="{above + high - tall - 5:.1f}" text-anchor="middle">{n}</text>')
    width, base = len(counts) * step, above + high
    axis = f'<path class="axis" d="M0 {base + 0.5}H{width}"/>'
    if not small:
        axis += "".join(
            f'<text x="{i * step}" y="{base + 17}" text-anchor="{_anchor(i, len(counts))}">{i * 10} %</text>'
            for i in range(0, len(counts) + 1, 2)
        )
    size = f' width="{width}" height="{base + 2}"' if small else ""
    return (
        f'<svg role="img" aria-labelledby="{name}" viewBox="0 0 {width} {base + (2 if small else 22)}"{size}>'
        f'<title id="{name}">{html.escape(title)}</title>{"".join(bars)}{axis}</svg>'
    )


def in_words(counts: Sequence[int]) -> str:
    """A histogram's numbers: `0-10 %: 2, 90-100 %: 14`; tenths without anybody are left out."""
    return ", ".join(f"{10 * i}-{10 * i + 10} %: {n}" for i, n in enumerate(counts) if n) or "nobody"


def bar(passed: int, failed: int, others: int) -> str:
    """One whole in three parts, from left to right.  The row it stands in has the numbers, so it is not read aloud."""
    total = passed + failed + others
    parts, x = [], 0.0
    for n, fill in ((passed, 'class="right"'), (failed, 'fill="url(#hatch)"'), (others, 'class="rest"')):
        if n:
            wide = 120 * n / total
            parts.append(f'<rect {fill} x="{x:.1f}" width="{max(wide - 1, 1):.1f}" height="12"/>')
            x += wide
    return f'<svg aria-hidden="true" width="120" height="12" viewBox="0 0 120 12">{"".join(parts)}</svg>'


def _anchor(i: int, last: int) -> str:
    return {0: "start", last: "end"}.get(i, "middle")
