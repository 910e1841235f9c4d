"""`scoregate ledger`: look a decision up, walk the chains."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import struct
import sys
from dataclasses import asdict
from pathlib import Path

from scoregate.ledger import Recorded
from scoregate.ledger.sqlite import SqliteLedger
from scoregate.settings import Settings


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to the command line."""
    ledger = verbs.add_parser("ledger", help="look decisions up and verify their chains")
    actions = ledger.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print one decision as it is recorded")
    show.add_argument("decision_id", help="the decision_id of an answer")
    show.set_defaults(run=_show)
    verify = actions.add_parser("verify", help="walk every writer's chain and name the first broken entry of each")
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    verify.set_defaults(run=_verify)


def _ledgers() -> list[tuple[str, Path]]:
    """Service and file of every embedded ledger there is."""
    folder = Settings().home / "ledger"
    return [(path.stem, path) for path in sorted(folder.glob("*.db"))]


def _show(arguments: argparse.Namespace) -> int:
    async def find() -> Recorded | None:
        for service, path in _ledgers():
            ledger = await SqliteLedger.open(path, service)
            try:
                if found := await ledger.get(arguments.decision_id):
                    return found
            finally:
                await ledger.close()
        return None

    recorded = asyncio.run(find())
    if recorded is None:
        print("scoregate: no ledger of this stack holds that decision", file=sys.stderr)
        return 1
    entry = asdict(recorded.entry)
    entry["answer"] = json.loads(recorded.entry.answer)
    entry["ages"] = json.loads(recorded.entry.ages)
    vector = [None if math.isnan(value) else value for (value,) in struct.iter_unpack("<d", recorded.entry.vector)]
    entry["vector"] = dict(zip(_names(recorded) or map(str, range(len(vector))), vector, strict=True))
    chain = {"writer": recorded.writer, "seq": recorded.seq, "hash": recorded.hash, "previous": recorded.previous_hash}
    print(json.dumps({**entry, "chain": chain}, indent=2, ensure_ascii=False))
    return 0


def _names(recorded: Recorded) -> list[str]:
    """Names of the vector's features, from the artefact if it is still there."""
    folder = Settings().models(recorded.entry.service) / recorded.entry.model_digest[:12]
    try:
        return [feature["name"] for feature in json.loads((folder / "signature.json").read_text())["features"]]
    except OSError:
        return []


def _verify(arguments: argparse.Namespace) -> int:
    async def walk() -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = {}
        for service, path in _ledgers():
            ledger = await SqliteLedger.open(path, service)
            try:
                broken = await ledger.verify()
                found[service] = {"entries": await ledger.count(), "broken": [asdict(b) for b in broken]}
            finally:
                await ledger.close()
        return found

    found = asyncio.run(walk())
    if not found:
        print(f"scoregate: there is no ledger in {Settings().home / 'ledger'}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(found))
    else:
        for service, result in found.items():
            print(f"{service}: {result['entries']} entries, {'BROKEN' if result['broken'] else 'every chain holds'}")
            for broken in result["broken"]:  # type: ignore[attr-defined]
                print(f"  writer {broken['writer']}, entry {broken['seq']}: {broken['why']}")
    return 1 if any(result["broken"] for result in found.values()) else 0
