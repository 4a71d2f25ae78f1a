"""Settings from environment variables that every program shares, validated. `web` and `workers` extend them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.accounts.company_limits import USUAL_LIMITS, Limits
from models.db.several_hosts import in_one_form
from models.emails import BadEmail, typed_email
from tasks.broker_address import checked_broker_url, checked_url, with_password


class SettingsError(Exception):
    """Raised when environment variables are missing or invalid; the message names each of them."""


def _postgres(url: str) -> str:
    if not url.startswith("postgresql+psycopg://"):
        # The message leaves out the value: it may contain a password.
        raise ValueError("must begin with postgresql+psycopg://")
    return in_one_form(url)


def sendable(address: str) -> str:
    """Return an e-mail address with its domain in lower case and in Unicode, such as info@müller.de.

    Used to check settings. Raises `ValueError` if the portal can send no mail to the address.
    """
    try:
        return typed_email(address)
    except BadEmail as error:
        raise ValueError("must be an e-mail address, without umlauts before the @") from error


def _long(secret: SecretStr) -> SecretStr:
    if any(len(key) < 32 for key in _keys_in(secret)):
        raise ValueError("must have at least 32 characters, and so must each part where commas divide it")
    return secret


def _page(content: str) -> str:
    if any(character.isspace() for character in content):
        return content
    if urlsplit(content).scheme not in ("http", "https") or not urlsplit(content).hostname:
        raise ValueError("must be a URL that begins with https:// or http://, or the text of the page")
    return content


def _keys_in(secret: SecretStr) -> list[str]:
    return [key.strip() for key in secret.get_secret_value().split(",")]


PUBLISHED_KEY = "for-development-only"
"""The text that every secret key published in this repository contains."""

PostgresUrl = Annotated[str, AfterValidator(_postgres)]
RedisUrl = Annotated[str, AfterValidator(checked_url)]
BrokerUrl = Annotated[str, AfterValidator(checked_broker_url)]
_Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Page = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_page)]


class CarrierPage(StrEnum):
    """The carrier's pages that portal, mails, letters and offers link to: imprint, privacy notice, terms and help.

    The value is the page's path in the portal. Each page has a setting (`CARRIER_IMPRINT` and so on). If the setting is
    a URL, links lead to that URL; if it is a text (with spaces), the portal shows the text under the page's path.
    """

    IMPRINT = "impressum"
    PRIVACY = "datenschutz"
    TERMS = "agb"
    HELP = "hilfe"


@dataclass(frozen=True, slots=True)
class Carrier:
    """The carrier's name, address, contact and pages, as shown to customers. What is not set is None, and is not shown.

    `address` is the postal address in one line. `links` maps the carrier's pages to their URLs, `texts` the pages that
    the portal serves itself to their text; both leave out pages that are not set.
    """

    name: str | None = None
    address: str | None = None
    phone: str | None = None
    email: str | None = None
    links: Mapping[CarrierPage, str] = field(default_factory=dict)
    texts: Mapping[CarrierPage, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return True if the carrier's name, address, phone number, e-mail address or one of its pages is set."""
        return any((self.name, self.address, self.phone, self.email, self.links))


class Settings(BaseSettings):
    """The base class of the settings of every program. Creating an instance reads the environment variables.

    Raises `SettingsError` if a variable is missing or invalid.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    log_format: Literal["json", "console"] = "json"
    prometheus_multiproc_dir: Path | None = None
    """The directory in which the processes of a machine keep their counters for /metrics; None if they keep none."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_in_words(error)) from None

    def make_directories(self) -> None:
        """Create the directory for the counters of /metrics, if one is set."""
        if self.prometheus_multiproc_dir is not None:
            self.prometheus_multiproc_dir.mkdir(parents=True, exist_ok=True)


class BrokerSettings(Settings):
    """The settings of programs that send or receive Celery messages."""

    broker_url: BrokerUrl | None = None
    """The URL of the server that carries Celery's messages, if that is not the Redis of `redis_url`."""
    redis_url: RedisUrl | None
    """The URL of the Redis that counts failed attempts, with the password of `redis_password` in it.

    May be missing if `broker_url` is set: then the portal's database counts them.
    """
    redis_password: SecretStr | None = None
    """The password to insert into the URL of a Redis that contains none; it may have any characters."""

    @property
    def hints_url(self) -> str:
        """Return the URL of the server that carries Celery's messages."""
        url = self.broker_url or self.redis_url
        assert url is not None
        return url

    @model_validator(mode="before")
    @classmethod
    def _put_password_into_url(cls, values: dict[str, Any]) -> dict[str, Any]:
        url, password = values.get("redis_url"), values.get("redis_password")
        if url is None and values.get("broker_url"):
            return {**values, "redis_url": None}
        if not isinstance(url, str) or not password:
            return values
        text = password.get_secret_value() if isinstance(password, SecretStr) else str(password)
        return {**values, "redis_url": with_password(url, text)}


class CarrierSettings(Settings):
    """The settings that describe the carrier on pages, mails, letters and offers. What is not set is not shown."""

    carrier_name: _Line | None = None
    carrier_address: _Line | None = None
    """The carrier's postal address in one line, also the sender of letters."""
    carrier_phone: _Line | None = None
    """The phone number of the customer service, as customers are to read it."""
    carrier_email: Annotated[str, AfterValidator(sendable)] | None = None
    """The e-mail address of the customer service, which is also the Reply-To of mails."""
    carrier_imprint: _Page | None = None
    """The imprint: a URL, or the text of a page that the portal shows.

    Privacy notice, terms and help have the same form.
    """
    carrier_privacy: _Page | None = None
    carrier_terms: _Page | None = None
    carrier_help: _Page | None = None

    def unset_carrier(self) -> list[str]:
        """Return the environment variables about the carrier that are not set."""
        fields = [name for name in CarrierSettings.model_fields if name.startswith("carrier_")]
        return [name.upper() for name in fields if getattr(self, name) is None]


class LimitSettings(CarrierSettings):
    """The default limits on what one company may order or send at a time or in a day.

    They apply unless the carrier has given the company limits of its own.
    """

    limit_open_orders: Annotated[int, Field(ge=1)] = USUAL_LIMITS.open_orders
    """The greatest number of orders of a company that have not ended, at one time."""
    limit_blocks_per_day: Annotated[int, Field(ge=1)] = USUAL_LIMITS.blocks
    """The greatest number of number blocks that a company can order on one day."""
    limit_letters_per_day: Annotated[int, Field(ge=1)] = USUAL_LIMITS.letters
    """The greatest number of letters with codes that a company can cause on one day."""
    limit_contacts_per_day: Annotated[int, Field(ge=1)] = USUAL_LIMITS.contacts
    """The greatest number of e-mail addresses, new to the company, that it can have asked for confirmation on a day."""
    limit_invitations_per_day: Annotated[int, Field(ge=1)] = USUAL_LIMITS.invitations
    """The greatest number of invitations that a company can send on one day."""
    limit_consents_per_day: Annotated[int, Field(ge=1)] = USUAL_LIMITS.consents
    """The greatest number of accounts whose administrators a company can ask for consent on one day."""

    @property
    def limits(self) -> Limits:
        """Return the default limits, which apply to companies that have none of their own."""
        return Limits(
            open_orders=self.limit_open_orders,
            blocks=self.limit_blocks_per_day,
            letters=self.limit_letters_per_day,
            contacts=self.limit_contacts_per_day,
            invitations=self.limit_invitations_per_day,
            consents=self.limit_consents_per_day,
        )


class SecretSettings(LimitSettings):
    """The settings of programs that encrypt, sign or derive codes with SECRET_KEY."""

    secret_key: Annotated[SecretStr, AfterValidator(_long)]
    """The key that encrypts SIP passwords, signs sessions and derives codes.

    It may be several keys, separated by commas: a new one first, then older ones that still decrypt.
    """
    base_url: str = "http://127.0.0.1:8000"
    """The URL at which customers reach the portal, with which the links in mails begin."""

    @property
    def secret_keys(self) -> list[str]:
        """Return the keys in the setting: first the one used for new data, then older ones that still decrypt."""
        return _keys_in(self.secret_key)

    @property
    def carrier(self) -> Carrier:
        """Return the carrier's name, address, contact and pages from the settings, as shown to customers."""
        set_pages = {
            CarrierPage.IMPRINT: self.carrier_imprint,
            CarrierPage.PRIVACY: self.carrier_privacy,
            CarrierPage.TERMS: self.carrier_terms,
            CarrierPage.HELP: self.carrier_help,
        }
        contents = {page: content for page, content in set_pages.items() if content is not None}
        texts = {page: content for page, content in contents.items() if any(map(str.isspace, content))}
        own = self.base_url.rstrip("/")
        return Carrier(
            name=self.carrier_name,
            address=self.carrier_address,
            phone=self.carrier_phone,
            email=self.carrier_email,
            links={page: f"{own}/{page}" if page in texts else content for page, content in contents.items()},
            texts=texts,
        )

    @model_validator(mode="after")
    def _published_keys_stay_on_this_machine(self) -> Self:
        published = any(PUBLISHED_KEY in key.lower() for key in self.secret_keys)
        if published and not is_loopback(urlsplit(self.base_url).hostname or ""):
            raise ValueError(
                "SECRET_KEY has a key that stands in the public repository, with which everybody can sign sessions and"
                " make codes. Make one of your own with `openssl rand -hex 32`: only with a BASE_URL on this machine"
                " (http://127.0.0.1:8000) is a published key accepted"
            )
        return self


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address means this machine itself: `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _in_words(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        variable = "_".join(str(part) for part in problem["loc"]).upper()
        what = "is missing" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
        lines.append(f"{variable} {what}.".lstrip())
    return "\n".join(lines)
