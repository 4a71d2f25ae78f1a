"""Celery signal handlers for the start and end of a worker process: logging, the runtime, metrics."""

from __future__ import annotations

import os
from typing import Any
from wsgiref.simple_server import WSGIServer

from celery import signals
from prometheus_client import CollectorRegistry, multiprocess, start_http_server

from tasks import context
from tasks.logs import configure_logging
from tasks.settings import Settings
from workers.runtime import build_runtime, close_runtime
from workers.settings import WorkerSettings

_metrics_server: WSGIServer | None = None


def connect_signals() -> None:
    """Connect the handlers to Celery's signals. Called once, where the Celery application is created."""
    signals.setup_logging.connect(_set_up_logging)
    signals.worker_init.connect(_open_metrics_port)
    signals.worker_process_init.connect(_start)
    signals.worker_process_shutdown.connect(_end)


def _set_up_logging(**_: Any) -> None:
    # `Settings` and not `WorkerSettings`, because beat runs this too and has no settings of a worker.
    configure_logging(Settings().log_format)


def _open_metrics_port(**_: Any) -> None:
    # Runs in the main process, because its children, which count, come and go.
    global _metrics_server
    settings = WorkerSettings()
    if settings.metrics_port is None:
        return
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    _metrics_server = start_http_server(settings.metrics_port, settings.metrics_host, registry)[0]


def _start(**_: Any) -> None:
    if _metrics_server is not None:
        # The child inherits the socket; one that outlives its parent must not keep the port from the next worker.
        _metrics_server.socket.close()
    # Built after the fork, so that no connection is inherited from the main process.
    context.set_runtime(build_runtime(WorkerSettings()))


def _end(pid: int | None = None, **_: Any) -> None:
    close_runtime(context.runtime())
    context.set_runtime(None)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid or os.getpid())  # type: ignore[no-untyped-call]
