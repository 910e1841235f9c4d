"""Which applications are the same person, and which would make one alert: what is compared, and under which keys.

A household shares an address, a telephone and a device without being one person, so these are one part of the evidence
and not several. Names are compared word by word, because members of a family differ in one word only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rapidfuzz import fuzz
from rapidfuzz.distance import DamerauLevenshtein

from scoregate.training.linkage import blocking, levels, weights
from scoregate.training.linkage.groups import joined, sharing
from scoregate.training.linkage.weights import Part
from scoregate.values import frozen

from . import identities

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PARTS: Final = (
    # From unlike to the same: how a person's own records compare, before the file says better.
    Part("name", (0.02, 0.08, 0.25, 0.65)),
    Part("birth_date", (0.03, 0.04, 0.13, 0.80)),
    Part("document", (0.25, 0.15, 0.60)),
    Part("contact", (0.15, 0.25, 0.60), least=0.001),
)
LEAST: Final = 0.5
"""Pairs that are more likely one person than two."""

STRANGERS: Final = 200_000
"""Random pairs that say how alike strangers are, at most; of a small file PER_RECORD for each record."""

PER_RECORD: Final = 30

_SAME_ADDRESS: Final = 88.0


@frozen
class Person:
    """What is compared of one application, normalised; None or empty where it is absent."""

    name: tuple[str, ...] = ()
    birth_date: str | None = None
    document: str | None = None
    address: str | None = None
    phone: str | None = None
    email: str | None = None
    device: str | None = None

    @classmethod
    def of(cls, row: dict[str, Any]) -> Person:
        """Read a row with the names of the column map."""
        birth, document, address = row.get("birth_date"), row.get("document"), row.get("address")
        return cls(
            tuple(identities.words(row.get("name") or "")),
            f"{birth:%Y%m%d}" if birth else None,
            "".join(c for c in document.upper() if c.isalnum()) if document else None,
            identities.address_key(address) if address else None,
            identities.phone_key(row["phone"]) if row.get("phone") else None,
            identities.email_key(row["email"]) if row.get("email") else None,
            row.get("device"),
        )

    def keys(self) -> Iterator[str]:
        """Yield what this record shares with others that may be the same person."""
        year = (self.birth_date or "")[:4]
        if self.birth_date:
            # Day and month swapped is the same key.
            yield f"b {year} {sorted((self.birth_date[4:6], self.birth_date[6:]))}"
            for word in self.name:
                yield f"n {word[:4]} {year}"
                yield f"d {word[:4]} {self.birth_date[4:]}"
        yield from (f"{kind} {value}" for kind, value in self._numbers() if value)
        if len(self.name) > 1:
            yield f"w {' '.join(sorted(word[:5] for word in self.name))}"

    def _numbers(self) -> tuple[tuple[str, str | None], ...]:
        document = self.document or ""
        return (
            ("i", self.document),
            ("j", document[:6] if len(document) > 7 else None),
            ("k", document[-6:] if len(document) > 7 else None),
            ("a", self.address),
            ("p", self.phone),
            ("e", self.email),
            ("v", self.device),
        )


def steps(people: Sequence[Person], left: Ints, right: Ints) -> NDArray[np.int8]:
    """Return how alike each pair is, part by part."""
    pairs = ((people[i], people[j]) for i, j in zip(left.tolist(), right.tolist(), strict=True))
    found = [
        (
            levels.name(one.name, other.name),
            levels.date(one.birth_date, other.birth_date),
            levels.number(one.document, other.document),
            _contact(one, other),
        )
        for one, other in pairs
    ]
    return np.array(found, np.int8).reshape(-1, len(PARTS))


def same_person(people: Sequence[Person], seed: int) -> tuple[Ints, Ints, Floats]:
    """Return the pairs that are one person rather than two, and how probable that is of each."""
    left, right = blocking.pairs([list(one.keys()) for one in people])
    rng = np.random.default_rng([seed, 6])
    all_pairs = len(people) * (len(people) - 1) / 2
    some = rng.integers(0, max(len(people), 1), (2, min(STRANGERS, PER_RECORD * len(people))))
    some = some[:, some[0] != some[1]]
    if not len(left):
        return left, right, np.zeros(0)
    chance = weights.probabilities(PARTS, steps(people, left, right), steps(people, *some), all_pairs)
    is_one = chance >= LEAST
    return left[is_one], right[is_one], chance[is_one]


def groups(rows: pa.Table) -> Ints:
    """Return the alert group of each application: `links.alert` says the same of one application after another.

    Linked are those on one device, document, telephone or mailbox, and alike names at one address.
    """
    shared = [rows[key].to_pylist() for key in ("device_key", "document_key", "phone_key", "email_key")]
    left, right = sharing(shared)
    names = [identities.words(name or "") for name in rows["name"].to_pylist()]
    at_home = [[key] if key else [] for key in rows["address_key"].to_pylist()]
    one, other = blocking.pairs(at_home)
    alike = [levels.name(names[i], names[j]) >= 3 for i, j in zip(one.tolist(), other.tolist(), strict=True)]
    return joined(rows.num_rows, np.append(left, one[alike]), np.append(right, other[alike]))


def _contact(one: Person, other: Person) -> int:
    """Compare what a household shares: nothing, one thing, several."""
    agree = [
        same
        for same in (
            _agree(one.address, other.address, lambda a, b: fuzz.token_sort_ratio(a, b) >= _SAME_ADDRESS),
            _agree(one.phone, other.phone, lambda a, b: DamerauLevenshtein.distance(a, b, score_cutoff=1) <= 1),
            _agree(one.email, other.email, _same_mailbox),
            _agree(one.device, other.device, lambda a, b: a == b),
        )
        if same is not None
    ]
    return 0 if not agree else 1 + min(sum(agree), 2)


def _same_mailbox(one: str, other: str) -> bool:
    """Forgive a slip among letters; another digit is how a provider tells people of one name apart."""
    digits = [[c for c in mail if c.isdigit()] for mail in (one, other)]
    return digits[0] == digits[1] and DamerauLevenshtein.distance(one, other, score_cutoff=1) <= 1


def _agree(one: str | None, other: str | None, same: Any) -> bool | None:
    return None if not one or not other else bool(same(one, other))
