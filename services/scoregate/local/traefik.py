"""What Traefik is told: pure functions from ports, weights and limits to its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from scoregate.serving.http import SECURITY_HEADERS, STRANGE_TRACE
from scoregate.values import frozen

HOST = "127.0.0.1"
STABLE = "stable"
CANARY = "canary"
ALL, DECISIONS = "all", "decisions"
"""Transports: of one record that is scored, and of all else."""


@frozen
class Certificate:
    """Files in PEM of the gateway's certificate, with its chain, and of its key."""

    chain: Path
    key: Path


HSTS = "max-age=31536000"
"""With TLS alone: a browser ignores it otherwise."""


@frozen
class GatewayLimits:
    """What the gateway refuses by itself. Services enforce their own limits as well: plain Gateway API carries none."""

    max_body_bytes: int = 1_048_576
    rate_per_s: int = 20_000
    """Per source address, on average; on one machine every client has the same address."""
    burst: int = 10_000
    answer_s: float = 3.0
    """Longest wait for a service's answer; above the service's own deadline, so that its answer comes first."""
    decision_s: float = 1.0
    """Longest wait for one decision: a little less than its deadline, which a process that was killed cannot keep."""
    health_interval_s: float = 1.0
    drain_s: float = 2.0


DEFAULT_LIMITS: Final = GatewayLimits()


@frozen
class Traces:
    """Where the gateway's spans go, and of what share of the requests that begin a trace here."""

    url: str
    share: float
    protocol: str = "http/protobuf"

    def exporter(self) -> dict[str, Any]:
        if self.protocol != "grpc":
            return {"http": {"endpoint": self.url}}
        parts = urlsplit(self.url)
        return {"grpc": {"endpoint": parts.netloc, "insecure": parts.scheme != "https"}}


def static_config(
    routes: Path,
    *,
    port: int,
    host: str = HOST,
    metrics_port: int | None = None,
    traces: Traces | None = None,
    limits: GatewayLimits = DEFAULT_LIMITS,
    certificate: Certificate | None = None,
) -> dict[str, Any]:
    """What needs a restart. `routes`: the watched folder. With a certificate the port speaks HTTPS alone."""
    config: dict[str, Any] = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "INFO", "format": "json"},
        "entryPoints": {
            "web": {
                "address": f"{host}:{port}",
                # Of a request on its way: a router says where one is traced.
                "observability": {"tracing": False},
                "http": {
                    # Else `X_Request_Id` passes where `X-Request-Id` is meant.
                    "aliasHeadersStrategy": "delete",
                    "maxHeaderBytes": 65_536,
                },
                "transport": {
                    "respondingTimeouts": {
                        "readTimeout": "10s",
                        "writeTimeout": f"{limits.answer_s + 10:g}s",
                        "idleTimeout": "120s",
                    },
                    "lifeCycle": {"graceTimeOut": f"{limits.drain_s:g}s"},
                },
            }
        },
        "providers": {
            # Default 2 s: a change that follows another would wait that long, and a rollback is one.
            "providersThrottleDuration": "50ms",
            "file": {"directory": str(routes), "watch": True},
        },
    }
    if certificate is not None:
        config["entryPoints"]["web"]["http"]["tls"] = {}
    if metrics_port is not None:
        config["entryPoints"]["metrics"] = {"address": f"{host}:{metrics_port}"}
        config["metrics"] = {"prometheus": {"entryPoint": "metrics"}}
    if traces is not None:
        config["tracing"] = {"serviceName": "gateway", "sampleRate": traces.share, "otlp": traces.exporter()}
    return config


def shared_config(
    *,
    problems_port: int,
    problems_host: str = HOST,
    limits: GatewayLimits = DEFAULT_LIMITS,
    certificate: Certificate | None = None,
) -> dict[str, Any]:
    """What every route goes through: headers, our problems in place of Traefik's text, the rate, the body, a retry."""
    hsts = {} if certificate is None else {"Strict-Transport-Security": HSTS}
    tls = {} if certificate is None else {"tls": _tls(certificate)}
    pages = f"http://{problems_host}:{problems_port}"
    return {
        **tls,
        "http": {
            "routers": {
                "nothing": {
                    "rule": "PathPrefix(`/`)",
                    "priority": 1,
                    "entryPoints": ["web"],
                    "middlewares": ["edge"],
                    "service": "nothing",
                }
            },
            "middlewares": {
                "edge": {"chain": {"middlewares": ["security", "problems", "rate", "body", "again"]}},
                # An empty value takes a header away: who serves is nobody's business.
                "security": {
                    "headers": {
                        "customResponseHeaders": {**SECURITY_HEADERS, **hsts, "Server": ""},
                        "customRequestHeaders": {STRANGE_TRACE: ""},
                    }
                },
                "strange": {"headers": {"customRequestHeaders": {STRANGE_TRACE: "1"}}},
                "problems": {
                    "errors": {
                        # Only codes that Traefik makes itself. 400, 401, 403, 404, 409, 422 and 503 carry the
                        # service's own details and must never be here.
                        "status": ["413", "429", "502", "504"],
                        "service": "problems",
                        "query": "/problem/{status}",
                        "errorRequestHeaders": ["X-Request-Id"],
                    }
                },
                "rate": {
                    "rateLimit": {
                        "average": limits.rate_per_s,
                        "burst": limits.burst,
                        "sourceCriterion": {"ipStrategy": {"depth": 0}},
                    }
                },
                "body": {
                    "buffering": {
                        "maxRequestBodyBytes": limits.max_body_bytes,
                        # Never to disk: bodies are personal data.
                        "memRequestBodyBytes": limits.max_body_bytes,
                        "memResponseBodyBytes": 16 * limits.max_body_bytes,
                    }
                },
                # What a dying process was asked is asked again, POST too: one natural key is one decision, and one
                # event's key one event, however often they come. Many times, in 0.3 s at most: with requests in
                # between, each turn may be the dead arm's again, until the health check has seen that it is dead.
                "again": {
                    "retry": {
                        "attempts": 8,
                        "initialInterval": "10ms",
                        # No service says 502: it is a connection that broke after the request was on its way.
                        "status": ["502"],
                        "retryNonIdempotentMethod": True,
                        # "body" has bounded it. With a bound here Traefik takes that much memory for each request,
                        # which doubles what one costs.
                        "maxRequestBodyBytes": -1,
                    }
                },
            },
            "services": {
                "problems": _pages(pages),
                "nothing": _pages(pages + "/problem/404"),
                "unavailable": _pages(pages + "/problem/503"),
            },
            "serversTransports": {ALL: _transport(limits.answer_s), DECISIONS: _transport(limits.decision_s)},
        },
    }


def _transport(answer_s: float) -> dict[str, Any]:
    return {
        "maxIdleConnsPerHost": 256,
        "forwardingTimeouts": {
            "dialTimeout": "250ms",
            "responseHeaderTimeout": f"{answer_s:g}s",
            # Shorter than the services keep connections: else a request meets a closing one.
            "idleConnTimeout": "30s",
        },
    }


def _tls(certificate: Certificate) -> dict[str, Any]:
    """One certificate, whatever name is asked for; TLS 1.2 with forward secrecy, or 1.3."""
    files = {"certFile": str(certificate.chain), "keyFile": str(certificate.key)}
    suites = [
        f"TLS_ECDHE_{key}_WITH_{cipher}"
        for key in ("ECDSA", "RSA")
        for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
    ]
    return {
        "certificates": [files],
        "stores": {"default": {"defaultCertificate": files}},
        "options": {"default": {"minVersion": "VersionTLS12", "cipherSuites": suites}},
    }


def _pages(url: str) -> dict[str, Any]:
    server = {"url": url, "preservePath": True}
    return {"loadBalancer": {"servers": [server], "passHostHeader": False}}
