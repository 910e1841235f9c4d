"""Requests to replicas that share a ledger, and what each of them was answered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx

from scoregate import catalog

SERVICE = "fraud"
SENDERS = 6
PATIENCE_S = 120.0
ASKED_AGAIN = 0.2
"""Share of answered requests that are sent once more, to another replica."""
AGAIN_S = 0.05


class Traffic:
    """Payments, each sent until it is answered, to one replica after the other; counts what must not be.

    `answers` is what each key was first answered. `urls` may change while it sends. With `asks_again` an answered
    request is sent again now and then, some with a body that differs: it must get the same bytes, and 422.
    """

    def __init__(self, key: str, seed: int, *, asks_again: bool = True) -> None:
        self.answers: dict[str, bytes] = {}
        self.urls: Sequence[str] = ()
        self.sent_again = self.asked_again = self.differing = self.refused = self.taken = 0
        self._asks_again = asks_again
        self._headers = {"authorization": f"Bearer {key}"}
        self._rng = random.Random(seed)  # noqa: S311 - load, not a secret
        self._run, self._serial = uuid.uuid4().hex[:8], itertools.count()
        self._example = catalog.part(SERVICE, "contract").EXAMPLE

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Send until the block ends, and until all that was sent is answered."""
        ended = asyncio.Event()
        async with self._client() as client:
            senders = [asyncio.create_task(self._send(client, ended)) for _ in range(SENDERS)]
            try:
                yield
            finally:
                ended.set()
                await asyncio.gather(*senders)

    async def duplicates(self, keys: int, at_once: int) -> None:
        """Send each of so many payments so many times at the same time, to all replicas in turn."""
        async with self._client() as client:
            for _ in range(keys):
                body = self._payment()
                await asyncio.gather(*(self._until_answered(client, body, first) for first in range(at_once)))

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(headers=self._headers, timeout=5.0)

    async def _send(self, client: httpx.AsyncClient, ended: asyncio.Event) -> None:
        while not ended.is_set():
            body, first = self._payment(), self._rng.randrange(2)
            await self._until_answered(client, body, first)
            if self._asks_again and self._rng.random() < ASKED_AGAIN:
                self.asked_again += 1
                await self._until_answered(client, body, first + 1)
                await self._ask_otherwise(client, body, first + 1)

    def _payment(self) -> dict[str, Any]:
        return {
            **self._example,
            "transaction_id": f"ledger-{self._run}-{next(self._serial)}",
            "account_id": f"acc_{self._rng.randrange(4_000):06d}",
            "merchant_id": f"mer_{self._rng.randrange(200):06d}",
            "amount_minor": self._rng.randint(100, 200_000),
        }

    async def _until_answered(self, client: httpx.AsyncClient, body: dict[str, Any], first: int) -> None:
        """Send, to the next replica whenever one does not answer: under its keys that is always safe."""
        key = body["transaction_id"]
        # Half of them under a key of the caller's too.
        headers = {"idempotency-key": f"idem-{key}"} if hash(key) % 2 else {}
        until_s = asyncio.get_running_loop().time() + PATIENCE_S
        for attempt in itertools.count(first):
            answer = await self._answer(client, attempt, body, headers)
            if answer is not None:
                self.differing += self.answers.setdefault(key, answer) != answer
                return
            if asyncio.get_running_loop().time() > until_s:
                raise TimeoutError("a request is never answered")
            self.sent_again += 1
            await asyncio.sleep(AGAIN_S)

    async def _answer(
        self, client: httpx.AsyncClient, attempt: int, body: dict[str, Any], headers: dict[str, str]
    ) -> bytes | None:
        url = self.urls[attempt % len(self.urls)]
        try:
            response = await client.post(f"{url}/v1/{SERVICE}/score", json=body, headers=headers)
        except httpx.TransportError:
            return None
        self.refused += response.status_code in {400, 401, 403, 404, 422}
        return response.content if response.status_code == 200 else None

    async def _ask_otherwise(self, client: httpx.AsyncClient, body: dict[str, Any], attempt: int) -> None:
        """Send another body under the same key: it must not be decided."""
        other = {**body, "amount_minor": body["amount_minor"] + 1}
        with contextlib.suppress(httpx.TransportError):
            url = self.urls[attempt % len(self.urls)]
            response = await client.post(f"{url}/v1/{SERVICE}/score", json=other)
            self.taken += response.status_code == 200
