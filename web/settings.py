"""The settings of the web application, read from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from tasks.settings import BrokerSettings, PostgresUrl, SecretSettings, is_loopback


class WebSettings(BrokerSettings, SecretSettings):
    """The settings of the web application, read from the environment when the object is created.

    Raises `SettingsError` if a setting is missing or invalid.
    """

    database_url: PostgresUrl
    """URL of the portal's database. FRONT_DATABASE_URL overrides DATABASE_URL, which can then be the workers'."""
    registrar_url: PostgresUrl | None = None
    """URL of Kamailio's database, which is only read. None: the portal does not show the state of trunks.

    FRONT_REGISTRAR_URL overrides REGISTRAR_URL."""
    front_database_url: PostgresUrl | None = None
    front_registrar_url: PostgresUrl | None = None
    sip_port: Annotated[int, Field(ge=1, le=65535)] = 5060
    """The SIP port at which phones register; the portal shows it to customers."""
    numbers_per_channel: Annotated[int, Field(ge=1, le=1000)] = 10
    """The most phone numbers for each channel of a SIP trunk that the portal proposes; more can be ordered."""
    web_threads: Annotated[int, Field(ge=1)] = 8
    """Number of threads in each process; each has its own database connection."""
    trusted_proxies: Annotated[int, Field(ge=0)] = 0
    """Number of proxies in front of the application that add their client's address to X-Forwarded-For.

    Must be given with an https:// `base_url`, because the application does not terminate HTTPS itself.
    """
    dev_mail_dir: Path | None = None
    """The folder in which the mail catcher of the embedded stack stores mails, shown at /dev/mail. Never set it
    where real mails are sent: the page shows every code."""
    dev_letters_dir: Path | None = None
    """The folder in which the printer of the embedded stack stores letters, also shown at /dev/mail."""

    @model_validator(mode="before")
    @classmethod
    def _own_role_first(cls, values: dict[str, Any]) -> dict[str, Any]:
        own = {name: values.get(f"front_{name}") for name in ("database_url", "registrar_url")}
        return values | {name: url for name, url in own.items() if url}

    @model_validator(mode="after")
    def _https_says_its_proxies(self) -> Self:
        if urlsplit(self.base_url).scheme == "https" and "trusted_proxies" not in self.model_fields_set:
            raise ValueError(
                "TRUSTED_PROXIES is missing. With an https:// BASE_URL a proxy stands in front: say how many proxies"
                " add their client's address to X-Forwarded-For, usually 1. Without it all people have the proxy's"
                " address, and wrong passwords of one stop all others. Only if none adds it, say 0"
            )
        return self

    @property
    def shows_dev_mail(self) -> bool:
        """Return whether the pages at /dev/mail are served, which show the mails that the development stack has caught.

        True only if `dev_mail_dir` is set, the base URL is on this machine, and no proxy is configured.
        """
        address = urlsplit(self.base_url)
        local = address.scheme == "http" and is_loopback(address.hostname or "")
        return self.dev_mail_dir is not None and local and not self.trusted_proxies
