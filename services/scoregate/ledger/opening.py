"""Opens the ledger that a URL names."""

from __future__ import annotations

from pathlib import Path

from scoregate.errors import ArtefactError, LedgerUnavailable
from scoregate.ledger import TIMEOUT_S, Ledger
from scoregate.ledger.cipher import FieldCipher
from scoregate.ledger.encrypted import EncryptedLedger
from scoregate.ledger.sqlite import SqliteLedger


async def open_ledger(
    url: str,
    service: str,
    *,
    timeout_s: float = TIMEOUT_S,
    segments: Path | None = None,
    accept: bool = False,
    segment_bytes: int = 64 << 20,
    cipher: FieldCipher | None = None,
) -> Ledger:
    """Open `sqlite:///<path>` or `postgresql://…`; with `cipher` it holds vectors and answers encrypted.

    `timeout_s` bounds a transaction, or the wait for another's; longer, and the ledger counts as unavailable.
    For PostgreSQL, `segments` is a folder that outlives the process: what is in it is drained, and with `accept`
    decisions go there, up to `segment_bytes`, while the server is down; the ledger then opens although it is.

    Raises:
        ArtefactError: no ledger is kept at such a URL.
        LedgerUnavailable: the ledger cannot be opened.
    """
    ledger = await _open(url, service, timeout_s, segments, accept, segment_bytes)
    return ledger if cipher is None else EncryptedLedger(ledger, cipher)


async def _open(
    url: str, service: str, timeout_s: float, segments: Path | None, accept: bool, segment_bytes: int
) -> Ledger:
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/"):
        return await SqliteLedger.open(Path(rest[1:]), service, lock_timeout_s=timeout_s)
    if scheme not in {"postgresql", "postgres"}:
        raise ArtefactError(f"no ledger is kept at {scheme}:; use sqlite:///<path> or postgresql://…")
    # Imported here, so that an installation with SQLite needs no driver.
    from scoregate.ledger.postgres import PostgresLedger
    from scoregate.ledger.segment import SegmentedLedger

    if segments is None:
        return await PostgresLedger.open(url, service, timeout_s=timeout_s)
    inner = PostgresLedger(url, service, timeout_s=timeout_s)
    try:
        await inner.start()
    except LedgerUnavailable:
        if not (accept and inner.is_down):
            await inner.close()
            raise
    return await SegmentedLedger.open(inner, service, segments, accept=accept, limit_bytes=segment_bytes)
