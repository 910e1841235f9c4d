"""Faults under load: whatever is killed, stopped or flushed, in the end every event counts once, and nothing reads low.

    python loadtest/kills.py --home /tmp/kills --rounds 20 --json

Starts a stack of its own in --home (made from nothing there if need be, which takes minutes). While events are posted
and payments are scored, each round does one harm, in turn: `kill -9` of the worker, `kill -9` of the store (it keeps an
append-only file), FLUSHALL, or the worker stopped for a while. Only what was acknowledged is the truth; a request that
failed is sent again until it is. The exit code is 1 when

  lost, doubled   after a round, rows of accounts, devices or merchants hold another count or sum than was acknowledged
  low             a decision read its account's tiles as FRESH although they lacked an event that had been acknowledged
                  longer before than a FRESH view may be old
  high            a decision read more events than had been sent
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
import uuid
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from ownstack import own_stack
from redis import Redis
from redis.exceptions import RedisError

from scoregate import catalog
from scoregate.features import encoding
from scoregate.features.plan import views
from scoregate.features.windows import GRAIN_S, STRIDE
from scoregate.hashing import KeyedHash
from scoregate.local.state import read_status
from scoregate.settings import Settings
from scoregate.streaming.keys import marker_key
from scoregate.streaming.rows import RowFormat
from scoregate.training import decided

STREAM = "transactions"
HARMS = ("kill the worker", "kill the store", "flush the store", "stop the worker")
MAX_AGE_S = 3.0
DECIDING_S = 0.25
"""Between a decision's read and its time."""
ACCOUNTS, DEVICES, MERCHANTS = 40, 60, 20
CALM_S, TROUBLE_S, STOPPED_S = 2.0, 5.0, 6.0
PATIENCE_S = 240.0
SENDERS = 4


@dataclass(slots=True)
class Found:
    """What became of one round; `behind_s` is how long rows took to hold everything once the load had ended."""

    harm: str
    acknowledged: int = 0
    sent_again: int = 0
    decisions: int = 0
    fresh: int = 0
    not_fresh: int = 0
    wrong_rows: int = 0
    low: int = 0
    high: int = 0
    behind_s: float = 0.0

    @property
    def holds(self) -> bool:
        return not (self.wrong_rows or self.low or self.high)


@dataclass(slots=True)
class Truth:
    """What was sent and acknowledged, by transaction."""

    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent_s: dict[str, float] = field(default_factory=dict)
    acknowledged_s: dict[str, float] = field(default_factory=dict)

    def of_account(self, account: str, leave_out: str) -> tuple[list[float], list[float]]:
        """When each of an account's events was sent, and when acknowledged; both sorted."""
        theirs = [t for t, body in self.bodies.items() if body["account_id"] == account and t != leave_out]
        known = sorted(self.acknowledged_s[t] for t in theirs if t in self.acknowledged_s)
        return sorted(self.sent_s[t] for t in theirs), known


class Trouble:
    """Load on one stack, harm to it, and the comparison."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._settings = settings
        self._rng = random.Random(seed)  # noqa: S311 - load, not a secret
        self._hashed = KeyedHash.load(settings.hash_key_path)
        self._key = (settings.home / "demo.key").read_text().strip()
        self._redis: Any = Redis.from_url(settings.store_url)
        self._run, self._serial = uuid.uuid4().hex[:8], itertools.count()
        self._began_day = int(time.time() // GRAIN_S["days"])
        self._again = 0
        self._judged: set[str] = set()
        self._since_s = time.time()
        self._truth = Truth()
        self._forms = [
            (RowFormat.of(plan, settings.project), tags.get("key", plan.join_keys[0]))
            for plan, tags in views(settings.registry_path.read_bytes(), "tiles")
            if plan.stream == STREAM
        ]
        self._accounts = self._quiet_accounts()
        self._devices = [f"dev_{self._run}_{i}" for i in range(DEVICES)]
        self._merchants = [f"mer_{i:06d}" for i in range(MERCHANTS)]
        people = {"account_key": self._accounts, "device_key": self._devices, "merchant_id": self._merchants}
        self._entities = {key: {self._entity(key, one): one for one in some} for key, some in people.items()}
        self._before = self._stored()

    def round(self, harm: str) -> Found:
        """Do harm once, under load, and see what it did."""
        again, known = self._again, len(self._truth.acknowledged_s)
        asyncio.run(self._under_load(harm))
        found = Found(harm, len(self._truth.acknowledged_s) - known, self._again - again)
        began_s = time.monotonic()
        while self._wrong() and time.monotonic() - began_s < PATIENCE_S:
            time.sleep(0.2)
        found.behind_s = round(time.monotonic() - began_s, 1)
        # Nothing may be added later either.
        time.sleep(1)
        found.wrong_rows = self._wrong()
        self._judge(found)
        return found

    # Load

    async def _under_load(self, harm: str) -> None:
        async with self._load():
            await asyncio.sleep(CALM_S)
            await self._harm(harm)
            # What a store that was filled anew lacks at first is what could read low.
            await asyncio.to_thread(self._wait_until_filled)
            await asyncio.sleep(TROUBLE_S)

    @contextlib.asynccontextmanager
    async def _load(self) -> AsyncIterator[None]:
        """Post and score until the block ends, and until all that was sent is acknowledged."""
        url = f"http://127.0.0.1:{self._settings.gateway_port}/v1/fraud/"
        headers = {"authorization": f"Bearer {self._key}"}
        ended = asyncio.Event()
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=5.0) as client:
            senders = [asyncio.create_task(self._send(client, ended)) for _ in range(SENDERS)]
            try:
                yield
            finally:
                ended.set()
                await asyncio.gather(*senders)

    async def _send(self, client: httpx.AsyncClient, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await self._until_known(client, "score", [self._payment()])
            settled = [self._payment() for _ in range(self._rng.randint(1, 8))]
            await self._until_known(client, "events", settled)
            await asyncio.sleep(0.02)

    def _payment(self) -> dict[str, Any]:
        body = {
            **catalog.part("fraud", "contract").EXAMPLE,
            "transaction_id": f"kill-{self._run}-{next(self._serial)}",
            "account_id": self._rng.choice(self._accounts),
            "device_id": self._rng.choice(self._devices),
            "merchant_id": self._rng.choice(self._merchants),
            "amount_minor": self._rng.randint(100, 10_000),
        }
        self._truth.bodies[body["transaction_id"]] = body
        return body

    async def _until_known(self, client: httpx.AsyncClient, path: str, bodies: list[dict[str, Any]]) -> None:
        """Send until it is acknowledged: what failed may have been recorded, and sending it again is safe."""
        at = datetime.now(UTC).isoformat()
        said: Any = bodies[0]
        if path == "events":
            said = {"events": [{"type": "settled", **body, "event_at": at} for body in bodies]}
        until_s = time.monotonic() + PATIENCE_S
        for body in bodies:
            self._truth.sent_s.setdefault(body["transaction_id"], time.time())
        while not await self._is_known(client, path, said):
            self._again += 1
            if time.monotonic() > until_s:
                raise TimeoutError("a request is never acknowledged")
            await asyncio.sleep(0.1)
        for body in bodies:
            self._truth.acknowledged_s[body["transaction_id"]] = time.time()

    async def _is_known(self, client: httpx.AsyncClient, path: str, said: Any) -> bool:
        try:
            answer = await client.post(path, json=said)
        except httpx.TransportError:
            return False
        if path == "score" or answer.status_code != 202:
            return answer.status_code == 200
        return all(each["status"] in {"recorded", "known"} for each in answer.json()["results"])

    # Harm

    async def _harm(self, harm: str) -> None:
        if harm == "flush the store":
            self._redis.flushall()
        elif harm == "kill the store":
            os.kill(self._pid("valkey"), signal.SIGKILL)
        elif harm == "kill the worker":
            os.kill(self._pid("worker"), signal.SIGKILL)
        else:
            stopped = self._pid("worker")
            os.kill(stopped, signal.SIGSTOP)
            try:
                await asyncio.sleep(STOPPED_S)
            finally:
                os.kill(stopped, signal.SIGCONT)

    def _wait_until_filled(self) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            with contextlib.suppress(RedisError):
                if self._redis.hexists(marker_key(self._settings.project, STREAM), "epoch"):
                    return
            time.sleep(0.1)
        raise TimeoutError("the store is not filled again")

    def _pid(self, name: str) -> int:
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            status = read_status(self._settings.home)
            for each in status.running if status else ():
                if each.name == name and each.mark:
                    return each.mark.pid
            time.sleep(0.1)
        raise TimeoutError(f"{name} does not run")

    # Comparison

    def _quiet_accounts(self) -> list[str]:
        """Accounts that nothing has happened to for longer than the window that decisions are judged by."""
        (form,) = [form for form, key in self._forms if key == "account_key"]
        latest = int(time.time() // GRAIN_S["minutes"]) - 130
        found = []
        for i in range(5_000):
            account = f"acc_{i:06d}"
            raw = self._redis.hmget(form.key(self._entity("account_key", account)), form.time, form.fields["minutes"])
            minutes = encoding.decode_value(raw[1], "int64_list") if raw[1] else []
            if raw[0] and (not minutes or minutes[-STRIDE] < latest):
                found.append(account)
            if len(found) == ACCOUNTS:
                return found
        raise LookupError("too few accounts are quiet: is the store filled?")

    def _entity(self, key: str, name: str) -> str:
        return name if key == "merchant_id" else self._hashed(key.removesuffix("_key"), name)

    def _stored(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Count and sum since the day that this began, by join key and name."""
        found = {}
        for form, key in self._forms:
            pipe = self._redis.pipeline(transaction=False)
            for entity in self._entities[key]:
                pipe.hget(form.key(entity), form.fields["days"])
            for name, raw in zip(self._entities[key].values(), pipe.execute(), strict=True):
                days = encoding.decode_value(raw, "int64_list") if raw else []
                new = [days[i + 1 : i + 3] for i in range(0, len(days), STRIDE) if days[i] >= self._began_day]
                found[key, name] = (sum(count for count, _ in new), sum(amount for _, amount in new))
        return found

    def _wrong(self) -> int:
        """Count the rows that hold something else than was acknowledged."""
        counts: Counter[tuple[str, str]] = Counter()
        sums: Counter[tuple[str, str]] = Counter()
        columns = {"account_key": "account_id", "device_key": "device_id", "merchant_id": "merchant_id"}
        for transaction in self._truth.acknowledged_s:
            body = self._truth.bodies[transaction]
            for key, column in columns.items():
                counts[key, body[column]] += 1
                sums[key, body[column]] += body["amount_minor"]
        try:
            stored = self._stored()
        except RedisError:
            return len(self._before)
        return sum(
            stored[at] != (count + counts[at], amount + sums[at]) for at, (count, amount) in self._before.items()
        )

    def _judge(self, found: Found) -> None:
        """Hold what decisions of this round read against what they had to."""
        place = catalog.part("fraud", "features").FEATURES.index("account_count_1h")
        names = self._entities["account_key"]
        times: dict[str, list[Any]] = defaultdict(list)
        for each in decided.newest(self._settings, "fraud", since_s=self._since_s, limit=100_000):
            if each.own is None or each.decision_id in self._judged or each.own.subject not in self._truth.bodies:
                continue
            self._judged.add(each.decision_id)
            times[names[each.own.row["account_key"]]].append(each)
        for account, decisions in times.items():
            for each in decisions:
                found.decisions += 1
                if each.read.get("account_tiles", ("missing", None, None))[0].lower() != "fresh":
                    found.not_fresh += 1
                    continue
                found.fresh += 1
                assert each.own is not None
                sent, known = self._truth.of_account(account, each.own.subject)
                found.low += each.vector[place] < bisect_right(known, each.decided_at - MAX_AGE_S - DECIDING_S)
                found.high += each.vector[place] > bisect_right(sent, each.decided_at)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder of a stack of its own")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--harm", choices=HARMS, action="append", help="only this; may be said again (all, in turn)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> int:
    asked = _parser().parse_args()
    rounds = []
    with own_stack(asked.home) as own:
        trouble = Trouble(own.settings, asked.seed)
        for harm in itertools.islice(itertools.cycle(asked.harm or HARMS), asked.rounds):
            rounds.append(trouble.round(harm))
            print(rounds[-1], file=sys.stderr, flush=True)
    if asked.json:
        print(json.dumps({"load": os.getloadavg()[0], "rounds": [asdict(each) for each in rounds]}, indent=2))
    else:
        for harm in dict.fromkeys(each.harm for each in rounds):
            some = [each for each in rounds if each.harm == harm]
            said = {
                name: sum(getattr(each, name) for each in some)
                for name in ("acknowledged", "sent_again", "decisions", "not_fresh", "wrong_rows", "low", "high")
            }
            print(f"{harm} ({len(some)} times): " + ", ".join(f"{name} {count}" for name, count in said.items()))
    return 0 if all(each.holds for each in rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
