"""Fraud, as episodes: each starts on one day, hits one or more victims, and may go on for weeks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .population import (
    CARD,
    COUNTRIES,
    CROOK,
    DAY_US,
    EPISODES,
    FAVOURITES,
    PHONE,
    Ints,
    Population,
    Rng,
    Size,
    codes,
    column,
    fresh_device,
    populate,
    start_us,
)

KINDS = ("stolen_card", "account_takeover", "card_testing", "collusive_merchant", "mule_ring")
STOLEN, TAKEOVER, TESTING, COLLUSIVE, MULE = range(len(KINDS))
LONGEST_DAYS = 26
"""No episode has a transaction later than this many days after the day it started on."""

PER_DAY = {STOLEN: 4.9, TAKEOVER: 3.0, TESTING: 0.55, COLLUSIVE: 0.28, MULE: 0.38}
"""Episodes that start on a day among 5,000 accounts."""

LABEL_MEDIAN_DAYS, LABEL_SPREAD, LABEL_MAX_DAYS = 3.0, 0.8, 25.0
_MINUTE_US, _HOUR_US = 60_000_000, 3_600_000_000

_LOOT = codes("electronics", "fashion", "marketplace", "digital", "travel", "gambling")
_PAYEES, _CASH = codes("payee"), codes("cash")
_TESTED = codes("digital", "marketplace", "delivery")
_SMALL_SHOPS = codes("electronics", "fashion", "retail", "restaurant", "gambling", "marketplace")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Transactions before they get ids. Times in microseconds since the epoch; `kind` and `label_at_us` -1 if honest.

    `device` is a key, the others indices into the population.
    """

    at_us: Ints
    account: Ints
    device: Ints
    merchant: Ints
    amount_minor: Ints
    kind: Ints
    label_at_us: Ints

    def take(self, rows: NDArray[Any]) -> Rows:
        return Rows(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def unlabelled(at_us: Ints, account: Ints, device: Ints, merchant: Ints, amount_minor: Ints) -> Rows:
        none = np.full(len(at_us), -1)
        return Rows(at_us, account, device, merchant, amount_minor, none, none)

    @staticmethod
    def concat(parts: Sequence[Rows]) -> Rows:
        return Rows(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Rows)))


@lru_cache(maxsize=4 * LONGEST_DAYS)
def started_on(ordinal: int, seed: int, size: Size) -> Rows:
    """Draw the fraudulent transactions of all episodes that start on that day, on whatever day they fall."""
    people = populate(seed, size)
    makers = (_stolen_cards, _takeovers, _card_testing, _collusive_merchants, _mule_rings)
    parts = []
    for kind, make in enumerate(makers):
        rng = people.rng(EPISODES, ordinal * len(KINDS) + kind)
        episodes = int(rng.poisson(PER_DAY[kind] * size.accounts / 5_000))
        parts.append(_labelled(make(people, rng, ordinal, episodes), rng, kind))
    return Rows.concat(parts)


def _stolen_cards(people: Population, rng: Rng, ordinal: int, episodes: int) -> Rows:
    """Quick online spree on a new device, a lost or skimmed card in shops, or a careful thief who mimics the owner."""
    style = rng.choice(3, episodes, p=[0.35, 0.30, 0.35])
    spree, in_shops, careful = range(3)
    abroad = rng.random(episodes) < 0.5
    victim = _active(people, rng, episodes)
    each, step = _steps(rng, np.array([2, 2, 1])[style], np.array([7, 6, 4])[style])
    account, how = victim[each], style[each]

    where = np.where(abroad[each], _destinations(rng, episodes)[each], people.home[account])
    merchant = np.select(
        [how == spree, how == in_shops],
        [_of(people, rng, _LOOT, len(each)), people.shop(rng, where, on_site=True)],
        _familiar(people, rng, account),
    )
    growth = np.array([1.45, 1.3, 1.05])[how] ** step
    amount = people.usual_amount(rng, account, merchant) * growth * np.array([0.9, 1.2, 1.1])[how]
    own_phone = rng.random(episodes)[each] < 0.35
    plastic = np.isin(people.channel(merchant), ("pos", "atm"))
    owned = people.device(account, np.where(plastic, CARD, PHONE), ordinal)
    device = np.where(plastic | (own_phone & (how == careful)), owned, _crooked(ordinal, STOLEN, each))
    pause = np.array([9 * _MINUTE_US, 40 * _MINUTE_US, 30 * _HOUR_US])[how]
    start = start_us(ordinal) + people.time_us(rng, account, merchant)
    late = rng.random(episodes)[each] < 0.4
    start = np.where((how == spree) & late, start_us(ordinal) + _night(rng, len(each)), start)
    return Rows.unlabelled(
        _paced(rng, start, each, step, pause), account, device, merchant, people.priced(merchant, amount)
    )


def _takeovers(people: Population, rng: Rng, ordinal: int, episodes: int) -> Rows:
    """Transfers that drain accounts, from a new device (now and then one for several victims) or from the owner's."""
    victims = rng.choice([1, 2, 3], episodes, p=[0.75, 0.17, 0.08])
    crook = np.repeat(np.arange(episodes), victims)
    victim = _active(people, rng, len(crook))
    careful = (rng.random(episodes) < 0.4)[crook]
    remote = (rng.random(episodes) < 0.3)[crook]
    each, step = _steps(rng, np.ones(len(crook), int), np.where(careful, 3, 5))
    account = victim[each]

    shopping = rng.random(len(each)) < 0.2
    hop = np.where(rng.random(len(each)) < 0.75, people.home[account], _destinations(rng, len(each)))
    payee = _of(people, rng, _PAYEES, len(each), country=hop)
    merchant = np.where(shopping, _of(people, rng, _LOOT, len(each)), payee)
    uplift = np.where(careful[each], 1.15, 2.0 * 1.25**step) * rng.lognormal(0, 0.4, len(each))
    amount = people.usual_amount(rng, account, merchant) * uplift
    owned = people.device(account, PHONE, ordinal)
    device = np.where(remote[each], owned, _crooked(ordinal, TAKEOVER, crook[each]))
    pause = np.where(careful[each], 26 * _HOUR_US, 50 * _MINUTE_US)
    start = start_us(ordinal) + people.time_us(rng, account, merchant)
    return Rows.unlabelled(
        _paced(rng, start, each, step, pause), account, device, merchant, people.priced(merchant, amount)
    )


def _card_testing(people: Population, rng: Rng, ordinal: int, episodes: int) -> Rows:
    """Many cards at one merchant, tiny amounts, minutes apart; the careful take a day and a new device for each."""
    careful = rng.random(episodes) < 0.5
    each, step = _steps(rng, np.full(episodes, 6), np.full(episodes, 22))
    account = _active(people, rng, len(each))
    merchant = _of(people, rng, _TESTED, episodes)[each]
    amount = rng.integers(40, 600, len(each)).astype(float)
    per_device = np.where(careful, 1, 10)[each]
    device = _crooked(ordinal, TESTING, each * 32 + step // per_device)
    start = start_us(ordinal) + rng.integers(0, DAY_US, episodes)[each]
    pause = np.where(careful[each], 80 * _MINUTE_US, 4 * _MINUTE_US)
    return Rows.unlabelled(
        _paced(rng, start, each, step, pause), account, device, merchant, people.priced(merchant, amount)
    )


def _collusive_merchants(people: Population, rng: Rng, ordinal: int, episodes: int) -> Rows:
    """A small, young shop charges cards for weeks, at ordinary hours and a little above what its customers pay."""
    days = rng.integers(10, LONGEST_DAYS - 1, episodes)
    shop = _of(people, rng, _SMALL_SHOPS, episodes, newest=0.35)
    per_day = rng.uniform(0.5, 2.5, episodes)
    count = rng.poisson(per_day * days)
    each = np.repeat(np.arange(episodes), count)
    merchant = shop[each]
    account = _active(people, rng, len(each))
    amount = people.usual_amount(rng, account, merchant) * rng.uniform(1.05, 1.9, len(each))
    plastic = np.isin(people.channel(merchant), ("pos", "atm"))
    owned = people.device(account, np.where(plastic, CARD, PHONE), ordinal)
    unseen = ~plastic & (rng.random(len(each)) < 0.25)
    device = np.where(unseen, _crooked(ordinal, COLLUSIVE, np.arange(len(each))), owned)
    day_us = (rng.random(len(each)) * days[each]).astype(np.int64) * DAY_US
    at_us = start_us(ordinal) + day_us + people.time_us(rng, account, merchant)
    return Rows.unlabelled(at_us, account, device, merchant, people.priced(merchant, amount))


def _mule_rings(people: Population, rng: Rng, ordinal: int, episodes: int) -> Rows:
    """Deceived customers pay a few payees; mules, on shared devices, pass the money on within a day or two."""
    base = people.home[_active(people, rng, episodes)]
    payees = _of(people, rng, _PAYEES, episodes * 3, country=np.repeat(base, 3)).reshape(-1, 3)
    inward, _ = _steps(rng, np.full(episodes, 3), np.full(episodes, 10))
    payer = _near(people, _active(people, rng, len(inward) * 6), base[inward])
    to_ring = payees[inward, rng.integers(0, 2, len(inward))]
    amount_in = people.usual_amount(rng, payer, to_ring) * rng.lognormal(0.35, 0.5, len(inward))
    in_us = start_us(ordinal) + rng.integers(0, 2, len(inward)) * DAY_US + people.time_us(rng, payer, to_ring)
    phone = people.device(payer, PHONE, ordinal)
    paid = Rows.unlabelled(in_us, payer, phone, to_ring, people.priced(to_ring, amount_in))

    newest = _newest_accounts(people, rng, episodes * 4 * 6)
    mules = _near(people, newest, np.repeat(base, 4)).reshape(-1, 4)
    outward, step = _steps(rng, np.full(episodes, 4), np.full(episodes, 10))
    mule = mules[outward, step % 4]
    cash = rng.random(len(outward)) < 0.25
    at_machine = _of(people, rng, _CASH, len(outward), country=people.home[mule])
    to = np.where(cash, at_machine, payees[outward, 2])
    amount_out = people.usual_amount(rng, mule, to) * rng.lognormal(0.4, 0.5, len(outward))
    shared = ~cash & (rng.random(len(outward)) < 0.6)
    owned = people.device(mule, np.where(cash, CARD, PHONE), ordinal)
    device = np.where(shared, _crooked(ordinal, MULE, outward * 2 + step % 2), owned)
    out_us = start_us(ordinal) + rng.integers(0, 3, len(outward)) * DAY_US + people.time_us(rng, mule, to)
    return Rows.concat([paid, Rows.unlabelled(out_us, mule, device, to, people.priced(to, amount_out))])


def _labelled(rows: Rows, rng: Rng, kind: int) -> Rows:
    """Add the kind and the time at which the fraud becomes known: a victim reports everything at about one time."""
    _, victim = np.unique(rows.account, return_inverse=True)
    days = rng.lognormal(np.log(LABEL_MEDIAN_DAYS), LABEL_SPREAD, len(victim))[victim]
    days = np.clip(days * rng.uniform(0.85, 1.15, len(victim)), 0.05, LABEL_MAX_DAYS)
    label_at_us = rows.at_us + (days * DAY_US).astype(np.int64)
    kinds = np.full(len(rows.at_us), kind)
    return Rows(rows.at_us, rows.account, rows.device, rows.merchant, rows.amount_minor, kinds, label_at_us)


def _steps(rng: Rng, least: Ints, below: Ints) -> tuple[Ints, Ints]:
    """Draw how many transactions each episode has; return for each its episode and its number within it."""
    count = rng.integers(least, below) if len(least) else np.zeros(0, int)
    each = np.repeat(np.arange(len(count)), count)
    return each, np.arange(len(each)) - np.repeat(np.cumsum(count) - count, count)


def _paced(rng: Rng, start_us: Ints, each: Ints, step: Ints, pause_us: Ints) -> Ints:
    """Space the transactions of an episode by exponential pauses, from the start drawn for its first one."""
    first = np.flatnonzero(step == 0)[each] if len(each) else each
    gap = np.where(step > 0, rng.exponential(1.0, len(each)) * pause_us, 0.0)
    walked = np.cumsum(gap)
    return np.asarray(start_us[first] + (walked - walked[first]).astype(np.int64))


def _active(people: Population, rng: Rng, count: int) -> Ints:
    """Draw accounts in proportion to how much they are used: that is how often they are exposed."""
    exposure = np.cumsum(people.rate)
    found = np.searchsorted(exposure, rng.random(count) * exposure[-1])
    return np.asarray(np.minimum(found, people.size.accounts - 1), dtype=np.int64)


def _near(people: Population, candidates: Ints, country: Ints) -> Ints:
    """Take for each country the first of its share of the candidates who lives there, or else its first."""
    drawn = candidates.reshape(len(country), -1) if len(country) else candidates.reshape(0, 1)
    found = np.argmax(people.home[drawn] == country[:, None], axis=1)
    return np.take_along_axis(drawn, found[:, None], axis=1)[:, 0]


def _newest_accounts(people: Population, rng: Rng, count: int) -> Ints:
    newest = np.argsort(-people.opened_at_s, kind="stable")[: max(50, people.size.accounts // 4)]
    return newest[rng.integers(0, len(newest), count)]


def _familiar(people: Population, rng: Rng, account: Ints) -> Ints:
    favourite = people.favourites[account, rng.integers(0, FAVOURITES, len(account))]
    return np.where(rng.random(len(account)) < 0.5, favourite, people.shop(rng, people.home[account]))


def _destinations(rng: Rng, count: int) -> Ints:
    weight = column(COUNTRIES, "trips")
    return rng.choice(len(COUNTRIES), count, p=weight / weight.sum())


def _of(
    people: Population, rng: Rng, categories: list[int], count: int, *, newest: float = 1.0, country: Ints | None = None
) -> Ints:
    """Draw merchants of some categories evenly, from the newest share of them, or in the countries given."""
    found = np.flatnonzero(np.isin(people.category, categories))
    found = found[np.argsort(-people.onboarded_at_s[found], kind="stable")][: max(1, int(len(found) * newest))]
    if country is None:
        return found[rng.integers(0, len(found), count)]
    # Sorted by country, each one's merchants are a range; a country without any borrows from its neighbour.
    found = found[np.argsort(people.country[found], kind="stable")]
    low = np.searchsorted(people.country[found], country)
    high = np.maximum(np.searchsorted(people.country[found], country, side="right"), low + 1)
    return found[np.minimum(rng.integers(low, high), len(found) - 1)]


def _night(rng: Rng, count: int) -> Ints:
    return (rng.normal(1.5, 2.5, count) * _HOUR_US).astype(np.int64) % DAY_US


def _crooked(ordinal: int, kind: int, number: Ints) -> Ints:
    return fresh_device(CROOK, ordinal, kind << 24 | number)
