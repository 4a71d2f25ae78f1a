"""Connection settings of the Redis that counts failed attempts to sign in or to enter a code, and a check of it."""

from __future__ import annotations

from typing import Any

from limits.storage import storage_from_string

from tasks.broker_address import BrokerAddress
from tasks.hints import PATIENCE, READY_KEY

_TIMEOUT = PATIENCE / 2


def counter_settings(url: str) -> tuple[str, dict[str, Any]]:
    """Return the arguments, URL and keyword options, with which `limits` counts failed attempts in the Redis `url`.

    They are for its function `limits.storage.storage_from_string`, and limit how long Redis is waited for.
    """
    settings = BrokerAddress(url).limiter_settings
    # Without retries, and half the patience each: Flask-Limiter waits for the timeout twice before it gives up.
    waits = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT, "retry": None}
    return settings["RATELIMIT_STORAGE_URI"], settings["RATELIMIT_STORAGE_OPTIONS"] | waits


def counters_fault(url: str) -> str | None:
    """Check that the Redis of this URL can be written to; return the class name of the error, or None. Never raises."""
    address, options = counter_settings(url)
    storage = storage_from_string(address, **options)
    try:
        storage.incr(READY_KEY, 60)
    except storage.base_exceptions as error:
        return type(error).__name__
    return None
