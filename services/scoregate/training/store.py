"""Rows in bulk into the online store, in Feast's format, with the id of the last stream entry counted in them.

Feast's own `materialize` writes the same bytes (tests hold the two together), but converts each value on its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from scoregate.features import encoding
from scoregate.features.accumulate import MARKS
from scoregate.features.plan import ViewPlan
from scoregate.streaming.rows import RowFormat

_ROWS_AT_ONCE: Final = 2_000

# A row tells how far it has come: who fills the store and was thought dead undoes nothing of what others wrote since.
_LATER: Final = """
local function later(one, other)
  if not one then return false end
  local a, b = string.match(one, '(%d+)-(%d+)')
  local c, d = string.match(other, '(%d+)-(%d+)')
  a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
  return a > c or (a == c and b > d)
end
"""
_WRITE: Final = (
    _LATER
    + """
if later(redis.call('HGET', KEYS[1], ARGV[1]), ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], unpack(ARGV, 4))
return 1
"""
)
"""KEYS: the row. ARGV: the version's field, the version, the field of marks, fields and values."""
_SWEEP: Final = (
    _LATER
    + """
if later(redis.call('HGET', KEYS[1], ARGV[1]), ARGV[2]) then return 0 end
return redis.call('HDEL', KEYS[1], unpack(ARGV, 3))
"""
)
"""KEYS: the row. ARGV: the version's field, the version, all fields."""


def row_fields(plan: ViewPlan) -> list[bytes]:
    """Return the hash fields that Feast knows of a view's row: its time, then its features in the plan's order."""
    return [encoding.timestamp_key(plan.name), *(encoding.field_key(plan.name, name) for name, _ in plan.features)]


class ViewWriter:
    """Writes the rows of one view, all with one version, but for those that hold something later by now."""

    def __init__(self, store: Any, project: str, plan: ViewPlan, version: bytes) -> None:
        self._store, self._plan, self._version = store, plan, version
        self._form = RowFormat.of(plan, project)
        self._marks = self._form.fields[MARKS]
        self._sha, self._sweep_sha = store.script_load(_WRITE), store.script_load(_SWEEP)
        self._written: set[bytes] = set()

    def write(self, rows: pa.Table, marks: Mapping[str, bytes]) -> Iterator[int]:
        """Write a table, and say after each batch how many are written. `marks`: those of `accumulate`, by entity."""
        fields, features = row_fields(self._plan), self._plan.features
        for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
            batch = rows.slice(start, _ROWS_AT_ONCE)
            times = batch["event_timestamp"].cast(pa.int64()).to_pylist()
            columns = [[encoding.encode_timestamp(at) for at in times]]
            columns += [[encoding.encode_value(v, dtype) for v in _values(batch[name])] for name, dtype in features]
            pipe = self._store.pipeline(transaction=False)
            for entity, cells in zip(
                batch[self._plan.join_keys[0]].to_pylist(), zip(*columns, strict=True), strict=True
            ):
                pairs = zip(fields, cells, strict=True)
                self._add(pipe, entity, pairs if entity not in marks else [*pairs, (self._marks, marks[entity])])
            pipe.execute()
            yield start + batch.num_rows

    def write_bytes(self, rows: Mapping[str, tuple[int, Mapping[str, bytes]]]) -> None:
        """Write rows whose features are as Feast stores them already: entity → time in microseconds, features."""
        pipe = self._store.pipeline(transaction=False)
        for entity, (at_us, features) in rows.items():
            cells = [(self._form.fields[name], cell) for name, cell in features.items()]
            self._add(pipe, entity, [(self._form.time, encoding.encode_timestamp(at_us)), *cells])
            if len(pipe) >= _ROWS_AT_ONCE:
                pipe.execute()
        pipe.execute()

    def sweep(self) -> None:
        """Delete the view's other rows."""
        form = self._form
        fields = [form.version, form.time, *form.fields.values()]
        pipe = self._store.pipeline(transaction=False)
        for key in self._store.scan_iter(form.prefix + b"*" + form.project, count=10_000):
            if key not in self._written:
                pipe.execute_command("EVALSHA", self._sweep_sha, 1, key, form.version, self._version, *fields)
            if len(pipe) >= _ROWS_AT_ONCE:
                pipe.execute()
        pipe.execute()

    def _add(self, pipe: Any, entity: str, cells: Iterable[tuple[bytes, bytes]]) -> None:
        key = self._form.key(entity)
        self._written.add(key)
        parts = [part for cell in cells for part in cell]
        pipe.execute_command("EVALSHA", self._sha, 1, key, self._form.version, self._version, self._marks, *parts)


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Convert a column to Python; lists in one go, because Arrow's own conversion makes an object per item."""
    array: Any = column.combine_chunks()
    if not pa.types.is_list(array.type):
        return list(array.to_pylist())
    flat, ends = array.flatten().to_pylist(), [0, *pc.fill_null(array.value_lengths(), 0).to_pylist()]
    for i in range(1, len(ends)):
        ends[i] += ends[i - 1]
    known = array.is_valid().to_pylist()
    return [flat[a:b] if there else None for a, b, there in zip(ends, ends[1:], known, strict=False)]
