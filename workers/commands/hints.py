"""Telling the workers, after a commit, that requests are due."""

from __future__ import annotations

from workers.commands.resources import err


def hint_after_commit() -> None:
    """Send the hint. Without a broker nothing is lost: the sweep finds the rows within seconds."""
    # Slow to import, and most commands never need them.
    from celery import Celery

    from tasks.hints import hint

    with Celery("standorte-console", config_source="celeryconfig"):
        if not hint():
            err.print("The broker does not answer; the sweep goes on with it when it is back.", style="yellow")
