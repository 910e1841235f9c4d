"""`scoregate ledger verify` and `checkpoint`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scoregate.ledger.asked import moment
from scoregate.ledger.audit import Audited, audit
from scoregate.ledger.checkpoint_files import read, take
from scoregate.ledger.places import ledgers
from scoregate.settings import Settings


def register(action: Callable[..., argparse.ArgumentParser]) -> None:
    verify = action("verify", _verify, "walk every chain, hold it against its checkpoints, name what is broken first")
    verify.add_argument("--service", help="only this one's ledger")
    verify.add_argument(
        "--since", type=moment, metavar="TIME", help="only what was decided since: a date, a time, or 7d"
    )
    verify.add_argument("--processes", type=int, help="how many walk at once; default one per core")
    verify.add_argument(
        "--public-key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="key to trust, kept elsewhere, in place of those beside the checkpoints; may be given again",
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    checkpoint = action("checkpoint", _checkpoint, "sign where every writer stands now")
    checkpoint.add_argument("--service", help="only this one's ledger")


def _verify(arguments: argparse.Namespace) -> int:
    settings = Settings()
    since_s = arguments.since
    found = []
    for service, url in ledgers(settings, arguments.service):
        checkpoints = read(settings.checkpoints_path, service, trusted=arguments.public_key, since_s=since_s)
        found.append(audit(url, service, checkpoints, since_s=since_s, processes=arguments.processes))
    if arguments.json:
        print(json.dumps({one.service: _said(one) for one in found}))
    else:
        for one in found:
            _print(one)
    return 0 if all(one.holds for one in found) else 1


def _said(audited: Audited) -> dict[str, Any]:
    checkpoints = audited.checkpoints
    return {
        "entries": audited.entries,
        "walked": audited.walked,
        "writers": audited.writers,
        "broken": [asdict(broken) for broken in audited.broken],
        "checkpoints": {
            "count": len(checkpoints.statements),
            "last_at": _last_at(audited),
            "faults": [asdict(fault) for fault in checkpoints.faults],
        },
    }


def _print(audited: Audited) -> None:
    checkpoints = audited.checkpoints
    verdict = "every chain holds" if audited.holds else "BROKEN"
    print(f"{audited.service}: {audited.walked} of {audited.entries} entries, {audited.writers} writers: {verdict}")
    for broken in audited.broken:
        named = f" ({broken.decision_id})" if broken.decision_id else ""
        print(f"  writer {broken.writer}, entry {broken.seq}{named}: {broken.why}")
    for fault in checkpoints.faults:
        print(f"  {fault.file}, line {fault.line}: {fault.why}")
    if checkpoints.statements:
        print(f"  {len(checkpoints.statements)} checkpoints, the last of {_last_at(audited)}")
    else:
        print("  no checkpoints: a tail that was cut or rewritten with its head, and a removed writer, cannot be seen")


def _last_at(audited: Audited) -> str | None:
    statements = audited.checkpoints.statements
    if not statements:
        return None
    return datetime.fromtimestamp(statements[-1].at_us / 1e6, UTC).isoformat(timespec="seconds")


def _checkpoint(arguments: argparse.Namespace) -> int:
    settings = Settings()
    for service, url in ledgers(settings, arguments.service):
        taken = take(url, service, settings.checkpoints_path, settings.checkpoint_key_path)
        if taken is None:
            print(f"{service}: nothing has moved since the last checkpoint, or another process takes one")
        else:
            print(f"{service}: checkpoint {taken.number}, {taken.entries} entries")
    return 0
