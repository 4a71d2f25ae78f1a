"""`standorte up`, `web`, `worker` and `beat`: the commands that run the long-running programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from models.db.work_queue import WorkKind
from tasks.settings import Settings
from workers import programs
from workers.stack.data_directory import StackDirectory

Port = Annotated[int, typer.Option(envvar="PORT", min=1, max=65535, help="Where the front listens.")]


def up(
    port: Port = 8000,
    concurrency: Annotated[int, typer.Option(min=1, help="Processes of the worker.")] = 2,
    demo: Annotated[bool, typer.Option(help="Load the demo data at the first start.")] = True,
) -> None:
    """Run everything on this machine: PostgreSQL, Redis, Kamailio if installed, mail catcher, web, worker and beat.

    Ctrl-C stops all of these programs; their data stays in .standorte/ (STANDORTE_DIR).
    """
    from workers.stack.up import up as run_stack

    run_stack(StackDirectory(), port=port, concurrency=concurrency, demo=demo)


def web(
    port: Port = 8000,
    host: Annotated[str, typer.Option(envvar="WEB_HOST", help="0.0.0.0: for everybody.")] = "127.0.0.1",
    processes: Annotated[int, typer.Option(envvar="WEB_PROCESSES", min=1)] = 2,
    threads: Annotated[int, typer.Option(envvar="WEB_THREADS", min=1, help="In each process.")] = 8,
) -> None:
    """Run the web front end under gunicorn, in place of this process."""
    _become(programs.web(host, port, processes=processes, threads=threads))


def worker(
    concurrency: Annotated[
        int,
        typer.Option(envvar="WORKER_PROCESSES", min=1, help="Processes for each of the first three kinds of work."),
    ] = 2,
    queues: Annotated[
        str | None, typer.Option(envvar="WORKER_QUEUES", metavar="KIND,KIND", help="Only these kinds of work.")
    ] = None,
) -> None:
    """Run the workers, in place of this process.

    Each kind of work has processes of its own, so that it does not wait for another kind. The first three kinds are
    requests.verify, requests.provision and messages.send.
    """
    from workers.settings import WorkerSettings

    _become(programs.worker(concurrency, _kinds(queues)), WorkerSettings())


def beat(
    schedule: Annotated[
        Path | None, typer.Option(help="The file for its last runs; in .standorte/ without it.")
    ] = None,
) -> None:
    """Run Celery's beat, which regularly tells the workers to look for due work. It may run on one host or on two."""
    from workers.settings import BeatSettings

    if schedule is None:
        schedule = StackDirectory().schedule
        schedule.parent.mkdir(parents=True, exist_ok=True)
    _become(programs.beat(schedule), BeatSettings())


def _kinds(queues: str | None) -> list[WorkKind]:
    try:
        return [WorkKind(name.strip()) for name in queues.split(",")] if queues else []
    except ValueError:
        raise typer.BadParameter(f"The kinds of work are {', '.join(WorkKind)}.", param_hint="--queues") from None


def _become(command: list[str], settings: Settings | None = None) -> None:
    # Reading the settings before the exec has checked them: a missing one is named in one line, without a traceback.
    if settings is not None:
        settings.make_directories()
    os.execv(command[0], command)  # noqa: S606 - a list of our own, no shell
