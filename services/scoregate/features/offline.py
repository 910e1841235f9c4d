"""Feast's DuckDB store with as-of joins.

Feast's own joins by inequality: every earlier row of an entity is paired with every request about it, and all but one
are thrown away, which is quadratic where each event leaves a row. DuckDB's ASOF JOIN sorts once. The rest of the store
is Feast's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from scoregate.features.windows import KEPT

UTC_US = pa.timestamp("us", tz="UTC")


class AsofDuckDBOfflineStoreConfig(DuckDBOfflineStoreConfig):  # type: ignore[misc]  # feast has no types
    """`root`: folder that relative source paths begin at, itself relative to the feature repository."""

    type: str = "scoregate.features.offline.AsofDuckDBOfflineStore"
    root: str = "."


class AsofRetrievalJob(RetrievalJob):  # type: ignore[misc]  # feast has no types
    """A query that is run when its result is asked for."""

    def __init__(
        self, run: Callable[[], pa.Table], full_feature_names: bool, metadata: RetrievalMetadata | None
    ) -> None:
        super().__init__()
        self._run = run
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # Feast's signature
        return self._run()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:  # Feast's signature
        return self._run().to_pandas()

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        raise NotImplementedError("saved data sets are not kept by this store")


class AsofDuckDBOfflineStore(DuckDBOfflineStore):  # type: ignore[misc]  # feast has no types
    """Parquet files under one root; rows in = rows out, in the order they came in."""

    supports_filter_by_created_timestamp = False

    @staticmethod
    def get_historical_features(  # Feast's signature
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **_: Any,
    ) -> RetrievalJob:
        """Join each request with the newest row of each view at or before its time.

        Raises:
            TypeError: the requests are not a DataFrame.
            ValueError: an on-demand view is asked for.
        """
        if not isinstance(entity_df, pd.DataFrame):
            raise TypeError("requests must be a DataFrame with the join keys and an event timestamp")
        if OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry):
            raise ValueError("on-demand views are pickled code: request-time features live in the services")
        time_column = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        requests = _requests(entity_df, time_column)

        def run() -> pa.Table:
            joined = requests
            for view in feature_views:
                wanted = _columns(view, feature_refs, full_feature_names)
                for name, column in _asof(config, view, wanted, requests, time_column).items():
                    joined = joined.append_column(name, column)
            return joined

        keys = [name for name in entity_df.columns if name != time_column]
        times = entity_df[time_column]
        return AsofRetrievalJob(
            run, full_feature_names, RetrievalMetadata(feature_refs, keys, times.min(), times.max())
        )

    @staticmethod
    def pull_latest_from_table_or_query(  # Feast's signature
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """Find the newest time of each entity first, and read the wide columns of those rows only."""
        times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        keys, when = _list(join_key_columns), _utc(timestamp_field)
        same = " AND ".join(f"history.{_name(key)} = newest.{_name(key)}" for key in join_key_columns)
        corrections_first = ", ".join(f"{_utc(name)} DESC" for name in times)
        query = f"""
            WITH history AS (SELECT * FROM {_table(config, data_source)}),
            newest AS (
                SELECT {keys}, max({when}) AS __at FROM history
                WHERE {when} BETWEEN $start_date AND $end_date GROUP BY {keys}
            )
            SELECT {", ".join(f"history.{_name(c)}" for c in [*join_key_columns, *feature_name_columns, *times])}
            FROM history JOIN newest ON {same} AND history.{when} = newest.__at
            QUALIFY row_number() OVER (PARTITION BY {", ".join(f"history.{_name(k)}" for k in join_key_columns)}
                                       ORDER BY {corrections_first}) = 1
        """  # noqa: S608  # identifiers are quoted, values are bound
        return AsofRetrievalJob(lambda: _run(query, start_date=start_date, end_date=end_date), False, None)

    @staticmethod
    def pull_all_from_table_or_query(  # Feast's signature
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        query = f"""
            SELECT {_list([*join_key_columns, *feature_name_columns, *times])} FROM {_table(config, data_source)}
            WHERE ($start_date IS NULL OR {_utc(timestamp_field)} >= $start_date)
              AND ($end_date IS NULL OR {_utc(timestamp_field)} <= $end_date)
        """  # noqa: S608  # as above
        return AsofRetrievalJob(lambda: _run(query, start_date=start_date, end_date=end_date), False, None)

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Accept sources whose files do not exist yet: a repository is applied before its first data is there."""


def oldest_row(view: FeatureView) -> timedelta | None:
    """Return how old a row may be to answer a request; None for any age.

    A fact is void when it is older than its view's ttl. Tiles do not age by row but by stream, and history has the
    whole stream: a row stays true until the next event, however late that comes. So the ttl must not drop it; only
    after all its tiles have left the longest window does it say nothing any more.
    """
    if view.tags.get("kind") == "tiles":
        return timedelta(days=KEPT["days"])
    return view.ttl or None


def _asof(
    config: RepoConfig, view: FeatureView, wanted: dict[str, str], requests: pa.Table, time_column: str
) -> dict[str, pa.ChunkedArray]:
    """Return the wanted features (name in the source → name in the answer) as columns parallel to the requests."""
    source = view.batch_source
    if source is None:
        raise ValueError(f"view {view.name} has no source to read history from")
    mapped = {new: old for old, new in source.field_mapping.items()}
    keys = view.projection.join_key_map or {column.name: column.name for column in view.entity_columns}
    same = " AND ".join(f"history.{_name(mapped.get(k, k))} = requests.{_name(v)}" for k, v in keys.items())
    # The join sorts both sides: it sees keys and times alone, and the features are read of the rows that it chose.
    read = _list([mapped.get(key, key) for key in keys])
    when, age = _utc(source.timestamp_field), oldest_row(view)
    valid = f"epoch_us(requests.__at) - epoch_us(history.__at) <= {age // timedelta(microseconds=1)}" if age else "true"
    files = _table(config, source, numbered=True)
    query = f"""
        WITH history AS (
            SELECT {read}, __file, file_row_number, {when} AS __at FROM {files}
            WHERE {when} <= (SELECT max(__at) FROM requests) {_once(source, keys, mapped)}
        ),
        answers AS (
            SELECT requests.__row, history.__file, history.file_row_number
            FROM requests ASOF LEFT JOIN history ON {same} AND requests.__at >= history.__at
            WHERE {valid}
        )
        SELECT __row, {", ".join(f"wide.{_name(mapped.get(old, old))} AS {_name(new)}" for old, new in wanted.items())}
        FROM requests LEFT JOIN answers USING (__row)
        LEFT JOIN {files} AS wide USING (__file, file_row_number) ORDER BY __row
    """  # noqa: S608  # as above
    numbered = requests.select([*dict.fromkeys(keys.values())])
    numbered = numbered.append_column("__at", requests[time_column])
    numbered = numbered.append_column("__row", pa.array(range(requests.num_rows), pa.int64()))
    found = _run(query, requests=numbered)
    # A join that drops or repeats rows would pair a request with another one's features (feast#6787).
    if not found["__row"].equals(numbered["__row"]):
        raise RuntimeError(f"the join with {view.name} returned {found.num_rows} rows for {requests.num_rows} requests")
    return {new: found[new] for new in wanted.values()}


def _once(source: DataSource, keys: Iterable[str], mapped: dict[str, str]) -> str:
    """Keep one of two rows of the same entity and time: the one created later is the correction."""
    if not source.created_timestamp_column:
        return ""
    of_one = _list([*(mapped.get(key, key) for key in keys), source.timestamp_field])
    return (
        f"QUALIFY row_number() OVER (PARTITION BY {of_one} ORDER BY {_utc(source.created_timestamp_column)} DESC) = 1"
    )


def _requests(entity_df: pd.DataFrame, time_column: str) -> pa.Table:
    # DuckDB cannot cast nanoseconds, which pandas has; time below a microsecond is cut off.
    table = pa.Table.from_pandas(entity_df, preserve_index=False)
    position = table.column_names.index(time_column)
    times = table[time_column]
    if pa.types.is_timestamp(times.type) and times.type.tz is None:
        times = pa.compute.assume_timezone(times, "UTC")
    return table.set_column(position, time_column, times.cast(UTC_US, safe=False))


def _columns(view: FeatureView, feature_refs: list[str], full_feature_names: bool) -> dict[str, str]:
    alias = view.projection.name_to_use()
    features = [ref.partition(":")[2] for ref in feature_refs if ref.partition(":")[0] == alias]
    prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
    return {feature: prefix + feature for feature in features}


def _table(config: RepoConfig, source: DataSource, *, numbered: bool = False) -> str:
    if not isinstance(source, FileSource):
        raise TypeError(f"source {source.name} is not a file source")
    path = Path(config.repo_path or ".") / config.offline_store.root / source.path
    files = path if path.suffix == ".parquet" else path / "*.parquet"
    places = ", filename = '__file', file_row_number = true" if numbered else ""
    return f"read_parquet('{str(files).replace(chr(39), chr(39) * 2)}'{places})"


def _run(query: str, requests: pa.Table | None = None, **values: Any) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if requests is not None:
            connection.register("requests", requests)
        used = {name: value for name, value in values.items() if f"${name}" in query}
        return connection.sql(query, params=used).to_arrow_table()


def _utc(column: str) -> str:
    return f"{_name(column)}::TIMESTAMPTZ"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _list(columns: list[str]) -> str:
    return ", ".join(map(_name, columns))
