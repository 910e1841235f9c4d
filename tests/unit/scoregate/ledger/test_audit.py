"""Whatever somebody with the database's rights changes is found and named; what keeps its chain, by a checkpoint."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from scoregate.ledger import Broken, Recorded
from scoregate.ledger.audit import Audited, audit
from scoregate.ledger.checkpoint import SigningKey, Statement, next_statement, write
from scoregate.ledger.checkpoint_files import Checkpoints, read, take
from scoregate.ledger.checkpointing import Checkpointer
from scoregate.ledger.entry import PERSONAL, link, seal
from unit.scoregate.ledger.kept import START_S, Kept, in_sqlite


class Place:
    """A folder of checkpoints, and the key that signs them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder / "checkpoints", folder / "checkpoint.key"

    def take(self, kept: Kept) -> Statement | None:
        return take(kept.url, "fraud", self.folder, self.key)

    def read(self) -> Checkpoints:
        return read(self.folder, "fraud")

    def faults(self) -> list[str]:
        return [fault.why for fault in self.read().faults]

    @property
    def file(self) -> Path:
        [path] = (self.folder / "fraud").glob("*.jsonl")
        return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def audited(kept: Kept, place: Place | None = None) -> Audited:
    return audit(kept.url, "fraud", *([place.read()] if place else []), processes=1, piece_entries=3)


def named(broken: Broken) -> tuple[int, str | None]:
    return broken.seq, broken.decision_id


def test_an_untouched_ledger_holds(kept: Kept, place: Place) -> None:
    """Chains of several writers, cut into pieces, with checkpoints in between, hold to the last entry."""
    kept.fill(*range(1, 8))
    place.take(kept)
    kept.fill(8, 9)
    place.take(kept)
    kept.fill(10)

    found = audited(kept, place)

    assert found.holds, found
    assert (10, 10, 3, 2) == (found.entries, found.walked, found.writers, len(found.checkpoints.statements))


TAMPERED = {
    "a flipped bit": ("UPDATE entries SET score = 0.2500000000000001 WHERE seq = 5", (5, "decision-5"), "its hash"),
    "a deleted row": ("DELETE FROM entries WHERE seq = 5", (5, None), "it is missing"),
    "a deleted row at a piece's end": ("DELETE FROM entries WHERE seq = 3", (3, None), "it is missing"),
    "a deleted last row": ("DELETE FROM entries WHERE seq = 7", (7, None), "it is missing"),
    "a natural key that leads elsewhere": (
        "UPDATE keys SET seq = 6, decided_at = decided_at + 1 WHERE key = 'txn-5'",
        (5, "decision-5"),
        "key",
    ),
    "an idempotency key that leads elsewhere": (
        "UPDATE keys SET seq = 6, decided_at = decided_at + 1 WHERE key = 'idem-5'",
        (5, "decision-5"),
        "lead to it",
    ),
    "a writer that is another service's": ("UPDATE writers SET service = 'kyc'", (1, "decision-1"), "after the head"),
    "a key of an entry that never was": (
        "UPDATE keys SET key = 'other', seq = 9 WHERE key = 'idem-5'; UPDATE entries SET idempotency_key = NULL, "
        "idempotency_key_salt = NULL WHERE seq = 5",
        (9, None),
        "a key leads to it, and it is missing",
    ),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_found_and_named(kept: Kept, how: str) -> None:
    """The first entry that is broken is named, also where another piece of the chain begins after it."""
    kept.fill(*range(1, 8))
    sql, where, why = TAMPERED[how]
    kept.change(sql if "postgresql" in kept.url else sql.replace(", decided_at = decided_at + 1", ""))

    [broken] = audited(kept).broken

    assert where == named(broken)
    assert why in broken.why


def test_an_inserted_row_is_found(kept: Kept) -> None:
    """A copy of an entry under another id breaks the chain where it stands."""
    kept.fill(*range(1, 8))
    everything = (
        "writer, seq, format, previous_hash, hash, decision_id, service, request_digest, outcome, source, rung, "
    )
    everything += "ages, model_digest, policy_digest, feature_digest, arm, trace_id, score, event_at, decided_at, "
    everything += "natural_key_commitment, vector_commitment, answer_commitment"
    copied = everything.replace(" seq,", " 8,").replace("decision_id", "'forged'")
    kept.change(f"INSERT INTO entries ({everything}) SELECT {copied} FROM entries WHERE seq = 7")

    [broken] = audited(kept).broken

    assert (8, "forged") == named(broken)


def test_a_second_row_of_a_place_in_another_month_is_found(kept: Kept) -> None:
    """PostgreSQL keeps a place unique per month only, so the walk must see both rows, whatever page they are in."""
    if "sqlite" in kept.url:
        pytest.skip("a SQLite file keeps the place unique")
    kept.fill(1, 2, 3)
    kept.change(
        "CREATE TEMP TABLE c AS SELECT * FROM entries WHERE seq = 2; UPDATE c SET decided_at = decided_at + 86400;"
        "INSERT INTO entries SELECT * FROM c"
    )

    [broken] = audited(kept).broken

    assert 2 == broken.seq


def rewrite(kept: Kept, writer: str, first: int) -> None:
    """Change an entry, and compute every hash from there on and the head anew, as whoever knows the format can."""
    with kept.archive() as archive:
        chain = [one for one in archive.stored(writer, 0, 99) if isinstance(one, Recorded)]
    previous = bytes.fromhex(chain[first - 2].hash)
    for one in chain[first - 1 :]:
        changed = replace(one.entry, outcome="decline")
        sealed = seal(changed)
        hash_ = link(previous, sealed.canonical, writer, one.seq)
        at = f"WHERE writer = '{writer}' AND seq = {one.seq}"

        def blob(value: bytes) -> str:
            return f"decode('{value.hex()}', 'hex')" if "postgresql" in kept.url else f"x'{value.hex()}'"

        sets = [f"outcome = 'decline', previous_hash = {blob(previous)}, hash = {blob(hash_)}"]
        for name, salt in sealed.salts.items():
            new = f"salt = {blob(salt)}, {{}}commitment = {blob(sealed.commitments[name])}"
            if name.startswith(PERSONAL):
                field = name.removeprefix(PERSONAL)
                kept.change(f"UPDATE personal SET {new.format('')} {at} AND name = '{field}'")
            else:
                sets.append(f"{name}_{new.format(f'{name}_')}")
        kept.change(f"UPDATE entries SET {', '.join(sets)} {at}")
        kept.change(f"UPDATE writers SET hash = {blob(hash_)} WHERE writer = '{writer}'")
        previous = hash_


def test_a_rewritten_tail_is_found_by_a_checkpoint(kept: Kept, place: Place) -> None:
    """Hashes that were computed anew hold by themselves; a checkpoint names the first signed entry that differs."""
    writer = kept.fill(1, 2, 3, 4, 5)
    place.take(kept)

    rewrite(kept, writer, 3)

    assert [] == audited(kept).broken
    [broken] = audited(kept, place).broken
    assert (5, "decision-5") == named(broken)
    assert "is not what checkpoint 1 signed" in broken.why


def test_a_last_row_deleted_with_its_head_is_found_by_a_checkpoint(kept: Kept, place: Place) -> None:
    """What is cut together with everything that leads to it is missed by the checkpoint that signed it."""
    writer = kept.fill(1, 2, 3)
    place.take(kept)

    kept.change(
        "DELETE FROM entries WHERE seq = 3; DELETE FROM personal WHERE seq = 3; DELETE FROM keys WHERE seq = 3;"
        "UPDATE writers SET seq = 2, hash = (SELECT hash FROM entries WHERE seq = 2)"
    )

    assert [] == audited(kept).broken
    [broken] = audited(kept, place).broken
    assert (writer, 3) == (broken.writer, broken.seq)
    assert "checkpoint 1 signed 3 entries" in broken.why


def test_a_removed_writer_is_found_by_a_checkpoint(kept: Kept, place: Place) -> None:
    """A writer that is gone from every table is named by the checkpoint that knew it."""
    gone = kept.fill(1, 2)
    kept.fill(3)
    place.take(kept)

    for table in ("entries", "personal", "keys", "writers", "outbox", "streams"):
        kept.change(f"DELETE FROM {table} WHERE writer = '{gone}'")

    assert [] == audited(kept).broken
    [broken] = audited(kept, place).broken
    assert gone == broken.writer
    assert "the writer is gone" in broken.why


def test_several_processes_find_the_same(kept: Kept) -> None:
    """However many walk, what is broken is the same, one per writer."""
    kept.fill(*range(1, 12))
    kept.change("UPDATE entries SET arm = 'x' WHERE seq IN (5, 9)")

    found = audit(kept.url, "fraud", processes=2, piece_entries=3)

    assert [(5, "decision-5")] == [named(broken) for broken in found.broken]


def test_since_walks_what_came_later(kept: Kept) -> None:
    """With `since` earlier entries are not looked at, and of each writer at least the last one is."""
    kept.fill(*range(1, 8))
    kept.change("UPDATE entries SET arm = 'x' WHERE seq = 2")

    assert (3, []) == ((found := audit(kept.url, "fraud", since_s=START_S + 5, processes=1)).walked, found.broken)
    assert 1 == audit(kept.url, "fraud", since_s=START_S + 100, processes=1).walked
    assert [2] == [one.seq for one in audit(kept.url, "fraud", since_s=START_S + 2, processes=1).broken]


# Checkpoints by themselves


def test_a_checkpoint_states_what_moved(tmp_path: Path, place: Place) -> None:
    """The first of a day is full, later ones state the heads that moved, and where nothing moved there is none."""
    kept = in_sqlite(tmp_path)
    first = kept.fill(1, 2)
    one = place.take(kept)
    assert place.take(kept) is None
    second = kept.fill(3)
    two = place.take(kept)

    assert one and two
    assert (True, [first], 2) == (one.is_full, [head[0] for head in one.heads], one.entries)
    assert (False, [second], 3) == (two.is_full, [head[0] for head in two.heads], two.entries)
    assert (one.digest(), []) == (two.previous, place.faults())


def test_the_key_is_its_owners_alone(tmp_path: Path, place: Place) -> None:
    """The signing key is readable by its owner; the public one lies beside the checkpoints under its id."""
    kept = in_sqlite(tmp_path)
    kept.fill(1)
    taken = place.take(kept)

    assert taken
    assert 0o600 == place.key.stat().st_mode & 0o777
    assert [f"{taken.key}.pub"] == [path.name for path in place.folder.glob("*.pub")]


@pytest.mark.parametrize("line", [0, 1, 2])
@pytest.mark.parametrize("how", ["changed", "removed", "unreadable"])
def test_a_checkpoint_that_was_tampered_with_is_named(tmp_path: Path, place: Place, line: int, how: str) -> None:
    """A changed checkpoint does not verify, and one that is gone is missed by the next; only the last can vanish."""
    kept = in_sqlite(tmp_path)
    for number in (1, 2, 3):
        kept.fill(number)
        place.take(kept)
    lines = place.file.read_bytes().splitlines(keepends=True)
    if how == "changed":
        said = json.loads(lines[line])
        said["statement"]["entries"] += 1
        lines[line] = json.dumps(said).encode() + b"\n"
    else:
        lines[line] = b"" if how == "removed" else b"{\n"
    place.file.write_bytes(b"".join(lines))

    assert bool(place.faults()) == (line < 2 or how == "changed")


def test_a_checkpoint_of_another_key_is_not_believed(tmp_path: Path, place: Place) -> None:
    """Whoever trusts keys of their own is not deceived by a chain that was signed anew with another."""
    kept = in_sqlite(tmp_path)
    kept.fill(1)
    taken = place.take(kept)
    assert taken
    mine = tmp_path / "mine.pub"
    mine.write_bytes(next(place.folder.glob("*.pub")).read_bytes())
    other = SigningKey.create(tmp_path / "other.key")
    forged = next_statement("fraud", [("w", 1, "00")], None, None, other.key_id)
    place.file.write_bytes(write(forged, other))
    (place.folder / f"{other.key_id}.pub").write_bytes(other.public_pem())

    assert [] == place.faults()
    [fault] = read(place.folder, "fraud", trusted=[mine]).faults
    assert "not among those to trust" in fault.why


def test_half_a_line_is_no_checkpoint(tmp_path: Path, place: Place) -> None:
    """What a killed process left unfinished is passed over, and the next checkpoint stands on a line of its own."""
    kept = in_sqlite(tmp_path)
    kept.fill(1)
    place.take(kept)
    whole = place.file.read_bytes()
    place.file.write_bytes(whole + whole[:50])
    kept.fill(2)
    place.take(kept)

    assert ([1, 2], []) == ([one.number for one in place.read().statements], place.faults())


def test_of_several_processes_one_takes_it(tmp_path: Path, place: Place) -> None:
    """Where another process took one just now, there is none to take."""
    kept = in_sqlite(tmp_path)
    kept.fill(1)
    place.take(kept)
    kept.fill(2)

    assert take(kept.url, "fraud", place.folder, place.key, every_s=3600) is None
    assert take(kept.url, "fraud", place.folder, place.key, every_s=0) is not None


def test_a_process_that_ends_leaves_a_checkpoint(tmp_path: Path, place: Place) -> None:
    """At close the last entries are signed, without waiting for the interval; and a failure there is no error."""
    kept = in_sqlite(tmp_path)

    async def served() -> None:
        checkpoints = Checkpointer(kept.url, "fraud", place.folder, place.key, 3600)
        checkpoints.start()
        await asyncio.to_thread(kept.fill, 1)
        await checkpoints.close()
        place.key.write_text("no key")
        broken = Checkpointer(kept.url, "fraud", place.folder, place.key, 3600)
        broken.start()
        await broken.close()

    asyncio.run(served())

    assert [1] == [one.entries for one in place.read().statements]
