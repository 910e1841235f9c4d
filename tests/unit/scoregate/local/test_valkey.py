"""The online store of one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoregate.local.valkey import answers, config_text, store_port


def test_store_never_drops_what_it_was_told() -> None:
    """An evicted tile would read as an absent one; a refused write is seen."""

    lines = config_text(Path("/home/of state"), 6390).splitlines()

    assert {"maxmemory-policy noeviction", "appendonly yes", "bind 127.0.0.1", 'dir "/home/of state/valkey"'} <= set(
        lines
    )


@pytest.mark.parametrize(
    ("url", "port"),
    [("redis://127.0.0.1:6390/0", 6390), ("redis://localhost/0", 6379), ("rediss://store.internal:6379/0", None)],
)
def test_only_a_store_of_this_machine_is_started(url: str, port: int | None) -> None:
    """Somebody else's store is used, not started."""

    assert port == store_port(url)


def test_nobody_there_is_no_answer() -> None:
    """A closed port is not a store."""

    assert not answers(1)
