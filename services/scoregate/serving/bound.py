"""How many requests may be in flight: Little's law, from what this process measures of itself.

    places = rate x (time of a request that met no queue + time that it may queue)

The rate is that of answers while the places were full: only then it is a capacity, and not merely what was asked for.
A burst that fills them for a moment says nothing of that kind, so it changes nothing; and once nobody is refused, the
places come back, up to what a process begins with.
The time without a queue is the mean of windows in which places were left; or were at their least, when nobody has many
before him. So a request that is let in takes a little longer than in calm, whatever a decision costs on this machine
and today; and where few places are the reason for a low rate, the formula gives more of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

QUEUE_S, QUEUE_SHARE = 0.025, 0.5
"""How long one may wait for those before it: the longer of a time, and a share of what a request takes in calm."""

WINDOW_S, FULL_SHARE = 0.1, 0.5
LEAST, FIRST = 8, 32
SMOOTHING = 0.2


class Bound:
    """A bound of at most `most` places."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic, *, queue_s: float = QUEUE_S) -> None:
        self._most, self._clock, self._queue_s = most, clock, queue_s
        self.places = min(FIRST, most)
        self._calm_s: float | None = None
        self._since_s = clock()
        self._answers, self._sum_s = 0, 0.0
        self._met_s: tuple[float, float] | None = None

    def met(self) -> None:
        """The last place was taken, or asked for in vain: the answers of now are what this process can do."""
        now_s = self._clock()
        self._met_s = (self._met_s[0] if self._met_s else now_s, now_s)

    def answered(self, seconds: float) -> None:
        """Take in the time of a request from its place to its answer."""
        self._answers += 1
        self._sum_s += seconds
        now_s = self._clock()
        if now_s - self._since_s >= WINDOW_S:
            self._close(now_s)

    def _close(self, now_s: float) -> None:
        mean_s = self._sum_s / self._answers
        if self._calm_s is None:
            self._calm_s = mean_s
        elif self._met_s is None or self.places <= LEAST:
            self._calm_s += SMOOTHING * (mean_s - self._calm_s)
        length_s = now_s - self._since_s
        if self._met_s is None:
            self.places = max(self.places, min(self.places + 1, FIRST, self._most))
        elif self._met_s[1] - self._met_s[0] > FULL_SHARE * length_s:
            queue_s = max(self._queue_s, QUEUE_SHARE * self._calm_s)
            wanted = self._answers / length_s * (self._calm_s + queue_s)
            # Half of the way: one window with a pause in it says little.
            self.places = min(max(round((self.places + wanted) / 2), LEAST), self._most)
        self._since_s = now_s
        self._answers, self._sum_s, self._met_s = 0, 0.0, None
