"""The command lines of the long-running programs: web front end, worker and beat.

They are used by `standorte web`, `worker` and `beat`, and by the embedded stack.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from models.db.work_queue import WorkKind


def web(host: str, port: int, *, processes: int = 2, threads: int = 8) -> list[str]:
    """Return the command line that runs the web front end under gunicorn.

    `threads` is the number of threads in each of the `processes`. The command line also sets WEB_THREADS to it, because
    each thread needs a database connection. The front end checks its settings itself.
    """
    command = [sys.executable, "-m", "web.serve", "--bind", f"{host}:{port}", "--worker-class", "gthread"]
    command += ["--workers", str(processes), "--threads", str(threads), "--env", f"WEB_THREADS={threads}"]
    # Without a control socket, because that would be created in the home directory, which may not exist.
    command += ["--graceful-timeout", "5", "--no-control-socket", "--log-level", "warning"]
    return [*command, "web.app:create_app()"]


def worker(concurrency: int, kinds: Sequence[WorkKind] = ()) -> list[str]:
    """Return the command line of the worker program for these kinds of work; an empty `kinds` means all.

    `concurrency` is the number of processes for each of requests.verify, requests.provision and messages.send.
    """
    command = [sys.executable, "-m", "workers.process_pools", "--concurrency", str(concurrency)]
    return [*command, *(["--queues", *kinds] if kinds else [])]


def beat(schedule: Path) -> list[str]:
    """Return the command line of Celery's beat, which regularly sends messages so that workers look for due work.

    In the file `schedule`, beat saves when each message was last sent. One beat is enough for the whole system. A
    second one, on another host, does no harm, because no message is added to a queue that holds one.
    """
    celery = [sys.executable, "-m", "celery", "--quiet", "--app", "workers.app:app"]
    return [*celery, "beat", "--schedule", str(schedule), "--pidfile", "", "--loglevel", "INFO"]


def console(*arguments: str) -> list[str]:
    """Return the command line that runs this installation's `standorte` program with these arguments."""
    return [sys.executable, "-m", "workers.cli", *arguments]
