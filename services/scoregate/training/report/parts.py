"""What every section of a report is made of: tables, figures, and how numbers are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, classes: Sequence[str] = ()) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = []
    for i, cells in enumerate(rows):
        of = f' class="{classes[i]}"' if classes else ""
        lines.append(f"<tr{of}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def figure(caption: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def row(figures: Sequence[str]) -> str:
    return f'<div class="row">{"".join(figures)}</div>'


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def percent(m: Mapping[str, float]) -> str:
    return f"{m['value']:.1%} ({m['low']:.1%} to {m['high']:.1%})"


def interval(m: Mapping[str, float]) -> str:
    return f"{m['value']:.3f} ({m['low']:.3f} to {m['high']:.3f})"


def major(m: Mapping[str, float]) -> str:
    return f"{m['value'] / 100:,.0f} ({m['low'] / 100:,.0f} to {m['high'] / 100:,.0f})"
