"""The worker's Celery app with one addition: something goes wrong once, at one point of one step.

STOP_AT names the point, like `provision.after`: the process stops dead there, so that it can be killed. At
`provision.timeout` it goes on, but believes that the registrar has not answered. STOP_FILE gets the process id of the
first that comes by. Production code needs no switch for this.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from celery import signals

from models.requests.requests import Request
from models.states import StepName
from tasks import context
from tasks.engine import advance as pipeline
from tasks.ports import Block, GatewayError, GatewayUnavailable, Letter, Mail, Ports, TrunkRecord
from tasks.steps.step import Outcome, Step, Work
from workers.app import app

__all__ = ["app"]

_STOP_AT = os.environ["STOP_AT"]
_STOP_FILE = Path(os.environ["STOP_FILE"])


def _is_first(name: str) -> bool:
    if name != _STOP_AT or _STOP_FILE.exists():
        return False
    # Whole at once, so that a reader never sees it empty.
    unfinished = _STOP_FILE.with_suffix(".new")
    unfinished.write_text(str(os.getpid()))
    unfinished.rename(_STOP_FILE)
    return True


def _point(name: str) -> None:
    if _is_first(name):
        while True:
            signal.pause()


class _StoppingRegistrar:
    def __init__(self, ports: Ports) -> None:
        self._inner = ports.registrar

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        _point("announce.before")
        self._inner.put_blocks(blocks)
        _point("announce.after")

    def put_trunks(self, records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        _point("provision.before")
        answers = self._inner.put_trunks(records)
        _point("provision.after")
        if _is_first("provision.timeout"):
            return [GatewayUnavailable("timed out") for _ in records]
        return answers

    def close(self) -> None:
        self._inner.close()


class _StoppingMailer:
    def __init__(self, ports: Ports) -> None:
        self._inner = ports.mailer

    def send(self, mail: Mail) -> None:
        _point("mail.before")
        self._inner.send(mail)
        _point("mail.after")

    def close(self) -> None:
        self._inner.close()


class _StoppingPrinter:
    def __init__(self, ports: Ports) -> None:
        self._inner = ports.letters

    def print_letter(self, letter: Letter) -> None:
        _point("letter.before")
        self._inner.print_letter(letter)
        _point("letter.after")


def _stopping(name: StepName, step: Step) -> Step:
    def run(work: Work, request: Request) -> Outcome:
        _point(f"{name}.before")
        outcome = step(work, request)
        work.session.flush()
        _point(f"{name}.after")
        return outcome

    return run


@signals.worker_process_init.connect
def _wrap(**_: Any) -> None:
    runtime = context.runtime()
    ports = replace(
        runtime.ports,
        registrar=_StoppingRegistrar(runtime.ports),
        mailer=_StoppingMailer(runtime.ports),
        letters=_StoppingPrinter(runtime.ports),
    )
    context.set_runtime(replace(runtime, ports=ports))
    database_only = (StepName.VERIFY, StepName.ATTACH, StepName.DETACH, StepName.CONFIRM)
    wrapped = {name: _stopping(name, pipeline.STEPS[name]) for name in database_only}
    pipeline.STEPS = {**pipeline.STEPS, **wrapped}
