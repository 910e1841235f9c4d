"""Requests through a gateway while something is done to what is behind it, and what became of every one of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import httpx

CALLERS = 4
PAUSE_S = 0.05


class Asked(Protocol):
    """What is behind the gateway, asked for a score."""

    def post(self, client: httpx.Client) -> httpx.Response: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """`asked_s` and `answered_s` are monotonic; `status` 0 means that nobody answered."""

    asked_s: float
    answered_s: float
    status: int
    arm: str = ""
    source: str = ""
    said: str = ""


@dataclass
class Seen:
    """Everything that was answered; lists only grow, so they may be read meanwhile."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def failed(self) -> list[Answer]:
        return [each for each in self.answers if each.status != 200]

    def are_all_of(self, arm: str) -> bool:
        """Whether the last that were answered all met this arm: the gateway hears of new weights a moment later."""
        return {arm} == {each.arm for each in self.answers[-50:]}

    def last_s(self, arm: str) -> float:
        """When an arm gave its last answer."""
        return max(each.answered_s for each in self.answers if each.arm == arm)

    def arms(self, since_s: float = 0.0) -> Counter[str]:
        return Counter(each.arm for each in self.answers if each.asked_s >= since_s)

    def sources(self, since_s: float = 0.0) -> Counter[str]:
        return Counter(each.source for each in self.answers if each.asked_s >= since_s)


@contextmanager
def load(release: Asked, count: int = CALLERS) -> Iterator[Seen]:
    """Ask all the time for as long as the block lasts; connections are kept, as a real caller's are."""
    seen, stop = Seen(), threading.Event()
    callers = [threading.Thread(target=_call, args=(release, seen, stop)) for _ in range(count)]
    for each in callers:
        each.start()
    try:
        yield seen
    finally:
        stop.set()
        for each in callers:
            each.join()


def _call(release: Asked, seen: Seen, stop: threading.Event) -> None:
    with httpx.Client() as client:
        while not stop.wait(PAUSE_S):
            asked_s = time.monotonic()
            seen.answers.append(_answer(release, client, asked_s))


def _answer(release: Asked, client: httpx.Client, asked_s: float) -> Answer:
    try:
        response = release.post(client)
    except httpx.TransportError as problem:
        return Answer(asked_s, time.monotonic(), 0, said=repr(problem))
    if response.status_code != 200:
        return Answer(asked_s, time.monotonic(), response.status_code, said=response.text)
    said = response.json()
    return Answer(asked_s, time.monotonic(), 200, said["arm"], said["source"])
