"""The command lines of the long-running programs: web, worker and beat."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def web(host: str, port: int, *, processes: int = 2, threads: int = 8) -> list[str]:
    """Return the command of the web front under gunicorn, with its numbers of processes and threads."""
    command = [sys.executable, "-m", "web.serve", "--bind", f"{host}:{port}", "--worker-class", "gthread"]
    command += ["--workers", str(processes), "--threads", str(threads), "--env", f"WEB_THREADS={threads}"]
    # Its socket for remote control would lie in the home directory, which there may be none of.
    command += ["--graceful-timeout", "5", "--no-control-socket", "--log-level", "warning"]
    return [*command, "web.app:create_app()"]


def worker(concurrency: int) -> list[str]:
    """Return the command of a Celery worker; `concurrency` is its number of processes."""
    command = [*_celery(), "worker", "--pool", "prefork", "--concurrency", str(concurrency)]
    return [*command, "--without-gossip", "--without-mingle", "--loglevel", "INFO"]


def beat(schedule: Path) -> list[str]:
    """Return the command of Celery beat, one for the whole system. `schedule` is the file of its last runs."""
    return [*_celery(), "beat", "--schedule", str(schedule), "--pidfile", "", "--loglevel", "INFO"]


def console(*arguments: str) -> list[str]:
    """Return the command line of a `standorte` command of this installation."""
    return [sys.executable, "-m", "workers.cli", *arguments]


def _celery() -> list[str]:
    # Celery warns when root runs a worker, because of pickles; here only JSON is accepted.
    quiet = ["-W", "ignore:You're running the worker with superuser"] if os.geteuid() == 0 else []
    return [sys.executable, *quiet, "-m", "celery", "--quiet", "--app", "workers.app:app"]
