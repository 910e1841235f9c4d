"""Windows of many requests at once: what `features.windows` defines, as columns instead of one request at a time.

Events of one view are sorted by entity and time once. A window is then a range of neighbours, found by binary search,
and its counts and sums are differences of prefix sums. Two things are no sums:

    distinct parties    an event is the first of its party in a window if the one before it lies outside. For an entity
                        both ends of a window only move on, so the requests that see it so are neighbours: each event
                        adds 1 to a range of requests
    known fraud         labels that came within the label delay count for every request that has them in its window;
                        later ones are looked at one by one
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scoregate.features.windows import DISTINCT_CAP, GRAIN_S, KEPT, LABEL_DELAY_DAYS, WINDOWS
from scoregate.values import frozen

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MINUTE_US: Final = 60_000_000
DAY_US: Final = 86_400_000_000
_PAIRS_AT_ONCE: Final = 10_000_000


class EventIndex:
    """The events of one view, ready to be asked for windows.

    `events`: key, event_us, and where they exist amount_minor, party, label_us (when fraud became known; null: never).
    Those without a key are left out.
    """

    def __init__(self, events: pa.Table) -> None:
        if events["key"].null_count:
            events = events.filter(pc.is_valid(events["key"]))
        self.keys, code = _coded(events["key"])
        at = _ints(events["event_us"])
        # Stable, so that of equal times the earlier row stays first.
        order = np.lexsort((at, code))
        self._code, self._at = code[order], at[order]
        self._minute = self._at // MINUTE_US
        self._lowest = int(self._minute.min(initial=0 if len(at) == 0 else self._minute[0]))
        self._span = int(self._minute.max(initial=self._lowest)) - self._lowest + 2
        self._minute_place = self._code * self._span + self._minute - self._lowest
        self._clock = np.sort(self._at)
        self._place = self._code * (len(self._clock) + 1) + np.searchsorted(self._clock, self._at)
        amount = _ints(events["amount_minor"])[order] if "amount_minor" in events.column_names else np.zeros_like(at)
        major = amount // 100
        self._sum, self._squares = _prefix(amount), _prefix(major * major)
        self._fraud = _Fraud.of(self._at, _labels(events, order, self._at))
        self._parties: _Parties | None = None
        if "party" in events.column_names:
            names, party = _coded(events["party"])
            self._parties = _Parties.of(self._code, self._at // DAY_US, names, party[order])

    def at(self, keys: Any, at_us: Ints) -> BulkWindows:
        """Return the windows of entities (null or never seen: nothing happened) at times, microseconds."""
        code = pc.fill_null(pc.index_in(_whole(keys), value_set=self.keys), -1).to_numpy(zero_copy_only=False)
        return BulkWindows(self, code.astype(np.int64), at_us)


class BulkWindows:
    """Columns of windows, row i for entity i at time i; each value is what `features.windows.Windows` gives."""

    def __init__(self, index: EventIndex, code: Ints, at_us: Ints) -> None:
        self._index = index
        # In the order of the events, so that searches walk through memory instead of jumping about.
        self._order = np.lexsort((at_us, code))
        self._code, self._at = code[self._order], at_us[self._order]
        end = np.searchsorted(
            index._place, self._code * (len(index._clock) + 1) + np.searchsorted(index._clock, self._at)
        )
        self._end = np.where(self._code >= 0, end, 0)
        self._begins: dict[str, Ints] = {}

    def count(self, window: str) -> Floats:
        """Events in the window."""
        return self._back((self._end - self._begin(window)).astype(np.float64))

    def sum_minor(self, window: str) -> Floats:
        """Sum of amounts, minor units."""
        return self._back(self._total(self._index._sum, window).astype(np.float64))

    def mean_minor(self, window: str) -> Floats:
        """Mean amount, minor units; nan without events."""
        return self._back(_ratio(self._total(self._index._sum, window), self._end - self._begin(window)))

    def std_minor(self, window: str) -> Floats:
        """Standard deviation of amounts, minor units, from whole major units; nan below two events."""
        count = self._end - self._begin(window)
        mean_major = _ratio(self._total(self._index._sum, window), count) / 100
        squares = _ratio(self._total(self._index._squares, window), count)
        spread = 100 * np.sqrt(np.maximum(squares - mean_major * mean_major, 0.0))
        return self._back(np.where(count < 2, np.nan, spread))

    def risk_30d(self) -> tuple[Floats, Floats]:
        """Known fraud and events in the 30 full days that end where the label delay begins."""
        begin = self._since("days", LABEL_DELAY_DAYS + 30)
        end = np.minimum(self._since("days", LABEL_DELAY_DAYS), self._end)
        fraud = self._index._fraud.known(begin, end, self._at)
        return self._back(fraud.astype(np.float64)), self._back((end - begin).astype(np.float64))

    def distinct(self, window: str) -> Floats:
        """Distinct counterparties, never above DISTINCT_CAP."""
        assert self._index._parties is not None, "the view has parties"
        found = self._index._parties.distinct(self._begin(window), self._end)
        return self._back(np.minimum(found, DISTINCT_CAP).astype(np.float64))

    def met_30d(self, parties: Any) -> Floats:
        """Return 1 where the entity dealt with the party in the window of 30 days, else 0.

        nan where that cannot be told: a tile keeps so many parties and no more.
        """
        assert self._index._parties is not None, "the view has parties"
        party = pc.fill_null(pc.index_in(_whole(parties), value_set=self._index._parties.names), -1)
        wanted = party.to_numpy(zero_copy_only=False).astype(np.int64)[self._order]
        return self._back(self._index._parties.met(self._code, wanted, self._begin("30d"), self._end))

    def since_last_s(self) -> Floats:
        """Seconds since the last event; nan without one in the kept history."""
        some = self._end > self._since("days", KEPT["days"] - 1)
        last = self._last(self._end - 1)
        return self._back(np.where(some, np.maximum(self._at / 1e6 - last / 1e6, 0.0), np.nan))

    def age_days_30d(self) -> Floats:
        """Days since the entity's first day in the window of 30 days; nan without any."""
        begin = self._begin("30d")
        age = self._at // DAY_US - self._last(begin) // DAY_US
        return self._back(np.where(begin < self._end, age.astype(np.float64), np.nan))

    def _begin(self, window: str) -> Ints:
        if window not in self._begins:
            self._begins[window] = self._since(*WINDOWS[window])
        return self._begins[window]

    def _since(self, grain: str, full: int) -> Ints:
        """Return the place of the first event in the running tile or the `full` ones before it, or of what is next."""
        minutes = GRAIN_S[grain] // 60
        first = (self._at // (minutes * MINUTE_US) - full) * minutes
        index = self._index
        near = np.clip(first - index._lowest, 0, index._span - 1)
        begin = np.searchsorted(index._minute_place, self._code * index._span + near)
        return np.where(self._code >= 0, np.minimum(begin, self._end), 0)

    def _total(self, prefix: Ints, window: str) -> Ints:
        return np.asarray(prefix[self._end] - prefix[self._begin(window)])

    def _last(self, place: Ints) -> Ints:
        at = self._index._at
        return at[np.clip(place, 0, len(at) - 1)] if len(at) else np.zeros_like(place)

    def _back(self, values: Floats) -> Floats:
        out = np.empty_like(values)
        out[self._order] = values
        return out


@frozen
class _Fraud:
    """Fraud by place: prompt labels as a prefix count, late ones with their times."""

    prompt: Ints
    late: Ints
    late_at: Ints

    @classmethod
    def of(cls, at: Ints, label: Ints) -> _Fraud:
        """`label`: when fraud became known of each event, negative for never."""
        # A request has an event in its risk window from the day on that begins then.
        in_time = (label >= 0) & (label < (at // DAY_US + LABEL_DELAY_DAYS + 1) * DAY_US)
        late = np.flatnonzero((label >= 0) & ~in_time)
        return cls(_prefix(in_time.astype(np.int64)), late, label[late])

    def known(self, begin: Ints, end: Ints, at: Ints) -> Ints:
        """Count the fraud in [begin, end) that was known before each time."""
        found = np.asarray(self.prompt[end] - self.prompt[begin])
        low, high = np.searchsorted(self.late, begin), np.searchsorted(self.late, end)
        some = np.flatnonzero(high > low)
        pairs = np.cumsum(high[some] - low[some])
        cuts = np.searchsorted(pairs, np.arange(_PAIRS_AT_ONCE, pairs[-1] if len(pairs) else 0, _PAIRS_AT_ONCE))
        for rows in np.split(some, cuts):
            many = high[rows] - low[rows]
            ends = np.cumsum(many)
            flat = np.arange(ends[-1] if len(ends) else 0) + np.repeat(low[rows] - (ends - many), many)
            arrived = self.late_at[flat] < np.repeat(at[rows], many)
            found[rows] += np.bincount(np.repeat(np.arange(len(rows)), many), arrived, len(rows)).astype(np.int64)
        return found


@frozen
class _Parties:
    """Who was dealt with: the event before each with the same party, and the parties that day tiles list.

    A tile lists its first `DISTINCT_CAP` + 1 parties: `listed` are pair and place of their events as one sorted number,
    `full` counts ahead of each event the tiles that were full by then.
    """

    names: pa.Array
    pairs: Ints
    before: Ints
    listed: Ints
    full: Ints

    @classmethod
    def of(cls, code: Ints, day: Ints, names: pa.Array, party: Ints) -> _Parties:
        rows = len(code)
        pair = code * max(len(names), 1) + party
        order = np.argsort(pair, kind="stable")
        same = np.append(False, np.diff(pair[order]) == 0)[:rows]
        before = np.full(rows, -1)
        before[order[1:][same[1:]]] = order[:-1][same[1:]]
        # The first of its party in its day's tile, and the how manieth of these.
        first = (before < 0) | (day[before] != day)
        new = np.append(True, (np.diff(code) != 0) | (np.diff(day) != 0))[:rows]
        nth = _prefix(first.astype(np.int64))
        start = np.flatnonzero(new)[np.cumsum(new) - 1] if rows else np.zeros(0, np.int64)
        rank = nth[1:] - nth[start]
        listed = first & (rank <= DISTINCT_CAP + 1)
        pairs = pair[order][~same]
        number = np.empty(rows, np.int64)
        number[order] = np.cumsum(~same) - 1
        chosen = np.flatnonzero(listed)
        places = np.sort(number[chosen] * (rows + 1) + chosen)
        return cls(names, pairs, before, places, _prefix((listed & (rank == DISTINCT_CAP + 1)).astype(np.int64)))

    def distinct(self, begin: Ints, end: Ints) -> Ints:
        """Count the parties in ranges of events whose ends both ascend."""
        place = np.arange(len(self.before))
        start = np.maximum(np.searchsorted(end, place, "right"), np.searchsorted(begin, self.before, "right"))
        stop = np.searchsorted(begin, place, "right")
        seen = start < stop
        rows = len(begin) + 1
        change = np.bincount(start[seen], minlength=rows) - np.bincount(stop[seen], minlength=rows)
        return np.asarray(np.cumsum(change)[:-1])

    def met(self, code: Ints, party: Ints, begin: Ints, end: Ints) -> Floats:
        rows = len(self.before)
        pair = code * max(len(self.names), 1) + party
        number = np.searchsorted(self.pairs, pair)
        known = (code >= 0) & (party >= 0) & (number < len(self.pairs))
        known &= self.pairs[np.where(known, number, 0)] == pair if len(self.pairs) else known
        last = np.searchsorted(self.listed, number * (rows + 1) + end) - 1
        found = known & (last >= 0)
        found &= self.listed[np.where(found, last, 0)] >= number * (rows + 1) + begin if len(self.listed) else found
        cut_off = self.full[end] > self.full[begin]
        return np.where(found, 1.0, np.where(cut_off, np.nan, 0.0))


def _labels(events: pa.Table, order: Ints, at: Ints) -> Ints:
    """Return when fraud became known of each event, never before it happened; -1 where it never did."""
    if "label_us" not in events.column_names:
        return np.full(len(order), -1)
    label = pc.fill_null(_whole(events["label_us"]), -1).to_numpy(zero_copy_only=False).astype(np.int64)[order]
    return np.where(label < 0, -1, np.maximum(label, at))


def _whole(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _coded(column: Any) -> tuple[pa.Array, Ints]:
    encoded = _whole(column).dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _ints(column: Any) -> Ints:
    return np.asarray(_whole(column).to_numpy(zero_copy_only=False), dtype=np.int64)


def _prefix(values: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])


def _ratio(part: Ints, whole: Ints) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
