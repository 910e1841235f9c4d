"""The fraud vector says what happened before a payment, and says nan where nothing is known."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fraud.contract import EXAMPLE, Request
from fraud.features import FEATURES, PRIOR_EVENTS, PRIOR_RISK, entities, vector
from scoregate.features import FeatureRow, Status, ViewRow
from scoregate.features.windows import DISTINCT_CAP, party_id

DAY = 20_000
AT_S = DAY * 86_400 + 12 * 3_600 + 30 * 60
HOUR, MINUTE = int(AT_S // 3_600), int(AT_S // 60)
TILES = ("account_tiles", "device_tiles", "merchant_tiles")
PROFILES: dict[str, dict[str, Any]] = {
    "account_profile": {"home_country": "DE", "segment": "business", "opened_at": int(AT_S) - 10 * 86_400},
    "merchant_profile": {"category": "digital", "country": "IE", "onboarded_at": int(AT_S) - 5 * 86_400},
}


def view(values: dict[str, Any], status: Status = Status.FRESH) -> ViewRow:
    return ViewRow(values, status, 0.0)


def row(**tiles: dict[str, Any]) -> FeatureRow:
    """A whole store; entities without tiles have done nothing."""
    return FeatureRow(
        {name: view(values) for name, values in PROFILES.items()} | {name: view(tiles.get(name, {})) for name in TILES},
        entities(request(), hashed),
    )


def hashed(kind: str, value: str) -> str:
    return f"{kind} {value}"


def request(**changes: Any) -> Request:
    return Request.model_validate({**EXAMPLE, "amount_minor": 6_000, "country": "DE", **changes})


def named(row: FeatureRow, **changes: Any) -> dict[str, float]:
    return dict(zip(FEATURES, vector(request(**changes), row, AT_S), strict=True))


def test_every_feature_has_one_value_and_one_name() -> None:
    """The vector is as long as FEATURES says, and no name stands twice."""
    values = vector(request(), row(), AT_S)

    assert len(FEATURES) == len(values) == len(set(FEATURES))
    assert all(type(value) is float for value in values)


def test_views_are_read_by_keyed_hashes_of_what_is_personal() -> None:
    """Accounts and devices never go to the store as they are; a merchant is nobody's secret."""
    expected = {
        "account_key": f"account {EXAMPLE['account_id']}",
        "device_key": f"device {EXAMPLE['device_id']}",
        "merchant_id": EXAMPLE["merchant_id"],
    }

    assert expected == entities(request(), hashed)


def test_a_missing_view_leaves_only_what_the_request_says() -> None:
    """Without a store every feature but the request's own is nan: an absent fact is no zero."""
    values = named(FeatureRow())
    known = {"amount_minor", "hour", "channel_is_pos", "channel_is_ecom", "channel_is_atm", "channel_is_transfer"}

    assert known == {name for name, value in values.items() if not math.isnan(value)}


def test_an_account_without_tiles_in_a_whole_store_has_done_nothing() -> None:
    """Counts are 0 and known; means and times since are nan, because there is nothing to measure from."""
    values = named(row())

    assert 0.0 == values["account_count_30d"] == values["device_count_1h"] == values["merchant_count_30d"]
    assert 0.0 == values["merchant_is_usual_30d"] == values["device_is_usual_30d"]
    assert all(math.isnan(values[name]) for name in ("amount_to_mean_30d", "account_since_last_s", "account_pace_1d"))


def test_velocities_come_from_the_tiles_of_the_account() -> None:
    """Ten payments on an earlier day, two in this hour: each window counts what it covers."""
    tiles = {
        "minutes": [MINUTE - 5, 1, 2_000, 400, 0, MINUTE - 1, 1, 4_000, 1_600, 0],
        "hours": [HOUR, 2, 6_000, 2_000, 0],
        "days": [DAY - 9, 10, 20_000, 4_000, 0, DAY, 2, 6_000, 2_000, 0],
        "last_event_us": int((AT_S - 60) * 1e6),
    }
    values = named(row(account_tiles=tiles))

    assert [2.0, 2.0, 2.0, 2.0, 12.0] == [values[f"account_count_{w}"] for w in ("10m", "1h", "1d", "7d", "30d")]
    assert 6_000.0 == values["account_sum_minor_1h"] == values["account_sum_minor_1d"]
    assert 30.0 * 2 / 12 == values["account_pace_1d"]
    assert 60.0 == pytest.approx(values["account_since_last_s"])
    assert 6_000 / (26_000 / 12) == values["amount_to_mean_30d"]
    assert values["amount_zscore_30d"] > 0


@pytest.mark.parametrize(
    ("days_ago", "expected"),
    [(0, 1.0), (30, 1.0), (31, 0.0), (-1, 0.0)],
)
def test_a_merchant_is_usual_when_paid_within_thirty_days(days_ago: int, expected: float) -> None:
    """The running day and the 30 before count; neither older days nor days after the request do."""
    pairs = [DAY - days_ago, party_id(EXAMPLE["merchant_id"])]

    assert expected == named(row(account_tiles={"day_parties": pairs}))["merchant_is_usual_30d"]


def test_a_device_of_too_many_accounts_cannot_tell_a_stranger() -> None:
    """Above the cap parties are not kept: an account that is not among them may still be usual."""
    many = [value for i in range(DISTINCT_CAP + 1) for value in (DAY, 10 + i)]
    mine = [*many[:-2], DAY, party_id(hashed("account", EXAMPLE["account_id"]))]

    assert math.isnan(named(row(device_tiles={"day_parties": many}))["device_is_usual_30d"])
    assert 1.0 == named(row(device_tiles={"day_parties": mine}))["device_is_usual_30d"]


@pytest.mark.parametrize(("days_ago", "expected"), [(30, math.nan), (31, 0.0)])
def test_only_a_full_day_in_the_window_hides_a_party(days_ago: int, expected: float) -> None:
    """Whoever is in no list was not there, unless one of the window's days has a list that is cut off."""
    full = [value for i in range(DISTINCT_CAP + 1) for value in (DAY - days_ago, 10 + i)]

    found = named(row(device_tiles={"day_parties": full}))["device_is_usual_30d"]

    assert (expected == found) or (math.isnan(expected) and math.isnan(found))


def test_many_parties_over_many_days_hide_nobody() -> None:
    """A window may hold more than the cap: each of its days is complete, so a stranger is known to be one."""
    spread = [value for i in range(2 * DISTINCT_CAP) for value in (DAY - 29 + i // 4, 10 + i)]

    assert 0.0 == named(row(device_tiles={"day_parties": spread}))["device_is_usual_30d"]


def test_the_age_of_a_device_does_not_depend_on_older_tiles() -> None:
    """Tiles that no window holds any more may or may not be in the store: the age is the same."""
    kept = {"days": [DAY - 30, 1, 100, 1, 0, DAY - 2, 1, 100, 1, 0]}
    older = {"days": [DAY - 37, 1, 100, 1, 0, *kept["days"]]}

    assert 30.0 == named(row(device_tiles=kept))["device_age_days_30d"]
    assert named(row(device_tiles=kept)) == pytest.approx(named(row(device_tiles=older)), nan_ok=True)


def test_the_risk_of_a_merchant_is_drawn_towards_the_overall_one() -> None:
    """One fraud among ten payments is not ten per cent: small merchants are smoothed."""
    tiles = {"days": [DAY - 20, 10, 5_000, 250, 1]}
    values = named(row(merchant_tiles=tiles))

    assert (1 + PRIOR_RISK * PRIOR_EVENTS) / (10 + PRIOR_EVENTS) == values["merchant_risk_30d"]
    assert PRIOR_RISK == named(row())["merchant_risk_30d"]


def test_where_a_payment_is_made_is_compared_with_home_and_with_the_merchant() -> None:
    """Abroad is not at the account's home; elsewhere is not where the merchant is based."""
    at_home, at_shop = named(row(), country="DE"), named(row(), country="IE")

    assert (0.0, 1.0) == (at_home["is_abroad"], at_home["is_elsewhere"])
    assert (1.0, 0.0) == (at_shop["is_abroad"], at_shop["is_elsewhere"])


def test_facts_become_numbers() -> None:
    """Ages are in days, kinds are one-hot."""
    values = named(row(), channel="ecom")

    assert (10.0, 5.0) == (round(values["account_age_days"]), round(values["merchant_age_days"]))
    assert (1.0, 0.0, 1.0) == (values["channel_is_ecom"], values["channel_is_pos"], values["category_is_digital"])
    assert (1.0, 12.5) == (values["is_business"], values["hour"])
