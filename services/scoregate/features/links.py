"""Events → link rows: which alert groups an entity's recent events belong to. Pure.

A row of a view of links holds up to LINKS_KEPT distinct pairs (group, name) of one entity as parallel lists, each with
the newest day that it was seen on. `name` is whatever a service tells two names apart by, never a name.

Events may come in any order and more than once: of one pair the newest day stays, of too many pairs the newest ones.
A merge only renames what a row holds by then; a pair that comes later under an old name says both names to whoever is
linked next, and is renamed by that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from scoregate.features.encoding import Value, encode_value
from scoregate.features.windows import GRAIN_S, KEPT
from scoregate.values import frozen

LINKS_KEPT: Final = 64
DAYS_KEPT: Final = KEPT["days"]

FEATURES: Final = {"groups": "string_list", "names": "string_list", "days": "int64_list"}
"""Features of a view of links, and their types."""

OWN, GROUP, ALSO, NAME = "alert_key", "alert_group", "alert_also", "name_sketch"
"""Columns of a stream that links are made of: keyed hash of the event's subject; what a decision said of its group,
absent where nobody decided; and its name."""


@frozen
class Alert:
    """What one request is linked to.

    `group` is the oldest group among the linked ones, or the request's own; None where links could not be read.
    `also` are the other linked groups, oldest first: they are one alert with it. `linked_by` says by what.
    """

    group: str | None
    also: tuple[str, ...] = ()
    linked_by: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"group": self.group, "also": self.also, "linked_by": self.linked_by}

    def columns(self) -> dict[str, Any]:
        """Return what the request's event says of it, for the rows of links."""
        return {} if self.group is None else {GROUP: self.group, ALSO: list(self.also)}


def own_group(at_us: int, key: str) -> str:
    """Name the group that an event founds: by its time first, so that groups sort by age, then by a keyed hash."""
    return f"grp_{at_us // 1_000:012x}{key[:12]}"


def uneven(values: Mapping[str, Sequence[Any] | None]) -> bool:
    """Whether lists cannot be the parallel ones of a row of links."""
    return len({len(column or ()) for column in values.values()}) > 1


class Links:
    """One entity's links. `changes` returns the features that are not yet as stored."""

    __slots__ = ("_days", "_dirty", "last_event_us")

    def __init__(self, stored: Mapping[str, bytes | None] | None = None, last_event_us: int = 0) -> None:
        """Begin with what is stored: Feast's bytes by feature, and the time of the newest event.

        Raises:
            ValueError: the bytes are not those of links.
        """
        try:
            lists = {name: _decoded((stored or {}).get(name), dtype) for name, dtype in FEATURES.items()}
        except DecodeError as problem:
            raise ValueError("a list of a row of links cannot be read") from problem
        if uneven(lists):
            raise ValueError("the lists of a row of links differ in length")
        pairs = zip(lists["groups"], lists["names"], strict=True)
        self._days: dict[tuple[str, str], int] = dict(zip(pairs, lists["days"], strict=True))
        self._dirty = False
        self.last_event_us = last_event_us

    def add(self, at_us: int, row: Mapping[str, Any]) -> bool:
        """Note an event by its columns; return whether it was young enough, and said who it is."""
        own = row.get(OWN)
        if own is None:
            return False
        day = at_us // (GRAIN_S["days"] * 1_000_000)
        group = str(row.get(GROUP) or own_group(at_us, str(own)))
        self._merge(frozenset(row.get(ALSO) or ()), group)
        self.last_event_us = max(self.last_event_us, at_us)
        if day <= max(self._days.values(), default=day) - DAYS_KEPT:
            return False
        self._note((group, str(row.get(NAME) or "")), day)
        self._prune()
        return True

    def changes(self) -> dict[str, bytes]:
        """Return what differs from what is stored, as it is to be stored; from then on it counts as stored."""
        return self.all() if self._dirty else {}

    def all(self) -> dict[str, bytes]:
        """Return every feature as it is to be stored, oldest pair first."""
        self._dirty = False
        pairs = self._in_order()
        columns = {
            "groups": [group for (group, _), _ in pairs],
            "names": [name for (_, name), _ in pairs],
            "days": [day for _, day in pairs],
        }
        return {name: encode_value(columns[name], dtype) for name, dtype in FEATURES.items()}

    def _merge(self, gone: frozenset[str], group: str) -> None:
        for pair in [pair for pair in self._days if pair[0] in gone]:
            self._note((group, pair[1]), self._days.pop(pair))

    def _note(self, pair: tuple[str, str], day: int) -> None:
        if self._days.get(pair, -1) < day:
            self._days[pair] = day
            self._dirty = True

    def _prune(self) -> None:
        oldest = max(self._days.values()) - DAYS_KEPT
        pairs = [item for item in self._in_order() if item[1] > oldest]
        if len(pairs) < len(self._days) or len(pairs) > LINKS_KEPT:
            self._days = dict(pairs[-LINKS_KEPT:])
            self._dirty = True

    def _in_order(self) -> list[tuple[tuple[str, str], int]]:
        # By group within a day: which ones stay does not depend on the order in which they came.
        return sorted(self._days.items(), key=lambda item: (item[1], item[0]))


def _decoded(stored: bytes | None, dtype: str) -> list[Any]:
    return list(getattr(Value.FromString(stored), dtype).val) if stored else []
