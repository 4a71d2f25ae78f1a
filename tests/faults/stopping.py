"""Makes a worker process fail once, at a named point in one of its steps or gateways.

Production code has no switch for this. At points such as `provision.after`, which comes after a step, the process stops
and waits to be killed. At `provision.timeout` it continues, but believes that the registrar has not answered. Points
that begin with `receipt.` or `mail.` lie before or after the sending of a receipt, or of any other mail.
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
    """The name of a point at which one worker process fails, and the file into which it writes its process id."""

    point: str
    file: Path

    def is_first_at(self, point: str) -> bool:
        """Return True if this stop is for `point` and no process has reached the point before.

        In this case, write this process's id to the file.
        """
        if point != self.point or self.file.exists():
            return False
        # Renamed when it is complete, so that a reader never sees it empty.
        unfinished = self.file.with_suffix(".new")
        unfinished.write_text(str(os.getpid()))
        unfinished.rename(self.file)
        return True

    def pass_by(self, point: str) -> None:
        """Stop this process for ever at `point`, so that it can be killed there.

        Do nothing if this stop is for another point, or if a process has stopped there before.
        """
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
    """Replace this process's gateways and steps by wrappers, which make it fail at the point that `stop` names."""
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
        StepName.MOVE,
        StepName.CANCEL,
        StepName.CONFIRM,
    )
    wrapped = {name: _stopping(stop, name, pipeline.STEPS[name]) for name in database_only}
    pipeline.STEPS = {**pipeline.STEPS, **wrapped}
