"""Requests that no honest caller sends: good ones broken in their structure, their bytes or their headers."""

from __future__ import annotations

import itertools
import json
import random
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MARK = "leak-"
"""Begins every text that is put into a request. No answer may repeat one."""

RAW = (
    *("1e999", "-1e999", "NaN", "Infinity", "-Infinity", "-0", "0.1e-400", "01", "+1", "1.", ".5", "0x10", "1_000"),
    *("9007199254740993", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1" + "0" * 5_000),
    *('"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\x41"', '"\t"', '"', "'a'", "tru", "nul", "undefined", "", ","),
    *("[" * 300, "[" * 9_000, '{"a":' * 300, "[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40, "/**/1", "{,}"),
)
"""What JSON is not, or only just is; written into a body as it stands."""

TIMES = (
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2024-02-30T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01"),
    *("2024-01-01T00:00:00", "2024-01-01T00:00:00+99:99", "now", "-1", "1e18", "2016-12-31T23:59:60Z"),
)
NUMBERS = (0, -1, 1, 0.1, -0.0, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**40, 1e308, 5e-324)
TEXTS = ("", " ", "\x00", "\ufeff", "\u202e", "🏦", "é" * 300, "x" * 5_000, "x" * 20_000, "../../etc/passwd", "%00")

HEADERS: Mapping[str, Sequence[str]] = {
    "authorization": ("", "Bearer", "Bearer sg_x_y", "Basic eDp5", "Bearer a.b.c", "Bearer " + "x" * 5_000),
    "content-type": ("text/plain", "application/json; charset=utf-16", "", "application/json" + ";a=b" * 500),
    "idempotency-key": ("", " ", "x" * 256, "x" * 5_000, "a\tb", "é"),
    "x-request-deadline-ms": ("0", "-1", "1", "1e3", "99999999999999999999", "x", "٣", ""),
    "x-request-id": ("x" * 5_000, "a b", "<script>", "é", ""),
    "traceparent": ("00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 5_000, "00-zz-zz-01", "ff-" + "1" * 32),
    "x-forwarded-for": ("x" * 5_000, "::1", "1.2.3.4, 5.6.7.8", "é"),
}


FRESH = "@@fresh@@"
"""Stands in a seed for an id that no request had before: a repeated one would only read an earlier decision."""

_FRESH = re.compile(FRESH.encode())
_RAW = re.compile(rb'"@@raw(\d+)@@"')


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it goes out."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Mutator:
    """Breaks `seeds`, which are good bodies by path. The same `seed` breaks them in the same way."""

    def __init__(self, seeds: Mapping[str, Sequence[Any]], seed: int) -> None:
        self._seeds = [(path, json.dumps(value).encode()) for path, values in seeds.items() for value in values]
        self._random = random.Random(seed)  # noqa: S311 - load, not a secret
        self._run, self._count = uuid.uuid4().hex[:12], itertools.count()
        self._ways = {self._structure: 44, self._bytes: 24, self._both: 24, self._headers: 6, self._good: 2}

    def next(self) -> Sent:
        """Return the next request; one in fifty is a good one, so that what lies behind the checks is met too."""
        path, body = self._random.choice(self._seeds)
        body = _FRESH.sub(lambda _: f"{self._run}-{next(self._count)}".encode(), body)
        (way,) = self._random.choices(list(self._ways), list(self._ways.values()))
        return way(path, body)

    def _good(self, path: str, body: bytes) -> Sent:
        return Sent(path, body)

    def _structure(self, path: str, body: bytes) -> Sent:
        holder = [json.loads(body)]
        for _ in range(self._random.randint(1, 4)):
            self._change(holder)
        return Sent(path, _RAW.sub(lambda found: RAW[int(found[1])].encode(), json.dumps(holder[0]).encode()))

    def _bytes(self, path: str, body: bytes) -> Sent:
        return Sent(path, self._garbled(body))

    def _both(self, path: str, body: bytes) -> Sent:
        return Sent(path, self._garbled(self._structure(path, body).body))

    def _headers(self, path: str, body: bytes) -> Sent:
        some = self._random.sample(sorted(HEADERS), self._random.randint(1, 2))
        return Sent(path, body, {name: self._random.choice(HEADERS[name]) for name in some})

    def _change(self, holder: list[Any]) -> None:
        """Put something else into one place of a value."""
        parent, key = self._place(holder)
        match self._random.randrange(8):
            case 0 if isinstance(parent, dict):
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[self._odd_name()] = self._odd()
            case 2:
                parent[key] = [parent[key]] * self._random.choice((0, 1, 2, 3))
            case 3:
                parent[key] = {"a": parent[key]}
            case 4 if isinstance(parent, dict):
                # What belongs to another field.
                parent[key] = parent[self._random.choice(list(parent))]
            case _:
                parent[key] = self._odd()

    def _place(self, parent: Any) -> tuple[Any, Any]:
        """Walk down from a container to some (container, key) in it."""
        while True:
            key = self._random.choice(range(len(parent)) if isinstance(parent, list) else list(parent))
            below = parent[key]
            if not below or not isinstance(below, dict | list) or self._random.random() < 0.2:
                return parent, key
            parent = below

    def _odd(self) -> Any:
        pick = self._random.choice
        raw = f"@@raw{self._random.randrange(len(RAW))}@@"
        return pick((None, True, pick(NUMBERS), pick(TEXTS), pick(TIMES), raw, raw, self._mark(), {}, []))

    def _odd_name(self) -> str:
        return self._random.choice(("", "__class__", "type", "event_at", "x" * 200, self._mark()))

    def _mark(self) -> str:
        return f"{MARK}{self._random.getrandbits(40):x}"

    def _garbled(self, body: bytes) -> bytes:
        some = bytearray(body)
        for _ in range(self._random.randint(1, 6)):
            at, end = sorted(self._random.randrange(len(some) + 1) for _ in range(2))
            match self._random.randrange(5):
                case 0 if some:
                    some[at % len(some)] ^= 1 << self._random.randrange(8)
                case 1:
                    some[at:at] = self._random.randbytes(self._random.randint(1, 8))
                case 2:
                    del some[at : min(end, at + 30)]
                case 3:
                    some[at:at] = some[at:end][:400]
                case _:
                    some[at:at] = self._random.choice(RAW).encode()[:500]
        return bytes(some[: self._random.randrange(len(some) + 1)] if self._random.random() < 0.1 else some)
