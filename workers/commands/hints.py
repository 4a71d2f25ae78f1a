"""Telling the workers, after a commit, that requests are due."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from workers.commands.resources import err


def hint_after_commit(ids: Sequence[uuid.UUID]) -> None:
    """Send the hint. Without a broker nothing is lost: the sweep finds the rows within seconds."""
    if not ids:
        return
    # Slow to import, and most commands never need them.
    from celery import Celery

    from tasks.hints import hint

    app = Celery("standorte-cli")
    app.config_from_object("celeryconfig")
    app.set_default()
    if not hint(ids):
        err.print("The broker does not answer; the sweep goes on with it when it is back.", style="yellow")
