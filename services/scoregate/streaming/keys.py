"""Names of what Valkey keeps for one stream of one project; the tag in braces puts all of it into one cluster slot."""

from __future__ import annotations

from scoregate.features.reading import marker_key

__all__ = ["events_key", "holder_key", "kept_key", "lease_key", "marker_key", "rejected_key", "writers_key"]


def events_key(project: str, stream: str) -> bytes:
    """The stream itself: entries with one field, `e`, and the writer's name and number as `w` and `n`."""
    return f"scoregate:{{{project}:{stream}}}:events".encode()


def writers_key(project: str, stream: str) -> bytes:
    """Hash: writer → number of its last event on the stream."""
    return f"scoregate:{{{project}:{stream}}}:writers".encode()


def kept_key(project: str, stream: str) -> bytes:
    """Hash: writer → number up to which its events are in the offline twin, and cannot be lost with the store."""
    return f"scoregate:{{{project}:{stream}}}:kept".encode()


def lease_key(project: str, stream: str, shard: int) -> bytes:
    """Who applies a shard, for as long as it lives."""
    return f"scoregate:{{{project}:{stream}}}:lease:{shard}".encode()


def holder_key(project: str, stream: str, shard: int) -> bytes:
    """Who held a shard's lease last: what they had in memory is still true if nobody else did since."""
    return f"scoregate:{{{project}:{stream}}}:holder:{shard}".encode()


def rejected_key(project: str, stream: str) -> bytes:
    """A stream of its own for entries that cannot be read, as they came."""
    return f"scoregate:{{{project}:{stream}}}:rejected".encode()
