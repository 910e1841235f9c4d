"""One persona per service: a caller of its scoring API, with requests like those the model was accepted with."""

from __future__ import annotations

import itertools
import random
import uuid

from goldens import requests_of
from locust import HttpUser, between, task

from scoregate import catalog
from scoregate.settings import Settings

_run = uuid.uuid4().hex[:8]
_serial = itertools.count()


class _Caller(HttpUser):
    abstract = True
    service = ""
    wait_time = between(0.0, 0.02)

    def on_start(self) -> None:
        settings = Settings()
        self._key = (settings.home / "demo.key").read_text().strip()
        self._natural_key = catalog.part(self.service, "contract").Request.NATURAL_KEY
        self._requests = requests_of(self.service, settings)

    @task
    def score(self) -> None:
        body = dict(random.choice(self._requests))  # noqa: S311 - load, not a secret
        # A new id each time: a repeated one would only read its first decision again.
        body[self._natural_key] = f"load-{_run}-{next(_serial)}"
        with self.client.post(
            f"/v1/{self.service}/score",
            json=body,
            headers={"Authorization": f"Bearer {self._key}"},
            name=f"/v1/{self.service}/score",
            catch_response=True,
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif response.json().get("source") != "model":
                response.failure("answered without the model")


def personas(host: str) -> list[type[HttpUser]]:
    """One class per service folder, calling the gateway at `host`."""
    names = catalog.services()
    return [
        type(f"{name.title()}Caller", (_Caller,), {"service": name, "host": host, "abstract": False}) for name in names
    ]
