"""An issuer of tokens for tests: real keys, and a real HTTP server for its JWKS that can be made to fail."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Semaphore, Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

ISSUER, AUDIENCE = "https://issuer.test", "scoregate"

MAKERS: dict[str, Any] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2_048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def public_jwk(key: Any, algorithm: str, kid: str, **changes: Any) -> dict[str, Any]:
    """Return the public half as it stands in a JWKS."""
    said = get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True)
    return {**said, "kid": kid, "alg": algorithm, "use": "sig", **changes}


@dataclass
class Issuer:
    """Signs, publishes, and counts how often it was asked; `answers` may be broken on purpose."""

    url: str = ""
    keys: dict[str, tuple[str, Any]] = field(default_factory=dict)
    published: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: int = 0
    status: int = 200
    body: bytes | None = None
    delay_s: float = 0.0
    fetched: Semaphore = field(default_factory=lambda: Semaphore(0))
    """Released at each answer."""

    def add(self, kid: str, algorithm: str = "ES256", *, publish: bool = True) -> None:
        key = MAKERS[algorithm]()
        self.keys[kid] = algorithm, key
        if publish:
            self.publish(kid)

    def publish(self, kid: str) -> None:
        algorithm, key = self.keys[kid]
        self.published[kid] = public_jwk(key, algorithm, kid)

    def withdraw(self, kid: str) -> None:
        del self.published[kid]

    def sign(self, kid: str = "one", scope: Any = "fraud:score", headers: Any = None, **claims: Any) -> str:
        """Return a token that is good unless a claim says otherwise; None takes a claim away."""
        now = time.time()
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "payments", "iat": now, "exp": now + 600, "scope": scope}
        said = {name: value for name, value in (said | claims).items() if value is not None}
        algorithm, key = self.keys[kid]
        return jwt.encode(said, key, algorithm, headers={"kid": kid, **(headers or {})})

    def document(self) -> bytes:
        return json.dumps({"keys": list(self.published.values())}).encode() if self.body is None else self.body


@contextmanager
def issuer() -> Iterator[Issuer]:
    """Serve an issuer with one key, `one`."""
    found = Issuer()
    found.add("one")

    class Jwks(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked += 1
            time.sleep(found.delay_s)
            content = found.document()
            self.send_response(found.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            found.fetched.release()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Jwks) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
