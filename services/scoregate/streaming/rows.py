"""One entity's row of one view in the store: read, and written only if nobody has written it since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from scoregate.features import encoding
from scoregate.features.accumulate import MARKS
from scoregate.features.plan import ViewPlan
from scoregate.values import frozen

SWAP: Final = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], unpack(ARGV, 3))
return 1
"""
"""KEYS: the row. ARGV: the version's field, the version expected ('' for none), the new one, fields and values."""


@contextmanager
def line(redis: Any) -> Iterator[Any]:
    """Borrow a connection for packed commands that are sent before the answers to earlier ones are read."""
    pool = redis.connection_pool
    connection = pool.get_connection()
    try:
        yield connection
    except BaseException:
        # Answers that nobody has read would be taken for those to somebody else's commands.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


@frozen
class RowFormat:
    """Where a view's row is in its hash, worked out once."""

    view: ViewPlan
    prefix: bytes
    project: bytes
    version: bytes
    time: bytes
    fields: Mapping[str, bytes]
    packed: Mapping[str, bytes]
    packed_version: bytes
    packed_time: bytes
    """Fields as they go to the store, so that a row is packed by joining."""

    @classmethod
    def of(cls, view: ViewPlan, project: str) -> RowFormat:
        fields = {name: encoding.field_key(view.name, name) for name, _ in view.features}
        # Beside Feast's own fields, whose names are four bytes.
        fields[MARKS] = f"_{MARKS}:{view.name}".encode()
        return cls(
            view,
            encoding.key_prefix(view.join_keys),
            project.encode(),
            encoding.version_key(view.name),
            encoding.timestamp_key(view.name),
            fields,
            {name: packed(key) for name, key in fields.items()},
            packed(encoding.version_key(view.name)),
            packed(encoding.timestamp_key(view.name)),
        )

    def key(self, entity: str) -> bytes:
        """Name of the row of an entity, by its join key."""
        return encoding.row_key(self.prefix, (entity,), self.project)

    def read(self, key: bytes) -> tuple[bytes, ...]:
        """The command that reads the whole row: version, time, features and marks."""
        return (b"HMGET", key, self.version, self.time, *self.fields.values())

    def stored(self, answer: list[bytes | None]) -> tuple[bytes, bytes | None, dict[str, bytes | None]]:
        """Return version (empty for none), time and values from the answer to `read`."""
        version, time, *cells = answer
        return version or b"", time, dict(zip(self.fields, cells, strict=True))

    def swap(
        self, sha: bytes, key: bytes, before: bytes, after: bytes, time: bytes, values: Mapping[str, bytes]
    ) -> bytes:
        """The command, packed, that writes values if the version is still `before`; it answers 1, or else 0."""
        parts = [
            b"*%d\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n$%d\r\n%b\r\n%b$%d\r\n%b\r\n$%d\r\n%b\r\n%b$%d\r\n%b\r\n"
            % (
                *(2 * len(values) + 9, sha, len(key), key, self.packed_version, len(before), before),
                *(len(after), after, self.packed_time, len(time), time),
            )
        ]
        for name, value in values.items():
            parts.append(b"%b$%d\r\n%b\r\n" % (self.packed[name], len(value), value))
        return b"".join(parts)


def command(parts: Sequence[bytes]) -> bytes:
    """Pack a command."""
    return b"*%d\r\n%b" % (len(parts), b"".join(map(packed, parts)))


def packed(part: bytes) -> bytes:
    """Pack one part of a command, as the protocol of Redis wants it."""
    return b"$%d\r\n%b\r\n" % (len(part), part)
