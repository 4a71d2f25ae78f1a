"""Limits on failed attempts to enter a code, a password or a second factor.

A code has 49 bits and cannot be guessed even by many people together, so each person's attempts are counted separately.
A password can be guessed, so all attempts of unknown browsers for one person are counted together. A browser in which
the person has signed in before has a counter of its own (`web.portal.page.known_browsers`). So strangers who try
passwords do not lock the person out there.

An attempt is counted when it begins, and the count is taken back if it succeeds, so that concurrent attempts cannot
exceed the limit. The time windows slide. The counters are in Redis, or in the portal's database if no Redis is set.
While that store is unreachable, each process counts in memory.
"""

from __future__ import annotations

import hashlib
import math
import time
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import structlog
from flask import Flask, Response, g, request
from flask_limiter import Limiter
from limits.errors import StorageError
from limits.storage import Storage
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from models.db.session import Database
from models.emails import stored_spellings
from tasks.attempt_counters import counter_settings
from web.attempt_storage import SCHEME

log = structlog.get_logger()

NARROW = "10 per 15 minutes"
"""The limit for one target: on one user's or client's codes, or on the passwords from all unknown browsers together."""
WIDE = "30 per 15 minutes"
"""The limit for all targets together: on the codes of one user, or on the passwords of one client address."""
OF_PERSON = "20 per hour; 50 per day"
"""The limit on failed attempts to prove one person's second factor, in all browsers together.

Somebody who reads the person's mail can set new passwords. Each new password makes another browser known, for which the
narrow limit starts from zero. This limit can lock out the right person, but only if an attacker knows the password.
"""
_AWAY = (RedisError, SQLAlchemyError, StorageError)


class Throttle:
    """The limits on failed logins and codes, one instance for each web application. All processes share the counters.

    The counters are in the Redis at `redis_url`, or in the database if `redis_url` is None.

    10 failed attempts in 15 minutes are allowed for one target, such as a customer number (`NARROW`), and 30 for all
    targets together (`WIDE`). One person's second factor allows 20 in an hour and 50 in a day (`OF_PERSON`). Each
    method that begins an attempt counts it, and raises Flask-Limiter's `RateLimitExceeded` (429) if a limit is reached.
    The count is taken back at the end of the request, unless `count_wrong_try` is called. Call these methods outside a
    transaction, because they may wait for Redis, or begin a transaction.
    """

    def __init__(self, app: Flask, redis_url: str | None, database: Database) -> None:
        self._in_redis = redis_url is not None
        if redis_url is None:
            options: dict[str, Any] = {"database": database}
            app.config["RATELIMIT_STORAGE_URI"] = f"{SCHEME}://"
        else:
            app.config["RATELIMIT_STORAGE_URI"], options = counter_settings(redis_url)
        app.config["RATELIMIT_STORAGE_OPTIONS"] = options
        self._limiter = Limiter(
            key_func=_client,
            strategy="sliding-window-counter",
            in_memory_fallback_enabled=True,
            swallow_errors=True,
        )
        self._limiter.init_app(app)
        narrow = self._limiter.shared_limit(NARROW, scope="narrow", key_func=lambda: _digest(g.narrow))
        wide = self._limiter.shared_limit(
            WIDE, scope="wide", key_func=lambda: _digest(g.wide), exempt_when=lambda: g.wide is None
        )
        person = self._limiter.shared_limit(
            OF_PERSON, scope="person", key_func=lambda: _digest(g.person), exempt_when=lambda: g.person is None
        )
        # Flask-Limiter asks the innermost first: what the wide one refuses gets no counter for its target, of which a
        # client can name any number.
        self._count = narrow(wide(person(_do_nothing)))
        app.after_request(self._give_back_what_was_right)

    @property
    def storage(self) -> Storage | None:
        """Return the counters' storage in Redis, which all processes share; None if no Redis is set."""
        return self._limiter.storage if self._in_redis else None

    def begin_code_try(self, target: str, user_id: int | None = None) -> None:
        """Count an attempt to enter a code for `target`: a customer number, alone or with the kind of code.

        The attempts of a signed-in user (`user_id`) are counted apart from those of others. Without a user, attempts
        are counted by target and client address, so that others behind that address can still enter the codes of other
        targets. Raises `RateLimitExceeded` (429) if a limit is reached.
        """
        if user_id is None:
            self._begin(f"code {_client()} {target}")
        else:
            self._begin(f"code of user {user_id} {target}", f"codes of user {user_id}")

    def begin_password_try(self, email: str, browser: str | None = None) -> None:
        """Count an attempt to enter the password of the person with this e-mail address.

        `browser` identifies a browser in which this person has signed in before: its attempts are counted separately.
        For any other browser it is None: those attempts count together, by e-mail address and by client address. Raises
        `RateLimitExceeded` (429) if a limit is reached.
        """
        if browser is not None:
            self._begin(f"password in browser {browser}")
        else:
            self._begin(f"password {stored_spellings(email)[0]}", f"passwords from {_client()}")

    def begin_own_password_try(self, login_id: int) -> None:
        """Count an attempt of a signed-in person to enter their own password in the login `login_id` (`Login.id`).

        The count is taken back unless `count_wrong_try` is called. Raises `RateLimitExceeded` (429) if the limit is
        reached.
        """
        self._begin(f"password in login {login_id}")

    def begin_factor_try(self, user_id: int, browser: str | None = None) -> None:
        """Count an attempt to prove a second factor, by a person who has entered the right password already.

        `browser` identifies a browser in which this person has signed in before: its attempts are counted separately.
        For any other browser it is None: those attempts count together. A second limit, for an hour and a day, counts
        all attempts for the person together (`OF_PERSON`). Raises `RateLimitExceeded` (429) if a limit is reached.
        """
        person = f"factor of user {user_id}"
        self._begin(f"{person} in browser {browser}" if browser else person, person=f"{person} in all browsers")

    def begin_mail_request(self, email: str, browser: str | None = None) -> None:
        """Count a request to mail a link to this address. Raises `RateLimitExceeded` (429) if a limit is reached.

        Always call `count_wrong_try` afterwards, because every request counts, not only failed ones. `browser`
        identifies a browser in which the person has signed in before: its requests are counted separately. A request of
        any other browser (None) counts twice: for this address from this client, and for all addresses from this
        client.
        """
        address = stored_spellings(email)[0]
        if browser is not None:
            self._begin(f"mail to {address} by browser {browser}")
        else:
            self._begin(f"mail to {address} by {_client()}", f"mails by {_client()}")

    def count_wrong_try(self) -> None:
        """Keep the count of the attempt begun in the current request, because the attempt failed, and log it."""
        g.counted = []
        # The first word of a target says what was tried; the others name persons.
        log.info("try.failed", of=g.narrow.partition(" ")[0], rule=request.url_rule.rule if request.url_rule else "-")

    def tries_left(self) -> int | None:
        """Return how many failed attempts the limits still allow after the attempt that the current request began.

        Returns None if that is unknown, for example while the counters are unreachable. The number depends on what was
        typed and on the browser, not on whether that person or code exists.
        """
        with suppress(*_AWAY):
            return min((limit.remaining for limit in self._limiter.current_limits), default=None)
        return None

    def seconds_to_wait(self) -> int:
        """Return the seconds until the limit that the current request exceeded allows an attempt again; at least 1."""
        breached = self._limiter.current_limit
        # Flask-Limiter has added this machine's time to what the storage says, just now.
        return max(1, math.ceil(breached.reset_at - time.time())) if breached is not None else 1  # noqa: TID251

    def _begin(self, narrow: str, wide: str | None = None, person: str | None = None) -> None:
        g.narrow, g.wide, g.person = narrow, wide, person
        try:
            self._count()
        finally:
            # Also for an attempt that is refused with 429: it does not count, and the limit that refuses did not count.
            g.counted = [limit for limit in self._limiter.current_limits if not limit.breached]

    def _give_back_what_was_right(self, response: Response) -> Response:
        for counted in g.pop("counted", []):
            with suppress(*_AWAY):
                self._limiter.limiter.hit(counted.limit, *counted.request_args, cost=-1)
        return response


def _do_nothing() -> None:
    """Do nothing: Flask-Limiter needs a function to limit."""


def _digest(name: str) -> str:
    # A hash, because the name may contain an e-mail address and Flask-Limiter may log the key.
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _client() -> str:
    """Return the IP address of the current request's client, or "unknown"; for IPv6, the /64 network of the address.

    One client usually has all the addresses of a /64 network.
    """
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, 64), strict=False))
    return str(address)
