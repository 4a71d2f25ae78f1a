"""The address of the message broker: Redis (one server, or the present master of a Sentinel group) or RabbitMQ."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from tasks.rabbitmq import AMQP, AMQPS, rabbitmq_settings

SENTINEL = "sentinel"
TCP_LIMITS = {
    getattr(socket, option): value
    for option, value in {
        "TCP_KEEPIDLE": 5,
        "TCP_KEEPINTVL": 2,
        "TCP_KEEPCNT": 3,
        # Milliseconds until data that nobody acknowledges breaks the connection.
        "TCP_USER_TIMEOUT": 10_000,
    }.items()
    if hasattr(socket, option)
}
"""TCP options of a socket with their values, by which a vanished host is noticed within about 11 seconds.

Options that this platform does not have are left out.
"""
_PORT = 26379
"""The default port of Redis Sentinel, for a sentinel whose address names no port."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """The address of the server that carries Celery's messages, or of the one that counts failed attempts.

    `url` is either the URL of one Redis, `redis://…` or with TLS `rediss://…`, or it names sentinels and the master
    that they watch: `sentinel://:password@host:26379,host:26379/name`. The Redis servers and the sentinels have the
    same password. For messages it may also be RabbitMQ's, `amqp://user:password@host:5672,host:5672/vhost`, or with
    TLS `amqps://…`.
    """

    url: str

    @property
    def celery_settings(self) -> dict[str, Any]:
        """Return Celery's settings for this address.

        They are `broker_url`, `broker_use_ssl`, `broker_transport_options` and `task_queues`. The transport options
        contain only what Sentinel or RabbitMQ needs, and are empty for a single Redis. The caller adds them to its own
        transport options.
        """
        if self._parts.scheme in (AMQP, AMQPS):
            return rabbitmq_settings(self._parts, TCP_LIMITS)
        if not self._is_watched:
            # Without these kombu would take any certificate.
            verified = {"ssl_cert_reqs": ssl.CERT_REQUIRED} if self._parts.scheme == "rediss" else None
            return {
                "broker_url": self.url,
                "broker_use_ssl": verified,
                "broker_transport_options": {},
                "task_queues": None,
            }
        password = f":{self._parts.password}@" if self._parts.password else ""
        urls = [f"{SENTINEL}://{password}{host}" for host in self._hosts]
        return {
            "broker_url": ";".join(urls),
            "broker_use_ssl": None,
            "broker_transport_options": {"master_name": self._name, "sentinel_kwargs": self._for_sentinels},
            "task_queues": None,
        }

    @property
    def limiter_settings(self) -> dict[str, Any]:
        """Return Flask-Limiter's settings `RATELIMIT_STORAGE_URI` and `RATELIMIT_STORAGE_OPTIONS` for this address.

        The options contain only what Sentinel needs, and are empty for a single Redis.
        """
        if not self._is_watched:
            return {"RATELIMIT_STORAGE_URI": self.url, "RATELIMIT_STORAGE_OPTIONS": {}}
        # A replica may be behind, and would count too little.
        options = {"use_replicas": False, "sentinel_kwargs": self._for_sentinels, **self._password}
        # Without the password: the library would not decode it.
        uri = f"redis+{SENTINEL}://{','.join(self._hosts)}/{self._name}"
        return {"RATELIMIT_STORAGE_URI": uri, "RATELIMIT_STORAGE_OPTIONS": options}

    @property
    def _is_watched(self) -> bool:
        return self._parts.scheme == SENTINEL

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def _hosts(self) -> list[str]:
        found = (host for host in self._parts.netloc.rpartition("@")[2].split(",") if host)
        return [host if ":" in host else f"{host}:{_PORT}" for host in found]

    @property
    def _name(self) -> str:
        return self._parts.path.strip("/")

    @property
    def _password(self) -> dict[str, str]:
        return {"password": unquote(self._parts.password)} if self._parts.password else {}

    @property
    def _for_sentinels(self) -> dict[str, Any]:
        # Without retries: the library would try a sentinel whose host is away for 15 seconds, and then the next one.
        once = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": None}
        return once | self._password


def with_password(url: str, password: str | None) -> str:
    """Return the URL of a Redis with the password inserted and percent-encoded.

    The URL is returned unchanged if it contains a password already, or if `password` is None or empty.
    """
    scheme, mark, server = url.partition("://")
    if not password or not mark or "@" in server:
        return url
    return f"{scheme}://:{quote(password, safe='')}@{server}"


def broker_url(environment: Mapping[str, str]) -> str:
    """Return the URL of the message broker that these environment variables name.

    It is `BROKER_URL` if that is set; otherwise `REDIS_URL`, by default Redis on this host, with `REDIS_PASSWORD`
    inserted.
    """
    # What is empty counts as not set, as in the settings.
    redis = environment.get("REDIS_URL") or "redis://127.0.0.1:6379/0"
    return environment.get("BROKER_URL") or with_password(redis, environment.get("REDIS_PASSWORD"))


def checked_broker_url(url: str) -> str:
    """Return the broker's URL unchanged. Raises `ValueError` unless it is a supported URL of RabbitMQ or of Redis."""
    if url.startswith((f"{AMQP}://", f"{AMQPS}://")):
        if not urlsplit(url).netloc.rpartition("@")[2]:
            raise ValueError("must be amqp://user:password@host:5672/vhost")
        return url
    try:
        return checked_url(url)
    except ValueError as error:
        raise ValueError(f"{error}, or for RabbitMQ with amqp:// or amqps://") from error


def checked_url(url: str) -> str:
    """Return the URL of a Redis unchanged. Raises `ValueError` if it has none of the supported forms.

    They are `redis://…`, `rediss://…` and `sentinel://…`; the last must name hosts of sentinels and a master.
    """
    if url.startswith(("redis://", "rediss://")):
        return url
    address = BrokerAddress(url)
    if not url.startswith(f"{SENTINEL}://"):
        raise ValueError("must begin with redis://, rediss:// or sentinel://")
    if not address._hosts or not address._name:
        raise ValueError("must be sentinel://:password@host:26379,host:26379/name of the master")
    return url
