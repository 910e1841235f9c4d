"""Entries as rows, both ways, the same in every store that has rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from scoregate.ledger import Entry, Recorded
from scoregate.ledger.entry import COMMITTED, PERSONAL, PLAIN_FLOATS, PLAIN_TEXT, format_of
from scoregate.ledger.group import Linked

Row = Sequence[Any]

COLUMNS = (
    *("writer", "seq", "format", "previous_hash", "hash"),
    *(*PLAIN_TEXT, *PLAIN_FLOATS, "shadow"),
    *(f"{name}{part}" for name in COMMITTED for part in ("", "_salt", "_commitment")),
)
PERSONAL_COLUMNS = ("writer", "seq", "name", "value", "salt", "commitment")
"""Columns in the order of the rows made here."""

_plain = attrgetter(*PLAIN_TEXT, *PLAIN_FLOATS, "shadow")
_committed = attrgetter(*COMMITTED)


def entry_row(linked: Linked, writer: str) -> Row:
    sealed = linked.sealed
    salts, commitments = sealed.salts, sealed.commitments
    row = [writer, linked.seq, format_of(sealed.entry), linked.previous, linked.hash, *_plain(sealed.entry)]
    for name, value in zip(COMMITTED, _committed(sealed.entry), strict=True):
        row += (value, salts.get(name), commitments.get(name))
    return row


def personal_rows(linked: Linked, writer: str) -> list[Row]:
    sealed = linked.sealed
    salts, commitments = sealed.salts, sealed.commitments
    return [
        (writer, linked.seq, name, value, salts[PERSONAL + name], commitments[PERSONAL + name])
        for name, value in sealed.entry.personal.items()
    ]


def recorded_of(row: Row, personal: Iterable[Row]) -> Recorded:
    at = dict(zip(COLUMNS, row, strict=True))
    parts = [(name, at[f"{name}_salt"], at[f"{name}_commitment"]) for name in COMMITTED]
    parts += [(PERSONAL + name, salt, commitment) for name, _, salt, commitment in personal]
    return Recorded(
        entry=Entry(
            **{name: at[name] for name in (*PLAIN_TEXT, *PLAIN_FLOATS, "shadow", "idempotency_key")},
            natural_key=at["natural_key"] or "",
            vector=at["vector"] or b"",
            answer=at["answer"] or b"",
            personal={name: value for name, value, _, _ in personal if value is not None},
        ),
        writer=at["writer"],
        seq=int(at["seq"]),
        previous_hash=at["previous_hash"].hex(),
        hash=at["hash"].hex(),
        salts={name: salt.hex() for name, salt, _ in parts if salt is not None},
        commitments={name: digest.hex() for name, _, digest in parts if digest is not None},
        format=int(at["format"]),
    )
