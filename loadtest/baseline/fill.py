"""Writes what the tutorial-style service reads: windows as our definition counts them, finished, by Feast's own SDK."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb
from feast import FeatureStore

sys.path.insert(0, str(Path(__file__).parent))

from vector import vector
from views import ENTITIES, PAYMENTS, PROFILES, PROJECT, VIEWS, WINDOWS, repo

from fraud import features as ours
from fraud.contract import Request
from scoregate.features import FeatureRow, windows
from scoregate.features.encoding import key_prefix, row_key
from scoregate.features.online import OnlineFeatures
from scoregate.hashing import KeyedHash
from scoregate.models.artefact import Artefact, champion
from scoregate.settings import Settings
from scoregate.training.repository import connection_string

AT_ONCE = 500
TOLERANCE = 1e-6


def key(kind: str, value: str) -> bytes:
    """Where a row of the tutorial's is in the store."""
    return row_key(key_prefix((f"{kind}_id",)), (value,), PROJECT.encode())


def fill(settings: Settings, registry: Path, requests: Sequence[dict[str, Any]]) -> float:
    """Write the rows of all that these requests are about; return by how much the two services' scores differ at most.

    Raises:
        ValueError: they differ by more than TOLERANCE, so they would not do the same work.
    """
    now_s = time.time()
    rows = asyncio.run(_rows(settings, requests, now_s))
    said = [_finished(request, row, now_s) for request, row in zip(requests, rows, strict=True)]
    store = FeatureStore(config=repo(str(registry), connection_string(settings.store_url)))
    store.apply([*ENTITIES, *VIEWS, PAYMENTS])
    for name in PROFILES:
        store.write_to_online_store(name, _frame(name, requests, said, now_s))
    return _difference(settings, requests, rows, said, now_s)


async def _rows(settings: Settings, requests: Sequence[dict[str, Any]], now_s: float) -> list[FeatureRow]:
    plan = Artefact.load(champion(settings.models("fraud"))).signature.plan
    source = OnlineFeatures(plan, settings.store_url, timeout_s=10.0)
    hashed = KeyedHash.load(settings.hash_key_path)
    who = [ours.entities(_request(one), hashed) for one in requests]
    found = [row for some in _chunks(who) for row in await source.read_all(some, now_s)]
    await source.close()
    return found


def _request(said: Mapping[str, Any]) -> Request:
    return Request(transaction_id="t", **said)


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))


def _finished(request: Mapping[str, Any], row: FeatureRow, now_s: float) -> dict[str, Any]:
    """Every feature of the tutorial's views by name."""
    vector = dict(zip(ours.FEATURES, ours.vector(_request(request), row, now_s), strict=True))
    account, merchant = (windows.read(row, f"{one}_tiles", now_s) for one in ("account", "merchant"))
    assert account is not None
    assert merchant is not None
    return {
        **vector,
        **row.views["account_profile"].values,
        **row.views["merchant_profile"].values,
        "account_last_s": now_s - vector["account_since_last_s"],
        "account_mean_minor_30d": account.mean_minor("30d"),
        "account_std_minor_30d": account.std_minor("30d"),
        "device_last_s": now_s - vector["device_since_last_s"],
        "merchant_mean_minor_30d": merchant.mean_minor("30d"),
    }


def _frame(name: str, requests: Sequence[dict[str, Any]], said: Sequence[dict[str, Any]], now_s: float) -> pd.DataFrame:
    key = f"{name}_id"
    rows = {
        request[key]: {key: request[key], **{f: _null(one[f]) for f in (*PROFILES[name], *WINDOWS[name])}}
        for request, one in zip(requests, said, strict=True)
    }
    frame = pd.DataFrame(list(rows.values()))
    frame["event_timestamp"] = pd.Timestamp(int(now_s), unit="s", tz="UTC")
    return frame


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _difference(
    settings: Settings,
    requests: Sequence[dict[str, Any]],
    rows: Sequence[FeatureRow],
    said: Sequence[dict[str, Any]],
    now_s: float,
) -> float:
    """Score each request by both ways: our vector and forest, and the tutorial's vector and XGBoost."""
    folder = champion(settings.models("fraud"))
    artefact, booster = Artefact.load(folder), xgb.Booster(model_file=str(folder / "model.ubj"))
    names, (slope, offset) = artefact.signature.names, artefact.signature.calibrator
    mine = [ours.vector(_request(one), row, now_s) for one, row in zip(requests, rows, strict=True)]
    theirs = [vector(one, read, names, now_s) for one, read in zip(requests, said, strict=True)]
    matrix = xgb.DMatrix(np.array(theirs, np.float32))
    margins = booster.predict(matrix, output_margin=True, validate_features=False).astype(np.float64)
    scores = 1.0 / (1.0 + np.exp(-(slope * margins + offset)))
    largest = float(np.abs(artefact.forest.predict(np.array(mine, np.float32)) - scores).max())
    if not largest <= TOLERANCE:
        raise ValueError(f"the scores of the two services differ by {largest}")
    return largest
