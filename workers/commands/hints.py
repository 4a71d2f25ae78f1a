"""Telling the workers, after a commit, that requests are due."""

from __future__ import annotations

from workers.commands.resources import err


def hint_after_commit() -> None:
    """Send the hint. Without a broker nothing is lost: the sweep finds the rows within seconds."""
    # Slow to import, and most commands never need it.
    from tasks.hints import hint, sending_app
    from workers.settings import WorkerSettings

    with sending_app("standorte-console", WorkerSettings().redis_url):
        if not hint():
            err.print("The broker does not answer; the sweep goes on with it when it is back.", style="yellow")
