"""Features through Feast's own SDK: too slow to serve, and the oracle that the direct reader is held to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from feast import FeatureStore
from feast.online_response import OnlineResponse
from feast.type_map import feast_value_type_to_python_type
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from scoregate.errors import StoreUnavailable
from scoregate.features import FeatureRow
from scoregate.features.plan import FeaturePlan, ViewPlan
from scoregate.features.reading import StoredRow, assemble, marker_key, read_marker


class FeastFeatures:
    """Reads through `get_online_features`; only the markers, which Feast does not know, are read beside it."""

    def __init__(self, plan: FeaturePlan, store: FeatureStore, url: str) -> None:
        self._plan, self._store = plan, store
        self._service = store.get_feature_service(plan.service)
        # The client's annotations know no binary keys.
        self._redis: Any = Redis.from_url(url, retry=Retry(NoBackoff(), 0))

    async def read(self, entities: Mapping[str, str], now_s: float) -> FeatureRow:
        streams = self._plan.streams
        try:
            # The markers first: Feast's client would try a dead store for many seconds.
            markers = {s: read_marker(await self._redis.hgetall(marker_key(self._plan.project, s))) for s in streams}
            answer = await asyncio.to_thread(self._ask, dict(entities))
        except (RedisError, OSError) as problem:
            raise StoreUnavailable(f"the online store does not answer: {type(problem).__name__}") from problem
        found = {stream: marker for stream, marker in markers.items() if marker is not None}
        return assemble(self._plan, entities, [_row(answer, view) for view in self._plan.views], found, now_s)

    async def read_all(self, entities: Sequence[Mapping[str, str]], now_s: float) -> list[FeatureRow]:
        return [await self.read(each, now_s) for each in entities]

    def _ask(self, entities: dict[str, str]) -> OnlineResponse:
        row = {key: entities[key] for key in self._plan.join_keys}
        return self._store.get_online_features(self._service, [row], full_feature_names=True)

    async def close(self) -> None:
        await self._redis.aclose()


def _row(answer: OnlineResponse, view: ViewPlan) -> StoredRow | None:
    names = list(answer.proto.metadata.feature_names.val)
    results = [answer.proto.results[names.index(f"{view.name}__{feature}")] for feature, _ in view.features]
    stamp = results[0].event_timestamps[0]
    at_s = stamp.seconds + stamp.nanos / 1e9
    # Feast stamps what it did not find with the epoch.
    if at_s == 0:
        return None
    values = [feast_value_type_to_python_type(result.values[0]) for result in results]
    return StoredRow({feature: value for (feature, _), value in zip(view.features, values, strict=True)}, at_s)
