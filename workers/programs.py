"""The command lines of the long-running programs, for `standorte web`, `worker` and `beat` and for the stack."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def web(host: str, port: int, *, processes: int = 2, threads: int = 8) -> list[str]:
    """Return the command line that runs the web front end under gunicorn.

    The front end checks its settings itself. WEB_THREADS tells it how many database connections it needs.
    """
    command = [sys.executable, "-m", "web.serve", "--bind", f"{host}:{port}", "--worker-class", "gthread"]
    command += ["--workers", str(processes), "--threads", str(threads), "--env", f"WEB_THREADS={threads}"]
    # Without a control socket, because that would be created in the home directory, which may not exist.
    command += ["--graceful-timeout", "5", "--no-control-socket", "--log-level", "warning"]
    return [*command, "web.app:create_app()"]


def worker(concurrency: int) -> list[str]:
    """Return the command line of a Celery worker with `concurrency` processes."""
    command = [*_celery(), "worker", "--pool", "prefork", "--concurrency", str(concurrency)]
    return [*command, "--without-gossip", "--without-mingle", "--loglevel", "INFO"]


def beat(schedule: Path) -> list[str]:
    """Return the command line of Celery's beat, which sends the scheduled jobs; run only one for the whole system.

    Beat saves its last runs in the file `schedule`.
    """
    return [*_celery(), "beat", "--schedule", str(schedule), "--pidfile", "", "--loglevel", "INFO"]


def console(*arguments: str) -> list[str]:
    """Return the command line of a `standorte` command of this installation."""
    return [sys.executable, "-m", "workers.cli", *arguments]


def _celery() -> list[str]:
    # Celery warns when root runs a worker, because of pickles; here only JSON is accepted.
    quiet = ["-W", "ignore:You're running the worker with superuser"] if os.geteuid() == 0 else []
    return [sys.executable, *quiet, "-m", "celery", "--quiet", "--app", "workers.app:app"]
