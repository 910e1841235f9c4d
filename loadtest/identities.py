"""Identity links on planted duplicates: precision and recall at three levels of noise, against two simpler ways.

    python loadtest/identities.py --json

Honest applications come from the generator, families, halls and shops among them; the duplicates are made here.
The simpler ways are an exact match of the document, and the same blocking with the mean Jaro-Winkler similarity of all
parts, at whichever threshold is best for it on each level: it is given what nobody could know.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import sys
from typing import Any

import numpy as np
from rapidfuzz.distance import JaroWinkler

from kyc import simulate
from kyc.linkage import Person, same_person
from scoregate.training.linkage import blocking

LEVELS = {"low": 0.15, "middle": 0.4, "high": 0.7}
"""Chance of each kind of noise in a planted duplicate."""

Pairs = set[tuple[int, int]]


def records(days: int, seed: int) -> list[dict[str, Any]]:
    """Return honest applications, each person once: second tries would be true pairs that nobody planted."""
    found, seen = [], set()
    for day in range(days):
        for row in simulate.day(dt.date(2026, 3, 1) + dt.timedelta(days=day), seed).to_pylist():
            if not row["is_bad"] and row["document_number"] not in seen:
                seen.add(row["document_number"])
                found.append({**row, "document": row["document_number"], "device": row["device_id"]})
    return found


def duplicate(row: dict[str, Any], noise: float, rng: random.Random) -> dict[str, Any]:
    """Return the person again: slips, swapped names and dates, moved, another telephone, a new or no document."""
    again = dict(row)
    if rng.random() < noise:
        again["name"] = _slip(again["name"], rng)
    if rng.random() < noise:
        again["name"] = " ".join(reversed(again["name"].split()))
    if rng.random() < noise / 2:
        again["birth_date"] = _other_date(row["birth_date"], rng)
    if rng.random() < noise:
        again["address"] = f"Neue Gasse {rng.randrange(300)}, {rng.randrange(10_000, 99_999)} Neustadt"
    if rng.random() < noise:
        again["phone"] = f"+49{rng.randrange(10**10):010d}"
    if rng.random() < noise:
        again["email"] = f"{rng.randrange(10**8)}@example.org"
    if rng.random() < noise:
        again["device"] = f"new-{rng.randrange(10**9)}"
    if rng.random() < noise:
        again["document"] = rng.choice([None, _slip(row["document"], rng), f"N{rng.randrange(10**8):08d}"])
    return again


def _slip(text: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(text))
    return rng.choice([text[:at] + text[at + 1 :], text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :]])


def _other_date(date: dt.date, rng: random.Random) -> dt.date:
    if date.day <= 12 and rng.random() < 0.5:
        return date.replace(day=date.month, month=date.day)
    return date + dt.timedelta(days=rng.choice([-10, -1, 1, 10]))


def exact_document(rows: list[dict[str, Any]]) -> Pairs:
    first: dict[str, int] = {}
    found = set()
    for place, row in enumerate(rows):
        if row["document"] and (holder := first.setdefault(row["document"], place)) != place:
            found.add((holder, place))
    return found


def mean_similarity(people: list[Person]) -> list[tuple[float, tuple[int, int]]]:
    """Return each blocked pair with the mean Jaro-Winkler similarity of the parts that both have."""
    left, right = blocking.pairs([list(one.keys()) for one in people])
    parts = [
        (" ".join(one.name), one.birth_date, one.document, one.address, one.phone, one.email, one.device)
        for one in people
    ]
    found = []
    for i, j in zip(left.tolist(), right.tolist(), strict=True):
        both = [(a, b) for a, b in zip(parts[i], parts[j], strict=True) if a and b]
        found.append((sum(JaroWinkler.similarity(a, b) for a, b in both) / len(both), (i, j)))
    return found


def quality(found: Pairs, truth: Pairs) -> dict[str, float]:
    hits = len(found & truth)
    precision, recall = hits / max(len(found), 1), hits / len(truth)
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / max(precision + recall, 1e-12)}


def best(scored: list[tuple[float, tuple[int, int]]], truth: Pairs) -> dict[str, float]:
    """Return the quality at the threshold with the best F1."""
    scored = sorted(scored, reverse=True)
    hits = np.cumsum([pair in truth for _, pair in scored])
    f1 = 2 * hits / (np.arange(1, len(scored) + 1) + len(truth))
    return quality({pair for _, pair in scored[: int(np.argmax(f1)) + 1]}, truth)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--days", type=int, default=14, help="days of honest applications")
    parser.add_argument("--planted", type=int, default=500, help="duplicates on each level")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    asked = parser.parse_args()
    honest = records(asked.days, asked.seed)
    found: dict[str, Any] = {"records": len(honest), "planted": asked.planted}
    wins = True
    for level, noise in LEVELS.items():
        rng = random.Random(f"{asked.seed} {level}")  # noqa: S311  repeatable, and no secret
        chosen = rng.sample(range(len(honest)), asked.planted)
        rows = honest + [duplicate(honest[place], noise, rng) for place in chosen]
        truth = {(place, len(honest) + i) for i, place in enumerate(chosen)}
        people = [Person.of(row) for row in rows]
        left, right, _ = same_person(people, asked.seed)
        ours = quality(set(zip(left.tolist(), right.tolist(), strict=True)), truth)
        others = {"exact document": quality(exact_document(rows), truth)}
        others["blocking + mean Jaro-Winkler"] = best(mean_similarity(people), truth)
        found[level] = {"links": ours, **others}
        wins &= all(ours["f1"] > one["f1"] for one in others.values())
    if asked.json:
        print(json.dumps(found))
    else:
        print(f"{found['records']:,} honest applications, {asked.planted} duplicates on each level")
        for level in LEVELS:
            for way, one in found[level].items():
                said = ", ".join(f"{name} {value:.3f}" for name, value in one.items())
                print(f"{level:<7} {way:<29} {said}")
    return 0 if wins else 1


if __name__ == "__main__":
    sys.exit(main())
