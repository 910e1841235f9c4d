"""`scoregate features skew`: from the command line to the comparison, and what is said of it."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.settings import Settings

if TYPE_CHECKING:
    from scoregate.training.skew import Skew


def register_skew(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action to `scoregate features`."""
    skew = actions.add_parser(
        "skew", help="compare the vectors of decisions with the offline store; exit 1 if any value differs"
    )
    skew.add_argument("services", nargs="*", metavar="SERVICE", help="such as fraud; all of them without any")
    skew.add_argument("--since", type=_moment, help="decisions since then: a date or RFC 3339 time, UTC if not said")
    skew.add_argument("--limit", type=_positive, default=10_000, help="newest decisions per service (%(default)s)")
    skew.add_argument("--json", action="store_true", help="print one JSON object on stdout, progress on stderr")
    skew.set_defaults(run=_skew)


def _moment(text: str) -> dt.datetime:
    said = dt.datetime.fromisoformat(text)
    return said if said.tzinfo else said.replace(tzinfo=dt.UTC)


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _skew(arguments: argparse.Namespace) -> int:
    from scoregate.training.skew import compare

    known = catalog.services()
    for service in arguments.services:
        if service not in known:
            raise ScoregateError(f"there is no service {service}; there are {', '.join(known)}")
    since_s = arguments.since.timestamp() if arguments.since else 0.0
    found = []
    for service in arguments.services or known:
        code = catalog.part(service, "features")
        found.append(compare(Settings(), service, code, since_s=since_s, limit=arguments.limit, say=_say))
    if arguments.json:
        print(json.dumps({skew.service: as_json(skew) for skew in found}, allow_nan=False))
    else:
        print("\n\n".join("\n".join(lines(skew)) for skew in found))
    return 1 if any(skew.differing for skew in found) else 0


def lines(skew: Skew) -> Iterator[str]:
    """Say in lines what a comparison found."""
    wrong = sum(each.count for each in skew.differing)
    yield (
        f"{skew.service}: {wrong:,} of {skew.values:,} values differ, "
        f"in {skew.compared:,} of {skew.decisions:,} decisions that could be compared"
    )
    for each in skew.differing:
        yield f"  {each.feature}: {each.count:,} differ; served {each.served!r}, offline {each.offline!r}, first in"
        yield from (f"    {decision_id}" for decision_id in each.decisions)
    for why, count in skew.not_compared.items():
        yield f"  not compared: {count:,}, {why}"
    if skew.not_compared_features:
        names = ", ".join(skew.not_compared_features)
        yield f"  features not compared, made of the request alone: {len(skew.not_compared_features)} ({names})"
    if skew.compared:
        share = f"{skew.by_time / skew.compared:.1%}"
        yield f"  other features if every event had counted from its own time on: {skew.by_time:,} decisions ({share})"


def as_json(skew: Skew) -> dict[str, Any]:
    """Return a comparison as JSON has it: nan, an absent fact, as null."""
    said = asdict(skew)
    for each in said["differing"]:
        each |= {name: None if math.isnan(each[name]) else each[name] for name in ("served", "offline")}
    return said
