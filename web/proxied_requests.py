"""Tells whether a proxy or tunnel has forwarded an HTTP request, so that its sender may be on another machine."""

from __future__ import annotations

from flask import request

# A proxy or tunnel on this machine is a local peer for people elsewhere; these headers give it away.
_HEADERS = {"forwarded", "via", "x-real-ip", "x-client-ip", "x-original-host", "true-client-ip", "cf-connecting-ip"}


def was_forwarded() -> bool:
    """Return whether the current request has a header that proxies and tunnels add, such as Via or X-Forwarded-For."""
    names = [name.lower() for name, _ in request.headers]
    return any(name in _HEADERS or name.startswith("x-forwarded-") for name in names)
