"""A hundred thousand customers in the online store, each a copy of one of the demo's, and their payments by Zipf.

Whoever is drawn pays what the account that was copied paid last, with the same device, at the same merchant; so the mix
of outcomes is the generator's, however often somebody is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from redis import Redis

from scoregate.features.encoding import key_prefix, row_key
from scoregate.hashing import KeyedHash
from scoregate.settings import Settings

CUSTOMERS = 100_000
AT_ONCE = 2_000

_LAST_PAYMENTS = """
    SELECT account_id, device_id, merchant_id, amount_minor, currency, channel, country FROM read_parquet(?)
    QUALIFY row_number() OVER (PARTITION BY account_id ORDER BY event_at DESC, transaction_id) = 1
    ORDER BY account_id
    """


@dataclass(frozen=True, slots=True)
class Customer:
    """`request` lacks its id; `original` is the request whose account and device were copied."""

    request: dict[str, Any]
    original: dict[str, Any]


def originals(settings: Settings) -> list[dict[str, Any]]:
    """Return the last payment of every account of the demo."""
    found = duckdb.sql(_LAST_PAYMENTS, params=[str(settings.data / "transactions" / "*.parquet")])
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def customers(of: Sequence[dict[str, Any]], count: int = CUSTOMERS) -> list[Customer]:
    """Return so many customers, each with an account and a device of its own."""
    return [
        Customer({**original, "account_id": f"acc_load_{n:06}", "device_id": f"dev_load_{n:06}"}, original)
        for n in range(count)
        for original in [of[n % len(of)]]
    ]


def copy_rows(store: Redis, pairs: Iterable[tuple[bytes, bytes]]) -> int:
    """Copy rows inside the store, from the first key of each pair to the second; return how many were there."""
    copied = 0
    for some in _chunks(pairs):
        with store.pipeline(transaction=False) as pipe:
            for source, target in some:
                pipe.copy(source, target, replace=True)
            copied += sum(pipe.execute())
    return copied


def live_rows(settings: Settings, who: Iterable[Customer]) -> Iterator[tuple[bytes, bytes]]:
    """Yield where the rows of each customer's original are in our store, and where its own belong."""
    hashed, project = KeyedHash.load(settings.hash_key_path), settings.project.encode()

    def key(kind: str, value: str) -> bytes:
        return row_key(key_prefix((f"{kind}_key",)), (hashed(kind, value),), project)

    return pairs(who, key)


def pairs(who: Iterable[Customer], key: Callable[[str, str], bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the same where `key` says where a row of an account or device is."""
    for one in who:
        for kind in ("account", "device"):
            field = f"{kind}_id"
            yield key(kind, one.original[field]), key(kind, one.request[field])


def by_zipf(who: Sequence[Customer], draws: int, seed: int = 7) -> list[bytes]:
    """Draw requests by Zipf's law with exponent 1; each lacks its id and the end: `…"transaction_id":"`."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, len(who) + 1)
    drawn = rng.permutation(len(who))[rng.choice(len(who), draws, p=weights / weights.sum())]
    beginnings = [json.dumps(one.request, separators=(",", ":"))[:-1] + ',"transaction_id":"' for one in who]
    return [beginnings[n].encode() for n in drawn.tolist()]


def _chunks(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    some: list[tuple[bytes, bytes]] = []
    for pair in pairs:
        some.append(pair)
        if len(some) == AT_ONCE:
            yield some
            some = []
    yield some
