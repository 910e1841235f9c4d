"""What was paid with a device, and by how many accounts."""

from __future__ import annotations

from entities import device
from sources import tiles

device_tiles = tiles("device_tiles", device, "transactions", party="account_key", amount="amount_minor")
