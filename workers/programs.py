"""The command lines of the long-running programs, for `standorte web`, `worker` and `beat` and for the stack."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from models.db.work_queue import WorkKind


def web(host: str, port: int, *, processes: int = 2, threads: int = 8) -> list[str]:
    """Return the command line that runs the web front end under gunicorn, with this number of threads in each process.

    The front end checks its settings itself. WEB_THREADS tells it how many database connections it needs.
    """
    command = [sys.executable, "-m", "web.serve", "--bind", f"{host}:{port}", "--worker-class", "gthread"]
    command += ["--workers", str(processes), "--threads", str(threads), "--env", f"WEB_THREADS={threads}"]
    # Without a control socket, because that would be created in the home directory, which may not exist.
    command += ["--graceful-timeout", "5", "--no-control-socket", "--log-level", "warning"]
    return [*command, "web.app:create_app()"]


def worker(concurrency: int, kinds: Sequence[WorkKind] = ()) -> list[str]:
    """Return the command line of the worker program for these kinds of work; without kinds, for all of them.

    `concurrency` is the number of processes for each of requests.verify, requests.provision and messages.send.
    """
    command = [sys.executable, "-m", "workers.process_pools", "--concurrency", str(concurrency)]
    return [*command, *(["--queues", *kinds] if kinds else [])]


def beat(schedule: Path) -> list[str]:
    """Return the command line of Celery's beat, which regularly tells the workers to look for due work and jobs.

    One beat is enough for the whole system; a second one, on another host, does no harm, because no hint is added
    while one of its kind waits. In the file `schedule` it saves when each of its messages was last sent.
    """
    celery = [sys.executable, "-m", "celery", "--quiet", "--app", "workers.app:app"]
    return [*celery, "beat", "--schedule", str(schedule), "--pidfile", "", "--loglevel", "INFO"]


def console(*arguments: str) -> list[str]:
    """Return the command line that runs this installation's `standorte` program with these arguments."""
    return [sys.executable, "-m", "workers.cli", *arguments]
