"""What `up` and `status` end with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scoregate.local.champions import Champion


def service_url(gateway_url: str, service: str) -> str:
    return f"{gateway_url}/v1/{service}/score"


def curl(gateway_url: str, service: str, key: str, example: Mapping[str, Any]) -> str:
    """One line that a shell takes as it is."""
    words = ["curl", "-s", service_url(gateway_url, service)]
    words += ["-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json", "-d", json.dumps(example)]
    return shlex.join(words)


def show_services(console: Console, gateway_url: str, champions: Mapping[str, Champion | None]) -> None:
    table = _table("service", "URL", "model", "held-out metric, 95 % interval")
    for name, champion in champions.items():
        version, metric = (champion.version, champion.metric) if champion else ("-", "-")
        table.add_row(name, service_url(gateway_url, name), version, metric)
    console.print(table)


def show_ways_in(
    console: Console, gateway_url: str, key: str, examples: Mapping[str, Mapping[str, Any]], key_file: Path
) -> None:
    _plain(console, f"\nKey, for every service of this machine (kept in {key_file}):\n  {key}")
    for name, example in examples.items():
        _plain(console, f"\n{name}:\n{curl(gateway_url, name, key, example)}")


def show_processes(console: Console, rows: list[tuple[str, str, str, str, str]]) -> None:
    table = _table("process", "state", "pid", "port", "restarts")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _plain(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
