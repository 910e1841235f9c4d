"""Finds the streams that have to be filled anew, and fills them: what this home has filled is left for a while."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

import pyarrow.compute as pc
import pyarrow.parquet as pq

from scoregate.events import FACTS
from scoregate.features.reading import marker_key
from scoregate.settings import Settings
from scoregate.training import backfill
from scoregate.training.streams import DAY_US, Say

BEHIND_US: Final = 600_000_000
"""How far recorded days may be ahead of the store; what is streamed never waits for this."""


def load(settings: Settings, registry: bytes, until: dt.datetime, say: Say) -> None:
    """Fill every stream whose rows are not those of this home, its views and its days up to `until` (aware).

    A store that was flushed or filled from elsewhere is filled anew, and so is one that days on disk are ahead of.
    Facts are stated once a day, and filled as often.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    for stream in backfill.streams_of(registry):
        if _due(settings, registry, stream, int(until.timestamp() * 1e6)):
            backfill.rebuild(settings, registry, stream, until, say=say)


def _due(settings: Settings, registry: bytes, stream: str, until_us: int) -> bool:
    note = _note(settings, stream)
    with backfill.connected(settings) as client:
        epoch = client.hget(marker_key(settings.project, stream), "epoch")
    if epoch is None or epoch.decode() != note.get("epoch"):
        return True
    if note.get("shape") != backfill.shape(settings, registry, stream):
        return True
    done_us = int(note["until_us"])
    if until_us < done_us:
        # The clock was turned back: rows of a later time have dropped tiles that are wanted now.
        return True
    if stream == FACTS:
        return done_us // DAY_US != until_us // DAY_US
    return until_us - done_us > BEHIND_US and _newest_us(settings, stream) > done_us


def _note(settings: Settings, stream: str) -> dict[str, Any]:
    path = backfill.note_path(settings, stream)
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _newest_us(settings: Settings, stream: str) -> int:
    """Return the time of the last event on disk that was not streamed; 0 without any."""
    days = sorted((settings.data / stream).glob("????-??-??.parquet"))
    for day in reversed(days):
        newest = pc.max(pq.ParquetFile(day).read(columns=["event_at"], use_threads=False)["event_at"].cast("int64"))
        if newest.is_valid:
            return int(newest.as_py())
    return 0
