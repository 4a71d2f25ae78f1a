"""Wrong tries are throttled, for each target and for each client address; right ones are not counted.

A try counts from its beginning and is given back when it was right: so of many at once no more go on than may be wrong.
The counters are in Redis. While it is away each process counts for itself, so nobody waits for it and nobody gets in.
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
    """The counters of one front."""

    def __init__(self, app: Flask, redis_url: str) -> None:
        # redis-py would wait out several of these timeouts, and Flask-Limiter waits out two before it gives up.
        options = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT, "retry": Retry(NoBackoff(), 0)}
        app.config.update(RATELIMIT_STORAGE_URI=redis_url, RATELIMIT_STORAGE_OPTIONS=options)
        self._limiter = Limiter(key_func=_client, in_memory_fallback_enabled=True, swallow_errors=True)
        self._limiter.init_app(app)
        per_target = self._limiter.shared_limit(PER_TARGET, scope="target", key_func=_target)
        per_client = self._limiter.shared_limit(PER_CLIENT, scope="client")
        self._count = per_target(per_client(_nothing_more))
        app.after_request(self._give_back_what_was_right)

    def begin_try(self, target: str) -> None:
        """Somebody tries a code or a password for this target: a customer number, or who signs in.

        Raises Flask-Limiter's `RateLimitExceeded` (429) after too many wrong ones. Not inside a transaction: it may
        ask Redis.
        """
        g.tried = target.strip().lower()
        try:
            self._count()
        finally:
            # Also a try that is refused, and so was never made.
            g.counted = self._limiter.current_limits

    def count_wrong_try(self) -> None:
        """The try that began was wrong."""
        g.counted = []

    def seconds_to_wait(self) -> int:
        """How long whoever was throttled at this request has to wait."""
        breached = self._limiter.current_limit
        return max(1, math.ceil(breached.reset_at - time.time())) if breached is not None else 1

    def _give_back_what_was_right(self, response: Response) -> Response:
        for counted in g.pop("counted", []):
            with suppress(RedisError):
                self._limiter.limiter.hit(counted.limit, *counted.request_args, cost=-1)
        return response


def _nothing_more() -> None:
    """What is limited: that it may go on."""


def _target() -> str:
    # A digest: a target may be an e-mail address, and the key may be logged.
    return hashlib.sha256(g.tried.encode()).hexdigest()[:32]


def _client() -> str:
    """The client's address; of an IPv6 one the network, as everybody has 2^64 of them."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, 64), strict=False))
    return str(address)
