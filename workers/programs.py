"""The long-running programs, as command lines. `standorte web` becomes one; the stack starts all three."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def web(host: str, port: int, *, processes: int = 2, threads: int = 8) -> list[str]:
    """The front, under gunicorn. It checks its settings itself, and learns from here how many connections it needs."""
    command = [sys.executable, "-m", "web.serve", "--bind", f"{host}:{port}", "--worker-class", "gthread"]
    command += ["--workers", str(processes), "--threads", str(threads), "--env", f"WEB_THREADS={threads}"]
    # Its socket for remote control would lie in the home directory, which there may be none of.
    command += ["--graceful-timeout", "5", "--no-control-socket", "--log-level", "warning"]
    return [*command, "web.app:create_app()"]


def worker(concurrency: int) -> list[str]:
    """A Celery worker with so many processes."""
    command = [*_celery(), "worker", "--pool", "prefork", "--concurrency", str(concurrency)]
    return [*command, "--without-gossip", "--without-mingle", "--loglevel", "INFO"]


def beat(schedule: Path) -> list[str]:
    """What sends the scheduled jobs; one for the whole system. Remembers its last runs in a file."""
    return [*_celery(), "beat", "--schedule", str(schedule), "--pidfile", "", "--loglevel", "INFO"]


def console(*arguments: str) -> list[str]:
    """A `standorte` command of this very installation."""
    return [sys.executable, "-m", "workers.cli", *arguments]


def _celery() -> list[str]:
    # Celery warns when root runs a worker, because of pickles; here only JSON is accepted.
    quiet = ["-W", "ignore:You're running the worker with superuser"] if os.geteuid() == 0 else []
    return [sys.executable, *quiet, "-m", "celery", "--quiet", "--app", "workers.app:app"]
