"""What the front is told by the environment, typed and checked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.settings import LongSecret, PostgresUrl, RedisUrl, Settings


class WebSettings(Settings):
    """Read once, when the application is made."""

    database_url: PostgresUrl
    redis_url: RedisUrl
    secret_key: LongSecret
    base_url: str = "http://127.0.0.1:8000"
    web_threads: Annotated[int, Field(ge=1)] = 8
    """Threads of one process, each with a database connection of its own."""
    trusted_proxies: Annotated[int, Field(ge=0)] = 0
    """How many proxies stand in front, each of which adds the address of its client to X-Forwarded-For."""
