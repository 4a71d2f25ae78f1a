"""`standorte secrets`: re-encrypt stored secrets after a change of SECRET_KEY."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import Any

import typer

from models.db.session import Database
from models.vault import Vault
from models.views.sealed_secrets import SEALED, Sealed, reseal_page
from workers.commands.resources import out, owner_urls, refuse
from workers.settings import WorkerSettings

app = typer.Typer(no_args_is_help=True, help="Secrets that are stored encrypted.")


@app.callback()
def secrets() -> None:
    """Commands about stored secrets: `reseal` re-encrypts them after a change of SECRET_KEY."""


@app.command("reseal")
def reseal() -> None:
    """Re-encrypt all SIP passwords and second factors with the first key of SECRET_KEY.

    Safe to run twice, and while the system runs. Connects as the owner's role. Ends with 1 if any secret cannot be
    decrypted with any of the keys.
    """
    settings = WorkerSettings()
    vault = Vault(*settings.secret_keys)
    with closing(Database(owner_urls(settings)[0])) as database:
        found = {sealed.name: _reseal(database, vault, sealed) for sealed in SEALED}
    for name, counts in found.items():
        out.print(f"{name}: {counts['resealed']} encrypted anew, {counts['unreadable']} unreadable", highlight=False)
    if any(counts["unreadable"] for counts in found.values()):
        refuse("None of the keys opens them: was a key removed from SECRET_KEY too early?")


def _reseal(database: Database, vault: Vault, sealed: Sealed) -> Counter[str]:
    found: Counter[str] = Counter()
    after: Any = None
    while True:
        with database.transaction() as session:
            after, counts = reseal_page(session, vault, sealed, after)
        found += counts
        if after is None:
            return found
