"""Who pays whom, with what: the accounts, merchants and devices of the demo, a function of the seed alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoregate.values import frozen

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Rng = np.random.Generator

EARLIEST = dt.date(2025, 1, 1)
"""Every account and merchant was there before this day, so no transaction can precede its account."""

EPOCH = dt.date(1970, 1, 1).toordinal()
DAY_US = 86_400_000_000
PERIOD_DAYS = 56
FAVOURITES = 20
CARD, PHONE, COMPUTER = range(3)
"""Device slots of an account. A plastic card is the device of a card-present payment without a wallet."""

# Namespaces of device keys and of random streams: no two uses may ever share one.
OWNED, ONE_OFF, KIOSK, STAND, CROOK = range(5)
PEOPLE, MOOD, TRIPS, TRAFFIC, CROWDS, EPISODES, FACTS = range(7)


@frozen
class Size:
    """How large the demo is; fraud and crowds scale with the number of accounts. At least 200 merchants."""

    accounts: int = 5_000
    merchants: int = 2_000


DEMO = Size()


@frozen
class Category:
    """What one kind of merchant is like. Shares are relative; prices end on a multiple of `step_minor`, less `charm`.

    `personal`: prices grow with the customer's means, as they do not for a bus ticket.
    """

    name: str
    channel: str
    merchants: float
    traffic: float
    median_minor: int
    spread: float
    peak_h: float
    width_h: float
    step_minor: int = 1
    charm: int = 0
    personal: bool = True


CATEGORIES = (
    Category("grocery", "pos", 14, 19, 2_600, 0.75, 17, 3.0),
    Category("restaurant", "pos", 14, 11, 2_200, 0.65, 19, 3.5, 10),
    Category("fuel", "pos", 5, 5, 5_200, 0.45, 15, 4.5),
    Category("pharmacy", "pos", 5, 3, 1_700, 0.7, 14, 3.0),
    Category("retail", "pos", 9, 5, 4_800, 0.8, 15, 2.5, 100, 1),
    Category("transit", "pos", 3, 8, 320, 0.4, 13, 5.5, 10, personal=False),
    Category("vending", "pos", 4, 4, 180, 0.45, 13, 4.5, 10, personal=False),
    Category("marketplace", "ecom", 6, 12, 2_900, 0.95, 20, 3.5, 100, 1),
    Category("fashion", "ecom", 5, 4, 6_100, 0.7, 20, 3.0, 100, 1),
    Category("electronics", "ecom", 5, 3, 12_500, 0.95, 19, 3.5, 100, 1),
    Category("digital", "ecom", 4, 9, 700, 0.9, 21, 4.0, 100, 1, personal=False),
    Category("delivery", "ecom", 4, 5, 2_500, 0.4, 19, 2.0, 10),
    Category("travel", "ecom", 3, 2, 17_000, 0.9, 20, 4.0),
    Category("gambling", "ecom", 2, 2, 3_000, 0.9, 23, 3.0, 500),
    Category("cash", "atm", 6, 4, 9_000, 0.7, 15, 4.5, 1_000),
    Category("payee", "transfer", 15, 7, 11_000, 1.1, 17, 4.5, 500),
)


@frozen
class Country:
    """Relative shares of homes, shops, web shops and trips. Every currency has cents and is worth about one euro."""

    code: str
    currency: str
    homes: float
    shops: float
    web: float
    trips: float
    offset_h: int


COUNTRIES = (
    Country("DE", "EUR", 55, 48, 46, 8, 1),
    Country("AT", "EUR", 9, 8, 3, 10, 1),
    Country("FR", "EUR", 9, 8, 5, 12, 1),
    Country("NL", "EUR", 8, 7, 8, 7, 1),
    Country("ES", "EUR", 6, 6, 3, 15, 1),
    Country("IT", "EUR", 5, 6, 3, 14, 1),
    Country("GB", "GBP", 5, 5, 8, 7, 0),
    Country("CH", "CHF", 3, 3, 2, 5, 1),
    Country("PT", "EUR", 0, 1.5, 0, 5, 0),
    Country("GR", "EUR", 0, 1.5, 0, 7, 2),
    Country("IE", "EUR", 0, 1, 9, 2, 0),
    Country("US", "USD", 0, 1.5, 9, 5, -5),
    Country("TR", "EUR", 0, 1.5, 1, 6, 3),
    Country("RO", "EUR", 0, 1, 1, 2, 2),
    Country("TH", "USD", 0, 1, 1, 3, 7),
)
SEGMENTS = ("personal", "premium", "business")


@dataclass(frozen=True, slots=True, eq=False)
class Trips:
    """One trip per account at most: first and last day (ordinals, `last` before `first` if none) and country index."""

    first: Ints
    last: Ints
    country: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Columns by account and by merchant index. Category and country are indices into the tables above."""

    seed: int
    size: Size
    # accounts
    home: Ints
    segment: Ints
    opened_at_s: Ints
    rate: Floats  # transactions a day
    means: Floats  # what it spends, against the median customer
    habit_h: Floats  # favourite hour, local
    wallet: Floats  # share of shop payments made with the phone
    roaming: Floats  # chance of a trip in one travel period
    favourites: Ints  # by account and rank
    owner: Ints  # by account and slot: whose device it is (a family shares one computer), -1 if none
    life_days: Ints  # by account and slot, how long a device is kept
    # merchants
    category: Ints
    country: Ints
    onboarded_at_s: Ints
    price: Floats
    everywhere: Floats  # by country, flat cumulative weights of what its people buy
    on_site: Floats  # by country, flat cumulative weights of its shops and cash machines

    def rng(self, purpose: int, period: int) -> Rng:
        """Return the random stream of one purpose on one day or period, whatever was drawn elsewhere."""
        return np.random.default_rng([self.seed, purpose, period])

    def shop(self, rng: Rng, country: Ints, *, on_site: bool = False) -> Ints:
        """Draw a merchant for each country by popularity; `on_site` only shops and cash machines standing there."""
        table = self.on_site if on_site else self.everywhere
        return _draw(rng, table, country, self.size.merchants)

    def device(self, account: Ints, slot: Ints | int, ordinal: int) -> Ints:
        """Return the key of the device in that slot on that day; an account without a computer uses its phone."""
        slot = np.where(self.owner[account, slot] < 0, PHONE, slot)
        owner = self.owner[account, slot]
        generation = (ordinal + owner * 37 % 1_000 + slot * 101) // self.life_days[owner, slot]
        return np.asarray(((owner * 4 + slot) << 13) + generation, dtype=np.int64)

    def channel(self, merchant: Ints) -> NDArray[np.str_]:
        return _CHANNEL[self.category[merchant]]

    def usual_amount(self, rng: Rng, account: Ints, merchant: Ints) -> Floats:
        """Draw what this account would spend there, in minor units, before `priced`."""
        kind = self.category[merchant]
        means = np.where(_PERSONAL[kind], self.means[account], 1.0)
        spread = np.exp(_SPREAD[kind] * rng.standard_normal(len(account)))
        return np.asarray(_MEDIAN[kind] * self.price[merchant] * means * spread, dtype=np.float64)

    def priced(self, merchant: Ints, raw_minor: Floats) -> Ints:
        """Round to the prices such a merchant has; at least 40 minor units."""
        kind = self.category[merchant]
        steps = np.maximum(1, np.rint(raw_minor / _STEP[kind]))
        return np.asarray(np.maximum(40, steps * _STEP[kind] - _CHARM[kind]), dtype=np.int64)

    def time_us(self, rng: Rng, account: Ints, merchant: Ints) -> Ints:
        """Draw a time of day in microseconds UTC, between the merchant's hours and the customer's habit."""
        kind = self.category[merchant]
        theirs = rng.random(len(account)) < 0.6
        centre = np.where(theirs, _PEAK[kind], self.habit_h[account]) - _OFFSET[self.country[merchant]]
        hour = centre + np.where(theirs, _WIDTH[kind], 2.5) * rng.standard_normal(len(account))
        return np.asarray((hour * 3_600e6).astype(np.int64) % DAY_US)


def column(table: tuple[Any, ...], name: str) -> NDArray[Any]:
    """Return one field of CATEGORIES or COUNTRIES as an array, to be indexed by code."""
    return np.array([getattr(row, name) for row in table])


_CHANNEL, _MEDIAN, _SPREAD = (column(CATEGORIES, name) for name in ("channel", "median_minor", "spread"))
_PEAK, _WIDTH, _STEP = (column(CATEGORIES, name) for name in ("peak_h", "width_h", "step_minor"))
_CHARM, _PERSONAL = column(CATEGORIES, "charm"), column(CATEGORIES, "personal")
_OFFSET = column(COUNTRIES, "offset_h")


def start_us(ordinal: int) -> int:
    """Return midnight UTC of a day, in microseconds since the epoch."""
    return (ordinal - EPOCH) * DAY_US


def fresh_device(purpose: int, ordinal: int, number: Ints) -> Ints:
    """Return keys of devices never seen before that day."""
    return (purpose << 56) | (ordinal << 32) | number


def codes(*names: str) -> list[int]:
    """Return the category indices of these names."""
    known = [category.name for category in CATEGORIES]
    return [known.index(name) for name in names]


@lru_cache(maxsize=4)
def populate(seed: int, size: Size = DEMO) -> Population:
    """Draw the population of a seed (a non-negative integer)."""
    rng = np.random.default_rng([seed, PEOPLE])
    accounts, merchants = size.accounts, size.merchants
    category, country, popularity = _merchants(rng, merchants)
    everywhere, on_site = _markets(category, country, popularity)
    home = rng.choice(len(COUNTRIES), accounts, p=_shares(column(COUNTRIES, "homes")))
    segment = rng.choice(3, accounts, p=[0.82, 0.10, 0.08])
    picked = _draw(rng, everywhere, np.repeat(home, FAVOURITES), merchants)
    lives = [rng.integers(least, most, accounts) for least, most in ((900, 1500), (350, 1300), (900, 2200))]
    return Population(
        seed=seed,
        size=size,
        home=home,
        segment=segment,
        opened_at_s=_before(rng, accounts, years=14),
        rate=rng.lognormal(-0.22, 0.65, accounts) * np.array([1.0, 1.35, 1.25])[segment],
        means=rng.lognormal(0.0, 0.45, accounts) * np.array([1.0, 1.7, 2.4])[segment],
        habit_h=rng.choice([9.0, 13.0, 18.0, 22.0], accounts, p=[0.2, 0.3, 0.35, 0.15]) + rng.normal(0, 1.2, accounts),
        wallet=rng.beta(0.6, 0.9, accounts),
        roaming=rng.beta(1.2, 4.0, accounts),
        favourites=picked.reshape(accounts, FAVOURITES),
        owner=_owners(rng, accounts),
        life_days=np.stack(lives, axis=1),
        category=category,
        country=country,
        onboarded_at_s=_before(rng, merchants, years=9),
        price=rng.lognormal(0.0, 0.3, merchants),
        everywhere=everywhere,
        on_site=on_site,
    )


@lru_cache(maxsize=8)
def trips(seed: int, size: Size, period: int) -> Trips:
    """Draw who travels when and where in a travel period, `PERIOD_DAYS` from ordinal `period * PERIOD_DAYS` on."""
    people = populate(seed, size)
    rng = people.rng(TRIPS, period)
    days = rng.integers(2, 17, size.accounts)
    first = period * PERIOD_DAYS + rng.integers(0, PERIOD_DAYS - 16, size.accounts)
    goes = rng.random(size.accounts) < people.roaming
    country = rng.choice(len(COUNTRIES), size.accounts, p=_shares(column(COUNTRIES, "trips")))
    return Trips(first=first, last=np.where(goes, first + days - 1, first - 1), country=country)


@lru_cache(maxsize=8)
def mood(seed: int, size: Size, week: int) -> Floats:
    """Draw how active each account is in a week, mean 1: people have busy weeks and silent ones."""
    return populate(seed, size).rng(MOOD, week).gamma(1.6, 1 / 1.6, size.accounts)


def _merchants(rng: Rng, count: int) -> tuple[Ints, Ints, Floats]:
    category = rng.choice(len(CATEGORIES), count, p=_shares(column(CATEGORIES, "merchants")))
    channel = _CHANNEL[category]
    walk_in = rng.choice(len(COUNTRIES), count, p=_shares(column(COUNTRIES, "shops")))
    web = rng.choice(len(COUNTRIES), count, p=_shares(column(COUNTRIES, "web")))
    country = np.where(channel == "ecom", web, walk_in)
    # However small the demo, a traveller finds a shop in every country.
    shops = np.flatnonzero(channel == "pos")[: len(COUNTRIES)]
    country[shops] = np.arange(len(shops))
    return category, country, rng.permutation(np.arange(1, count + 1) ** -0.45)


def _markets(category: Ints, country: Ints, popularity: Floats) -> tuple[Floats, Floats]:
    """Weigh merchants for the people of each country: by category first, so that small countries shop alike."""
    here = country[None, :] == np.arange(len(COUNTRIES))[:, None]
    online = _CHANNEL[category] == "ecom"
    family_abroad = np.where(_CHANNEL[category] == "transfer", 0.03, 0.0)
    weight = np.where(here | online, 1.0, family_abroad) * popularity
    members = category[:, None] == np.arange(len(CATEGORIES))
    total = weight @ members
    weight *= (column(CATEGORIES, "traffic") / np.maximum(total, 1e-12))[:, category]
    walk_in = np.isin(_CHANNEL[category], ("pos", "atm"))
    return _cumulative(weight), _cumulative(np.where(here & walk_in, weight, 0.0))


def _cumulative(weight: Floats) -> Floats:
    """Return rows of cumulative shares, row r in (r, r + 1], flat: one search serves all rows."""
    total = np.cumsum(weight, axis=1)
    return np.ravel(total / total[:, -1:] + np.arange(len(weight))[:, None])


def _draw(rng: Rng, flat: Floats, row: Ints, width: int) -> Ints:
    # side="right" never lands on a weight of zero; the bound guards the rounding of the last sum.
    found = np.searchsorted(flat, row + rng.random(len(row)), side="right") - row * width
    return np.asarray(np.minimum(found, width - 1), dtype=np.int64)


def _owners(rng: Rng, accounts: int) -> Ints:
    owner = np.repeat(np.arange(accounts)[:, None], 3, axis=1)
    owner[rng.random(accounts) < 0.4, COMPUTER] = -1
    sharing = np.flatnonzero(rng.random(accounts - 1) < 0.12) + 1
    owner[sharing, COMPUTER] = owner[sharing - 1, COMPUTER]
    return owner


def _before(rng: Rng, count: int, years: int) -> Ints:
    """Draw times of opening, denser towards `EARLIEST`, in whole seconds since the epoch."""
    end_s = int(dt.datetime(EARLIEST.year, EARLIEST.month, EARLIEST.day, tzinfo=dt.UTC).timestamp())
    return end_s - 1 - (rng.beta(1, 1.6, count) * years * 365 * 86_400).astype(np.int64)


def _shares(weights: NDArray[Any]) -> Floats:
    return np.asarray(weights / weights.sum(), dtype=np.float64)
