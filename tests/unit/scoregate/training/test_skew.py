"""What was served against what the offline store says, in a small world: a shop's cards, one store, some hours."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import struct
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

import registries
from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.events import FACTS, Effect, Event, Outgoing
from scoregate.features import FeatureRow, Status, ViewRow, encoding, windows
from scoregate.features.accumulate import Tiles
from scoregate.features.plan import compile_plan
from scoregate.ledger import Entry
from scoregate.ledger.sqlite import SqliteLedger
from scoregate.settings import Settings
from scoregate.streaming.apply import subject_id
from scoregate.streaming.twin import live_folder, write_live
from scoregate.training import backfill, streams
from scoregate.training.skew import Skew, compare
from scoregate.training.skew_command import as_json, lines, register_skew
from scoregate.training.streams import DAY_US

NOON_S = 1_741_608_000
"""2025-03-10 12:00 UTC: the store is filled, and traffic begins."""
UTC_US = pa.timestamp("us", tz="UTC")
VIEWS: dict[str, dict[str, Any]] = {
    "card_tiles": {"kind": "tiles", "stream": "payments", "key": "card", "party": "shop", "amount": "cents"},
    "shop_tiles": {"kind": "tiles", "stream": "payments", "key": "shop", "amount": "cents"},
    "card_limit": {"kind": "facts", "stream": "facts"},
}
FEATURES = (
    "cents",
    "card_count_10m",
    "card_sum_1d",
    "card_shops_1d",
    "card_last_s",
    "shop_risk",
    "shop_fraud",
    "shop_mean",
    "limit",
)
CODE = SimpleNamespace(FEATURES=FEATURES)


def registry() -> bytes:
    message = encoding.Registry()
    for name, tags in VIEWS.items():
        if tags["stream"] == FACTS:
            registries.add_view(message, name, "card", {"limit": "int64"}, tags, 86_400)
        else:
            said = {tag: value for tag, value in tags.items() if tag != "kind"}
            registries.tile_view(message, name, **said)
    return registries.service(message, "market_v1", list(VIEWS))


PLAN = compile_plan(registry(), "market_v1")


def vector(request: Any, row: FeatureRow, at_s: float) -> list[float]:
    card, shop = windows.read(row, "card_tiles", at_s), windows.read(row, "shop_tiles", at_s)
    assert card is not None and shop is not None
    fraud, events = shop.risk_30d()
    limit = row.get("card_limit", "limit")
    return [
        float(request.cents),
        float(card.count("10m")),
        float(card.sum_minor("1d")),
        float(card.distinct("1d")),
        card.since_last_s(),
        fraud / (events + 1),
        float(sum((row.get("shop_tiles", "days") or [])[4::5])),
        shop.mean_minor("1h"),
        math.nan if limit is None else float(limit),
    ]


CODE.vector = vector


@dataclass
class World:
    """A stack in small: rows as the worker keeps them, a stream, a ledger's entries. Times are seconds after noon."""

    settings: Settings
    rows: dict[tuple[str, str], tuple[Tiles, str]] = field(default_factory=dict)
    limits: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    stream: dict[str, list[tuple[str, Outgoing, Event]]] = field(default_factory=lambda: {"payments": [], FACTS: []})
    decided: list[tuple[Entry, Event | None]] = field(default_factory=list)

    def fill(self, history: list[dict[str, Any]], limits: dict[str, int]) -> None:
        """Fill days on disk, and rows by them."""
        folder = self.settings.data / "payments"
        by_day: dict[int, list[dict[str, Any]]] = {}
        for row in history:
            by_day.setdefault(row["at_us"] // DAY_US, []).append(row)
            # What happens after noon, or becomes known then, is on disk and was not filled in.
            if row["at_us"] <= NOON_S * 1_000_000:
                self.count(payment("h", row["at_us"] / 1e6 - NOON_S, row["card"], row["shop"], row["cents"]), "0-0")
                if row["label_us"] and row["label_us"] <= NOON_S * 1_000_000:
                    for key in ("card", "shop"):
                        tiles, _ = self.rows[f"{key}_tiles", row[key]]
                        tiles.label(row["label_us"], row["at_us"], is_bad=True, known_us=1)
        for day, rows in by_day.items():
            columns_ = {name: pa.array([row[name] for row in rows]) for name in ("card", "shop", "cents")}
            for ours, theirs in {"event_at": "at_us", "label_at": "label_us"}.items():
                columns_[ours] = pa.array([row[theirs] for row in rows], pa.int64()).cast(UTC_US)
            table = pa.table(columns_)
            streams.write(folder / f"{date(day)}.parquet", table)
        morning_us = NOON_S // 86_400 * DAY_US
        self.limits = {card: (limit, morning_us, "0-0") for card, limit in limits.items()}
        stated = {
            "card": pa.array(list(limits), pa.string()),
            "event_timestamp": pa.array([morning_us] * len(limits), pa.int64()).cast(UTC_US),
            "limit": pa.array(list(limits.values()), pa.int64()),
        }
        streams.write(
            self.settings.data / FACTS / "card_limit" / f"{date(morning_us // DAY_US)}.parquet", pa.table(stated)
        )
        self.settings.registry_path.write_bytes(registry())
        for stream in ("payments", FACTS):
            note = backfill.note_path(self.settings, stream)
            note.write_text(json.dumps({"epoch": "e", "until_us": NOON_S * 1_000_000}))
            os.utime(note, (NOON_S, NOON_S))
        model = self.settings.models("market") / ("m" * 12)
        model.mkdir(parents=True)
        names = [{"name": name, "low": None, "high": None, "median": None} for name in FEATURES]
        signature = {"service": "market", "feature_service": "market_v1", "plan": PLAN.as_json(), "features": names}
        signature |= {"calibrator": {"a": 1.0, "b": 0.0}, "training": {}}
        (model / "signature.json").write_text(json.dumps(signature))

    def append(self, event: Event, at_s: float) -> str:
        """Put an event on its stream; return its id."""
        entries = self.stream[event.stream]
        id_ = f"{round((NOON_S + at_s) * 1_000)}-{len(entries)}"
        entries.append((id_, Outgoing(event.stream, "w", len(entries) + 1, b""), event))
        return id_

    def count(self, event: Event, id_: str) -> None:
        """Do what the worker does with an entry."""
        for view, tags in VIEWS.items():
            if tags["stream"] != event.stream:
                continue
            if event.stream == FACTS:
                if event.at_us >= self.limits[event.row["card"]][1]:
                    self.limits[event.row["card"]] = (event.row["limit"], event.at_us, id_)
                continue
            self.count_in(view, event, id_)

    def count_in(self, view: str, event: Event, id_: str) -> None:
        tags = VIEWS[view]
        place = (view, event.row[tags["key"]])
        tiles, _ = self.rows.get(place, (Tiles(parties="party" in tags), ""))
        if event.effect is Effect.COUNT:
            party = windows.party_id(event.row[tags["party"]]) if "party" in tags else None
            tiles.count(event.at_us, event.row["cents"], party)
        elif event.effect is Effect.REVERSE:
            tiles.reverse(subject_id(event), event.at_us, event.row["cents"])
        else:
            tiles.label(subject_id(event), event.at_us, is_bad=bool(event.is_bad), known_us=event.known_us)
        self.rows[place] = (tiles, id_)

    def decide(self, event: Event, at_s: float, *, lag_s: float = 0.1, **changes: Any) -> str:
        """Score what an event is about, by the rows of now; return the decision's id."""
        asked_s = NOON_S + at_s
        row = FeatureRow(
            {
                view.name: self._read(view.name, event.row[VIEWS[view.name].get("key", "card")], asked_s, lag_s)
                for view in PLAN.views
            }
        )
        event_at = event.at_us / 1e6
        ages = {name: [view.status, view.age_s, view.version] for name, view in row.views.items()}
        number = len(self.decided)
        entry = Entry(
            decision_id=f"{number:06}",
            service="market",
            natural_key=event.subject,
            idempotency_key=None,
            request_digest=event.subject,
            outcome="approve",
            score=0.5,
            source="model",
            rung="full",
            vector=struct.pack(f"<{len(FEATURES)}d", *vector(SimpleNamespace(**event.row), row, event_at)),
            ages=json.dumps(ages),
            personal={},
            answer=b"{}",
            model_digest="m" * 64,
            policy_digest="p",
            feature_digest="f",
            arm="stable",
            trace_id="t",
            event_at=event_at,
            decided_at=asked_s + 0.01,
        )
        own = replace(event, known_us=round(asked_s * 1e6))
        self.decided.append((replace(entry, **changes), own))
        return entry.decision_id

    def _read(self, view: str, entity: str, asked_s: float, lag_s: float) -> ViewRow:
        if view == "card_limit":
            limit, at_us, version = self.limits[entity]
            return ViewRow({"limit": limit}, Status.FRESH, asked_s - at_us / 1e6, version=version)
        tiles, version = self.rows.get((view, entity), (None, None))
        if tiles is None:
            return ViewRow({}, Status.FRESH, lag_s, known=False)
        stored = Tiles.all(tiles)
        dtypes = dict(next(each.features for each in PLAN.views if each.name == view))
        values = {name: encoding.decode_value(stored[name], dtype) for name, dtype in dtypes.items()}
        return ViewRow(values, Status.FRESH, lag_s, version=version)

    def compared(self, code: Any = CODE, **bounds: Any) -> Skew:
        """Write ledger and twin, and compare."""

        async def record() -> None:
            ledger = await SqliteLedger.open(self.settings.home / "ledger" / "market.db", "market")
            for entry, event in self.decided:
                await ledger.append(entry, event)
            await ledger.close()

        asyncio.run(record())
        for stream, entries in self.stream.items():
            if entries:
                # The middle was written twice, as after a crash.
                write_live(live_folder(self.settings.data, stream), entries[: len(entries) * 2 // 3 + 1])
                write_live(live_folder(self.settings.data, stream), entries[len(entries) // 3 :])
        return compare(self.settings, "market", code, **bounds)


def date(day: int) -> str:
    return str((pa.scalar(day, pa.int32()).cast(pa.date32())).as_py())


def payment(subject: str, at_s: float, card: str = "a", shop: str = "s", cents: int = 1_000, **changes: Any) -> Event:
    at_us = round((NOON_S + at_s) * 1e6)
    row = {"card": card, "shop": shop, "cents": cents}
    event = Event("market", "payments", Effect.COUNT, f"count:{subject}", subject, at_us, at_us, row)
    return replace(event, **changes)


def history(random_: random.Random, days: int = 45) -> list[dict[str, Any]]:
    """Payments of the last days, some of them known as fraud later, and some of this afternoon."""
    rows = []
    for _ in range(days * 20):
        at_us = round((NOON_S - random_.uniform(-7_200, days * 86_400)) * 1e6)
        label_us = at_us + round(random_.uniform(1, 20) * DAY_US) if random_.random() < 0.2 else None
        card, shop = f"c{random_.randrange(12)}", f"s{random_.randrange(4)}"
        rows.append(
            {"at_us": at_us, "label_us": label_us, "card": card, "shop": shop, "cents": random_.randrange(9_999)}
        )
    return sorted(rows, key=lambda row: row["at_us"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Settings(home=tmp_path))


@pytest.fixture
def quiet(world: World) -> World:
    """Nobody has paid before; card a may pay anything."""
    world.fill([], {"a": 5_000})
    return world


def run(world: World, seed: int, decisions: int = 150) -> None:
    """Let cards pay for some hours, with all that may come between."""
    draw = random.Random(seed)
    world.fill(history(draw), {f"c{i}": 1_000 + i for i in range(15)})
    counted: list[Event] = []
    waiting: list[tuple[float, Event]] = []
    at_s = 1.0
    for i in range(decisions):
        at_s += draw.expovariate(1 / 40)
        for due_s, event in [each for each in sorted(waiting, key=lambda pair: pair[0]) if each[0] <= at_s]:
            waiting.remove((due_s, event))
            world.count(event, world.append(event, due_s))
            counted.append(event)
        event = payment(f"p{i}", at_s, f"c{draw.randrange(15)}", f"s{draw.randrange(5)}", draw.randrange(1, 9_999))
        world.decide(event, at_s)
        # Some take longer to be counted than the next payment takes to come.
        waiting.append((at_s + draw.choice((0.01, 0.05, 90.0)), event))
        kind = draw.random()
        if kind < 0.3 and counted:
            about = draw.choice(counted[-20:])
            effect = draw.choice((Effect.REVERSE, Effect.LABEL))
            is_bad = draw.random() < 0.7 if effect is Effect.LABEL else None
            # Labels come in any order.
            known_us = about.at_us + draw.randrange(10_000_000)
            change = replace(about, effect=effect, key=f"{effect}:{i}", known_us=known_us, is_bad=is_bad)
            world.count(change, world.append(change, at_s + 0.001))
        elif kind < 0.4:
            # Posted long after it happened.
            late = payment(f"late{i}", at_s - draw.uniform(0, 90_000), f"c{draw.randrange(15)}", "s1")
            world.count(late, world.append(late, at_s + 0.002))
        elif kind < 0.5:
            row = {"card": f"c{draw.randrange(15)}", "limit": draw.randrange(9_999)}
            at_us = round((NOON_S + round(at_s, -3)) * 1e6)
            said = Event("market", FACTS, Effect.FACTS, f"facts:{i}", row["card"], at_us, at_us, row, "card_limit")
            world.count(said, world.append(said, at_s + 0.003))


@pytest.mark.parametrize("seed", range(5))
def test_what_was_read_is_what_the_offline_store_says(world: World, seed: int) -> None:
    """Lags, late events, labels, reversals, new statements: nothing differs, value for value."""
    run(world, seed)

    found = world.compared()

    assert (150, 150, 150 * len(FEATURES), ()) == (found.decisions, found.compared, found.values, found.differing)
    assert {} == found.not_compared
    assert 0 < found.by_time < 150


def test_an_event_that_a_row_lost_is_found(quiet: World) -> None:
    """The row says that it has counted up to an entry and lacks one before it: features and decision are named."""
    lost, kept = payment("p1", 1.0), payment("p2", 2.0, cents=500)
    quiet.append(lost, 1.0)
    quiet.count(kept, quiet.append(kept, 2.0))
    id_ = quiet.decide(payment("p3", 30.0), 30.0)

    found = quiet.compared()

    served = {each.feature: (each.served, each.offline) for each in found.differing}
    assert {"card_count_10m": (1.0, 2.0), "card_sum_1d": (500.0, 1_500.0), "shop_mean": (500.0, 750.0)} == served
    assert [(1, (id_,))] * 3 == [(each.count, each.decisions) for each in found.differing]


def test_an_event_that_counted_twice_is_found(quiet: World) -> None:
    """Each event counts once, by the number of its writer."""
    event = payment("p1", 1.0)
    id_ = quiet.append(event, 1.0)
    quiet.count(event, id_)
    quiet.count(event, id_)
    quiet.decide(payment("p2", 30.0), 30.0)

    assert ["card_count_10m", "card_sum_1d"] == [each.feature for each in quiet.compared().differing]


def test_a_wrong_fact_is_found(quiet: World) -> None:
    """A row that holds another statement than the newest up to its version."""
    row = {"card": "a", "limit": 7_000}
    event = Event("market", FACTS, Effect.FACTS, "facts:1", "a", NOON_S * 1_000_000 + 1, 0, row, "card_limit")
    quiet.limits["a"] = (6_000, event.at_us, quiet.append(event, 1.0))
    quiet.decide(payment("p2", 30.0), 30.0)

    (wrong,) = quiet.compared().differing

    assert ("limit", 6_000.0, 7_000.0) == (wrong.feature, wrong.served, wrong.offline)


@pytest.mark.parametrize(("lag_s", "missed"), [(0.1, ["card_count_10m", "card_last_s", "card_sum_1d"]), (40.0, [])])
def test_a_watermark_promises_that_rows_have_counted(quiet: World, lag_s: float, missed: list[str]) -> None:
    """A row that stayed behind its watermark differs; one that is as far as the watermark says does not."""
    event = payment("p1", 1.0)
    quiet.count_in("shop_tiles", event, quiet.append(event, 1.0))
    quiet.decide(payment("p2", 30.0), 30.0, lag_s=lag_s)

    found = [each.feature for each in quiet.compared().differing]

    assert missed == [name for name in found if name != "card_shops_1d"]


def test_what_was_under_way_is_told_apart(quiet: World) -> None:
    """An event that had happened and was not counted yet is no difference; it is counted as what time alone changes."""
    event = payment("p1", 29.9)
    quiet.decide(payment("p2", 30.0), 30.0)
    quiet.count(event, quiet.append(event, 30.5))
    quiet.decide(payment("p3", 40.0), 40.0)

    found = quiet.compared()

    assert ((), 2, 1) == (found.differing, found.compared, found.by_time)


def test_what_cannot_be_compared_is_counted_by_why(quiet: World) -> None:
    """No model, a view that is missing or was brought, an old model, no event, a late one, an entry nobody knows."""
    ages = {name: ["fresh", 0.0, None] for name in VIEWS}
    changes: list[dict[str, Any]] = [
        {"source": "fallback"},
        {"ages": json.dumps(ages | {"card_limit": ["missing", None, None]})},
        {"ages": json.dumps(ages | {"card_limit": ["fresh", 0.0, "supplied"]})},
        {"model_digest": "n" * 64},
        {"ages": json.dumps(ages | {"card_tiles": ["fresh", 0.0, f"{(NOON_S + 99) * 1_000}-0"]})},
        {"ages": json.dumps(ages | {"card_tiles": ["fresh", 0.0, f"{NOON_S * 1_000}-7"]})},
    ]
    for i, change in enumerate(changes):
        quiet.decide(payment(f"p{i}", 30.0), 30.0, **change)
    quiet.decide(payment("late", 30.0), 95.0)
    quiet.decide(payment("early", -1.0), -1.0)
    quiet.decide(payment("again", 30.0), 30.0)
    entry, own = quiet.decided[-1]
    quiet.decided[-1] = (replace(entry, event_at=entry.event_at + 1), own)
    quiet.decide(payment("alone", 30.0), 30.0)
    quiet.decided[-1] = (quiet.decided[-1][0], None)
    quiet.append(payment("other", 50.0, "z", "z"), 50.0)

    found = quiet.compared()

    assert 0 == found.compared
    assert dict.fromkeys(found.not_compared, 1) == found.not_compared
    assert len(quiet.decided) == len(found.not_compared)


def test_a_service_may_say_what_derives_from_views(quiet: World) -> None:
    """Where the person is needed for the rest, the rest is named and not compared."""
    names = ("card_count_10m", "limit")

    def viewed(row: FeatureRow, at_s: float) -> dict[str, float]:
        card = windows.read(row, "card_tiles", at_s)
        limit = row.get("card_limit", "limit")
        return {"card_count_10m": float(card.count("10m")) if card else math.nan, "limit": float(limit or math.nan)}

    quiet.decide(payment("p1", 30.0), 30.0)

    found = quiet.compared(SimpleNamespace(FEATURES=FEATURES, viewed=viewed))

    assert (1, 2, ()) == (found.compared, found.values, found.differing)
    assert {*FEATURES} - {*names} == {*found.not_compared_features}


def test_bounds_take_the_newest(quiet: World) -> None:
    """`limit` and `since_s` leave the older decisions out."""
    for i in range(4):
        quiet.decide(payment(f"p{i}", 10.0 * i), 10.0 * i)

    assert 3 == quiet.compared(limit=3).decisions
    assert 2 == compare(quiet.settings, "market", CODE, since_s=NOON_S + 15.0).decisions


def test_a_service_without_a_ledger_has_nothing_to_compare(quiet: World) -> None:
    """That is said, and is no error."""
    found = compare(quiet.settings, "market", CODE)

    assert (0, 0, ()) == (found.decisions, found.compared, found.differing)


def test_what_is_said_names_feature_and_decision(quiet: World) -> None:
    """In lines for people, and in JSON that has no nan."""
    event = payment("p1", 1.0)
    quiet.append(event, 1.0)
    id_ = quiet.decide(payment("p2", 30.0), 30.0)

    found = quiet.compared()
    said = "\n".join(lines(found))

    assert "market: 5 of 9 values differ, in 1 of 1 decisions" in said
    assert "card_last_s: 1 differ; served nan, offline 29.0, first in\n    " + id_ in said
    (last,) = [each for each in as_json(found)["differing"] if each["feature"] == "card_last_s"]
    assert {"feature": "card_last_s", "count": 1, "decisions": (id_,), "served": None, "offline": 29.0} == last
    json.dumps(as_json(found), allow_nan=False)


@pytest.mark.parametrize(("is_lost", "code"), [(False, 0), (True, 1)])
def test_the_command_fails_when_anything_differs(
    quiet: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, is_lost: bool, code: int
) -> None:
    """A job can tell by the exit code; a service that does not exist is an error and not a success."""
    (quiet.settings.home / "services" / "market").mkdir(parents=True)
    (quiet.settings.home / "services" / "market" / "service.py").touch()
    monkeypatch.setattr(catalog, "ROOT", quiet.settings.home / "services")
    monkeypatch.setitem(sys.modules, "market.features", CODE)
    monkeypatch.setenv("SCOREGATE_HOME", str(quiet.settings.home))
    parser = argparse.ArgumentParser()
    register_skew(parser.add_subparsers())
    event = payment("p1", 1.0)
    id_ = quiet.append(event, 1.0)
    if not is_lost:
        quiet.count(event, id_)
    quiet.decide(payment("p2", 30.0), 30.0)
    quiet.compared()

    asked = parser.parse_args(["skew", "market", "--since", "2025-03-10", "--limit", "9", "--json"])
    assert code == asked.run(asked)
    assert 1 == json.loads(capsys.readouterr().out)["market"]["compared"]

    unknown = parser.parse_args(["skew", "nosuch"])
    with pytest.raises(ScoregateError):
        unknown.run(unknown)


@pytest.mark.parametrize("words", [["--since", "yesterday"], ["--limit", "0"], ["--limit", "many"]])
def test_bounds_that_are_none_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The command line says so before anything is read."""
    parser = argparse.ArgumentParser()
    register_skew(parser.add_subparsers())

    with pytest.raises(SystemExit):
        parser.parse_args(["skew", *words])
