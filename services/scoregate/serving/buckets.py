"""Token buckets by name: what one caller may do in a second, and how much at once."""

from __future__ import annotations

import time
from collections import OrderedDict

MOST_NAMES = 10_000


class Buckets:
    """Names may come from callers, so they are bounded: the one that was not used for longest is forgotten."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, rate_per_s: float, burst: float, cost: float = 1) -> bool:
        """Take `cost` from a bucket that holds `burst` at most; False, and nothing is taken, when it holds less.

        What costs more than a bucket holds is let pass by a full one, and owed.
        """
        now = time.monotonic()
        tokens, since = self._buckets.get(name, (burst, now))
        tokens = min(burst, tokens + (now - since) * rate_per_s)
        enough = tokens >= min(cost, burst)
        self._buckets[name] = (tokens - cost if enough else tokens, now)
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return enough
