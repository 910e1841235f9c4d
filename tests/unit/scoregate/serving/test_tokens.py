"""Tokens of an issuer: what is good, what is not, and when the issuer is asked. The issuer's server is a real one."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

import issuers
from issuers import AUDIENCE, ISSUER, Issuer
from scoregate.errors import IssuerUnavailable, Unauthenticated
from scoregate.serving import issuer as fetching
from scoregate.serving import tokens as tokens_module
from scoregate.serving.issuer import IssuerKeys
from scoregate.serving.principal import Principal
from scoregate.serving.tokens import Tokens
from scoregate.telemetry.logs import EventLog


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    """An issuer that may be asked again at once; the tests of that bound set their own."""
    monkeypatch.setattr(fetching, "LEAST_BETWEEN_S", 0.0)
    with issuers.issuer() as found:
        yield found


def run(issuer: Issuer, act: Callable[[Tokens], Awaitable[Any]], refresh_s: float = 600) -> Any:
    """Do something with tokens whose issuer's keys have been fetched, or were tried to."""

    async def inside() -> Any:
        keys = IssuerKeys(issuer.url, refresh_s, EventLog("toy", "stable", io.StringIO()))
        tokens = Tokens(keys, ISSUER, AUDIENCE, 30)
        tokens.start()
        try:
            await keys._fetching()
            return await act(tokens)
        finally:
            await tokens.close()

    return asyncio.run(inside())


def verified(issuer: Issuer, raw: str) -> Principal:
    found: Principal = run(issuer, lambda tokens: tokens.verified(raw))
    return found


@pytest.mark.parametrize("algorithm", sorted(issuers.MAKERS))
def test_a_good_token_opens(issuer: Issuer, algorithm: str) -> None:
    """RSA, elliptic and Edwards keys; the scopes are those of our form."""
    issuer.add("key", algorithm)

    found = verified(issuer, issuer.sign("key", "openid fraud:score *:read profile"))

    assert frozenset({"fraud:score", "*:read"}) == found.scopes


@pytest.mark.parametrize("claims", [{"scope": None, "scp": ["fraud:score"]}, {"scope": None, "scp": "fraud:score"}])
def test_scopes_as_other_issuers_write_them(issuer: Issuer, claims: dict[str, Any]) -> None:
    """`scp`, as a list or a text, stands in for `scope`."""
    assert frozenset({"fraud:score"}) == verified(issuer, issuer.sign(**claims)).scopes


@pytest.mark.parametrize("scope", [None, 7, [], {"fraud:score": 1}, "fraud", "fraud:fly", "FRAUD:score"])
def test_what_is_no_scope_allows_nothing(issuer: Issuer, scope: Any) -> None:
    """A token without scopes of ours is somebody who may do nothing."""
    assert frozenset() == verified(issuer, issuer.sign(scope=scope)).scopes


def test_clients_have_rates_of_their_own(issuer: Issuer) -> None:
    """Two tokens of one client are one caller, those of two clients are two."""
    raws = [issuer.sign(client_id="a"), issuer.sign(client_id="a", jti="2"), issuer.sign(client_id="b")]

    names = [verified(issuer, raw).key_id for raw in raws]

    assert names[0] == names[1] != names[2]


def _hour(ago: float) -> float:
    return time.time() - ago * 3600


WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://other.test"},
    "an issuer that only begins like ours": {"iss": ISSUER + ".evil.test"},
    "another audience": {"aud": "shop"},
    "no audience": {"aud": None},
    "no issuer": {"iss": None},
    "no end": {"exp": None},
    "expired": {"exp": _hour(1)},
    "not yet": {"nbf": _hour(-1)},
    "issued in the future": {"iat": _hour(-1)},
    "an end that is no time": {"exp": "tomorrow"},
}


@pytest.mark.parametrize("why", WRONG)
def test_a_token_that_is_not_for_us_now(issuer: Issuer, why: str) -> None:
    """Each claim is required and checked."""
    with pytest.raises(Unauthenticated):
        verified(issuer, issuer.sign(**WRONG[why]))


def test_clocks_may_differ_a_little(issuer: Issuer) -> None:
    """Within the leeway a token that has just ended, or begins just now, is good."""
    assert verified(issuer, issuer.sign(exp=time.time() - 5, nbf=time.time() + 5, iat=time.time() + 5))


def _unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join((*parts, ""))


def test_none_is_no_algorithm(issuer: Issuer) -> None:
    """A token that says it needs no signature is refused."""
    claims = jwt.decode(issuer.sign(), options={"verify_signature": False})

    for said in ("none", "None", "NONE"):
        with pytest.raises(Unauthenticated):
            verified(issuer, _unsigned({"alg": said, "kid": "one"}, claims))


def test_a_public_key_is_no_shared_secret(issuer: Issuer) -> None:
    """The classic forgery: HS256 with the bytes of the public key, which everybody has."""
    import hashlib
    import hmac

    pem = (
        issuer.keys["one"][1]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    claims = jwt.decode(issuer.sign(), options={"verify_signature": False})
    signed = _unsigned({"alg": "HS256", "kid": "one"}, claims)[:-1]
    mac = base64.urlsafe_b64encode(hmac.new(pem, signed.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()

    with pytest.raises(Unauthenticated):
        verified(issuer, f"{signed}.{mac}")


def test_a_published_secret_signs_nothing(issuer: Issuer) -> None:
    """A symmetric key in a JWKS is passed over, even when it is what signed the token."""
    secret = "s" * 64
    encoded = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    issuer.published["shared"] = {"kty": "oct", "k": encoded, "kid": "shared", "alg": "HS256"}
    claims = jwt.decode(issuer.sign(), options={"verify_signature": False})

    with pytest.raises(Unauthenticated):
        verified(issuer, jwt.encode(claims, secret, "HS256", headers={"kid": "shared"}))


def test_another_key_under_a_known_id(issuer: Issuer) -> None:
    """The signature counts, not the id that a token names."""
    issuer.add("mine", publish=False)

    with pytest.raises(Unauthenticated):
        verified(issuer, issuer.sign("mine", headers={"kid": "one"}))


def test_an_extension_that_is_not_understood(issuer: Issuer) -> None:
    """What a token calls critical must be understood, or it is refused (RFC 7515)."""
    with pytest.raises(Unauthenticated):
        verified(issuer, issuer.sign(headers={"crit": ["exp-not"], "exp-not": 1}))


@pytest.mark.parametrize(
    "raw",
    ["", ".", "..", "a.b.c", "ä.ö.ü", "e30.e30.", "sg_demo_x.y.z", "x" * 9_000, "." * 3, "bnVsbA.e30.x", "W10.e30.x"],
)
def test_what_is_no_token(issuer: Issuer, raw: str) -> None:
    """Anything else is refused in the same way."""
    with pytest.raises(Unauthenticated):
        verified(issuer, raw)


def test_a_header_nested_beyond_reason(issuer: Issuer) -> None:
    """A header that would exhaust the parser's stack is refused, not an error of ours."""
    header = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":' + b"[" * 5_000).rstrip(b"=").decode()

    with pytest.raises(Unauthenticated):
        verified(issuer, f"{header}.e30.x")


def test_a_token_is_verified_once(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is known by its digest, until it ends."""
    raw, ends = issuer.sign(), time.time() + 600 + 30

    async def act(tokens: Tokens) -> list[bool]:
        found = [tokens.known(raw) is not None]
        await tokens.verified(raw)
        for now in (ends - 5, ends + 5):
            monkeypatch.setattr(tokens_module.time, "time", lambda now=now: now)
            found.append(tokens.known(raw) is not None)
        return found

    assert [False, True, False] == run(issuer, act)


def test_the_memory_of_tokens_is_bounded(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most, the one that was verified first is forgotten, and verified again when it comes."""
    monkeypatch.setattr("scoregate.serving.tokens.MOST_KNOWN", 2)
    raws = [issuer.sign(jti=str(number)) for number in range(3)]

    async def act(tokens: Tokens) -> list[bool]:
        for raw in raws:
            await tokens.verified(raw)
        return [tokens.known(raw) is not None for raw in raws]

    assert [False, True, True] == run(issuer, act)


def test_a_new_key_is_fetched_when_it_is_first_met(issuer: Issuer) -> None:
    """An issuer that rotates without notice loses no request."""

    async def act(tokens: Tokens) -> Principal:
        issuer.add("two")
        return await tokens.verified(issuer.sign("two"))

    assert run(issuer, act)


def test_unknown_key_ids_do_not_make_us_ask_again_and_again(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key ids come from anybody: a hundred that nobody knows, and the issuer is asked once at most."""
    monkeypatch.setattr(fetching, "LEAST_BETWEEN_S", 60.0)
    issuer.add("own", publish=False)
    raws = [issuer.sign("own", headers={"kid": f"guess-{number}"}) for number in range(100)]

    async def act(tokens: Tokens) -> int:
        found = await asyncio.gather(*(tokens.verified(raw) for raw in raws), return_exceptions=True)
        assert all(isinstance(each, Unauthenticated) for each in found)
        return issuer.asked

    assert 1 == run(issuer, act)


def test_requests_share_one_fetch(issuer: Issuer) -> None:
    """Many first tokens of a new key at once are one question to the issuer, and all are let in."""

    async def act(tokens: Tokens) -> tuple[int, list[Any]]:
        issuer.add("two")
        issuer.delay_s = 0.05
        before = issuer.asked
        raws = [issuer.sign("two", jti=str(number)) for number in range(20)]
        found = await asyncio.gather(*(tokens.verified(raw) for raw in raws))
        return issuer.asked - before, found

    asked, found = run(issuer, act)

    assert (1, 20) == (asked, len(found))


def test_a_known_key_needs_no_issuer(issuer: Issuer) -> None:
    """While the issuer fails, in whatever way, the last good keys count; it is said that they age."""

    async def act(tokens: Tokens) -> list[Any]:
        found = []
        for issuer.status, issuer.body in ((500, None), (200, b"<html>"), (200, b'{"keys": []}'), (200, b"[" * 9_000)):
            await tokens._keys._fetching()
            found.append(await tokens.verified(issuer.sign(jti=str(len(found)))))
        return found

    assert 4 == len(run(issuer, act))


def test_a_document_that_is_too_large_is_not_read_to_its_end(issuer: Issuer) -> None:
    """What the issuer sends is bounded like all that comes from outside; the keys of before count."""

    async def act(tokens: Tokens) -> Principal:
        issuer.body = issuer.document() + b" " * (fetching.MOST_BYTES + 1)
        await tokens._keys._fetching()
        return await tokens.verified(issuer.sign())

    assert run(issuer, act)


def test_an_issuer_that_was_never_reached(issuer: Issuer) -> None:
    """Nothing can be checked, which is not the token's fault: 503, and said as a degradation."""
    issuer.status = 503

    async def act(tokens: Tokens) -> list[str]:
        with pytest.raises(IssuerUnavailable):
            await tokens.verified(issuer.sign())
        return tokens.without()

    assert "never been fetched" in run(issuer, act)[0]


def test_an_issuer_that_hangs_holds_nobody(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request waits a bounded time for keys, however long the issuer takes."""
    monkeypatch.setattr(fetching, "WAIT_S", 0.01)

    async def act(tokens: Tokens) -> bool:
        issuer.add("two")
        issuer.delay_s = 1.0
        with pytest.raises(Unauthenticated):
            await tokens.verified(issuer.sign("two"))
        return tokens._keys._fetch is not None and not tokens._keys._fetch.done()

    assert run(issuer, act), "the fetch was still under way when the request was answered"


def test_a_withdrawn_key_takes_its_tokens_with_it(issuer: Issuer) -> None:
    """After the next fetch nothing that it signed is known or good."""
    issuer.add("two")
    raw = issuer.sign("one")

    async def act(tokens: Tokens) -> Principal | None:
        await tokens.verified(raw)
        issuer.withdraw("one")
        await tokens._keys._fetching()
        with pytest.raises(Unauthenticated):
            await tokens.verified(raw)
        return tokens.known(raw)

    assert run(issuer, act) is None


def test_keys_too_old_are_good_no_longer(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key may have been withdrawn while the issuer could not be asked: after a day nothing is taken for granted."""
    monkeypatch.setattr(fetching, "STALE_S", 0.0)

    with pytest.raises(IssuerUnavailable):
        verified(issuer, issuer.sign())


def test_keys_are_fetched_again_by_themselves(issuer: Issuer) -> None:
    """No request is needed for a withdrawn key to be noticed."""

    async def act(tokens: Tokens) -> int:
        for _ in range(3):
            await asyncio.to_thread(issuer.fetched.acquire)
        return issuer.asked

    assert 3 <= run(issuer, act, refresh_s=0.02)


@pytest.mark.parametrize(
    "change",
    [{"use": "enc"}, {"kid": 7}, {"kty": "XYZ"}, {"crv": "P-999"}, {"x": "!"}, {"d": "AAAA"}, {"alg": "HS256"}],
)
def test_keys_that_cannot_be_used_are_passed_over(issuer: Issuer, change: dict[str, Any]) -> None:
    """One odd key does not cost the others."""
    issuer.published["odd"] = issuer.published["one"] | {"kid": "odd"} | change

    assert ["one"] == list(fetching.public_keys(issuer.document()))


def test_a_short_rsa_key_is_passed_over(issuer: Issuer) -> None:
    """Below 2,048 bits a key can be broken."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    short = rsa.generate_private_key(65537, 1024)
    issuer.published["short"] = issuers.public_jwk(short, "RS256", "short")

    assert ["one"] == list(fetching.public_keys(issuer.document()))
