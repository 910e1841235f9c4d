"""Forgetting: of a person, or of everything that is older than a service's retention.

What is dropped: values and salts of natural and idempotency key, vector, answer and personal fields; the rows of
`keys`; the events. What stays: commitments, outcome, score, digests and times, so that every chain verifies and what
was decided can still be counted. Under the request's digest a person's decision goes on standing until its retention
ends, so that a retry which comes late is refused, and not decided anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from scoregate.hashing import KeyedHash
from scoregate.ledger import Recorded
from scoregate.ledger.archive import Archive, Place, Wanted
from scoregate.values import frozen

AT_ONCE: Final = 200
"""Entries per transaction: decisions wait for it where the store is a file."""
DEFAULT_MONTHS: Final = 13


@frozen
class Forgotten:
    """How many entries, events, and further keys were forgotten."""

    entries: int
    events: int
    keys: int


@frozen
class Person:
    """Whom to forget: the tags that entries may hold, and the hashes that events may hold."""

    tags: Sequence[str]
    hashes: Sequence[str]

    @classmethod
    def of(cls, hashed: KeyedHash, field: str, value: str) -> Person:
        # Entities of the feature store are hashed under the field's name without `_id`.
        kinds = dict.fromkeys((field, field.removesuffix("_id")))
        return cls(hashed.tags(field, value), [hashed(kind, value) for kind in kinds])


def forget_person(archive: Archive, service: str, person: Person) -> Forgotten:
    """Forget every entry of a person that is whole, and the events about the same or with the person in them.

    Raises:
        LedgerUnavailable: the store failed; what is left is forgotten when it is called again.
    """
    wanted = Wanted(tags=person.tags)
    found: list[Recorded] = []
    while page := archive.search(service, wanted, after=Place.of(found[-1]) if found else None, limit=AT_ONCE):
        found += page
    subjects = [one.entry.natural_key for one in found if one.entry.natural_key]
    # Events first: once the entries are forgotten, nothing tells whose they were.
    events = archive.drop_events(service, subjects=subjects, hashes=person.hashes)
    for start in range(0, len(found), AT_ONCE):
        archive.forget(service, found[start : start + AT_ONCE], stand=True)
    return Forgotten(len(found), events, archive.drop_keys(service))


def retain(archive: Archive, service: str, before_s: float) -> Forgotten:
    """Forget entries that were decided before then, and events that became known before.

    Raises:
        LedgerUnavailable: the store failed; what is left is forgotten when it is called again.
    """
    events = archive.drop_events(service, before_us=round(before_s * 1e6))
    wanted = Wanted(until_s=before_s, whole=True)
    entries = 0
    while page := archive.search(service, wanted, limit=AT_ONCE):
        archive.forget(service, page, stand=False)
        entries += len(page)
    return Forgotten(entries, events, archive.drop_keys(service, before_s))


def months_ago(months: int, now: datetime) -> float:
    """Return the time so many calendar months before `now`, in seconds since the epoch; a day that a month lacks is
    its last one."""
    year, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    for day in range(now.day, now.day - 4, -1):
        try:
            return now.astimezone(UTC).replace(year=year, month=month + 1, day=day).timestamp()
        except ValueError:
            continue
    raise ValueError("no such month")
