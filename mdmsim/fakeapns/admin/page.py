"""The page for people."""

from __future__ import annotations

CONTENT_SECURITY_POLICY = ""


def page() -> bytes:
    return b"<!doctype html><title>mdmsim fake APNs</title><p>See <a href=openapi.json>openapi.json</a>."
