"""The generator of onboarding applications: a day is a pure function of (date, seed), in any order, any day alone.

Applications come in episodes: a household whose members apply weeks apart, a lost session and its second try, a ring on
one device. Each start day draws its episodes whole, from its own random stream, as rows of ids and moments; a day is
what the episodes of the last `SPAN_DAYS` days put on it, written out by `people`.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.random import Generator
from numpy.typing import NDArray

from . import people
from .vocabulary import CODES, COUNTRIES

STREAM: Final = "applications"
SPAN_DAYS: Final = 44
"""No episode lasts longer."""

SCHEMA: Final = pa.schema(
    [
        ("application_id", pa.string()),
        ("event_at", pa.timestamp("us", tz="UTC")),
        ("name", pa.string()),
        ("birth_date", pa.date32()),
        ("document_number", pa.string()),
        ("document_country", pa.string()),
        ("address", pa.string()),
        ("phone", pa.string()),
        ("email", pa.string()),
        ("device_id", pa.string()),
        ("ip_country", pa.string()),
        ("is_bad", pa.bool_()),
        ("label_at", pa.timestamp("us", tz="UTC")),
        ("kind", pa.string()),
    ]
)
KINDS: Final = (None, "repeated_identity", "synthetic_identity", "shared_device", "inconsistent_metadata")

HOUSEHOLDS_A_DAY: Final = 405.0
EPISODES_A_DAY: Final = (0.6, 0.34, 0.42, 3.0)
SIZES: Final = ((3, 8), (5, 14), (5, 12), (1, 1))
"""Episodes by kind, and how many applications one has at least and at most; together 2.5 % of all, give or take one."""

SHOPS: Final = 60
HALLS: Final = 70
TWIN_DEVICES: Final = 25
"""Fingerprints that many phones of one model share."""

_ROW: Final = np.dtype(
    [(f, "u8") for f in ("uid", "person", "series", "document", "home", "phone", "owner", "mail", "device")]
    + [(f, "i8") for f in ("at_us", "label_us")]
    + [(f, "i4") for f in ("born", "document_born")]
    + [(f, "u1") for f in ("kind", "origin", "owner_origin", "residence", "phone_country", "ip_country")]
    + [(f, "u1") for f in ("name_variant", "address_variant", "mail_style", "wrong_digit")]
)
Rows = NDArray[np.void]
Mask = NDArray[np.bool_]

# What has to be taken together, or the string comes out another one.
ADDRESS: Final = ("home", "residence")
PHONE: Final = ("phone", "phone_country")
MAIL: Final = ("mail", "owner", "owner_origin", "mail_style")
DEVICE: Final = ("device",)
DOCUMENT: Final = ("document", "series")

_MINUTE_US: Final = 60_000_000
_DAY_US: Final = 86_400_000_000
_EPOCH: Final = dt.date(1970, 1, 1).toordinal()
_WEEKDAY: Final = (1.1, 1.1, 1.08, 1.05, 1.02, 0.86, 0.79)
_HOUR: Final = np.array([5, 2, 1, 1, 1, 3, 9, 20, 34, 44, 50, 52, 50, 49, 50, 51, 52, 56, 60, 62, 56, 42, 25, 12.0])
_SHOP_HOUR: Final = np.where(np.abs(np.arange(24) - 13) < 6, _HOUR, 0.0)
_LIVES: Final = np.array([c.lives for c in COUNTRIES.values()])
_COMES: Final = np.array([c.comes for c in COUNTRIES.values()])
_VPN: Final = np.array([CODES.index(code) for code in ("NL", "US", "DE", "GB", "CH", "RO", "SE")])
_WITH_BIRTH: Final = np.array([CODES.index(code) for code in ("RO", "EE", "BG", "SE", "LT")])


def day(date: dt.date, seed: int) -> pa.Table:
    """Return the applications of one UTC day, sorted by event_at."""
    first_us = (date.toordinal() - _EPOCH) * _DAY_US
    parts = []
    for start in range(date.toordinal() - SPAN_DAYS, date.toordinal() + 1):
        rows = _episodes(start, seed)
        parts.append(rows[(rows["at_us"] >= first_us) & (rows["at_us"] < first_us + _DAY_US)])
    rows = np.concatenate(parts)
    return _written(rows[np.lexsort((rows["uid"], rows["at_us"]))])


@lru_cache(maxsize=128)
def _episodes(start: int, seed: int) -> Rows:
    """Everything that begins on a day, whatever day it falls on."""
    rng = np.random.default_rng((seed, start))
    rows = np.concatenate((_households(rng, start, seed), _frauds(rng, start)))
    # Numbering a bijection makes the ids unique: 2**24 applications a start day.
    rows["uid"] = people.mix(np.arange(len(rows), dtype="u8") + np.uint64(start << 24), seed & 0xFFFF)
    rows.setflags(write=False)
    return rows


def _frauds(rng: Generator, start: int) -> Rows:
    """Bad episodes, each made out of ordinary strangers."""
    # Steadier than Poisson: two weeks to test on should not be without rings.
    kinds = np.repeat([1, 2, 3, 4], np.floor(np.array(EPISODES_A_DAY) + rng.random(4)).astype(int))
    sizes = [int(rng.integers(*SIZES[kind - 1], endpoint=True)) for kind in kinds]
    rows = _strangers(rng, sum(sizes), start)
    ends = np.cumsum(sizes, dtype=int)
    for kind, end, size in zip(kinds.tolist(), ends.tolist(), sizes, strict=True):
        episode = rows[end - size : end]
        (_repeated, _synthetic, _ring, _inconsistent)[kind - 1](rng, episode, start)
        episode["kind"] = kind
        lag_days = np.clip(rng.lognormal(2.1, 0.6), 1.5, 60) + rng.exponential(0.6, size)
        episode["label_us"] = episode["at_us"] + (lag_days * _DAY_US).astype("i8")
    return rows


def _ids(rng: Generator, n: int) -> people.Ids:
    return rng.integers(0, 2**64, n, dtype="u8")


def _clock_us(rng: Generator, n: int, weights: NDArray[np.float64] = _HOUR) -> NDArray[np.int64]:
    hours = rng.choice(24, n, p=weights / weights.sum())
    return hours * 60 * _MINUTE_US + rng.integers(0, 60 * _MINUTE_US, n)


def _begin_us(start: int) -> int:
    return (start - _EPOCH) * _DAY_US


def _strangers(rng: Generator, n: int, start: int) -> Rows:
    """Ordinary applicants who have nothing in common, with the slips that ordinary people make."""
    rows = np.zeros(n, _ROW)
    for own in ("person", "document", "home", "phone", "mail", "device"):
        rows[own] = _ids(rng, n)
    rows["series"], rows["owner"] = rows["document"], rows["person"]
    rows["at_us"] = _begin_us(start) + _clock_us(rng, n)
    rows["born"] = start - ((18.0 + rng.gamma(2.0, 9.0, n).clip(0, 74)) * 365.25).astype("i4") - 1
    rows["document_born"] = rows["born"]
    rows["residence"] = rng.choice(len(CODES), n, p=_LIVES / _LIVES.sum())
    expat = rng.random(n) < 0.13
    rows["origin"] = np.where(expat, rng.choice(len(CODES), n, p=_COMES / _COMES.sum()), rows["residence"])
    _settle(rng, rows)
    rows["wrong_digit"] = rng.random(n) < 0.012
    rows["name_variant"] = rng.choice(6, n, p=[0.90, 0.015, 0.05, 0.02, 0.005, 0.01])
    rows["address_variant"] = rng.choice(6, n, p=[0.87, 0.02, 0.02, 0.0, 0.04, 0.05])
    rows["mail_style"] = rng.choice(4, n, p=[0.875, 0.10, 0.007, 0.018])
    return rows


def _settle(rng: Generator, rows: Rows) -> None:
    """Draw what follows from where people live and come from: phone, network, language of the mailbox."""
    n = len(rows)
    rows["owner_origin"] = rows["origin"]
    rows["phone_country"] = np.where(rng.random(n) < 0.15, rows["origin"], rows["residence"])
    place = rng.random(n)
    rows["ip_country"] = np.select(
        [place < 0.03, place < 0.045, place < 0.055],
        [rng.choice(_VPN, n), rng.integers(0, len(CODES), n), rows["origin"]],
        rows["residence"],
    )


def _share(rows: Rows, group: tuple[str, ...], takes: Mask, source: NDArray[np.int64]) -> None:
    """Let some rows have what other rows (by position) have."""
    for field in group:
        rows[field] = np.where(takes, rows[field][source], rows[field])


def _recycle(rng: Generator, rows: Rows, group: tuple[str, ...], share: float, size: int) -> None:
    """Let a share of the rows have what one of the first `size` rows has."""
    _share(rows, group, rng.random(len(rows)) < share, rng.integers(0, size, len(rows)))


def _households(rng: Generator, start: int, seed: int) -> Rows:
    """Honest traffic: people alone, families, flats, halls of residence, shops that onboard, second tries."""
    weekday = dt.date.fromordinal(start).weekday()
    season = 1.0 + 0.08 * np.sin(2 * np.pi * (start % 365.25) / 365.25)
    homes = rng.poisson(HOUSEHOLDS_A_DAY * _WEEKDAY[weekday] * season)
    size = rng.choice([1, 2, 3, 4], homes, p=[0.86, 0.10, 0.03, 0.01])
    shop = rng.random(homes) < 0.03
    hall = ~shop & (rng.random(homes) < 0.025)
    size[shop | hall] = 1
    home = np.repeat(np.arange(homes), size)
    lead = np.concatenate(([True], home[1:] != home[:-1])) if homes else np.zeros(0, bool)
    first = np.flatnonzero(lead)[home]
    rows = _strangers(rng, len(home), start)
    n = len(rows)

    _share(rows, (*ADDRESS, "address_variant"), ~lead, first)
    together = ~lead & (rng.random(n) < 0.85)
    _share(rows, ("origin",), together, first)
    _settle(rng, rows)
    for group, share in ((DEVICE, 0.42), (PHONE, 0.12), (MAIL, 0.06)):
        _share(rows, group, together & (rng.random(n) < share), first)
    later = ~lead & (rng.random(n) < 0.6)
    wait_us = (rng.exponential(9.0, n) + 0.5).clip(0, 35).astype("i8") * _DAY_US
    soon_us = rows["at_us"][first] + rng.integers(4, 150, n) * _MINUTE_US
    rows["at_us"] = np.where(later, rows["at_us"] + wait_us, np.where(lead, rows["at_us"], soon_us))

    _in_shops(rng, rows, shop[home], seed)
    _in_halls(rng, rows, hall[home], seed)
    twin = ~shop[home] & (rng.random(n) < 0.02)
    alike = people.mix(rng.integers(0, TWIN_DEVICES, n).astype("u8"), seed % 65_536 + 303)
    rows["device"] = np.where(twin, alike, rows["device"])
    return np.concatenate((rows, _second_tries(rng, rows)))


def _in_shops(rng: Generator, rows: Rows, shop: Mask, seed: int) -> None:
    """Let a clerk type for some applicants, on the shop's device and in its hours."""
    n = len(rows)
    counter = people.mix((SHOPS * rng.random(n) ** 2.2).astype("u8"), seed % 65_536 + 101)
    country = _move(rows, shop, counter)
    rows["device"] = np.where(shop, counter, rows["device"])
    # Those who have no telephone or mailbox get the shop's.
    rows["phone"] = np.where(shop & (rng.random(n) < 0.08), counter, rows["phone"])
    boxless = shop & (rng.random(n) < 0.06)
    rows["mail"] = np.where(boxless, counter, rows["mail"])
    rows["owner"] = np.where(boxless, counter, rows["owner"])
    rows["owner_origin"] = np.where(boxless, country, rows["owner_origin"])
    rows["mail_style"] = np.where(boxless, people.OWN_MAIL, rows["mail_style"])
    open_us = rows["at_us"] - rows["at_us"] % _DAY_US + _clock_us(rng, n, _SHOP_HOUR)
    rows["at_us"] = np.where(shop, open_us, rows["at_us"])


def _in_halls(rng: Generator, rows: Rows, hall: Mask, seed: int) -> None:
    """Let some applicants be students who share a hall's address."""
    n = len(rows)
    room = people.mix((HALLS * rng.random(n) ** 1.6).astype("u8"), seed % 65_536 + 202)
    _move(rows, hall, room)
    rows["home"] = np.where(hall, room, rows["home"])
    day_of = rows["at_us"] // _DAY_US + _EPOCH
    rows["born"] = np.where(hall, day_of - 6_600 - rng.integers(0, 3_300, n), rows["born"])
    rows["document_born"] = rows["born"]


def _move(rows: Rows, who: Mask, place: people.Ids) -> NDArray[np.uint64]:
    """Let some live in the country that a place's id stands for; return each row's such country."""
    country = people.mix(place, 1) % np.uint64(8)
    native = who & (rows["origin"] == rows["residence"])
    for field in ("origin", "owner_origin"):
        rows[field] = np.where(native, country, rows[field])
    for field in ("residence", "phone_country", "ip_country"):
        rows[field] = np.where(who, country, rows[field])
    return country


def _second_tries(rng: Generator, rows: Rows) -> Rows:
    """The same honest person again after a lost session, sometimes spelt differently or on another device."""
    again = rows[rng.random(len(rows)) < 0.045].copy()
    twice = np.concatenate((again, again[rng.random(len(again)) < 0.2]))
    n = len(twice)
    twice["at_us"] += (np.clip(rng.lognormal(3.4, 1.7, n), 1, 2_880) * _MINUTE_US).astype("i8")
    fixed = rng.random(n) < 0.7
    twice["wrong_digit"] = np.where(fixed, 0, twice["wrong_digit"])
    twice["name_variant"] = np.where(rng.random(n) < 0.12, rng.integers(0, 6, n), twice["name_variant"])
    twice["address_variant"] = np.where(rng.random(n) < 0.12, rng.integers(0, 6, n), twice["address_variant"])
    for field, share in (("device", 0.15), ("mail", 0.06), ("phone", 0.03)):
        twice[field] = np.where(rng.random(n) < share, _ids(rng, n), twice[field])
    return twice


def _apart(rng: Generator, n: int, start: int, span_days: float) -> NDArray[np.int64]:
    """Moments of an episode: the first on its start day, the rest by chance within the span."""
    days = np.sort(rng.random(n)) * span_days
    days[0] = 0
    return _begin_us(start) + days.astype("i8") * _DAY_US + _clock_us(rng, n, _HOUR + 10)


def _repeated(rng: Generator, rows: Rows, start: int) -> None:
    """One person applies again and again with names, dates and documents that vary."""
    n = len(rows)
    rows["at_us"] = _apart(rng, n, start, rng.uniform(1, 25))
    for own in ("person", "owner", "origin", "residence"):
        rows[own] = rows[own][0]
    _settle(rng, rows)
    rows["born"] = rows["born"][0] + np.where(rng.random(n) < 0.45, rng.integers(-400, 400, n), 0)
    rows["name_variant"] = rng.integers(0, 6, n)
    rows["address_variant"] = rng.integers(0, 6, n)
    care = 0.35 if rng.random() < 0.3 else 0.85
    for group, share, size in (
        (DOCUMENT, 0.35, 1),
        (ADDRESS, 0.7, 1),
        (MAIL, 0.2, 1),
        (DEVICE, care, 2),
        (PHONE, care, 2),
    ):
        _recycle(rng, rows, group, share, size)
    rows["document_born"] = rows["born"]


def _synthetic(rng: Generator, rows: Rows, start: int) -> None:
    """Invented people put together from recycled parts, one every few days."""
    n = len(rows)
    rows["at_us"] = _apart(rng, n, start, rng.uniform(12, 40))
    rows["residence"] = rows["residence"][0]
    if rng.random() < 0.35:
        rows["origin"] = rng.choice(_WITH_BIRTH)
    _settle(rng, rows)
    rows["series"] = rows["series"][0]
    mismatch = rng.random(n) < 0.5
    rows["document_born"] = np.where(mismatch, rows["born"] - rng.integers(-3_000, 3_000, n), rows["born"])
    rows["mail_style"] = np.where(rng.random(n) < 0.65, people.YOUNG_MAIL, rows["mail_style"])
    rows["wrong_digit"] |= rng.random(n) < 0.08
    for group, share, size in ((ADDRESS, 0.65, 3), (PHONE, 0.6, 3), (DEVICE, 0.4, 3), (MAIL, 0.04, 1)):
        _recycle(rng, rows, group, share, size)


def _ring(rng: Generator, rows: Rows, start: int) -> None:
    """Many applicants from one device or a few emulators, within hours or days."""
    n = len(rows)
    if rng.random() < 0.5:
        span_us = rng.uniform(40, 400) * _MINUTE_US
        rows["at_us"] = rows["at_us"][0] + (np.sort(rng.random(n)) * span_us).astype("i8")
    else:
        rows["at_us"] = _apart(rng, n, start, rng.uniform(1.5, 6))
    _recycle(rng, rows, DEVICE, 0.85, int(rng.integers(1, 3)))
    if rng.random() < 0.45:
        rows["ip_country"] = rng.choice(_VPN)
    if rng.random() < 0.3:
        _recycle(rng, rows, PHONE, 0.6, 3)
    rows["mail_style"] = np.where(rng.random(n) < 0.4, rng.integers(0, 4, n), rows["mail_style"])


def _inconsistent(rng: Generator, rows: Rows, start: int) -> None:
    """One application whose parts do not fit together: two to five contradictions of seven."""
    rows["at_us"] = _apart(rng, 1, start, 0)
    for flaw in rng.permutation(7)[: rng.integers(2, 6)]:
        match flaw:
            case 0:
                rows["wrong_digit"] = 1
            case 1:
                rows["phone_country"] = rng.integers(0, len(CODES))
            case 2:
                rows["ip_country"] = rng.integers(0, len(CODES))
            case 3:
                rows["mail_style"] = rng.choice([people.THROWAWAY_MAIL, people.FOREIGN_MAIL, people.FOREIGN_MAIL])
            case 4:
                age = rng.uniform(82, 101) if rng.random() < 0.6 else rng.uniform(14, 18)
                rows["born"] = start - int(age * 365.25)
            case 5:
                rows["name_variant"] = people.LOOK_ALIKE
            case _:
                rows["origin"] = rows["owner_origin"] = rng.integers(0, len(CODES))
                rows["document_born"] = rows["born"] - rng.integers(-4_000, 4_000)


def _written(rows: Rows) -> pa.Table:
    """Write rows of ids out as applications."""
    slip = people.bits(rows["uid"], 1)
    person = people.bits(rows["person"], 2)
    owner = people.bits(rows["owner"], 2)
    plain = ("origin", "owner_origin", "residence", "name_variant", "address_variant", "mail_style")
    columns = {field: rows[field].tolist() for field in plain}
    origin = columns["origin"]
    document = zip(
        people.bits(rows["series"], 3),
        people.bits(rows["document"], 4),
        origin,
        rows["document_born"].tolist(),
        rows["wrong_digit"].tolist(),
        strict=True,
    )
    phone_country = [CODES[c] for c in rows["phone_country"].tolist()]
    bad = rows["kind"] > 0
    arrays = [
        [f"app-{uid:016x}" for uid in rows["uid"].tolist()],
        rows["at_us"],
        list(map(people.name, person, origin, columns["name_variant"], slip)),
        rows["born"] - np.int32(_EPOCH),
        [people.document(*parts) for parts in document],
        [CODES[c] for c in origin],
        list(map(people.address, people.bits(rows["home"], 5), columns["residence"], columns["address_variant"], slip)),
        list(map(people.phone, people.bits(rows["phone"], 6), phone_country)),
        list(map(people.email, people.bits(rows["mail"], 7), owner, columns["owner_origin"], columns["mail_style"])),
        [f"dev-{b >> 16:012x}" for b in people.bits(rows["device"], 8)],
        [CODES[c] for c in rows["ip_country"].tolist()],
        bad,
        pa.array(rows["label_us"], mask=~bad),
        [KINDS[k] for k in rows["kind"].tolist()],
    ]
    return pa.table([pa.array(a).cast(f.type) for a, f in zip(arrays, SCHEMA, strict=True)], schema=SCHEMA)
