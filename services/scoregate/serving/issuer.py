"""The public keys of one issuer (JWKS), fetched in the background; the last good ones count while it is silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import jwt
from pydantic_core import from_json

from scoregate.errors import IssuerUnavailable, Unauthenticated
from scoregate.telemetry.logs import EventLog

FETCH_S = 3.0
"""Longest that a fetch may take, from the first byte to the last."""

MOST_BYTES = 262_144
MOST_KEYS = 64

WAIT_S = 0.5
"""Longest that a request waits for a fetch, which it does only when it brings a key id that is not known."""

LEAST_BETWEEN_S = 10.0
"""Between fetches: key ids come from anybody."""

STALE_S = 86_400.0
"""How old keys may get while the issuer does not answer. A withdrawn key must not be good for ever."""

ALGORITHMS = frozenset(
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
)
"""Signatures that only the issuer can make: never `none`, and never a secret shared with those who check."""

LEAST_RSA_BITS = 2_048


class IssuerKeys:
    """Keys by id. A request reads them from memory."""

    def __init__(self, url: str, refresh_s: float, log: EventLog) -> None:
        self._url, self._refresh_s, self._log = url, refresh_s, log
        self.on_change: Callable[[], None] = lambda: None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._document = b""
        self._fetched_at: float | None = None
        self._tried_at = -LEAST_BETWEEN_S
        self._fetch: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._client = httpx.AsyncClient(follow_redirects=False, timeout=FETCH_S)
        self._watch = asyncio.create_task(self._keep_fresh())

    async def close(self) -> None:
        running = [task for task in (self._watch, self._fetch) if task]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._client.aclose()

    def without(self) -> list[str]:
        if self._fetched_at is None:
            return ["the issuer's keys have never been fetched: no token can be checked"]
        age_s = time.monotonic() - self._fetched_at
        if age_s > 2 * self._refresh_s + FETCH_S:
            return [f"the issuer's keys are {age_s / 60:.0f} minutes old: it does not answer"]
        return []

    async def find(self, kid: object) -> jwt.PyJWK:
        """Return the key with this id; for an unknown one the issuer is asked anew, if that was not just done.

        Raises:
            Unauthenticated: the issuer has no such key.
            IssuerUnavailable: there is nothing to check with.
        """
        if kid not in self._keys:
            await self._ask_anew()
        if self._fetched_at is None or time.monotonic() - self._fetched_at > STALE_S:
            raise IssuerUnavailable
        if not isinstance(kid, str) or kid not in self._keys:
            raise Unauthenticated
        return self._keys[kid]

    async def _ask_anew(self) -> None:
        fetching = self._fetch is not None and not self._fetch.done()
        if fetching or time.monotonic() - self._tried_at >= LEAST_BETWEEN_S:
            await asyncio.wait({self._fetching()}, timeout=WAIT_S)

    def _fetching(self) -> asyncio.Task[None]:
        """The fetch that is under way, or a new one: never two at once."""
        if self._fetch is None or self._fetch.done():
            self._tried_at = time.monotonic()
            self._fetch = asyncio.create_task(self._refresh())
        return self._fetch

    async def _keep_fresh(self) -> None:
        while True:
            await self._fetching()
            failed = self._fetched_at is None or self._fetched_at < self._tried_at
            await asyncio.sleep(min(self._refresh_s, LEAST_BETWEEN_S) if failed else self._refresh_s)

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                document = await self._get()
            if document != self._document:
                self._keys, self._document = public_keys(document), document
                self.on_change()
            self._fetched_at = time.monotonic()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, OSError) as problem:
            self._log.event("issuer.unreachable", error=type(problem).__name__, known=len(self._keys))

    async def _get(self) -> bytes:
        async with self._client.stream("GET", self._url, headers={"accept": "application/json"}) as answer:
            if answer.status_code != 200:
                raise ValueError("the issuer answers with another status than 200")
            document = bytearray()
            async for chunk in answer.aiter_bytes():
                document += chunk
                if len(document) > MOST_BYTES:
                    raise ValueError("the issuer's document is too large")
            return bytes(document)


def public_keys(document: bytes) -> dict[str, jwt.PyJWK]:
    """Return the keys that can check signatures, by id; what is not one, or not strong enough, is passed over.

    Raises:
        ValueError: the document holds no such key, or is none.
    """
    said = from_json(document)
    listed = said.get("keys") if isinstance(said, dict) else None
    listed = listed if isinstance(listed, list) else []
    found = {each["kid"]: key for each in listed[:MOST_KEYS] if (key := _public_key(each))}
    if not found:
        raise ValueError("the issuer's document holds no key that can be used")
    return found


def _public_key(said: object) -> jwt.PyJWK | None:
    if not isinstance(said, dict) or not isinstance(said.get("kid"), str) or said.get("use", "sig") != "sig":
        return None
    if "d" in said or said.get("kty") == "oct":
        # A secret that was published, or is shared: anybody may sign with it.
        return None
    try:
        key = jwt.PyJWK(said)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    strong = said["kty"] != "RSA" or key.key.key_size >= LEAST_RSA_BITS
    return key if strong and key.algorithm_name in ALGORITHMS else None
