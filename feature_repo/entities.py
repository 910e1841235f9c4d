"""Whom features are about. Identity keys are keyed hashes: the store never holds a phone number or a name."""

from __future__ import annotations

from feast import Entity, ValueType


def _entity(name: str, key: str) -> Entity:
    return Entity(name=name, join_keys=[key], value_type=ValueType.STRING)


account = _entity("account", "account_id")
merchant = _entity("merchant", "merchant_id")
device = _entity("device", "device_id")
applicant = _entity("applicant", "applicant_id")

applicant_device = _entity("applicant_device", "device_key")
document = _entity("document", "document_key")
phone = _entity("phone", "phone_key")
email = _entity("email", "email_key")
address = _entity("address", "address_key")
