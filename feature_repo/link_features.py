"""Which alert groups recent applications belong to, by what they share. Read by serving alone, never by a model."""

from __future__ import annotations

from feast import Entity, FeatureView, Field, FileSource
from feast.types import Array, Int64, String

from entities import address, device, document, email, phone
from sources import STREAM_AGE


def _links(name: str, entity: Entity, stream: str) -> FeatureView:
    """Return a view of links over a stream whose events carry the entity's key: parallel lists, oldest entry first.

    Like tiles they age by the stream. They have no history: the source is a name, and no file.
    """
    return FeatureView(
        name=name,
        entities=[entity],
        schema=[
            Field(name=entity.join_key, dtype=String),
            Field(name="groups", dtype=Array(String)),
            Field(name="names", dtype=Array(String)),
            Field(name="days", dtype=Array(Int64)),
        ],
        source=FileSource(name=name, path=f"links/{name}", timestamp_field="event_timestamp"),
        ttl=STREAM_AGE,
        tags={"kind": "links", "stream": stream, "key": entity.join_key},
    )


device_links, document_links, phone_links, email_links, address_links = (
    _links(f"{name}_links", entity, "applications")
    for name, entity in (
        ("device", device),
        ("document", document),
        ("phone", phone),
        ("email", email),
        ("address", address),
    )
)
