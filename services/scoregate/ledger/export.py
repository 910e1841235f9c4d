"""A service's decisions as a Parquet file for analysts, one row per entry, in the order of time.

What was forgotten is null. Salts and commitments stay in the ledger.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from scoregate.errors import ArtefactError
from scoregate.ledger import Recorded
from scoregate.ledger.archive import Archive, Place, Wanted
from scoregate.ledger.cipher import PLAIN, FieldCipher
from scoregate.ledger.entry import PLAIN_TEXT

PAGE_ENTRIES: Final = 5_000
"""Entries per row group: what is in memory at once."""


def export(archive: Archive, service: str, wanted: Wanted, path: Path, cipher: FieldCipher = PLAIN) -> int:
    """Write the entries that are wanted; return how many. The file gets its name when it is whole.

    Raises:
        ArtefactError: pyarrow is not installed, or the file cannot be written.
        LedgerUnavailable: the ledger cannot be read, or was encrypted with another key.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as problem:
        raise ArtefactError("an export needs pyarrow, which the extra `train` brings") from problem
    personal = archive.personal_names(service)
    schema = _schema(pa, personal)
    unnamed = path.with_name(f".{path.name}.part")
    rows, after = 0, None
    try:
        with parquet.ParquetWriter(unnamed, schema, compression="zstd") as file:
            while page := archive.search(service, wanted, after=after, limit=PAGE_ENTRIES):
                some = [_row(cipher.decrypted(one), personal) for one in page]
                file.write_table(pa.Table.from_pylist(some, schema=schema))
                rows, after = rows + len(page), Place.of(page[-1])
        unnamed.replace(path)
    except OSError as problem:
        raise ArtefactError(f"the export cannot be written: {problem}") from problem
    finally:
        unnamed.unlink(missing_ok=True)
    return rows


def _schema(pa: Any, personal: Sequence[str]) -> Any:
    time = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            *((name, pa.string()) for name in PLAIN_TEXT),
            *(("shadow", pa.string()), ("score", pa.float64()), ("event_at", time), ("decided_at", time)),
            *(("natural_key", pa.string()), ("idempotency_key", pa.string())),
            *((f"personal_{name}", pa.string()) for name in personal),
            *(("vector", pa.list_(pa.float64())), ("reasons", pa.list_(pa.string())), ("answer", pa.string())),
            *(
                ("writer", pa.string()),
                ("seq", pa.int64()),
                ("hash", pa.string()),
                ("forgotten", pa.list_(pa.string())),
            ),
        ]
    )


def _row(recorded: Recorded, personal: Sequence[str]) -> dict[str, Any]:
    entry, gone = recorded.entry, recorded.forgotten
    answer = None if "answer" in gone else entry.answer.decode(errors="backslashreplace")
    return {
        **{name: getattr(entry, name) for name in PLAIN_TEXT},
        "shadow": entry.shadow,
        "score": entry.score,
        "event_at": round(entry.event_at * 1e6),
        "decided_at": round(entry.decided_at * 1e6),
        "natural_key": None if "natural_key" in gone else entry.natural_key,
        "idempotency_key": entry.idempotency_key,
        **{f"personal_{name}": entry.personal.get(name) for name in personal},
        "vector": None if "vector" in gone else vector_of(recorded),
        "reasons": _reasons(answer),
        "answer": answer,
        "writer": recorded.writer,
        "seq": recorded.seq,
        "hash": recorded.hash,
        "forgotten": gone,
    }


def vector_of(recorded: Recorded) -> list[float]:
    """Return the features in matrix order, nan where one is missing."""
    return [value for (value,) in struct.iter_unpack("<d", recorded.entry.vector)]


def _reasons(answer: str | None) -> list[str] | None:
    try:
        return [reason["code"] for reason in json.loads(answer or "")["reasons"]]
    except (ValueError, KeyError, TypeError):
        return None
