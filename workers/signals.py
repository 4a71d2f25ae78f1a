"""Celery signal handlers for the start and end of a worker process: logging, the runtime, metrics."""

from __future__ import annotations

import os
from typing import Any

from celery import signals
from prometheus_client import multiprocess

from tasks import context
from tasks.logs import configure_logging
from tasks.settings import Settings
from workers.runtime import build_runtime, close_runtime
from workers.settings import WorkerSettings


def connect_signals() -> None:
    """Connect handlers to Celery's signals: they set up logging, and open and close a worker process's runtime.

    Called once, where the Celery application is created.
    """
    signals.setup_logging.connect(_set_up_logging)
    signals.worker_process_init.connect(_start)
    signals.worker_process_shutdown.connect(_end)


def _set_up_logging(**_: Any) -> None:
    # `Settings` and not `WorkerSettings`, because beat runs this too and has no settings of a worker.
    configure_logging(Settings().log_format)


def _start(**_: Any) -> None:
    # Built after the fork, so that no connection is inherited from the main process.
    context.set_runtime(build_runtime(WorkerSettings()))


def _end(pid: int | None = None, **_: Any) -> None:
    close_runtime(context.runtime())
    context.set_runtime(None)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid or os.getpid())  # type: ignore[no-untyped-call]
