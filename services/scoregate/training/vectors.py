"""Requests and feature rows as serving would have had them, and the service's own vectors of them, on every core."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scoregate import catalog
from scoregate.features import FeatureRow, Status, ViewRow
from scoregate.features.plan import FeaturePlan

Floats = NDArray[np.float64]

CHUNK: Final = 2_000
WORKERS_AT_MOST: Final = 8
PARALLEL_FROM: Final = 8_000
"""Below this many rows, starting workers costs more than it saves."""


def _requests(request_type: Any, rows: pa.Table) -> Iterator[Any]:
    """Yield requests as serving would have them; recorded ones were validated when they came."""
    names = [name for name in request_type.model_fields if name in rows.column_names]
    columns = [rows[name].to_pylist() for name in names]
    for values in zip(*columns, strict=True):
        yield request_type.model_construct(**dict(zip(names, values, strict=True)))


def _feature_rows(plan: FeaturePlan, views: pa.Table) -> Iterator[FeatureRow]:
    """Yield what each row of the join says of every view, as a fresh read at that time would."""
    columns = {
        view.name: {feature: _values(views[f"{view.name}__{feature}"]) for feature, _ in view.features}
        for view in plan.with_history
    }
    keys = {key: views[key].to_pylist() for key in sorted(plan.join_keys)}
    for i in range(views.num_rows):
        yield FeatureRow(
            {v.name: _view_row(v.kind, {f: c[i] for f, c in columns[v.name].items()}) for v in plan.with_history},
            {key: column[i] for key, column in keys.items()},
        )


def _view_row(kind: str, values: dict[str, Any]) -> ViewRow:
    if any(value is not None for value in values.values()):
        return ViewRow(values, Status.FRESH, 0.0)
    if kind == "tiles":
        # In a whole history no tiles mean that nothing happened.
        return ViewRow({}, Status.FRESH, 0.0, known=False)
    return ViewRow({}, Status.MISSING, None, known=False)


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Convert a column to Python; lists in one go, because Arrow's own conversion makes an object per item."""
    array = column.combine_chunks()
    if not pa.types.is_list(array.type) and not pa.types.is_large_list(array.type):
        return list(array.to_pylist())
    flat = array.values.to_numpy(zero_copy_only=False).tolist()
    offsets = array.offsets.to_pylist()
    known = array.is_valid().to_pylist()
    return [flat[a:b] if there else None for a, b, there in zip(offsets, offsets[1:], known, strict=False)]


def vectors(service: str, plan: FeaturePlan, rows: pa.Table, views: pa.Table, say: Callable[[str], None]) -> Floats:
    """Compute all vectors, on every core when there are many."""
    chunks = [(service, plan, rows.slice(i, CHUNK), views.slice(i, CHUNK)) for i in range(0, rows.num_rows, CHUNK)]
    if rows.num_rows < PARALLEL_FROM:
        return np.concatenate([_chunk(*chunk) for chunk in chunks])
    done: list[Floats] = []
    # Spawned and not forked: the parent holds threads of Arrow, DuckDB and OpenMP, whose locks a fork would copy.
    workers = min(multiprocessing.cpu_count(), len(chunks), WORKERS_AT_MOST)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for matrix in pool.map(_packed, (_pack(*chunk) for chunk in chunks)):
            done.append(matrix)
            if len(done) % 8 == 0 or len(done) == len(chunks):
                say(f"{min(len(done) * CHUNK, rows.num_rows):,} of {rows.num_rows:,} vectors")
    return np.concatenate(done)


def _chunk(service: str, plan: FeaturePlan, rows: pa.Table, views: pa.Table) -> Floats:
    features = catalog.part(service, "features")
    requests = _requests(catalog.part(service, "contract").Request, rows)
    vectors = [
        features.vector(request, row, request.event_at.timestamp())
        for request, row in zip(requests, _feature_rows(plan, views), strict=True)
    ]
    return np.array(vectors, dtype=np.float64).reshape(rows.num_rows, len(features.FEATURES))


def _pack(service: str, plan: FeaturePlan, rows: pa.Table, views: pa.Table) -> tuple[str, FeaturePlan, bytes, bytes]:
    # A pickled slice would carry the buffers of the whole table.
    return service, plan, _ipc(rows), _ipc(views)


def _packed(work: tuple[str, FeaturePlan, bytes, bytes]) -> Floats:
    service, plan, rows, views = work
    return _chunk(service, plan, pa.ipc.open_stream(rows).read_all(), pa.ipc.open_stream(views).read_all())


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def as_json(row: FeatureRow) -> dict[str, Any]:
    """Write a FeatureRow the way golden requests hold it."""
    return {
        name: {"values": dict(view.values), "status": view.status.value, "age_s": view.age_s, "known": view.known}
        for name, view in row.views.items()
    }


def nan_to_none(vector: list[float]) -> list[float | None]:
    """JSON knows no nan."""
    return [None if math.isnan(value) else value for value in vector]
