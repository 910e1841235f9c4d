"""Onboarding applications by what they share: how many, by how many different people."""

from __future__ import annotations

from entities import address, device, document, email, phone
from sources import tiles

applicant_device_tiles, document_tiles, phone_tiles, email_tiles, address_tiles = (
    tiles(f"{name}_tiles", entity, "applications", party="applicant_key")
    for name, entity in (
        ("applicant_device", device),
        ("document", document),
        ("phone", phone),
        ("email", email),
        ("address", address),
    )
)
