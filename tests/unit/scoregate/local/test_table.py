"""What `up` ends with."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

from rich.console import Console

from scoregate.local.champions import Champion
from scoregate.local.table import curl, show_services, show_ways_in

URL = "http://127.0.0.1:8080"
EXAMPLE = {"name": "Zoë O'Neill", "amount_minor": 1250}


def test_curl_can_be_pasted() -> None:
    """A shell takes the line as it is, quotes in names and all."""

    words = shlex.split(curl(URL, "kyc", "sg_demo_x", EXAMPLE))

    assert "curl" == words[0]
    assert "http://127.0.0.1:8080/v1/kyc/score" in words
    assert "Authorization: Bearer sg_demo_x" in words
    assert EXAMPLE == json.loads(words[-1])


def test_curl_is_one_line_whatever_the_width() -> None:
    """A narrow terminal must not break what is to be pasted."""
    console = Console(file=(out := io.StringIO()), width=40)

    show_ways_in(console, URL, "sg_demo_x", {"kyc": EXAMPLE}, Path("/home/demo.key"))

    assert curl(URL, "kyc", "sg_demo_x", EXAMPLE) in out.getvalue().splitlines()


def test_table_says_service_url_model_and_metric() -> None:
    """One row per service."""
    console = Console(file=(out := io.StringIO()), width=120)

    show_services(console, URL, {"fraud": Champion("0123456789ab", "ROC-AUC 0.911 [0.900, 0.921]"), "kyc": None})

    [_, fraud, kyc] = out.getvalue().splitlines()
    assert ["fraud", "http://127.0.0.1:8080/v1/fraud/score", "0123456789ab"] == fraud.split()[:3]
    assert "ROC-AUC 0.911 [0.900, 0.921]" in fraud
    assert "kyc" in kyc
