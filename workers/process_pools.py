"""The worker program: one Celery worker for each kind of work, so that no kind waits for another kind's processes.

This process imports the application once and forks the Celery workers, which share that memory. It restarts a Celery
worker that has ended, passes a stop signal on to all Celery workers, and kills those that have not ended in time.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from threading import Lock
from types import FrameType

import psutil
import structlog
from celery import signals
from prometheus_client import CollectorRegistry, multiprocess, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from models.db.session import Database
from models.db.work_queue import WorkKind
from models.telephony.place_facts import read_places_once
from models.typefaces import WEIGHTS
from models.version import VERSION
from tasks import tracing
from tasks.logs import configure_logging
from tasks.metrics import clock_offset
from tasks.outbox.pdf_typeface import font_name
from workers.app import app
from workers.settings import WorkerSettings
from workers.stack.launcher import end_with

log = structlog.get_logger()

PROCESSES: dict[WorkKind, int | None] = {
    WorkKind.VERIFY: None,
    WorkKind.PROVISION: None,
    WorkKind.MESSAGES: None,
    WorkKind.REGISTRAR: 1,
    WorkKind.BULKS: 1,
    # Two, so that a job over millions of rows does not hold up the short ones.
    WorkKind.JOBS: 2,
    WorkKind.SWEEP: 1,
}
"""The number of processes for each kind of work; None means the number that the operator sets (`--concurrency`)."""
NICE = {WorkKind.MESSAGES: 1, WorkKind.BULKS: 10, WorkKind.JOBS: 10}
"""The nice value (lower scheduling priority) of the processes of a kind of work; 0 for kinds that are not named.

Mails get a little less processor time, so that an order does not wait for the receipts of others. At a nice value of 5,
28,000 of 33,000 mails were still waiting after an hour on a machine under full load. Bulks and jobs run when the
processors are not needed otherwise.
"""
_PAUSE = 1.0
"""Seconds before a Celery worker that ended is started again."""
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class HostClock(Collector):
    """A Prometheus collector that compares this machine's clock with the database's at each scrape.

    Each scrape opens a connection and holds the lock `forks` until it is closed. Acquire `forks` before a fork, so that
    no child process inherits the connection.
    """

    def __init__(self, database_url: str, forks: Lock) -> None:
        self._url = database_url
        self._forks = forks

    def collect(self) -> Iterator[Metric]:
        """Yield the metric of how far this machine's clock is off the database's; yield nothing without an answer."""
        with self._forks, closing(Database(self._url, pool_size=1, name="standorte worker")) as database:
            try:
                found = clock_offset(database)
            except SQLAlchemyError:
                return
        yield found


class Pools:
    """The Celery workers that this process forks, one for each kind of work in `kinds`.

    `concurrency` is how many processes a Celery worker has, unless `PROCESSES` fixes a number for its kind of work.
    """

    def __init__(self, kinds: Sequence[WorkKind], concurrency: int) -> None:
        self._kinds = kinds
        self._concurrency = concurrency
        self._running: dict[int, WorkKind] = {}
        self._stopping = False
        self._seconds = 0
        self._sockets: list[int] = []
        self._forks = Lock()

    def run(self, settings: WorkerSettings) -> None:
        """Start the Celery workers, restart those that end, and return when all have ended after a stop signal.

        Processes that have not ended `settings.stop_seconds` after the signal are killed; other workers take over their
        rows when the claims on them end. If `settings.metrics_port` is set, serves on that port the counters of all
        worker processes and the metric of this machine's clock.
        """
        for number in _STOPS:
            # One that is ignored, as by nohup, stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        self._seconds = settings.stop_seconds
        for kind in self._kinds:
            self._start(kind)
        if settings.metrics_port is not None:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            registry.register(HostClock(settings.database_url, self._forks))
            # The thread that shows the counters takes no signals: they are for the main thread alone.
            with _stops_wait():
                server = start_http_server(settings.metrics_port, settings.metrics_host, registry)[0]
            self._sockets.append(server.socket.fileno())
        while self._running:
            pid, status = os.wait()
            # As a container's first process, this one is told of the ends of strangers too.
            if pid not in self._running:
                continue
            kind = self._running.pop(pid)
            if not self._stopping:
                log.error("worker.ended", kind=kind, code=os.waitstatus_to_exitcode(status))
                time.sleep(_PAUSE)
                self._start(kind)

    def _start(self, kind: WorkKind) -> None:
        parent = os.getpid()
        # No request to stop between the fork and the moment from which it reaches the new process.
        with self._forks, _stops_wait():
            if self._stopping:
                return
            pid = os.fork()
            if pid:
                self._running[pid] = kind
                return
            for number in _STOPS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
        for descriptor in self._sockets:
            # A Celery worker that outlives this process must not keep the port from the next one.
            os.close(descriptor)
        if not end_with(parent, signal.SIGTERM):
            sys.exit(1)
        os.nice(NICE.get(kind, 0))
        sys.exit(_run_celery(kind, PROCESSES[kind] or self._concurrency))

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            signal.alarm(self._seconds)
        for pid in self._running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _kill(self, _number: int, _frame: FrameType | None) -> None:
        log.warning("worker.killed", kinds=sorted(self._running.values()))
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def _stops_wait() -> Iterator[None]:
    """Block the stop signals (`_STOPS`) in this thread until the end of the block; they are delivered afterwards.

    Threads that are started within the block never receive them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)


def _run_celery(kind: WorkKind, processes: int) -> int:
    """Run a Celery worker for one kind of work until it is asked to stop. Return its exit code."""
    celery = app.Worker(
        hostname=f"{kind}@{socket.gethostname()}",
        queues=[kind],
        pool="prefork",
        concurrency=processes,
        loglevel="INFO",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    # Celery would answer a hang-up by starting this whole program anew in the place of one Celery worker.
    signals.worker_ready.connect(_ignore_hang_up)
    celery.start()
    return celery.exitcode or 0


def _ignore_hang_up(**_: object) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _load_once(settings: WorkerSettings) -> None:
    """Import the modules and read the files that all Celery workers need.

    Call it before the fork, so that the workers share the memory.
    """
    for module in ("celery.apps.worker", "celery.concurrency.prefork", "celery.worker.consumer"):
        importlib.import_module(module)
    for weight in WEIGHTS:
        font_name(weight)
    if error := read_places_once(settings.database_url):
        log.warning("places.not_read", error=repr(error))
    for module in ("kombu.transport.redis", "tasks.outbox.order_pdf"):
        importlib.import_module(module)
    tracing.load()
    app.loader.init_worker()
    app.finalize()
    # The collector would touch, and so copy, all that is shared.
    gc.collect()
    gc.freeze()


def main() -> None:
    """Run the Celery workers for the kinds of work given by `--queues` (all by default), until a stop signal.

    `--concurrency` is the number of processes for each kind of work that has no fixed number.
    """
    parser = argparse.ArgumentParser(prog="workers.process_pools")
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--queues", type=WorkKind, nargs="+", default=list(WorkKind))
    arguments = parser.parse_args()
    # Celery warns when root runs a worker, because of pickles; here only JSON is accepted.
    warnings.filterwarnings("ignore", "You're running the worker with superuser")
    settings = WorkerSettings()
    settings.make_directories()
    configure_logging(settings.log_format)
    log.info("program.started", program="worker", version=VERSION)
    _load_once(settings)
    Pools(arguments.queues, arguments.concurrency).run(settings)


if __name__ == "__main__":
    main()
