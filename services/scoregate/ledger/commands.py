"""`scoregate ledger`: look decisions up, verify them, hand them to analysts, forget them."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scoregate.errors import ArtefactError
from scoregate.hashing import KeyedHash
from scoregate.ledger import Recorded
from scoregate.ledger.archive import Archive, Place, open_archive
from scoregate.ledger.asked import add_filters, wanted_of
from scoregate.ledger.cipher import FieldCipher
from scoregate.ledger.export import export, vector_of
from scoregate.ledger.places import ledgers, url_of
from scoregate.settings import Settings

Run = Callable[[argparse.Namespace], int]


def register(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Add the verb to the command line; return its actions, to which other rooms may add theirs."""
    ledger = verbs.add_parser("ledger", help="look decisions up, verify, export and forget them")
    actions = ledger.add_subparsers(title="actions", metavar="ACTION", required=True)

    def action(name: str, run: Run, says: str, *, service: bool = False) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=says, description=says)
        if service:
            parser.add_argument("service", help="whose decisions")
        parser.set_defaults(run=run)
        return parser

    show = action("show", _show, "print one decision as it is recorded")
    show.add_argument("decision_id", help="the decision_id of an answer")
    search = action("search", _search, "list decisions", service=True)
    add_filters(search)
    search.add_argument("--limit", type=int, default=50, help="most decisions of a page; default 50")
    search.add_argument("--after", metavar="NEXT", help="begin after what the page before gave as next")
    search.add_argument("--oldest-first", action="store_true", help="default is newest first")
    search.add_argument("--json", action="store_true", help="print one JSON object")
    out = action("export", _export, "write decisions to a Parquet file", service=True)
    add_filters(out)
    out.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    out.add_argument("--json", action="store_true", help="print one JSON object")
    rotate = action("rotate-key", _rotate, "tag persons with a new secret, from each process's next start on")
    rotate.set_defaults(json=False)
    from scoregate.ledger import audit_commands, forget_commands, migrate_command

    audit_commands.register(action)
    forget_commands.register(action)
    migrate_command.register(action)
    return actions


def opened(service: str) -> closing[Archive]:
    return closing(open_archive(url_of(Settings(), service)))  # type: ignore[type-var]


# Looking up


def _show(arguments: argparse.Namespace) -> int:
    recorded = next(_holders(arguments.decision_id), None)
    if recorded is None:
        print("scoregate: no ledger of this stack holds that decision", file=sys.stderr)
        return 1
    print(json.dumps(_shown(recorded), indent=2, ensure_ascii=False))
    if recorded.forgotten:
        print(
            f"scoregate: {', '.join(recorded.forgotten)} of this decision were forgotten, so it cannot be re-derived",
            file=sys.stderr,
        )
    return 0


def _holders(decision_id: str) -> Iterator[Recorded]:
    settings = Settings()
    cipher = FieldCipher.load(settings.ledger_key_file)
    for service, url in ledgers(settings):
        with closing(open_archive(url)) as archive:
            if found := archive.get(service, decision_id):
                yield cipher.decrypted(found)


def _shown(recorded: Recorded) -> dict[str, Any]:
    entry = asdict(recorded.entry)
    gone = recorded.forgotten
    entry["answer"] = None if "answer" in gone else json.loads(recorded.entry.answer)
    entry["ages"] = json.loads(recorded.entry.ages)
    entry["shadow"] = json.loads(recorded.entry.shadow or "null")
    entry["natural_key"] = None if "natural_key" in gone else recorded.entry.natural_key
    vector = [None if math.isnan(value) else value for value in vector_of(recorded)]
    names = _names(recorded) or [*map(str, range(len(vector)))]
    entry["vector"] = None if "vector" in gone else dict(zip(names, vector, strict=True))
    chain = {"writer": recorded.writer, "seq": recorded.seq, "hash": recorded.hash, "previous": recorded.previous_hash}
    return {**entry, "chain": {**chain, "format": recorded.format}, "forgotten": gone}


def _names(recorded: Recorded) -> list[str]:
    """Names of the vector's features, from the artefact if it is still there."""
    folder = Settings().models(recorded.entry.service) / recorded.entry.model_digest[:12]
    try:
        return [feature["name"] for feature in json.loads((folder / "signature.json").read_text())["features"]]
    except OSError:
        return []


def _search(arguments: argparse.Namespace) -> int:
    if arguments.limit < 1:
        raise ArtefactError("a page has at least one decision")
    after = Place.parse(arguments.after) if arguments.after else None
    with opened(arguments.service) as archive:
        # One more than asked for tells whether there is a next page.
        found = archive.search(
            arguments.service,
            wanted_of(arguments, Settings()),
            after=after,
            limit=arguments.limit + 1,
            newest_first=not arguments.oldest_first,
        )
    page = found[: arguments.limit]
    following = str(Place.of(page[-1])) if len(found) > len(page) else None
    rows = [_listed(one) for one in page]
    if arguments.json:
        print(json.dumps({"decisions": rows, "next": following}))
        return 0
    for row in rows:
        score = "-" if row["score"] is None else f"{row['score']:.6f}"
        print(
            f"{row['decided_at']}  {row['decision_id']}  {row['outcome']:<8}  {score:<8}  {row['natural_key'] or '-'}"
        )
    if following:
        print(f"next: --after {following}")
    return 0


def _listed(recorded: Recorded) -> dict[str, Any]:
    entry, gone = recorded.entry, recorded.forgotten
    plain = ("decision_id", "outcome", "score", "source", "rung", "arm", "model_digest", "policy_digest", "trace_id")
    return {
        **{name: getattr(entry, name) for name in plain},
        "natural_key": None if "natural_key" in gone else entry.natural_key,
        "event_at": _time(entry.event_at),
        "decided_at": _time(entry.decided_at),
        "forgotten": gone,
    }


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")


def _export(arguments: argparse.Namespace) -> int:
    settings = Settings()
    cipher = FieldCipher.load(settings.ledger_key_file)
    with opened(arguments.service) as archive:
        rows = export(archive, arguments.service, wanted_of(arguments, settings), arguments.out, cipher)
    if arguments.json:
        print(json.dumps({"file": str(arguments.out), "rows": rows}))
    else:
        print(f"{rows} decisions in {arguments.out}")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    hashed = KeyedHash.rotate(Settings().hash_key_path)
    print(f"persons are tagged with key {hashed.tagged('', '').partition(':')[0]} from each process's next start on")
    return 0
