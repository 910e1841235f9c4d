"""Tokens of one issuer (JWT as in RFC 9068): verified once, then known by digest until they expire."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Self

import jwt

from scoregate.errors import Unauthenticated
from scoregate.serving.issuer import IssuerKeys
from scoregate.serving.principal import SCOPE, Principal
from scoregate.settings import Settings
from scoregate.telemetry.logs import EventLog

MOST_CHARS = 8_192
MOST_KNOWN = 10_000
"""Verified tokens that are remembered: a few megabytes."""

MOST_SCOPES = 200


class Tokens:
    """Checks signature, issuer, audience and times; takes scopes of our own form from `scope` or `scp`."""

    def __init__(self, keys: IssuerKeys, issuer: str, audience: str, leeway_s: float) -> None:
        self._keys, self._issuer, self._audience, self._leeway_s = keys, issuer, audience, leeway_s
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        # A key that the issuer withdrew takes what it signed with it.
        keys.on_change = self._known.clear

    @classmethod
    def of(cls, settings: Settings, log: EventLog) -> Self | None:
        """Return None where no issuer is trusted."""
        if not (settings.jwt_issuer and settings.jwt_audience and settings.jwt_jwks_url):
            return None
        keys = IssuerKeys(settings.jwt_jwks_url, settings.jwt_refresh_s, log)
        return cls(keys, settings.jwt_issuer, settings.jwt_audience, settings.jwt_leeway_s)

    def start(self) -> None:
        self._keys.start()

    async def close(self) -> None:
        await self._keys.close()

    def without(self) -> list[str]:
        return self._keys.without()

    def known(self, raw: str) -> Principal | None:
        """Return whose token this is, when it was verified before and has not expired."""
        found = self._known.get(_digest(raw))
        return found[0] if found and time.time() < found[1] else None

    async def verified(self, raw: str) -> Principal:
        """Verify a token and remember it.

        Raises:
            Unauthenticated: it is not a token of this issuer for us, now.
            IssuerUnavailable: the issuer's keys have never been fetched, or too long ago.
        """
        if len(raw) > MOST_CHARS or raw.count(".") != 2:
            raise Unauthenticated
        try:
            key = await self._keys.find(jwt.get_unverified_header(raw).get("kid"))
            claims = self._claims(raw, key)
            until_s = int(claims["exp"]) + self._leeway_s
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise Unauthenticated from None
        principal = Principal(_client(claims), _scopes(claims))
        self._known[_digest(raw)] = principal, until_s
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return principal

    def _claims(self, raw: str, key: jwt.PyJWK) -> dict[str, Any]:
        """The algorithm is the key's own, never one that the token chooses."""
        return jwt.decode(
            raw,
            key,
            algorithms=[key.algorithm_name],
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway_s,
            options={"require": ["exp", "iss", "aud"]},
        )


def _digest(raw: str) -> bytes:
    return hashlib.sha256(raw.encode()).digest()


def _client(claims: Mapping[str, Any]) -> str:
    """Return the name under which a client's rate is counted, of one length whatever the issuer calls it."""
    said = claims.get("client_id") or claims.get("azp") or claims.get("sub") or ""
    return f"token:{hashlib.sha256(str(said).encode()).hexdigest()[:16]}"


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return our scopes among those of a token: a text with spaces (RFC 8693), or a list as some issuers write it."""
    said = claims.get("scope", claims.get("scp", ""))
    words = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
    return frozenset(word for word in words[:MOST_SCOPES] if isinstance(word, str) and SCOPE.match(word))
