"""Which decisions a command line asks for."""

from __future__ import annotations

import argparse
import re
import sys
import time
from datetime import UTC, datetime

from scoregate.errors import ArtefactError
from scoregate.hashing import KeyedHash
from scoregate.ledger.archive import Wanted
from scoregate.ledger.forgetting import Person
from scoregate.settings import Settings

_AGO = re.compile(r"(\d+)([mhd])")
_UNIT_S = {"m": 60, "h": 3600, "d": 86_400}


def moment(text: str) -> float:
    """Read `2029-03-01`, an RFC 3339 time (UTC where it says no zone), or how long ago: `90m`, `6h`, `7d`; in seconds
    since the epoch."""
    if ago := _AGO.fullmatch(text):
        return time.time() - int(ago[1]) * _UNIT_S[ago[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: use 2029-03-01, 2029-03-01T12:00Z or 7d") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=moment, metavar="TIME", help="decided then or later: a date, a time, or 7d")
    parser.add_argument("--until", type=moment, metavar="TIME", help="decided before")
    parser.add_argument("--outcome", help="such as decline")
    parser.add_argument("--model", help="version of the model: the beginning of its digest")
    parser.add_argument("--arm", help="stable or canary")
    parser.add_argument("--source", choices=("model", "fallback"), help="what decided")
    add_person(parser)


def add_person(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--field", help="personal field of the request, such as account_id; with --value")
    parser.add_argument("--value", help="its raw value; - reads it from standard input, where no history keeps it")
    parser.add_argument("--key-hash", help="a person's tag as the ledger has it, <key id>:<hex>")


def person_of(arguments: argparse.Namespace, settings: Settings) -> Person | None:
    """Return whom the command is about, or None when it names nobody.

    Raises:
        ArtefactError: it names a field without a value or the other way round, or the key of hashes cannot be read.
    """
    if (arguments.field is None) != (arguments.value is None):
        raise ArtefactError("--field and --value go together")
    if arguments.field is not None:
        if arguments.key_hash is not None:
            raise ArtefactError("say who it is by --field and --value, or by --key-hash")
        value = sys.stdin.readline().rstrip("\n") if arguments.value == "-" else arguments.value
        return Person.of(KeyedHash.load(settings.hash_key_path), arguments.field, value)
    return Person([arguments.key_hash], []) if arguments.key_hash is not None else None


def wanted_of(arguments: argparse.Namespace, settings: Settings) -> Wanted:
    person = person_of(arguments, settings)
    return Wanted(
        since_s=arguments.since,
        until_s=arguments.until,
        outcome=arguments.outcome,
        model=arguments.model,
        arm=arguments.arm,
        source=arguments.source,
        tags=person.tags if person else (),
    )
