"""Tests of the settings: secret keys from the repository are refused, and settings about the carrier are checked."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from models.retention import Periods
from tasks.settings import PUBLISHED_KEY, CarrierPage, SecretSettings, SettingsError
from web.settings import WebSettings
from workers.demo.carrier import DEMO_CARRIER
from workers.runtime import build_runtime
from workers.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
READ = {".py", ".yml", ".md", ".toml", ".json", ".cfg", ""}
"""The suffixes of the files that are searched for keys; "" for files without a suffix."""

Program = Callable[..., SecretSettings]


def for_web(**settings: Any) -> SecretSettings:
    """Return valid settings of the web application; `settings` adds or replaces values."""
    database = "postgresql+psycopg://127.0.0.1/standorte"
    usual = {"database_url": database, "redis_url": "redis://127.0.0.1", "trusted_proxies": 1}
    return WebSettings(**{**usual, **settings})


def for_workers(**settings: Any) -> SecretSettings:
    """Return valid settings of a worker; `settings` adds or replaces values."""
    database = "postgresql+psycopg://127.0.0.1/standorte"
    return WorkerSettings(
        **{
            "database_url": database,
            "registrar_url": database,
            "redis_url": "redis://127.0.0.1",
            "smtp_url": "smtp://127.0.0.1",
            **settings,
        }
    )


def default_of(variable: str) -> str:
    """Return the default value that docker-compose.yml has for this environment variable."""
    [default] = re.findall(rf"\${{{variable}:-([^}}]+)}}", COMPOSE)
    return str(default)


def keys_in_the_repository() -> set[str]:
    """Return every text of 32 or more characters that a file of the repository assigns to SECRET or SECRET_KEY."""
    given = re.compile(r"""\bSECRET(?:_KEY)?["']?\s*[:=,]\s*["']?([^"'}\n]{32,})""")
    folders = [ROOT / name for name in ("docs", "models", "tasks", "tests", "web", "workers")]
    # Not those of `make compose-env`, which nobody else has.
    files = [file for file in ROOT.iterdir() if file.is_file() and file.name != ".env"]
    files += [file for folder in folders for file in folder.rglob("*") if "node_modules" not in file.parts]
    texts = (file.read_text() for file in files if file.suffix in READ and file.is_file())
    return {key for text in texts for key in given.findall(text)}


KEYS = sorted(keys_in_the_repository())


def test_the_fronts_own_database_urls_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REGISTRAR_URL"):
        monkeypatch.setenv(name, "postgresql+psycopg://worker@127.0.0.1/db")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1")
    monkeypatch.setenv("SECRET_KEY", secrets.token_hex(32))
    assert WebSettings().database_url == WebSettings().registrar_url == "postgresql+psycopg://worker@127.0.0.1/db"
    for name in ("FRONT_DATABASE_URL", "FRONT_REGISTRAR_URL"):
        monkeypatch.setenv(name, "postgresql+psycopg://front@127.0.0.1/db")
    assert WebSettings().database_url == WebSettings().registrar_url == "postgresql+psycopg://front@127.0.0.1/db"
    monkeypatch.delenv("DATABASE_URL")
    assert WebSettings().database_url == "postgresql+psycopg://front@127.0.0.1/db"


@pytest.mark.parametrize("program", [for_web, for_workers])
@pytest.mark.parametrize("key", KEYS)
def test_no_key_of_the_repository_serves_a_portal_that_others_reach(program: Program, key: str) -> None:
    for keys in (
        key,
        f"{secrets.token_hex(32)},{key}",
        f"{key},{secrets.token_hex(32)}",
        key.upper(),
        f"{key} of ours",
    ):
        with pytest.raises(SettingsError, match=r"^SECRET_KEY .*openssl rand -hex 32") as refused:
            program(secret_key=SecretStr(keys), base_url="https://portal.example")
        assert key not in str(refused.value)


def test_the_keys_of_the_repository_are_found() -> None:
    assert len(KEYS) >= 2
    assert all(PUBLISHED_KEY in key for key in KEYS)


@pytest.mark.parametrize("program", [for_web, for_workers])
@pytest.mark.parametrize(
    ("base_url", "accepted"),
    [
        ("http://127.0.0.1:8000", True),
        ("https://localhost", True),
        ("http://[::1]:8000", True),
        ("http://portal.example", False),
        ("http://192.168.1.7:8000", False),
        ("http://0.0.0.0:8000", False),
        ("https://127.0.0.1.portal.example", False),
        ("https://127.0.0.1@portal.example", False),
        ("https://localhost.example", False),
        ("127.0.0.1:8000", False),
        ("https://[portal.example", False),
    ],
)
def test_only_this_machine_is_served_with_a_published_key(program: Program, base_url: str, accepted: bool) -> None:
    key = SecretStr(f"{PUBLISHED_KEY}-not-a-secret-at-all")
    if accepted:
        assert program(secret_key=key, base_url=base_url).base_url == base_url
    else:
        with pytest.raises(SettingsError):
            program(secret_key=key, base_url=base_url)


@pytest.mark.parametrize("program", [for_web, for_workers])
def test_a_password_of_redis_may_have_any_characters(program: Program) -> None:
    key = SecretStr(secrets.token_hex(32))
    password = "p@ss/w:rd %#?"
    settings: Any = program(secret_key=key, redis_url="redis://redis:6379/0", redis_password=password)
    with redis.from_url(settings.redis_url) as client:
        told = client.connection_pool.connection_kwargs
    assert (told["password"], told["host"], told["port"], told["db"]) == (password, "redis", 6379, 0)
    # What stands in the URL counts.
    settings = program(secret_key=key, redis_url="redis://:another@redis/0", redis_password=password)
    assert settings.redis_url == "redis://:another@redis/0"


@pytest.mark.parametrize("program", [for_web, for_workers])
def test_containers_for_trying_out_begin_and_a_key_of_ones_own_serves_everybody(program: Program) -> None:
    for key, base_url in (
        (secrets.token_hex(32), default_of("BASE_URL")),
        (secrets.token_hex(32), "https://portal.example"),
    ):
        assert program(secret_key=SecretStr(key), base_url=base_url).secret_keys == [key]
    assert "make compose-env" in COMPOSE and "openssl rand -hex 32" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("program", [for_web, for_workers])
def test_a_page_of_the_carrier_is_a_url_or_a_text(program: Program) -> None:
    found = program(
        secret_key=SecretStr(secrets.token_hex(32)),
        base_url="https://portal.example/",
        carrier_name=" Beispiel Telefon ",
        carrier_imprint="Beispiel Telefon,\nBerlin",
        carrier_help="https://carrier.example/hilfe",
    )
    carrier = found.carrier
    assert carrier.name == "Beispiel Telefon" and carrier.email is None
    assert carrier.links == {
        CarrierPage.IMPRINT: "https://portal.example/impressum",
        CarrierPage.HELP: "https://carrier.example/hilfe",
    }
    assert carrier.texts == {CarrierPage.IMPRINT: "Beispiel Telefon,\nBerlin"}
    unset = ["CARRIER_ADDRESS", "CARRIER_PHONE", "CARRIER_EMAIL", "CARRIER_PRIVACY", "CARRIER_TERMS"]
    assert found.unset_carrier() == unset
    key = SecretStr(secrets.token_hex(32))
    nobody = program(secret_key=key)
    assert not nobody.carrier and len(nobody.unset_carrier()) == 8
    for wrong in ("carrier.example/impressum", "javascript:alert(1)", "http://", "Impressum"):
        with pytest.raises(SettingsError, match=r"^CARRIER_IMPRINT must be a URL that begins with https://"):
            program(secret_key=key, carrier_imprint=wrong)
    with pytest.raises(SettingsError, match=r"^CARRIER_EMAIL"):
        program(secret_key=key, carrier_email="service")
    with pytest.raises(SettingsError, match=r"^CARRIER_EMAIL.*umlauts"):
        program(secret_key=key, carrier_email="grüße@portal.example")
    with pytest.raises(SettingsError, match=r"^CARRIER_ADDRESS"):
        program(secret_key=key, carrier_address="Musterstraße 1\n10115 Berlin")


def test_containers_and_the_embedded_stack_know_every_setting_of_the_carrier() -> None:
    found = for_web(secret_key=SecretStr(secrets.token_hex(32)))
    for variable in found.unset_carrier():
        assert f"{variable}: ${{{variable}:-}}" in COMPOSE
    settings = {name.lower(): value for name, value in DEMO_CARRIER.items()}
    assert for_web(secret_key=SecretStr(secrets.token_hex(32)), **settings).unset_carrier() == []


def test_a_front_with_https_is_told_how_many_proxies_stand_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "DATABASE_URL": "postgresql+psycopg://127.0.0.1/standorte",
        "REDIS_URL": "redis://127.0.0.1",
        "SECRET_KEY": secrets.token_hex(32),
        "BASE_URL": "https://portal.example",
        # As docker-compose.yml gives it if it is not set.
        "TRUSTED_PROXIES": "",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=r"^TRUSTED_PROXIES is missing"):
        WebSettings()
    for number in (0, 1):
        monkeypatch.setenv("TRUSTED_PROXIES", str(number))
        assert WebSettings().trusted_proxies == number
    monkeypatch.delenv("TRUSTED_PROXIES")
    monkeypatch.setenv("BASE_URL", "http://127.0.0.1:8000")
    assert WebSettings().trusted_proxies == 0


def test_what_the_law_wants_kept_cannot_be_kept_shorter() -> None:
    key = SecretStr(secrets.token_hex(32))
    settings: Any = for_workers(secret_key=key, keep_mails_days=30, keep_business_years=10)
    periods = build_runtime(settings).periods
    assert periods == Periods(mails=timedelta(days=30), business_years=10)
    for wrong in (
        {"keep_business_years": 5},
        {"keep_mails_days": 29},
        {"keep_documents_days": 0},
        {"keep_files_days": 1},
    ):
        with pytest.raises(SettingsError, match=next(iter(wrong)).upper()):
            for_workers(secret_key=key, **wrong)
