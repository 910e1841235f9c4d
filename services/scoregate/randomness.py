"""Random bytes for salts and ids, drawn from the system many at a time."""

from __future__ import annotations

import os

DRAWN_BYTES = 4096


class Randomness:
    """Gives every byte of the system's randomness out once.

    A call of the system for each draw costs as much as hashing what it salts. One thread at a time may draw, and none
    after a fork: the child would draw what its parent does.
    """

    __slots__ = ("_at", "_drawn")

    def __init__(self) -> None:
        self._drawn, self._at = b"", 0

    def __call__(self, size: int) -> bytes:
        if len(self._drawn) - self._at < size:
            self._drawn, self._at = os.urandom(max(size, DRAWN_BYTES)), 0
        self._at += size
        return self._drawn[self._at - size : self._at]
