"""`scoregate ledger forget` and `retain`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

from scoregate import catalog
from scoregate.errors import ArtefactError
from scoregate.ledger.archive import Wanted, open_archive
from scoregate.ledger.asked import add_person, person_of
from scoregate.ledger.forgetting import DEFAULT_MONTHS, Forgotten, forget_person, months_ago, retain
from scoregate.ledger.places import ledgers, url_of
from scoregate.settings import Settings


def register(action: Callable[..., argparse.ArgumentParser]) -> None:
    forget = action("forget", _forget, "drop what the ledger holds of a person; its chains still verify", service=True)
    add_person(forget)
    forget.add_argument("--dry-run", action="store_true", help="only count the decisions")
    job = action("retain", _retain, "forget what is older than each service's retention")
    job.add_argument("--service", help="only this one's ledger")
    job.add_argument("--months", type=int, help="in place of the setting, and of what the service's contract says")
    job.add_argument("--dry-run", action="store_true", help="only count the decisions")


def _forget(arguments: argparse.Namespace) -> int:
    settings, service = Settings(), arguments.service
    person = person_of(arguments, settings)
    if person is None:
        raise ArtefactError("say whom to forget: --field and --value, or --key-hash")
    with closing(open_archive(url_of(settings, service))) as archive:
        if arguments.dry_run:
            print(f"{service}: {archive.count(service, Wanted(tags=person.tags))} decisions would be forgotten")
        else:
            _print(service, forget_person(archive, service, person))
    return 0


def _retain(arguments: argparse.Namespace) -> int:
    settings, now = Settings(), datetime.now(UTC)
    for service, url in ledgers(settings, arguments.service):
        months = arguments.months or settings.retention_months or _months_of(service)
        before_s = months_ago(months, now)
        with closing(open_archive(url)) as archive:
            if arguments.dry_run:
                count = archive.count(service, Wanted(until_s=before_s, whole=True))
                print(f"{service}: {count} decisions are older than {months} months and would be forgotten")
            else:
                _print(service, retain(archive, service, before_s))
    return 0


def _months_of(service: str) -> int:
    """What the service's contract says; its folder may be gone while its ledger is kept."""
    if service not in catalog.services():
        return DEFAULT_MONTHS
    return int(catalog.part(service, "contract").Request.RETENTION_MONTHS)


def _print(service: str, forgotten: Forgotten) -> None:
    print(f"{service}: forgot {forgotten.entries} decisions and {forgotten.events} events")
