"""The list of names that telemetry has, made of `names.py`: each with what is written below it there."""

from __future__ import annotations

import ast
from pathlib import Path

from scoregate.telemetry import names

SOURCE = Path(names.__file__)
PATH = SOURCE.with_name("NAMES.md")

HEAD = """# Names

Every span, attribute and metric; made by `python -m deploy.generate` of [names.py](names.py).
Counters end in `_total` on `/metrics`, histograms in `_bucket`, `_sum` and `_count`.

| name | what |
|---|---|
"""


def meanings() -> dict[str, str]:
    """Return what `names.py` says of each name; empty where it says nothing."""
    body = ast.parse(SOURCE.read_text()).body
    found: dict[str, str] = {}
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            said = after.value if isinstance(after, ast.Expr) else None
            found[str(statement.value.value)] = str(said.value) if isinstance(said, ast.Constant) else ""
    return found


def page() -> str:
    """Return the page."""
    return HEAD + "".join(f"| `{name}` | {' '.join(what.split())} |\n" for name, what in meanings().items())
