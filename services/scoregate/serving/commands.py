"""`scoregate keys`: make, rotate, revoke and list API keys; running services follow within a second."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scoregate.serving.keyfile import KeyFile, Record, expiry
from scoregate.settings import Settings

_SPAN = re.compile(r"^(\d{1,6})([smhd])$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `keys` and its actions."""
    keys = verbs.add_parser("keys", help="make, rotate, revoke and list API keys")
    actions = keys.add_subparsers(title="actions", metavar="ACTION", required=True)

    def action(name: str, run: Callable[[argparse.Namespace], int], says: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=says, description=says)
        parser.add_argument("--file", type=Path, help="the file of keys; default SCOREGATE_KEYS_FILE")
        parser.set_defaults(run=run)
        return parser

    create = action("create", _create, "make a key and print it, once")
    create.add_argument("id", help="lower-case letters, digits, dots and hyphens")
    create.add_argument(
        "--scope", action="append", required=True, help="service:verb, such as fraud:score or *:read; repeat it"
    )
    create.add_argument("--rate", type=float, metavar="PER_S", help="rows a second; default SCOREGATE_RATE_PER_S")
    rotate = action("rotate", _rotate, "make a key in an earlier one's place and print it; both are good for a while")
    rotate.add_argument("id", help="the key's id")
    rotate.add_argument("--overlap", type=span, default=timedelta(days=1), help="such as 30m, 12h, 7d; default 1d")
    for parser in (create, rotate):
        parser.add_argument("--expires-in", type=span, metavar="SPAN", help="such as 12h or 90d")
    action("revoke", _revoke, "take a key away").add_argument("id", help="the key's id")
    action("list", _list, "say which keys there are").add_argument("--json", action="store_true", help="as JSON")


def span(said: str) -> timedelta:
    """Read a span of time such as `30m`, `12h` or `90d`."""
    found = _SPAN.match(said)
    if not found:
        raise argparse.ArgumentTypeError(f"{said!r} is no span such as 30m, 12h or 90d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _file(arguments: argparse.Namespace) -> KeyFile:
    return KeyFile(arguments.file or Settings().keys_path)


def _create(arguments: argparse.Namespace) -> int:
    ends = datetime.now(UTC) + arguments.expires_in if arguments.expires_in else None
    print(_file(arguments).create(arguments.id, arguments.scope, expires_at=ends, rate_per_s=arguments.rate))
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    print(_file(arguments).rotate(arguments.id, arguments.overlap, arguments.expires_in))
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    count = _file(arguments).revoke(arguments.id)
    print(f"revoked {count} key{'s' if count > 1 else ''} of {arguments.id}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    records = _file(arguments).records()
    if arguments.json:
        print(json.dumps([{k: v for k, v in record.items() if k != "sha256"} for record in records]))
        return 0
    print(_table([("id", "state", "ends", "rate", "scopes"), *(_row(record) for record in records)]))
    return 0


def _row(record: Record) -> tuple[str, ...]:
    ends, rate = expiry(record), record.get("rate_per_s")
    state = "expired" if ends and ends <= datetime.now(UTC) else "good"
    said = ends.isoformat(timespec="seconds") if ends else "never"
    return record["id"], state, said, f"{rate:g}/s" if rate else "default", " ".join(record["scopes"])


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
