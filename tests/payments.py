"""A stream of payments, on disk and as it is on Valkey, for tests of what fills the store from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from scoregate.events import Effect, Event, Outgoing
from scoregate.features import encoding
from scoregate.settings import Settings
from scoregate.streaming import producer
from scoregate.streaming.keys import marker_key
from scoregate.streaming.twin import live_folder, write_live
from scoregate.training import streams

STREAM = "payments"
LISTS = ("minutes", "hours", "days", "hour_parties", "day_parties")
UTC_US = pa.timestamp("us", tz="UTC")


def registry() -> bytes:
    """Cards by the shops they paid, shops by amounts alone, facts about cards: `shop_v1` reads all; and links."""
    message = encoding.Registry()
    service = message.feature_services.add().spec
    service.name, service.project = "shop_v1", "scoregate"
    lists = dict.fromkeys(LISTS, 14) | {"last_event_us": 4}
    counted = {"kind": "tiles", "stream": STREAM, "amount": "cents"}
    for name, features, tags in (
        ("card_tiles", lists, counted | {"key": "card", "party": "shop"}),
        ("shop_tiles", {f: d for f, d in lists.items() if "parties" not in f}, counted | {"key": "shop"}),
        ("card_facts", {"limit": 4, "name": 2}, {"kind": "facts", "stream": "facts", "key": "card"}),
        ("card_links", {"groups": 12, "names": 12, "days": 14}, {"kind": "links", "stream": STREAM, "key": "card"}),
    ):
        spec = message.feature_views.add().spec
        spec.name, spec.project = name, "scoregate"
        spec.entity_columns.add(name=tags["key"], value_type=2)
        spec.ttl.seconds = 86_400
        for feature, dtype in features.items():
            spec.features.add(name=feature, value_type=dtype)
        if tags["kind"] != "links":
            used = service.features.add(feature_view_name=name)
            for feature, dtype in features.items():
                used.feature_columns.add(name=feature, value_type=dtype)
        for tag, value in tags.items():
            spec.tags.add(key=tag, value=value)
    return bytes(message.SerializeToString())


def event(
    effect: Effect, subject: str, at_us: int, known_us: int | None = None, is_bad: bool | None = None, **row: Any
) -> Event:
    """Something that happened to a payment, whose `row` labels and reversals repeat."""
    known_us = at_us if known_us is None else known_us
    key = f"{effect}:{subject}" + (f":{known_us}" if effect is Effect.LABEL else "")
    return Event("shop", STREAM, effect, key, subject, at_us, known_us, row, "", is_bad)


def stated(card: str, at_us: int, **values: Any) -> Event:
    """A statement of facts about a card."""
    row = {"card": card, **values}
    return Event("shop", "facts", Effect.FACTS, f"facts:{card}:{at_us}", card, at_us, at_us, row, "card_facts")


def outgoing(events: Iterable[Event], writer: str = "w", first: int = 1) -> list[Outgoing]:
    return [Outgoing(each.stream, writer, number, each.encode()) for number, each in enumerate(events, first)]


def write_twin(settings: Settings, events: Sequence[Event], first: int = 1) -> None:
    """Write a file of the twin; the id of a writer's n-th event is n milliseconds."""
    sent = outgoing(events, first=first)
    entries = [(f"{source.number}-0", source, each) for source, each in zip(sent, events, strict=True)]
    write_live(live_folder(settings.data, events[0].stream), entries)


def send(settings: Settings, redis: Any, events: Sequence[Event], writer: str = "w", first: int = 1) -> int:
    """Put events on their stream as a relay does; return the writer's last number there, or CLOSED."""
    found: int = redis.eval(producer.SCRIPT, 3, *producer.arguments(settings.project, outgoing(events, writer, first)))
    return found


def open_stream(settings: Settings, redis: Any) -> None:
    """Leave a marker, without which a stream takes nothing."""
    redis.hset(marker_key(settings.project, STREAM), mapping={"epoch": "e", "watermark_us": 0})


def write_day(settings: Settings, day: dt.date, *rows: tuple[str, str, int, dt.datetime, dt.datetime | None]) -> None:
    """Write a day of recorded payments: card, shop, cents, when, when known to be fraud."""
    columns = list(zip(*rows, strict=True))
    types = {"card": pa.string(), "shop": pa.string(), "cents": pa.int64(), "event_at": UTC_US, "label_at": UTC_US}
    table = pa.table({name: pa.array(list(c), t) for (name, t), c in zip(types.items(), columns, strict=True)})
    streams.write(settings.data / STREAM / f"{day}.parquet", table)


def write_facts(settings: Settings, day: dt.date, *rows: tuple[str, dt.datetime, int | None, str | None]) -> None:
    """Write what was stated on a day: card, when, limit, name."""
    columns = list(zip(*rows, strict=True))
    types = {"card": pa.string(), "event_timestamp": UTC_US, "limit": pa.int64(), "name": pa.string()}
    table = pa.table({name: pa.array(list(c), t) for (name, t), c in zip(types.items(), columns, strict=True)})
    streams.write(settings.data / "facts" / "card_facts" / f"{day}.parquet", table)
