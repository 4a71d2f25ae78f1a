"""A process that does a worker's work without Celery's programs, which take seconds to start.

It calls the tasks as functions. Hints, the messages by which tasks tell each other that work is due, stay in the
process's memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from models.db.work_queue import WorkKind
from models.values import utc_now
from tasks import celery_tasks, context
from tasks.logs import configure_logging
from tests.faults.stopping import Stop, install
from workers.app import app
from workers.runtime import build_runtime
from workers.settings import WorkerSettings

TASKS = {
    WorkKind.VERIFY: celery_tasks.verify_requests,
    WorkKind.PROVISION: celery_tasks.provision_requests,
    WorkKind.MESSAGES: celery_tasks.send_messages,
    WorkKind.REGISTRAR: celery_tasks.sync_registrar,
    WorkKind.BULKS: celery_tasks.place_bulks,
}


def run(environment: Mapping[str, str], log: Path, ahead: timedelta, stop: Stop | None) -> None:
    """Do due work again and again, until the process is killed.

    `environment` replaces the process's environment variables; output goes to the file `log`. The process's clock is
    fast by `ahead`, so that it need not wait until the claims of a dead process expire. With `stop` the process stops
    at that point.
    """
    os.environ.clear()
    os.environ.update(environment)
    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    settings = WorkerSettings()
    configure_logging(settings.log_format)
    app.conf.update(broker_url="memory://")
    context.set_runtime(replace(build_runtime(settings), clock=lambda: utc_now() + ahead))
    if stop is not None:
        install(stop)
    with app.connection_for_read() as connection:
        hints: Any = connection.default_channel
        while True:
            celery_tasks.sweep(context.runtime())
            due = [kind for kind in TASKS if hints.queue_purge(kind)]
            for kind in due:
                TASKS[kind](context.runtime())
            if not due:
                time.sleep(0.02)
