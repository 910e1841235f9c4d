"""This folder as a BentoML service."""

from __future__ import annotations

from scoregate.serving.bento import bento_service

Service = bento_service(__package__ or "")
