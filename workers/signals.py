"""Handlers of Celery's signals for the start and end of worker processes, which set up and close what tasks need."""

from __future__ import annotations

import mmap
import os
from typing import Any

import structlog
from celery import signals
from prometheus_client import multiprocess

from models.version import VERSION
from tasks import context, tracing
from tasks.logs import configure_logging
from tasks.settings import Settings
from workers.runtime import build_runtime, close_runtime
from workers.settings import WorkerSettings

log = structlog.get_logger()

_stop = mmap.mmap(-1, 1)
"""One byte of memory that a Celery worker shares with its child processes: 1 once the worker was asked to stop."""


def connect_signals() -> None:
    """Connect handlers to Celery's signals: set up logging, and open and close the resources of a worker process.

    Other handlers record in shared memory that a worker was asked to stop, because Celery does not tell its busy child
    processes. Call once, where the Celery application is created.
    """
    signals.worker_init.connect(_share_stop)
    signals.worker_shutting_down.connect(_ask_to_stop)
    signals.setup_logging.connect(_set_up_logging)
    signals.beat_init.connect(_say_version)
    signals.worker_process_init.connect(_start)
    signals.worker_process_shutdown.connect(_end)


def _set_up_logging(**_: Any) -> None:
    # `Settings` and not `WorkerSettings`, because beat runs this too and has no settings of a worker.
    configure_logging(Settings().log_format)


def _say_version(**_: Any) -> None:
    log.info("program.started", program="beat", version=VERSION)


def _share_stop(**_: Any) -> None:
    # One for each Celery worker, before it forks its processes.
    global _stop
    _stop = mmap.mmap(-1, 1)


def _ask_to_stop(**_: Any) -> None:
    _stop[0] = 1


def _is_stopping() -> bool:
    return _stop[0] != 0


def _start(**_: Any) -> None:
    # Built after the fork, so that no connection is inherited from the main process.
    context.set_runtime(build_runtime(WorkerSettings(), stopping=_is_stopping))
    tracing.begin("standorte-worker")


def _end(pid: int | None = None, **_: Any) -> None:
    close_runtime(context.runtime())
    context.set_runtime(None)
    # Celery ends the process without what Python does at an exit.
    tracing.end()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid or os.getpid())  # type: ignore[no-untyped-call]
