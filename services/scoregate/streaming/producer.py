"""Puts a writer's events on their stream, each once: one script, so that nothing comes between looking and appending.

The stream remembers the number of each writer's last event and takes only what follows it. It takes nothing while the
marker is gone: a store that is empty or being filled has no place in its order yet, and what waits stays in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from scoregate.events import Outgoing
from scoregate.streaming.keys import events_key, marker_key, writers_key

CLOSED: Final = -1
"""Answer of `append` while the stream takes nothing."""

SCRIPT: Final = """
if redis.call('HEXISTS', KEYS[3], 'epoch') == 0 then return -1 end
local last = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
local first = tonumber(ARGV[2])
if first > last + 1 then return last end
for i = math.max(last - first + 1, 0) + 3, #ARGV do
  last = last + 1
  redis.call('XADD', KEYS[1], '*', 'w', ARGV[1], 'n', tostring(last), 'e', ARGV[i])
end
redis.call('HSET', KEYS[2], ARGV[1], tostring(last))
return last
"""
"""KEYS: events, writers, marker. ARGV: writer, number of the first event, events. Returns the writer's last number."""


def arguments(project: str, some: Sequence[Outgoing]) -> list[Any]:
    """Return what follows script and number of keys, for events of one writer and stream whose numbers follow on."""
    first = some[0]
    keys = [key(project, first.stream) for key in (events_key, writers_key, marker_key)]
    return [*keys, first.writer, first.number, *(each.payload for each in some)]
