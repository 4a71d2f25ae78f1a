"""What the front works with, built once in the factory and found here from a request."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

import models.schema  # noqa: F401 - foreign keys name tables that nothing else here imports
from models.db.session import Database
from models.values import Clock
from models.vault import Vault
from web.settings import WebSettings
from web.telephone_network import TelephoneNetwork
from web.throttle import Throttle

_KEY = "standorte"


@dataclass(frozen=True, slots=True)
class Resources:
    """The front's own connections and settings."""

    settings: WebSettings
    database: Database
    vault: Vault
    clock: Clock
    throttle: Throttle
    network: TelephoneNetwork | None


def keep(app: object, resources: Resources) -> None:
    """Hand them to the application."""
    app.extensions[_KEY] = resources  # type: ignore[attr-defined]


def resources() -> Resources:
    """Those of the application that serves this request."""
    found = current_app.extensions[_KEY]
    assert isinstance(found, Resources)
    return found
