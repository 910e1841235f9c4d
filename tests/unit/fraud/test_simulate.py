"""The generator of demo payments: pure in date and seed, whole days, labels that arrive late."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pyarrow as pa
import pytest

from fraud import simulate
from fraud.contract import Request
from fraud.episodes import KINDS, LABEL_MAX_DAYS, LONGEST_DAYS, started_on
from fraud.features import entities
from fraud.keys import keyed, keyed_facts
from fraud.population import DEMO, EARLIEST, Size, populate, start_us

SEED = 11
FIRST = dt.date(2026, 3, 2)
MONTH = [FIRST + dt.timedelta(days) for days in range(30)]
SMALL = Size(accounts=300, merchants=200)
AT = dt.datetime(2026, 4, 1, 12, 30, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def days() -> dict[dt.date, pa.Table]:
    return {date: simulate.day(date, SEED) for date in MONTH}


@pytest.fixture(scope="module")
def month(days: dict[dt.date, pa.Table]) -> pd.DataFrame:
    return pa.concat_tables(days.values()).to_pandas()


def test_a_day_is_the_same_whenever_and_in_whatever_order_it_is_made(days: dict[dt.date, pa.Table]) -> None:
    """A day depends on date and seed alone, not on what was generated before or is still cached."""
    for cached in (populate, started_on):
        cached.cache_clear()

    backwards = {date: simulate.day(date, SEED) for date in (MONTH[20], MONTH[3])}

    assert all(days[date].equals(table) for date, table in backwards.items())


def test_another_seed_makes_other_people() -> None:
    """The seed decides what a day holds."""
    one, other = (simulate.day(FIRST, seed, size=SMALL) for seed in (1, 2))

    assert one["amount_minor"] != other["amount_minor"]


def test_the_columns_are_the_contract() -> None:
    """Names, order and types of a day are what the features read."""
    schema = simulate.day(FIRST, SEED, size=SMALL).schema

    text, moment = pa.string(), pa.timestamp("us", tz="UTC")
    assert {
        "transaction_id": text,
        "event_at": moment,
        "account_id": text,
        "device_id": text,
        "merchant_id": text,
        "amount_minor": pa.int64(),
        "currency": text,
        "channel": text,
        "country": text,
        "is_fraud": pa.bool_(),
        "label_at": moment,
        "fraud_kind": text,
    } == dict(zip(schema.names, schema.types, strict=True))


def test_a_day_holds_its_own_utc_day_in_order(days: dict[dt.date, pa.Table]) -> None:
    """Every transaction falls on the day asked for, and they come by time."""
    for date, table in days.items():
        event_at = table["event_at"].to_pandas()
        assert {date} == set(event_at.dt.date)
        assert event_at.is_monotonic_increasing


def test_ids_are_unique_across_days(month: pd.DataFrame) -> None:
    """No transaction id comes twice in a month."""
    assert month.transaction_id.is_unique


def test_only_fraud_has_a_kind_and_a_label_and_the_label_comes_later(month: pd.DataFrame) -> None:
    """A label arrives after the event, at most 25 days later, with a median of some days; honest rows have none."""
    fraud, honest = month[month.is_fraud], month[~month.is_fraud]
    delay_days = (fraud.label_at - fraud.event_at).dt.total_seconds() / 86_400

    assert honest.label_at.isna().all()
    assert honest.fraud_kind.isna().all()
    assert fraud.fraud_kind.notna().all()
    assert delay_days.min() > 0
    assert delay_days.max() <= LABEL_MAX_DAYS
    assert 2.0 < delay_days.median() < 4.5


def test_a_month_has_every_kind_of_fraud_at_a_rare_rate(month: pd.DataFrame) -> None:
    """All five kinds appear, and fraud is between 0.5 and 1.2 % of transactions."""
    assert set(KINDS) == set(month.fraud_kind.dropna())
    assert 0.005 < month.is_fraud.mean() < 0.012


def test_no_episode_outlasts_the_days_that_are_looked_back() -> None:
    """A fraud that began on a day ends within `LONGEST_DAYS`, or later days would lose its rest."""
    for ordinal in range(FIRST.toordinal(), FIRST.toordinal() + 60):
        at_us = started_on(ordinal, SEED, DEMO).at_us
        begin_us = start_us(ordinal)
        assert at_us.min(initial=begin_us) >= begin_us
        assert at_us.max(initial=begin_us) < begin_us + LONGEST_DAYS * 86_400_000_000


def test_values_are_what_the_contract_allows(month: pd.DataFrame) -> None:
    """Amounts are positive and within the wire's bound, channels are the four, codes have their lengths."""
    assert month.amount_minor.min() > 0
    assert month.amount_minor.max() <= 1_000_000_000
    assert {"ecom", "pos", "atm", "transfer"} == set(month.channel)
    assert {2} == set(month.country.str.len())
    assert {3} == set(month.currency.str.len())


def test_every_id_is_in_the_profiles_and_opened_before_it_pays(month: pd.DataFrame) -> None:
    """Accounts and merchants are stated by the feed, and existed before their first transaction."""
    profiles = {name: table.to_pandas() for name, table in simulate.facts(AT, SEED).items()}

    for name, key, since in (
        ("account_profile", "account_id", "opened_at"),
        ("merchant_profile", "merchant_id", "onboarded_at"),
    ):
        assert set() == set(month[key]) - set(profiles[name][key])
        assert profiles[name][since].max() < month.event_at.min().timestamp()


def test_traffic_spreads_over_merchants_and_hours(month: pd.DataFrame) -> None:
    """The busiest merchant stays small, nights are quieter than evenings, devices are shared by some."""
    by_hour = month.groupby(month.event_at.dt.hour).size()

    assert month.merchant_id.value_counts(normalize=True).max() < 0.03
    assert 2 * by_hour[3] < by_hour[17]
    assert (month[~month.is_fraud].groupby("device_id").account_id.nunique() > 1).any()


def test_facts_state_each_entity_long_ago_and_within_two_days() -> None:
    """Each entity has an old statement for training and a fresh one, with the same values and never from the future."""
    history_s = int(dt.datetime(EARLIEST.year, EARLIEST.month, EARLIEST.day, tzinfo=dt.UTC).timestamp())
    for name, table in simulate.facts(AT, SEED, size=SMALL).items():
        key = name.split("_")[0] + "_id"
        frame = table.to_pandas().sort_values("event_timestamp")
        old, fresh = frame.drop_duplicates(key, keep="first"), frame.drop_duplicates(key, keep="last")
        values = [column for column in frame.columns if column != "event_timestamp"]

        assert {2} == set(frame[key].value_counts())
        assert old.event_timestamp.max().timestamp() < history_s
        assert fresh.event_timestamp.max() <= AT
        assert fresh.event_timestamp.min() >= AT - dt.timedelta(days=2)
        assert old[values].sort_values(key).to_numpy().tolist() == fresh[values].sort_values(key).to_numpy().tolist()


def test_facts_are_the_same_for_the_same_moment() -> None:
    """The feed is a pure function of the moment and the seed."""
    assert simulate.facts(AT, SEED, size=SMALL) == simulate.facts(AT, SEED, size=SMALL)


def test_days_and_facts_are_keyed_as_serving_asks_for_them() -> None:
    """A day keeps its ids, for training, beside the hashes; facts have the hashes in their place."""
    day = keyed(simulate.day(FIRST, SEED, size=SMALL), "{} {}".format)
    facts = {name: keyed_facts(table, "{} {}".format) for name, table in simulate.facts(AT, SEED, size=SMALL).items()}
    raw = day.slice(0, 1).to_pylist()[0]

    asked = entities(Request.model_construct(**raw), "{} {}".format)

    assert asked == {name: raw[name] for name in asked}
    assert "account_id" not in facts["account_profile"].column_names
    assert asked["account_key"] in facts["account_profile"]["account_key"].to_pylist()
    assert asked["merchant_id"] in facts["merchant_profile"]["merchant_id"].to_pylist()


def test_a_larger_demo_has_more_traffic() -> None:
    """Traffic grows with the number of accounts."""
    small, twice = (simulate.day(FIRST, SEED, size=Size(accounts, 200)).num_rows for accounts in (1_000, 2_000))

    assert 1.5 < twice / small < 2.5


def test_no_day_before_the_accounts_were_opened() -> None:
    """History before every account was open is refused, not invented."""
    with pytest.raises(ValueError, match="transactions begin on 2025-01-01"):
        simulate.day(EARLIEST - dt.timedelta(days=1), SEED)
