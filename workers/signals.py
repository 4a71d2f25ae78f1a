"""What happens when a worker process starts and ends: settings, logging, the runtime, metrics."""

from __future__ import annotations

import os
from typing import Any

from celery import signals
from prometheus_client import multiprocess

from tasks import current
from tasks.logs import configure_logging
from workers.runtime import build_runtime, close_runtime
from workers.settings import WorkerSettings


def connect_signals() -> None:
    """Hook into Celery. Called once, where the app is made."""
    signals.setup_logging.connect(_set_up_logging)
    signals.worker_process_init.connect(_start)
    signals.worker_process_shutdown.connect(_end)


def _set_up_logging(**_: Any) -> None:
    configure_logging(WorkerSettings().log_format)


def _start(**_: Any) -> None:
    # After the fork: connections are made here, never inherited.
    current.set_runtime(build_runtime(WorkerSettings()))


def _end(pid: int | None = None, **_: Any) -> None:
    close_runtime(current.runtime())
    current.set_runtime(None)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid or os.getpid())  # type: ignore[no-untyped-call]
