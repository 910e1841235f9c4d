"""Who asks: `Authorization: Bearer` with an API key or an issuer's token, and what it may do here."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Self

from scoregate.errors import Forbidden, TooManyFailures, Unauthenticated
from scoregate.serving.buckets import Buckets
from scoregate.serving.http import Request
from scoregate.serving.keys import Keys
from scoregate.serving.principal import Principal
from scoregate.serving.tokens import Tokens
from scoregate.settings import Settings
from scoregate.telemetry.logs import EventLog


class Authenticator:
    """Keys and, where an issuer is trusted, its tokens; and a limit on failed attempts per address.

    A key or token that is known is let in whatever else came from its address: many callers share one behind a proxy,
    and one of them with an old key must not shut the others out. The limit bounds what costs us: signatures to check,
    keys to fetch, refusals to count.
    """

    def __init__(
        self, keys: Keys, tokens: Tokens | None = None, *, failures_per_min: float = 60, proxies: int = 1
    ) -> None:
        self._keys, self._tokens = keys, tokens
        self._most, self._proxies = failures_per_min, proxies
        self._failures = Buckets()

    @classmethod
    def of(cls, settings: Settings, log: EventLog) -> Self:
        return cls(
            Keys(settings.keys_path, log),
            Tokens.of(settings, log),
            failures_per_min=settings.auth_failures_per_min,
            proxies=settings.trusted_proxies,
        )

    def start(self) -> None:
        """Begin to fetch the issuer's keys; nobody waits for them."""
        if self._tokens:
            self._tokens.start()

    async def close(self) -> None:
        if self._tokens:
            await self._tokens.close()

    def without(self) -> list[str]:
        """What it does without, in sentences."""
        return self._tokens.without() if self._tokens else []

    async def authorise(self, request: Request, service: str, verb: str) -> Principal:
        """Return who asks.

        Raises:
            Unauthenticated: absent, malformed, unknown, wrong or expired; told nothing apart.
            Forbidden: known, but without the scope `service:verb`.
            TooManyFailures: too much that failed came from this address.
            IssuerUnavailable: a token came, and its issuer's keys have never been fetched.
        """
        principal = await self._authenticate(request)
        if not principal.may(service, verb):
            raise Forbidden
        return principal

    async def _authenticate(self, request: Request) -> Principal:
        scheme, _, raw = (request.header(b"authorization") or "").partition(" ")
        raw = raw.strip() if scheme.lower() == "bearer" else ""
        if not raw:
            raise Unauthenticated
        known = self._keys.find(raw) or (self._tokens and self._tokens.known(raw))
        if known:
            return known
        # What is not known takes an attempt, and what turns out good gives it back.
        address = source(request, self._proxies)
        if not self._failures.take(address, self._most / 60, self._most):
            raise TooManyFailures
        if not self._tokens:
            raise Unauthenticated
        principal = await self._tokens.verified(raw)
        self._failures.take(address, self._most / 60, self._most, cost=-1)
        return principal


def source(request: Request, proxies: int) -> str:
    """Return the address that a request came from: what the outermost of our proxies saw, else the peer.

    Only the last entries of X-Forwarded-For are ours; whatever stands before them anybody may have written.
    Of IPv6 it is the /64, which is what one customer has.
    """
    hops = (request.header(b"x-forwarded-for") or "").split(",")
    said = hops[-proxies].strip() if 0 < proxies <= len(hops) else ""
    try:
        address = ip_address(said or request.peer)
    except ValueError:
        return request.peer
    return str(int(address) >> 64) if isinstance(address, IPv6Address) else str(address)
