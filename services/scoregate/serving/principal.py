"""Who asks, and what they may do: `<service>:<verb>`, with a star for every service or every verb."""

from __future__ import annotations

import re

from scoregate.values import frozen

VERBS = ("score", "events", "read")
"""What may be done at a service: decide, post events, read decisions and the model."""

SCOPE = re.compile(rf"^(\*|[a-z][a-z0-9_]{{0,30}}):(\*|{'|'.join(VERBS)})$")


@frozen
class Principal:
    """A key's id or a token's client, its scopes, and its own rate where it has one."""

    key_id: str
    scopes: frozenset[str]
    rate_per_s: float | None = None

    def may(self, service: str, verb: str) -> bool:
        return not self.scopes.isdisjoint((f"{service}:{verb}", f"{service}:*", f"*:{verb}", "*:*"))
