"""Somebody's own transactions become our stream, and the vector of many at once is the vector of each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fraud import imports
from fraud.contract import Request
from fraud.features import FEATURES, vector
from scoregate.features import FeatureRow, Status, ViewRow
from scoregate.hashing import KeyedHash
from scoregate.training.bulk import DAY_US, EventIndex
from scoregate.training.imports.columns import Checked
from scoregate.training.tiles import tiles_at

HASHED = KeyedHash(b"k" * 32)
BEGIN_US = 20_000 * DAY_US
VIEWS = {
    "account_tiles": ("account_key", "merchant_id"),
    "device_tiles": ("device_key", "account_key"),
    "merchant_tiles": ("merchant_id", None),
}


def checked(many: int = 3_000, seed: int = 1, **changes: Any) -> Checked:
    """Foreign payments of 70 days: a few busy accounts, devices and counterparties, so that windows are full."""
    rng, rows = np.random.default_rng(seed), 3_000
    at = np.sort(BEGIN_US + (rng.random(rows) * 70 * DAY_US).astype(np.int64))
    # Some come in bursts, some at the very same time.
    at[100:200] = at[100] + np.arange(100) // 3 * 7_000_000
    fraud = rng.random(rows) < 0.05
    later = (rng.random(rows) * 20 * DAY_US).astype(np.int64)
    stamp = pa.timestamp("us", tz="UTC")
    account = rng.integers(0, 12, rows)
    device = rng.integers(0, 9, rows)
    device[:600] = 3
    account[:600] = rng.integers(0, 80, 600)
    columns: dict[str, Any] = {
        "transaction_id": pa.array([f"T/{i}" for i in range(rows)]),
        "event_at": pa.array(at).cast(stamp),
        "account_id": pa.array([f"konto {i}" for i in account]),
        "counterparty_id": pa.array([f"till {i}" if i % 2 else f"till-{i}" for i in rng.integers(0, 60, rows)]),
        "amount": pa.array(np.round(rng.lognormal(3, 1, rows), 2) + 0.01),
        "is_fraud": pa.array(fraud),
        "device_id": pa.array([None if i == 0 else f"d{i}" for i in device]),
        "channel": pa.array([("Chip", "ONLINE", None, "carrier pigeon", "P2P")[i] for i in rng.integers(0, 5, rows)]),
        "label_at": pa.array(at + later).cast(stamp),
    }
    columns = {name: column.slice(0, many) for name, column in columns.items()} | changes
    return Checked({name: column for name, column in columns.items() if column is not None})


def counted(rows: pa.Table, key: str, party: str | None) -> pa.Table:
    found = {
        "key": rows[key],
        "event_us": rows["event_at"].cast(pa.int64()),
        "amount_minor": rows["amount_minor"],
        "label_us": rows["label_at"].cast(pa.int64()),
    }
    return pa.table(found | ({"party": rows[party]} if party else {}))


def one_by_one(rows: pa.Table, places: list[int]) -> list[list[float]]:
    """The vectors of some rows by the road of serving: tiles, then `vector`."""
    some = rows.take(pa.array(places))
    at = np.asarray(some["event_at"].cast(pa.int64()))
    tiles = {}
    for view, (key, party) in VIEWS.items():
        events = counted(rows, key, party)
        events = events.filter(pa.compute.is_valid(events["key"]))
        found = tiles_at(events, pa.table({"key": some[key], "at_us": at}))
        tiles[view] = found.drop_columns(["key", "at_us"]).to_pylist()
    vectors = []
    for i, said in enumerate(some.to_pylist()):
        views = {view: ViewRow(tiles[view][i], Status.FRESH, 0.0) for view in VIEWS}
        if said["device_key"] is None:
            views["device_tiles"] = ViewRow({}, Status.MISSING, None)
        row = FeatureRow(views, {"account_key": said["account_key"]})
        request = Request.model_construct(**{name: said[name] for name in Request.model_fields if name in said})
        vectors.append(vector(request, row, said["event_at"].timestamp()))
    return vectors


def bulk(rows: pa.Table, places: list[int], views: tuple[str, ...] = tuple(VIEWS)) -> Any:
    some = rows.take(pa.array(places))
    at = np.asarray(some["event_at"].cast(pa.int64()))
    windows = {view: EventIndex(counted(rows, *VIEWS[view])).at(some[VIEWS[view][0]], at) for view in views}
    return imports.matrix(some, windows, at)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_vectors_of_many_are_the_vectors_of_each(seed: int) -> None:
    """Bit for bit: full days of parties, late labels, equal times and events without a device among them."""
    rows = imports.rows(checked(seed=seed), HASHED, 7 * DAY_US)
    places = np.random.default_rng(seed).permutation(rows.num_rows)[:400].tolist() + list(range(95, 205))

    expected, actual = np.array(one_by_one(rows, places)), bulk(rows, places)

    differ = ~((expected == actual) | (np.isnan(expected) & np.isnan(actual)))
    assert [] == [FEATURES[i] for i in np.flatnonzero(differ.any(axis=0))]
    met = actual[:, FEATURES.index("device_is_usual_30d")]
    assert {0.0, 1.0} <= set(met[~np.isnan(met)].tolist())
    assert 32.0 == np.nanmax(actual[:, FEATURES.index("device_accounts_30d")])
    assert np.nanmax(actual[:, FEATURES.index("merchant_risk_30d")]) > imports.PRIOR_RISK


def test_what_the_file_does_not_have_is_not_known() -> None:
    """Without devices their features are nan, and no view of theirs is said to have data."""
    found = checked(device_id=None)
    rows = imports.rows(found, HASHED, 7 * DAY_US)
    values = bulk(rows, [2_000], ("account_tiles", "merchant_tiles"))[0]

    assert all(math.isnan(value) for name, value in zip(FEATURES, values, strict=True) if name.startswith("device_"))
    assert ("account_tiles", "merchant_tiles") == imports.windowed(found)


def test_ids_of_people_are_hashed_as_requests_are() -> None:
    """So that what is scored later finds what the file counted; the file's own id stands nowhere."""
    rows = imports.rows(checked(20), HASHED, 0)
    text = str(rows.to_pylist())

    assert HASHED("account", checked(20)["account_id"][3].as_py()) == rows["account_key"][3].as_py()
    assert "konto" not in text
    assert "T/" not in text


def test_a_counterparty_keeps_a_name_that_requests_can_carry() -> None:
    """One with a space could never be asked for, and becomes its hash."""
    found = checked(200)
    names = imports.rows(found, HASHED, 0)["merchant_id"].to_pylist()
    given = found["counterparty_id"].to_pylist()

    assert [n if " " not in n else HASHED("merchant", n) for n in given] == names


def test_channels_are_spoken_in_many_ways() -> None:
    """What nobody knows is `other`, and so is nothing."""
    found = checked(6, channel=pa.array(["In-Store", "card not present", "ATM", " Wire ", "pigeon", None]))

    assert ["pos", "ecom", "atm", "transfer", "other", "other"] == imports.rows(found, HASHED, 0)["channel"].to_pylist()


def test_a_label_without_a_time_arrives_after_the_delay() -> None:
    """And an honest payment has none."""
    found = checked(50, label_at=None)
    rows = imports.rows(found, HASHED, 3 * DAY_US)
    waits = [(r["label_at"] - r["event_at"]).days if r["label_at"] else None for r in rows.to_pylist()]

    assert [3 if bad else None for bad in found["is_fraud"].to_pylist()] == waits


def test_amounts_that_no_request_may_have_are_named() -> None:
    """Nothing, and more than the contract allows."""
    found = checked(4, amount=pa.array([0.0, 0.01, 10_000_000.0, 10_000_000.01]))

    assert [False, True, True, False] == imports.bounds(found)[1].to_pylist()
