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
    from kombu.exceptions import OperationalError

    # By name, and not the process's current app: a command sends one hint and has no other use for Celery.
    with Celery("standorte-console", set_as_current=False, config_source="celeryconfig") as app:
        try:
            app.send_task("requests.advance", args=([str(id) for id in ids],), retry=False)
        except (OperationalError, OSError):
            err.print("The broker does not answer; the sweep goes on with it when it is back.", style="yellow")
