"""What happened, on its way from the door to the store: one form for scored requests, posted events, the offline twin.

    door → ledger (durable; its outbox) → relay → Valkey stream → worker → tiles and facts in the online store
                                                              └→ twin  → the offline store

An event names columns of its stream as the views of the feature repository do. Whom it is about is in there only as
keyed hashes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any, Self

from pydantic_core import from_json

from scoregate.values import frozen

FACTS = "facts"
"""The stream of stated facts; every other stream is one that tiles count."""


_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


LABELS = "labels"
"""The stream of labels of decisions that count in no tiles; they are kept, to be joined to decisions."""


class Effect(StrEnum):
    """What an event does to features."""

    COUNT = "count"
    """One more event in the tiles of each of its entities."""
    REVERSE = "reverse"
    """Takes back what an earlier COUNT added: count, sums, known fraud. That it happened, and with whom, stays true."""
    LABEL = "label"
    """Whether an earlier COUNT was bad is known now; a later label replaces an earlier one."""
    FACTS = "facts"
    """A newer statement about one entity."""


_EFFECTS = {str(each): each for each in Effect}


@frozen
class Event:
    """One thing that happened.

    `key` is unique within a service: what comes twice under one key happened once.
    `subject` is the caller's id of what it is about (a transaction, an application, an entity).
    `at_us` is the time in whose tiles it counts, so REVERSE and LABEL carry that of their COUNT, as they carry its
    `row`; `known_us` is when it became known. Microseconds since the epoch.
    `row` holds columns of the stream, or the features of `view` together with its join key.
    `is_bad` is the label of LABEL, and None elsewhere.
    `trace` leads to the request that it came with, as a traceparent; empty where that is not traced.
    """

    service: str
    stream: str
    effect: Effect
    key: str
    subject: str
    at_us: int
    known_us: int
    row: Mapping[str, Any] = field(default_factory=dict)
    view: str = ""
    is_bad: bool | None = None
    trace: str = ""

    def encode(self) -> bytes:
        """Write as compact JSON; `decode` reads it.

        Raises:
            ValueError: a number is not finite, or a text is not valid Unicode; JSON has neither.
        """
        said: dict[str, Any] = {
            "service": self.service,
            "stream": self.stream,
            "do": self.effect,
            "key": self.key,
            "subject": self.subject,
            "at_us": self.at_us,
            "known_us": self.known_us,
            **({"trace": self.trace} if self.trace else {}),
            # Last of what every event has: whoever keeps a row as text takes the rest of the payload for it.
            "row": dict(self.row),
        }
        if self.view:
            said["view"] = self.view
        if self.is_bad is not None:
            said["is_bad"] = self.is_bad
        return _json(said).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            said = from_json(raw, allow_inf_nan=False)
            return cls(
                said["service"],
                said["stream"],
                _EFFECTS[said["do"]],
                said["key"],
                said["subject"],
                said["at_us"],
                said["known_us"],
                said["row"],
                said.get("view", ""),
                said.get("is_bad"),
                said.get("trace", ""),
            )
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError(f"this is not an event: {problem}") from problem


@frozen
class Outgoing:
    """An event that is durable and has to reach the stream. `number` counts from 1 per writer and stream, no gaps."""

    stream: str
    writer: str
    number: int
    payload: bytes
