"""Which applications make one alert: those on one device, document, telephone or mailbox, and alike names at one home.

Pure. The store holds, for each thing that applications share, the groups of the recent ones and a sketch of each name
(`scoregate.features.links`). A sketch is a Bloom filter of a part of the name (Schnell, Bachteler and Reiher, 2009,
"Privacy-preserving record linkage using Bloom filters"): pairs of neighbouring letters, each keyed-hashed to two of 64
bits. A misspelt part keeps most pairs, another part shares few, and without the key nobody can fill one in.

Letters of a pair are sorted, so that two swapped letters spoil two pairs rather than three. Parts are compared one by
one, each with its best counterpart, because a family's members share a long family name and differ in a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from scoregate.features import FeatureRow
from scoregate.features.links import DAYS_KEPT, NAME, OWN, Alert, own_group

from . import identities
from .contract import Request

Hashed = Callable[[str, str], str]
"""(kind of value, normalised value) → its keyed hash."""

VIEWS: Final = {
    "device": "device_links",
    "document": "document_links",
    "phone": "phone_links",
    "email": "email_links",
    "address+name": "address_links",
}
"""What links → the view that knows of it."""

SIMILAR: Final = 0.55
"""Least Dice coefficient of two parts of a name that are one, misspelt. Measured: see the README."""

_BITS: Final = 64
_DIGITS: Final = _BITS // 4
_PARTS_AT_MOST: Final = 6
_DAY_S: Final = 86_400.0


def alert(request: Request, row: FeatureRow, hashed: Hashed, at_s: float) -> Alert:
    """Say which group an application belongs to; `at_s` is its time, seconds since the epoch.

    Unknown is not alone: without a link, and with a view of links missing, there is no group to tell.
    """
    own = own_group(round(at_s * 1e6), key(request, hashed))
    name = sketch(request.name, hashed)
    found: dict[str, set[str]] = {}
    for by, view in VIEWS.items():
        groups = {
            group
            for group, other in _entries(row, view, at_s)
            # Its own entry, if it was posted before it was scored, links it to nobody.
            if (group, other) != (own, name) and (view != VIEWS["address+name"] or alike(name, other))
        }
        if groups:
            found[by] = groups
    if not found:
        return Alert(own if all(row.usable(view) for view in VIEWS.values()) else None)
    oldest, *others = sorted(set().union(*found.values()))
    return Alert(oldest, tuple(others), tuple(found))


def columns(request: Request, hashed: Hashed) -> dict[str, str]:
    """Return what an application's event says for the rows of links, whether it is scored or not."""
    return {OWN: key(request, hashed), NAME: sketch(request.name, hashed)}


def key(request: Request, hashed: Hashed) -> str:
    """Return the keyed hash that an application's own group is named by."""
    return hashed("application", request.application_id)


@lru_cache(maxsize=128)
def sketch(name: str, hashed: Hashed) -> str:
    """Return one filter for each part of a name, as 16 hex digits, in no order of the name's.

    Remembered for a moment: an application's event and its links ask for the same.
    """
    parts = sorted(set(identities.words(name)), key=len)[-_PARTS_AT_MOST:]
    return "".join(sorted(f"{_filter(part, hashed):0{_DIGITS}x}" for part in parts))


def alike(one: str, other: str) -> bool:
    """Whether two sketches are of one name: every part of the shorter one has a counterpart of its own in the other."""
    fewer, more = sorted((_filters(one), _filters(other)), key=len)
    left = list(more)
    for part in fewer:
        similar, best = max((_dice(part, filled), filled) for filled in left)
        if similar < SIMILAR:
            return False
        left.remove(best)
    return bool(fewer)


def _entries(row: FeatureRow, view: str, at_s: float) -> Iterator[tuple[str, str]]:
    """Yield group and sketch of each entry that is not too old; of a view that is missing none."""
    oldest = int(at_s // _DAY_S) - DAYS_KEPT
    lists: list[Sequence[str]] = [row.get(view, "groups") or (), row.get(view, "names") or ()]
    for group, name, day in zip(*lists, row.get(view, "days") or (), strict=False):
        if day > oldest:
            yield group, name


def _filter(part: str, hashed: Hashed) -> int:
    padded = f"_{part}_"
    filled = 0
    for i in range(len(padded) - 1):
        filled |= _bits("".join(sorted(padded[i : i + 2])), hashed)
    return filled


@lru_cache(maxsize=10_000)
def _bits(pair: str, hashed: Hashed) -> int:
    """Return the pair's bits; the same few hundred pairs make up nearly every name."""
    first, second = bytes.fromhex(hashed("bigram", pair))[:2]
    return 1 << first % _BITS | 1 << second % _BITS


@lru_cache(maxsize=10_000)
def _filters(text: str) -> tuple[int, ...]:
    return tuple(int(text[i : i + _DIGITS], 16) for i in range(0, len(text), _DIGITS))


def _dice(one: int, other: int) -> float:
    return 2 * (one & other).bit_count() / (one.bit_count() + other.bit_count())
