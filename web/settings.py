"""What the front is told by the environment, typed and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from tasks.settings import PostgresUrl, RedisUrl, SecretSettings, is_loopback


class WebSettings(SecretSettings):
    """Read once, when the application is made."""

    database_url: PostgresUrl
    redis_url: RedisUrl
    registrar_url: PostgresUrl | None = None
    """The telephone network's database, to be read; None: the portal does not show how trunks stand."""
    web_threads: Annotated[int, Field(ge=1)] = 8
    """Threads of one process, each with a database connection of its own."""
    trusted_proxies: Annotated[int, Field(ge=0)] = 0
    """How many proxies stand in front, each of which adds the address of its client to X-Forwarded-For."""
    dev_mail_dir: Path | None = None
    """Where the embedded stack's mail catcher keeps its files; with it they can be read at /dev/mail. Never set it
    where real mails are sent: whoever sees the page sees every code."""
    dev_letters_dir: Path | None = None
    """Where the embedded stack's printer keeps its letters, to be read at the same place."""

    @property
    def shows_dev_mail(self) -> bool:
        """Whether /dev/mail is served: told where the mails are, and reached by nobody but this very machine."""
        address = urlsplit(self.base_url)
        local = address.scheme == "http" and is_loopback(address.hostname or "")
        return self.dev_mail_dir is not None and local and not self.trusted_proxies
