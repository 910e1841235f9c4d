"""`scoregate ledger replay` and `scoregate backtest`: from the command line to the ledger, and what is said of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scoregate import catalog
from scoregate.errors import ArtefactCorrupt, ScoregateError
from scoregate.ledger import Recorded
from scoregate.ledger.asked import moment
from scoregate.ledger.cipher import FieldCipher
from scoregate.ledger.history import History
from scoregate.ledger.places import ledgers, url_of
from scoregate.settings import Settings

if TYPE_CHECKING:
    from scoregate.audit.replay import Replayed
    from scoregate.models.artefact import Artefact

NAMED: Final = 20
"""Decisions that are named of those that differ; all are counted."""


def register_replay(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action to `scoregate ledger`."""
    parser = actions.add_parser(
        "replay", help="decide again from entry and artefact, and compare bit for bit; exit 1 if anything differs"
    )
    parser.add_argument("decision_id", nargs="?", help="one decision; or give --since")
    parser.add_argument("--since", type=moment, metavar="TIME", help="decided then or later: a date, a time, or 7d")
    parser.add_argument("--service", choices=catalog.services(), help="this service alone; all of them without it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_replay)


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("backtest", help="what another model or policy would have decided")
    parser.add_argument("service", choices=catalog.services())
    parser.add_argument("--model", help="version, the first digits of its digest; the champion without it")
    parser.add_argument("--policy", type=Path, help="a policy.toml in place of the model's own")
    parser.add_argument(
        "--since", type=moment, metavar="TIME", required=True, help="decided then or later: a date, a time, or 7d"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_backtest)


@dataclass(slots=True)
class Tally:
    """What replays of a service came to. `cannot`: why → decisions; `taken`: fields not derived → decisions."""

    entries: int = 0
    replayed: int = 0
    fallbacks: int = 0
    differ: int = 0
    models: Counter[str] = field(default_factory=Counter)
    cannot: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    differing: list[Replayed] = field(default_factory=list)

    def add(self, one: Replayed) -> None:
        self.entries += 1
        if one.why_not:
            self.cannot[one.why_not] += 1
            return
        self.replayed += 1
        self.fallbacks += one.source == "fallback"
        self.models[one.model] += 1
        self.taken.update(one.taken)
        if one.differences:
            self.differ += 1
            if len(self.differing) < NAMED:
                self.differing.append(one)

    def as_json(self) -> dict[str, Any]:
        counts = {name: dict(getattr(self, name)) for name in ("models", "cannot", "taken")}
        plain = {name: getattr(self, name) for name in ("entries", "replayed", "fallbacks", "differ")}
        return {**plain, **counts, "differing": [asdict(one) for one in self.differing]}

    @property
    def holds(self) -> bool:
        """Whether all was replayed to the same, but for what has been forgotten on purpose."""
        return not self.differ and all(why.endswith("was forgotten") for why in self.cannot)


def _replay(arguments: argparse.Namespace) -> int:
    # A process that only looks decisions up needs no model's libraries.
    from scoregate.audit.replay import Deciders, replay

    if (arguments.decision_id is None) == (arguments.since is None):
        raise ScoregateError("give the id of one decision, or --since")
    settings = Settings()
    cipher = FieldCipher.load(settings.ledger_key_file)
    tallies: dict[str, Tally] = {}
    for service, url in ledgers(settings, arguments.service):
        tally, deciders = Tally(), Deciders(settings.models(service))
        with History(url, service, cipher) as history:
            for page in _pages(history, arguments):
                for one in replay((recorded.entry for recorded in page), deciders):
                    tally.add(one)
        if tally.entries:
            tallies[service] = tally
    if not tallies:
        raise ScoregateError("no ledger holds that decision" if arguments.decision_id else "nothing was decided since")
    if arguments.json:
        print(json.dumps({service: tally.as_json() for service, tally in tallies.items()}, ensure_ascii=False))
    else:
        print("\n".join(line for service, tally in tallies.items() for line in lines(service, tally)))
    return 0 if all(tally.holds for tally in tallies.values()) else 1


def _pages(history: History, arguments: argparse.Namespace) -> Iterator[list[Recorded]]:
    if arguments.since is not None:
        yield from history.pages(arguments.since)
    elif found := history.one(arguments.decision_id):
        yield [found]


def lines(service: str, tally: Tally) -> Iterator[str]:
    """Say in lines what replays came to."""
    models = ", ".join(f"{model} {count:,}" for model, count in tally.models.most_common())
    yield (
        f"{service}: {tally.differ:,} of {tally.replayed:,} replayed decisions differ "
        f"({tally.fallbacks:,} fallbacks; by model: {models or 'none'})"
    )
    for one in tally.differing:
        for difference in one.differences:
            yield (
                f"  {one.decision_id}: {difference.field} recorded {difference.recorded!r}, "
                f"derived {difference.derived!r}"
            )
    if tally.differ > len(tally.differing):
        yield f"  and {tally.differ - len(tally.differing):,} more"
    for why, count in tally.cannot.most_common():
        yield f"  cannot be replayed: {count:,}, {why}"
    if tally.taken:
        yield "  taken from the record, not derived: " + ", ".join(
            f"{name} ({count:,})" for name, count in tally.taken.items()
        )


def _backtest(arguments: argparse.Namespace) -> int:
    from scoregate.audit import backtest_report
    from scoregate.audit.backtest import Backtest

    settings = Settings()
    try:
        policy = arguments.policy.read_text() if arguments.policy else None
    except (OSError, UnicodeDecodeError) as problem:
        raise ScoregateError(f"the policy cannot be read: {problem}") from problem
    artefact = _artefact(settings, arguments.service, arguments.model)
    test = Backtest.of(artefact, settings.models(arguments.service), policy)
    cipher = FieldCipher.load(settings.ledger_key_file)
    with History(url_of(settings, arguments.service), arguments.service, cipher) as history:
        for page in history.pages(arguments.since):
            entries = [recorded.entry for recorded in page]
            labels = history.labels([entry.natural_key for entry in entries if entry.natural_key])
            test.add(entries, {key: label.is_bad for key, label in labels.items()})
            if sys.stderr.isatty():
                print(f"\r{test.entries:,} decisions", end="", file=sys.stderr)
    found = test.found()
    print(json.dumps(found, ensure_ascii=False) if arguments.json else "\n".join(backtest_report.lines(found)))
    return 0


def _artefact(settings: Settings, service: str, version: str | None) -> Artefact:
    from scoregate.models.artefact import Artefact, champion

    models = settings.models(service)
    if version is None:
        return Artefact.load(champion(models))
    found = [path for path in sorted(models.glob(f"{version[:12]}*")) if path.is_dir()]
    if not version.isalnum() or len(found) != 1:
        there = ", ".join(path.name for path in sorted(models.glob("*/"))) or "none"
        raise ArtefactCorrupt(f"{len(found)} models of {service} begin with {version}; there are {there}")
    return Artefact.load(found[0])
