"""The connections and settings of the web application, created once by `create_app`."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

import models.schema  # noqa: F401 - foreign keys name tables that nothing else here imports
from models.db.session import Database
from models.values import Clock
from models.vault import Vault
from web.attempt_limits import Throttle
from web.export_turns import ExportTurns
from web.settings import WebSettings
from web.telephone_network import TelephoneNetwork

_KEY = "standorte"


@dataclass(frozen=True, slots=True)
class Resources:
    """The connections and settings of one web application.

    `database` is the portal's PostgreSQL database. `vault` encrypts secrets and derives codes. `clock` returns the
    current time. `throttle` limits failed logins and codes, `exports` the number of simultaneous exports. `network`
    reads the state of trunks from Kamailio's database; None if no such database is configured.
    """

    settings: WebSettings
    database: Database
    vault: Vault
    clock: Clock
    throttle: Throttle
    exports: ExportTurns
    network: TelephoneNetwork | None


def store_resources(app: object, resources: Resources) -> None:
    """Store the resources in the Flask application `app`, where the function `resources` looks for them."""
    app.extensions[_KEY] = resources  # type: ignore[attr-defined]


def resources() -> Resources:
    """Return the connections and settings of the application that handles the current request."""
    found = current_app.extensions[_KEY]
    assert isinstance(found, Resources)
    return found
