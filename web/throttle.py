"""Limits on failed attempts to enter a code or password, per target and per client address.

An attempt is counted when it begins and the count is taken back if it succeeds, so that concurrent attempts cannot
exceed the limit. The counters are in Redis; while Redis is unreachable, each process counts in memory.
"""

from __future__ import annotations

import hashlib
import math
import time
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tasks.hints import PATIENCE

PER_TARGET = "10 per 15 minutes"
PER_CLIENT = "30 per 15 minutes"
_TIMEOUT = PATIENCE / 2


class Throttle:
    """The limits on failed logins and codes, one instance for each web application.

    `PER_TARGET` (10 in 15 minutes) is the limit for a target, that is a customer number or e-mail address, and
    `PER_CLIENT` (30 in 15 minutes) that for a client address. The counters are shared in Redis.
    """

    def __init__(self, app: Flask, redis_url: str) -> None:
        # Without retries, and half the patience each: Flask-Limiter waits for the timeout twice before it gives up.
        options = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT, "retry": Retry(NoBackoff(), 0)}
        app.config.update(RATELIMIT_STORAGE_URI=redis_url, RATELIMIT_STORAGE_OPTIONS=options)
        self._limiter = Limiter(key_func=_client, in_memory_fallback_enabled=True, swallow_errors=True)
        self._limiter.init_app(app)
        per_target = self._limiter.shared_limit(PER_TARGET, scope="target", key_func=_target)
        per_client = self._limiter.shared_limit(PER_CLIENT, scope="client")
        self._count = per_target(per_client(_do_nothing))
        app.after_request(self._give_back_what_was_right)

    def begin_try(self, target: str) -> None:
        """Count an attempt to enter a code or password for the target: a customer number or an e-mail address.

        The count is taken back at the end of the request, unless `count_wrong_try` is called. Raises Flask-Limiter's
        `RateLimitExceeded` (429) if the target or the client has reached its limit of failed attempts. Call it outside
        a transaction, because it may wait for Redis.
        """
        g.tried = target.strip().lower()
        try:
            self._count()
        finally:
            # Also for an attempt that is refused with 429: it does not count.
            g.counted = self._limiter.current_limits

    def count_wrong_try(self) -> None:
        """Keep the count of the attempt begun in the current request, because the attempt failed."""
        g.counted = []

    def seconds_to_wait(self) -> int:
        """Return the seconds until the limit that the current request has exceeded allows a try again; at least 1."""
        breached = self._limiter.current_limit
        return max(1, math.ceil(breached.reset_at - time.time())) if breached is not None else 1

    def _give_back_what_was_right(self, response: Response) -> Response:
        for counted in g.pop("counted", []):
            with suppress(RedisError):
                self._limiter.limiter.hit(counted.limit, *counted.request_args, cost=-1)
        return response


def _do_nothing() -> None:
    """Do nothing: Flask-Limiter needs a function to limit."""


def _target() -> str:
    # A hash, because the target may be an e-mail address and Flask-Limiter may log the key.
    return hashlib.sha256(g.tried.encode()).hexdigest()[:32]


def _client() -> str:
    """Return the address of the current request's client, or "unknown"; of an IPv6 address its /64 network.

    One client has all the addresses of such a network.
    """
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, 64), strict=False))
    return str(address)
