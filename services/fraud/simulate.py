"""The generator of demo payments: a day of transactions, honest and fraudulent, from a date and a seed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .episodes import KINDS, LONGEST_DAYS, Rows, started_on
from .population import (
    CARD,
    CATEGORIES,
    COMPUTER,
    COUNTRIES,
    CROWDS,
    DAY_US,
    DEMO,
    EARLIEST,
    FACTS,
    FAVOURITES,
    KIOSK,
    ONE_OFF,
    PERIOD_DAYS,
    PHONE,
    SEGMENTS,
    STAND,
    TRAFFIC,
    Ints,
    Population,
    Rng,
    Size,
    codes,
    column,
    fresh_device,
    mood,
    populate,
    start_us,
    trips,
)

STREAM = "transactions"
UTC_US = pa.timestamp("us", tz="UTC")
OLD_STATEMENT_S = int(dt.datetime(2020, 1, 1, tzinfo=dt.UTC).timestamp())
FRESH_WITHIN_S = 47 * 3_600

_HABITUAL = np.cumsum(np.arange(1, FAVOURITES + 1) ** -0.7)
_SELF_SERVICE = codes("transit", "vending")
_CROWDED = codes("digital", "delivery", "transit", "marketplace", "payee")


def day(date: dt.date, seed: int, *, size: Size = DEMO) -> pa.Table:
    """Return all transactions of a UTC day, by `event_at`: a pure function, so days can be made in any order.

    Raises:
        ValueError: the day is before `EARLIEST`, when not every account was open yet.
    """
    if date < EARLIEST:
        raise ValueError(f"transactions begin on {EARLIEST}, not on {date}")
    people = populate(seed, size)
    ordinal = date.toordinal()
    begin_us = start_us(ordinal)
    parts = [_traffic(people, date), _crowds(people, ordinal)]
    for started in range(ordinal - LONGEST_DAYS, ordinal + 1):
        rows = started_on(started, seed, size)
        parts.append(rows.take((rows.at_us >= begin_us) & (rows.at_us < begin_us + DAY_US)))
    rows = Rows.concat(parts)
    return _table(people, date, rows.take(np.argsort(rows.at_us, kind="stable")))


def facts(at: dt.datetime, seed: int, *, size: Size = DEMO) -> dict[str, pa.Table]:
    """Return what the core banking feed states of each account and merchant, twice: long ago, and before `at`.

    The old statement is from 2020 or the opening, if later; the fresh one at most two days older than `at` (aware).
    """
    people = populate(seed, size)
    country = column(COUNTRIES, "code")
    return {
        "account_profile": pa.concat_tables(
            pa.table(
                {
                    "account_id": _names("acc_", size.accounts),
                    "event_timestamp": stated_at,
                    "opened_at": people.opened_at_s,
                    "home_country": _texts(country, people.home),
                    "segment": _texts(np.array(SEGMENTS), people.segment),
                }
            )
            for stated_at in _statements(people.rng(FACTS, 0), at, people.opened_at_s)
        ),
        "merchant_profile": pa.concat_tables(
            pa.table(
                {
                    "merchant_id": _names("mer_", size.merchants),
                    "event_timestamp": stated_at,
                    "category": _texts(column(CATEGORIES, "name"), people.category),
                    "country": _texts(country, people.country),
                    "onboarded_at": people.onboarded_at_s,
                }
            )
            for stated_at in _statements(people.rng(FACTS, 1), at, people.onboarded_at_s)
        ),
    }


def _traffic(people: Population, date: dt.date) -> Rows:
    """What people buy out of habit, and what looks odd but is honest: trips, new devices, sprees, big purchases."""
    ordinal = date.toordinal()
    rng = people.rng(TRAFFIC, ordinal)
    expected = people.rate * mood(people.seed, people.size, ordinal // 7) * _season(date)
    if _is_sale(date):
        expected = expected + 3.0 * (rng.random(people.size.accounts) < 0.08)
    account = np.repeat(np.arange(people.size.accounts), rng.poisson(expected))
    merchant = _choices(people, rng, account, ordinal)
    at_us = _sessions(rng, account, people.time_us(rng, account, merchant))
    amount = people.usual_amount(rng, account, merchant)
    big = np.where(rng.random(len(account)) < 0.012, rng.uniform(3, 15, len(account)), 1.0)
    device = _devices(people, rng, account, merchant, ordinal)
    return Rows.unlabelled(start_us(ordinal) + at_us, account, device, merchant, people.priced(merchant, amount * big))


def _choices(people: Population, rng: Rng, account: Ints, ordinal: int) -> Ints:
    """Mostly favourites, the rest by popularity; whoever travels buys on the spot."""
    rank = np.searchsorted(_HABITUAL, rng.random(len(account)) * _HABITUAL[-1])
    merchant = people.favourites[account, rank]
    curious = rng.random(len(account)) < 0.3
    merchant = np.where(curious, people.shop(rng, people.home[account]), merchant)
    trip = trips(people.seed, people.size, ordinal // PERIOD_DAYS)
    away = ((trip.first <= ordinal) & (ordinal <= trip.last))[account]
    on_site = np.isin(people.channel(merchant), ("pos", "atm"))
    there = people.shop(rng, trip.country[account], on_site=True)
    return np.where(away & on_site, there, merchant)


def _sessions(rng: Rng, account: Ints, at_us: Ints) -> Ints:
    """Move some payments to minutes after the one before of the same account: people shop in rounds."""
    follows = np.append(False, account[1:] == account[:-1]) & (rng.random(len(account)) < 0.25)
    first = np.maximum.accumulate(np.where(follows, 0, np.arange(len(account))))
    walked = np.cumsum(np.where(follows, rng.exponential(12 * 60e6, len(account)), 0.0))
    return np.asarray((at_us[first] + (walked - walked[first]).astype(np.int64)) % DAY_US)


def _devices(people: Population, rng: Rng, account: Ints, merchant: Ints, ordinal: int) -> Ints:
    """Card or wallet in shops, phone or computer elsewhere; a cleared browser or borrowed device looks brand new."""
    count = len(account)
    channel = people.channel(merchant)
    wallet = (channel == "pos") & (rng.random(count) < people.wallet[account])
    slot = np.where(rng.random(count) < 0.35, COMPUTER, PHONE)
    slot = np.where(np.isin(channel, ("pos", "atm")), np.where(wallet, PHONE, CARD), slot)
    device = people.device(account, slot, ordinal)
    remote = np.isin(channel, ("ecom", "transfer"))
    unseen = remote & (rng.random(count) < 0.035)
    device = np.where(unseen, fresh_device(ONE_OFF, ordinal, np.arange(count)), device)
    kiosk = np.isin(people.category[merchant], _SELF_SERVICE) & (rng.random(count) < 0.2)
    return np.where(kiosk, fresh_device(KIOSK, 0, merchant), device)


def _crowds(people: Population, ordinal: int) -> Rows:
    """Honest rushes on one merchant: tickets, collections, a festival stand whose new device takes small payments."""
    rng = people.rng(CROWDS, ordinal)
    crowds = int(rng.poisson(1.6 * people.size.accounts / 5_000))
    each = np.repeat(np.arange(crowds), rng.integers(6, 30, crowds))
    candidates = np.flatnonzero(np.isin(people.category, _CROWDED))
    merchant = rng.choice(candidates, crowds)[each]
    account = rng.integers(0, people.size.accounts, len(each))
    lasts_us = rng.uniform(0.5, 5, crowds) * 3_600e6
    opens_us = rng.uniform(7, 19, crowds) * 3_600e6
    at_us = (opens_us[each] + rng.random(len(each)) * lasts_us[each]).astype(np.int64) % DAY_US
    price = rng.lognormal(np.log(600), 0.9, crowds)[each] * rng.choice([1.0, 1.0, 2.0], len(each))
    stand = (rng.random(crowds) < 0.35)[each]
    own = people.device(account, PHONE, ordinal)
    device = np.where(stand, fresh_device(STAND, ordinal, each), own)
    return Rows.unlabelled(start_us(ordinal) + at_us, account, device, merchant, people.priced(merchant, price))


def _season(date: dt.date) -> float:
    """How busy a day is: weekdays, December, summer, and the days around payday."""
    week = (0.95, 0.93, 0.96, 1.0, 1.16, 1.18, 0.82)[date.weekday()]
    year = 1.0 + 0.05 * float(np.cos(2 * np.pi * (date.timetuple().tm_yday - 345) / 365))
    advent = 1.15 if date.month == 12 and date.day <= 24 else 1.0
    payday = 1.12 if date.day >= 26 or date.day <= 3 else 1.0
    return week * year * advent * payday


def _is_sale(date: dt.date) -> bool:
    """Black Friday to Monday, the sales after Christmas and in July, and a day of offers each month."""
    black_friday = dt.date(date.year, 11, 30) - dt.timedelta((dt.date(date.year, 11, 30).weekday() - 4) % 7)
    weekend = 0 <= (date - black_friday).days <= 3
    return weekend or (date.month, date.day) in {(12, 27), (12, 28), (12, 29), (7, 1), (7, 2)} or date.day == 12


def _table(people: Population, date: dt.date, rows: Rows) -> pa.Table:
    count = len(rows.at_us)
    fraud = pa.array(rows.kind >= 0)
    country = people.country[rows.merchant]
    return pa.table(
        {
            "transaction_id": pc.binary_join_element_wise(f"txn_{date:%Y%m%d}", _padded(np.arange(count)), "_"),
            "event_at": pa.array(rows.at_us).cast(UTC_US),
            "account_id": _names("acc_", people.size.accounts).take(pa.array(rows.account)),
            "device_id": _opaque("dev_", rows.device),
            "merchant_id": _names("mer_", people.size.merchants).take(pa.array(rows.merchant)),
            "amount_minor": pa.array(rows.amount_minor),
            "currency": _texts(column(COUNTRIES, "currency"), country),
            "channel": _texts(column(CATEGORIES, "channel"), people.category[rows.merchant]),
            "country": _texts(column(COUNTRIES, "code"), country),
            "is_fraud": fraud,
            "label_at": pa.array(rows.label_at_us, mask=rows.kind < 0).cast(UTC_US),
            "fraud_kind": _texts(np.array(KINDS), rows.kind, mask=rows.kind < 0),
        }
    )


def _statements(rng: Rng, at: dt.datetime, since_s: Ints) -> list[pa.Array]:
    """Return the times of the old and of the fresh statement; each entity keeps its minute of the feed."""
    old_s = np.maximum(since_s, OLD_STATEMENT_S)
    fresh_s = at.timestamp() - rng.uniform(1, FRESH_WITHIN_S, len(since_s))
    return [pa.array((when_s * 1e6).astype(np.int64)).cast(UTC_US) for when_s in (old_s, fresh_s)]


def _names(prefix: str, count: int) -> pa.Array:
    return pc.binary_join_element_wise(prefix, _padded(np.arange(count)), "")


def _padded(numbers: Ints) -> pa.Array:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 6, "0")


def _texts(names: NDArray[Any], code: Ints, mask: NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(names.tolist(), pa.string()).take(pa.array(code, mask=mask))


def _opaque(prefix: str, key: Ints) -> pa.Array:
    """Name each key by 16 hex digits that tell nothing; one to one (the finaliser of SplitMix64 can be inverted)."""
    mixed = key.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    digits = np.frombuffer(mixed.astype(">u8").tobytes().hex().encode(), dtype="S16")
    return pc.binary_join_element_wise(prefix, pa.array(digits.astype(str)), "")
