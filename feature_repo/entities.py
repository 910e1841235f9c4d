"""Whom features are about. Keys of people are keyed hashes: the store never holds an account, a phone or a name."""

from __future__ import annotations

from feast import Entity, ValueType


def _entity(name: str, key: str) -> Entity:
    return Entity(name=name, join_keys=[key], value_type=ValueType.STRING)


account = _entity("account", "account_key")
merchant = _entity("merchant", "merchant_id")
device = _entity("device", "device_key")
applicant = _entity("applicant", "applicant_key")

document = _entity("document", "document_key")
phone = _entity("phone", "phone_key")
email = _entity("email", "email_key")
address = _entity("address", "address_key")
