"""Notify the workers, after a commit, that requests are due."""

from __future__ import annotations

from workers.commands.resources import err


def hint_after_commit() -> None:
    """Notify the workers through the broker that requests are due.

    If the broker does not answer, print a warning: no request is lost, as the periodic sweep finds the due rows.
    """
    # Imported here because Celery is slow to import and most commands never need it.
    from tasks.hints import hint, sending_app
    from workers.settings import WorkerSettings

    with sending_app("standorte-console", WorkerSettings().redis_url):
        if not hint():
            err.print("The broker does not answer; the sweep goes on with it when it is back.", style="yellow")
