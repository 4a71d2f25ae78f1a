"""Points of the steps and gateways at which a worker can be made to fail once.

Production code needs no switch for this. At `provision.after` and the like the process stops dead, so that it can be
killed. At `provision.timeout` it goes on, but believes that the registrar has not answered. `receipt` is the sending of
a receipt, `mail` that of any other mail.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.requests.requests import Request
from models.states import StepName
from tasks import context
from tasks.engine import advance as pipeline
from tasks.ports import Block, GatewayError, GatewayUnavailable, Letter, Mail, Ports, TrunkRecord
from tasks.steps.step import Outcome, Step, Work


@dataclass(frozen=True)
class Stop:
    """A point at which a worker fails, by its name, and the file that gets the id of the process that fails."""

    point: str
    file: Path

    def is_first_at(self, point: str) -> bool:
        """Return whether this stop is for `point` and no process has reached it yet; if so, save this process's id."""
        if point != self.point or self.file.exists():
            return False
        # Renamed when it is complete, so that a reader never sees it empty.
        unfinished = self.file.with_suffix(".new")
        unfinished.write_text(str(os.getpid()))
        unfinished.rename(self.file)
        return True

    def pass_by(self, point: str) -> None:
        """Stop this process dead (it waits for a signal) if this stop is for `point`, and is the first to reach it."""
        if self.is_first_at(point):
            while True:
                signal.pause()


@dataclass(frozen=True)
class _StoppingRegistrar:
    inner: Ports
    stop: Stop

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        self.stop.pass_by("announce.before")
        self.inner.registrar.put_blocks(blocks)
        self.stop.pass_by("announce.after")

    def put_trunks(self, records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        self.stop.pass_by("provision.before")
        answers = self.inner.registrar.put_trunks(records)
        self.stop.pass_by("provision.after")
        if self.stop.is_first_at("provision.timeout"):
            return [GatewayUnavailable("timed out") for _ in records]
        return answers

    def close(self) -> None:
        self.inner.registrar.close()


@dataclass(frozen=True)
class _StoppingMailer:
    inner: Ports
    stop: Stop

    def send(self, mail: Mail) -> None:
        is_receipt = re.search("^Wir haben Ihre .*erhalten|^We have received", mail.subject)
        kind = "receipt" if is_receipt else "mail"
        self.stop.pass_by(f"{kind}.before")
        self.inner.mailer.send(mail)
        self.stop.pass_by(f"{kind}.after")

    def close(self) -> None:
        self.inner.mailer.close()


@dataclass(frozen=True)
class _StoppingPrinter:
    inner: Ports
    stop: Stop

    def print_letter(self, letter: Letter) -> None:
        self.stop.pass_by("letter.before")
        self.inner.letters.print_letter(letter)
        self.stop.pass_by("letter.after")


def _stopping(stop: Stop, name: StepName, step: Step) -> Step:
    def run(work: Work, request: Request) -> Outcome:
        stop.pass_by(f"{name}.before")
        outcome = step(work, request)
        work.session.flush()
        stop.pass_by(f"{name}.after")
        return outcome

    return run


def install(stop: Stop) -> None:
    """Wrap the gateways and the steps of this process, so that it fails when it reaches the point of `stop`."""
    runtime = context.runtime()
    ports = replace(
        runtime.ports,
        registrar=_StoppingRegistrar(runtime.ports, stop),
        mailer=_StoppingMailer(runtime.ports, stop),
        letters=_StoppingPrinter(runtime.ports, stop),
    )
    context.set_runtime(replace(runtime, ports=ports))
    database_only = (
        StepName.VERIFY,
        StepName.ATTACH,
        StepName.DETACH,
        StepName.CHANGE,
        StepName.ASSIGN,
        StepName.CANCEL,
        StepName.CONFIRM,
    )
    wrapped = {name: _stopping(stop, name, pipeline.STEPS[name]) for name in database_only}
    pipeline.STEPS = {**pipeline.STEPS, **wrapped}
