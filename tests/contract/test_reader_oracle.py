"""The direct reader over random Feast repositories, and what it refuses to read because it would read it wrongly."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Int64, Json, String
from loadtest.reader import compare
from loadtest.repositories import TYPES, online_config

from scoregate.errors import SignatureMismatch
from scoregate.features import encoding
from scoregate.features.plan import compile_plan

FACTS = {"kind": "facts", "stream": "facts"}
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
COUNTER = Entity(name="counter", join_keys=["number"], value_type=ValueType.INT64)
NO_PORT = 1


def view(name: str, entities: list[Entity], schema: dict[str, Any], tags: dict[str, str], **more: Any) -> FeatureView:
    return FeatureView(
        name=name,
        entities=entities,
        schema=[Field(name=feature, dtype=dtype) for feature, dtype in schema.items()],
        source=FileSource(name=name, path=f"{name}.parquet", timestamp_field="event_timestamp"),
        ttl=timedelta(hours=1),
        tags=tags,
        **more,
    )


PLAIN = view("plain", [USER], {"user_id": String, "a": Int64, "b": Int64}, FACTS)
NUMBERED = view("numbered", [COUNTER], {"number": Int64, "a": Int64}, FACTS)
GLOBAL = view("global", [], {"a": Int64}, FACTS)
NESTED = view("nested", [USER], {"user_id": String, "a": Int64, "document": Json}, FACTS)
DISABLED = view("disabled", [USER], {"user_id": String, "a": Int64}, FACTS, enabled=False)
PINNED = view("pinned", [USER], {"user_id": String, "a": Int64}, FACTS, version="v0")
STRANGE = view("strange", [USER], {"user_id": String, "a": Int64}, {"kind": "tile", "stream": "payments"})
ADRIFT = view("adrift", [USER], {"user_id": String, "days": Array(Int64)}, {"kind": "tiles"})
FLAT = view("flat", [USER], {"user_id": String, "days": Int64}, {"kind": "tiles", "stream": "payments"})
VIEWS = [PLAIN, NUMBERED, GLOBAL, NESTED, DISABLED, PINNED, STRANGE, ADRIFT, FLAT]

REFUSED = {
    "alias": ([PLAIN.with_name("other")], "plain as other"),
    "mapped": ([PLAIN.with_join_key_map({"user_id": "payee_id"})], "plain by other join keys than its own"),
    "twice": ([PLAIN[["a"]], PLAIN[["b"]]], "plain twice"),
    "number": ([NUMBERED], r"join keys that are not strings \(number\)"),
    "global": ([GLOBAL], "global without an entity"),
    "nested": ([NESTED], r"types beyond scalars and lists of them \(document\)"),
    "disabled": ([DISABLED], "although it is disabled"),
    "pinned": ([PINNED], "in a pinned version"),
    "kind": ([STRANGE], "of kind tile"),
    "adrift": ([ADRIFT], "of tiles without a stream"),
    "flat": ([FLAT], r"other types than tiles have \(days\)"),
}
SERVICES = [FeatureService(name=name, features=features) for name, (features, _) in REFUSED.items()]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return applied(tmp_path_factory.mktemp("registry"), "refused", [*VIEWS, *SERVICES])


def applied(folder: Path, project: str, things: list[Any]) -> bytes:
    """Apply to the folder's registry, and return what is in it then."""
    FeatureStore(config=online_config(folder, NO_PORT, project)).apply([USER, COUNTER, *things])
    return (folder / "registry.db").read_bytes()


def test_random_repositories_read_as_the_sdk_reads_them() -> None:
    """Views, types, keys, services, rows and markers at random: the same status, age, and every value."""
    said = compare(600, seed=11, people=12)

    assert ("", 0, 600) == (said.first, said.different, said.cases)
    # Most of it must be there to be read.
    assert said.rows > said.views / 3


def test_the_random_repositories_have_every_type_that_a_plan_may_name() -> None:
    """A type that is added to the encoding is compared from then on."""
    assert set(encoding.DTYPES.values()) == {feast.to_value_type().name.lower() for feast, _, _ in TYPES}


@pytest.mark.parametrize("service", REFUSED)
def test_what_would_be_read_wrongly_is_refused(registry: bytes, service: str) -> None:
    """No plan is better than one that reads nulls, zeros or another entity's row."""
    with pytest.raises(SignatureMismatch, match=REFUSED[service][1]):
        compile_plan(registry, service)


def test_a_part_without_what_is_odd_is_read(tmp_path: Path) -> None:
    """Only what the service reads is judged."""
    found = applied(tmp_path, "part", [NESTED, FeatureService(name="part", features=[NESTED[["a"]]])])

    assert (("a", "int64"),) == compile_plan(found, "part").views[0].features


def test_a_view_is_that_of_the_services_own_project(tmp_path: Path) -> None:
    """One registry may hold several projects, whose views share names and nothing else."""
    other = view("plain", [USER], {"user_id": String, "a": String}, FACTS)
    applied(tmp_path, "first", [PLAIN, FeatureService(name="one", features=[PLAIN])])
    found = applied(tmp_path, "second", [other, FeatureService(name="two", features=[other])])

    assert [("a", "int64"), ("b", "int64")] == list(compile_plan(found, "one").views[0].features)
    assert [("a", "string")] == list(compile_plan(found, "two").views[0].features)


def test_a_service_of_two_projects_is_refused(tmp_path: Path) -> None:
    """Which of the two is meant cannot be told."""
    for project in ("first", "second"):
        found = applied(tmp_path, project, [PLAIN, FeatureService(name="same", features=[PLAIN])])

    with pytest.raises(SignatureMismatch, match="same in each of first, second"):
        compile_plan(found, "same")
