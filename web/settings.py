"""What the front is told by the environment, typed and checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class WebSettings(BaseSettings):
    """Read once, when the application is made."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: str
    redis_url: str = "redis://127.0.0.1:6379/0"
    secret_key: SecretStr
    base_url: str = "http://127.0.0.1:8000"
    log_format: Literal["json", "console"] = "json"
    web_threads: int = 8
    """Threads of one process, each with a database connection of its own."""
    trusted_proxies: Annotated[int, Field(ge=0)] = 0
    """How many proxies stand in front, each of which adds the address of its client to X-Forwarded-For."""
