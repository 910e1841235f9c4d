"""Who is let in, who is not, and that a refusal tells nothing."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import issuers
from issuers import AUDIENCE, ISSUER, Issuer
from scoregate.errors import Forbidden, ScoregateError, TooManyFailures, Unauthenticated
from scoregate.serving import buckets
from scoregate.serving.auth import Authenticator, source
from scoregate.serving.http import Request
from scoregate.serving.issuer import IssuerKeys
from scoregate.serving.keyfile import KeyFile
from scoregate.serving.keys import Keys
from scoregate.serving.principal import Principal
from scoregate.serving.tokens import Tokens
from scoregate.telemetry.logs import EventLog


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuers.issuer() as found:
        yield found


def request(authorization: str | None, forwarded: str | None = None, peer: str = "10.0.0.1") -> Request:
    said = {b"authorization": authorization, b"x-forwarded-for": forwarded}
    headers = [(name, value.encode("latin-1")) for name, value in said.items() if value is not None]
    scope = {"method": "POST", "path": "/", "query_string": b"", "headers": headers, "client": (peer, 1)}

    async def receive() -> Any:
        raise AssertionError("nobody reads a body to find out who asks")

    return Request(scope, receive)


class Doorkeeper:
    """An authenticator with a key `pay` for fraud:score, one that expired, and an issuer's tokens."""

    def __init__(self, folder: Path, issuer: Issuer, **limits: Any) -> None:
        path, log = folder / "keys.json", EventLog("toy", "stable", io.StringIO())
        past = datetime.now(UTC) - timedelta(days=1)
        self.key = KeyFile(path).create("pay", ["fraud:score"])
        self.expired = KeyFile(path).create("old", ["*:*"], expires_at=past)
        self.issuer = issuer
        self.tokens = Tokens(IssuerKeys(issuer.url, 600, log), ISSUER, AUDIENCE, 30)
        self.auth = Authenticator(Keys(path), self.tokens, **limits)

    def ask(self, *requests: Request, service: str = "fraud", verb: str = "score") -> list[Principal | ScoregateError]:
        """What each is answered, one after the other."""

        async def inside() -> list[Any]:
            self.auth.start()
            await self.tokens._keys._fetching()
            found: list[Any] = []
            for each in requests:
                found += await asyncio.gather(self.auth.authorise(each, service, verb), return_exceptions=True)
            await self.auth.close()
            return found

        return asyncio.run(inside())


@pytest.mark.parametrize("scope", ["fraud:score", "fraud:*", "*:score", "*:*"])
def test_scopes_and_wildcards_open(scope: str) -> None:
    """A star stands for every service or every verb."""
    assert Principal("pay", frozenset({scope})).may("fraud", "score")


@pytest.mark.parametrize("scope", ["credit:score", "fraud:read", "*:read", "credit:*"])
def test_another_scope_does_not(scope: str) -> None:
    """Neither another service nor another verb."""
    assert not Principal("pay", frozenset({scope})).may("fraud", "score")


def test_keys_and_tokens_open(tmp_path: Path, issuer: Issuer) -> None:
    """Both ways lead to the same scopes; the scheme is read without regard to case."""
    door = Doorkeeper(tmp_path, issuer)
    found = door.ask(request(f"Bearer {door.key}"), request(f"bearer  {door.key} "), request(f"Bearer {issuer.sign()}"))

    assert [{"fraud:score"}] * 3 == [each.scopes for each in found if isinstance(each, Principal)]


def test_every_way_of_being_wrong_reads_the_same(tmp_path: Path, issuer: Issuer) -> None:
    """Absent, malformed, unknown, wrong, expired, forged: nothing tells which."""
    door = Doorkeeper(tmp_path, issuer)
    issuer.add("mine", publish=False)
    wrong = [None, "", "Bearer", door.key, f"Basic {door.key}", "Bearer sg_who_x", f"Bearer {door.key}x", "Bearer ä"]
    wrong += [f"Bearer {door.expired}", "Bearer a.b.c", f"Bearer {issuer.sign('mine')}", f"Bearer {issuer.sign(exp=9)}"]
    found = door.ask(*map(request, wrong))

    assert {Unauthenticated} == {type(each) for each in found}
    assert 1 == len({json.dumps(each.as_problem()) for each in found if isinstance(each, ScoregateError)})


def test_a_scope_that_lacks_reads_the_same_for_everybody(tmp_path: Path, issuer: Issuer) -> None:
    """403 repeats neither the scope that is needed nor those that are there."""
    door = Doorkeeper(tmp_path, issuer)
    ways = (request(f"Bearer {door.key}"), request(f"Bearer {issuer.sign()}"))
    found = door.ask(*ways, verb="read") + door.ask(*ways, service="kyc")

    assert {Forbidden} == {type(each) for each in found}
    assert 1 == len({json.dumps(each.as_problem()) for each in found if isinstance(each, ScoregateError)})


def test_failed_attempts_of_an_address_are_limited(tmp_path: Path, issuer: Issuer) -> None:
    """Beyond the limit it is told to wait; another address is not, and a good key still opens."""
    door = Doorkeeper(tmp_path, issuer, failures_per_min=3)
    wrong = [request(f"Bearer guess-{number}", "192.0.2.7") for number in range(5)]
    other, good = request("Bearer guess", "192.0.2.8"), request(f"Bearer {door.key}", "192.0.2.7")
    *found, elsewhere, opened = door.ask(*wrong, other, good)

    assert [Unauthenticated] * 3 + [TooManyFailures] * 2 == [type(each) for each in found]
    assert (Unauthenticated, Principal) == (type(elsewhere), type(opened))


def test_good_tokens_use_up_no_attempts(tmp_path: Path, issuer: Issuer) -> None:
    """However many callers with fresh tokens share an address."""
    door = Doorkeeper(tmp_path, issuer, failures_per_min=3)
    found = door.ask(*(request(f"Bearer {issuer.sign(jti=str(number))}") for number in range(10)))

    assert {Principal} == {type(each) for each in found}


def test_beyond_the_limit_no_signature_is_checked(tmp_path: Path, issuer: Issuer) -> None:
    """That is what the limit is for: a stranger's tokens cost us nothing any more."""
    door = Doorkeeper(tmp_path, issuer, failures_per_min=1)
    found = door.ask(request("Bearer a.b.c"), request(f"Bearer {issuer.sign()}"))

    assert [Unauthenticated, TooManyFailures] == [type(each) for each in found]


def test_no_credentials_are_no_attempt(tmp_path: Path, issuer: Issuer) -> None:
    """Who sends none guesses nothing, and is told each time what to send."""
    door = Doorkeeper(tmp_path, issuer, failures_per_min=1)

    assert [Unauthenticated] * 5 == [type(each) for each in door.ask(*[request(None)] * 5)]


@pytest.mark.parametrize(
    ("forwarded", "proxies", "expected"),
    [
        (None, 1, "10.0.0.1"),
        ("192.0.2.1", 1, "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", 1, "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", 2, "203.0.113.9"),
        ("192.0.2.1", 0, "10.0.0.1"),
        ("192.0.2.1", 2, "10.0.0.1"),
        ("a name, or worse", 1, "10.0.0.1"),
    ],
)
def test_the_address_is_what_our_own_proxies_say(forwarded: str | None, proxies: int, expected: str) -> None:
    """Only as many entries are believed as there are proxies: whatever stands before them anybody may have written."""
    assert expected == source(request(None, forwarded), proxies)


def test_addresses_of_one_ipv6_customer_are_one() -> None:
    """A /64 has more addresses than anybody could be limited by."""
    first, second, other = (source(request(None, said), 1) for said in ("2001:db8::1", "2001:db8::ffff", "2001:db9::1"))

    assert first == second != other


def test_the_memory_of_addresses_is_bounded() -> None:
    """The one that was not seen for longest is forgotten."""
    few = buckets.Buckets(most=3)
    for name in ("a", "b", "c", "a", "d"):
        few.take(name, 1, 10)

    assert (3, ["c", "a", "d"]) == (len(few), list(few._buckets))
