"""Send hints from console commands."""

from __future__ import annotations

from workers.commands.resources import err


def hint_after_commit() -> None:
    """Send a hint that requests are due, after a commit. If it is lost, the sweep finds the rows within seconds."""
    # Imported here: slow, and most commands do not need it.
    from tasks.hints import hint, sending_app
    from workers.settings import WorkerSettings

    with sending_app("standorte-console", WorkerSettings().redis_url):
        if not hint():
            err.print("The broker does not answer; the sweep goes on with it when it is back.", style="yellow")
