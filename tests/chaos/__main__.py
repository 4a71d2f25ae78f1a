"""`make chaos`: a run of two minutes; with `--long` every fault lasts longer and comes several times.

Prints the auditor's report, and ends as the auditor does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from models.bulk.bulk import Bulk
from models.messages.outbox import Message
from models.requests.requests import Request
from models.states import Status
from models.telephony.trunks import SipTrunk
from models.values import utc_now
from tests.chaos.faults import FAULTS, Fault, name_of
from tests.chaos.load import Load
from tests.chaos.plant import Plant, open_plant
from tests.factories import make_bulk, sites
from tests.fakes import wait_until
from workers.gateways.registrar import plain_url
from workers.stack.directory import StackDirectory

SHORT, LONG = 2.0, 15.0
"""Seconds that a fault lasts."""
GIVES_UP = 120.0
"""Seconds after a fault in which an order has to go through for the run to go on."""


def main() -> None:
    """Run, and let the auditor judge."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--long", action="store_true", help="longer faults, several rounds, and 10,000 requests")
    parser.add_argument("--only", choices=[fault.__name__ for fault in FAULTS], action="append")
    arguments = parser.parse_args()
    faults = [fault for fault in FAULTS if not arguments.only or fault.__name__ in arguments.only]
    file = StackDirectory().path / "chaos.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with open_plant() as plant:
        file.write_text(
            json.dumps(_run(plant, faults * (8 if arguments.long else 1), LONG if arguments.long else SHORT))
        )
        ended = subprocess.run([sys.executable, "-m", "tests.chaos.auditor", str(file)])
        if ended.returncode:
            _show_logs(plant)
    sys.exit(ended.returncode)


def _run(plant: Plant, faults: list[Fault], seconds: float) -> dict[str, Any]:
    plant.start_all()
    load = Load(plant)
    load.start()
    _place_bulk(plant)
    suffered = [_suffer(plant, load, fault, seconds) for fault in faults]
    load.stop()
    try:
        wait_until(lambda: _idle(plant), seconds=GIVES_UP, what="the end of all work")
    except AssertionError as error:
        print(error)
    plant.end_all()
    return {
        "portal": plain_url(plant.postgres.url("standorte")),
        "registrar": plain_url(plant.postgres.url("registrar")),
        "accepted": load.accepted,
        "cancelled": load.cancelled,
        "unanswered": load.unanswered,
        "mails": plant.mail.taken,
        "faults": suffered,
    }


def _suffer(plant: Plant, load: Load, fault: Fault, seconds: float) -> dict[str, Any]:
    """Let a fault happen, and measure how long after its end an order goes through."""
    began = time.time()
    fault(plant, seconds)
    ended = time.time()
    id = load.order(plant.customers[2])
    healed = None
    while time.time() - ended < GIVES_UP:
        if id is not None and _is_completed(plant, UUID(id)):
            healed = time.time() - ended
            break
        time.sleep(0.02)
    print(f"{name_of(fault)}: {'never healed' if healed is None else f'{healed:.1f} s'}", flush=True)
    return {"name": name_of(fault), "began": began, "ended": ended, "healed": healed}


def _is_completed(plant: Plant, id: UUID) -> bool:
    with plant.database.transaction() as session:
        return session.scalar(sa.select(Request.status).where(Request.id == id)) is Status.COMPLETED


def _place_bulk(plant: Plant) -> None:
    customer = plant.customers[3]
    with plant.database.transaction() as session:
        make_bulk(session, customer.manager, customer.main, sites(60)).send(utc_now())


def _idle(plant: Plant) -> bool:
    with plant.database.transaction() as session:
        return not any(
            session.scalar(sa.select(sa.exists().where(table.due_at.is_not(None))))
            for table in (Request, Message, SipTrunk, Bulk)
        )


def _show_logs(plant: Plant) -> None:
    for log in sorted(plant.directory.glob("*.log")):
        errors = [line for line in log.read_text(errors="replace").splitlines() if '"level": "error"' in line]
        print(f"{log.name}: {len(errors)} errors", *errors[-5:], sep="\n  ")


if __name__ == "__main__":
    main()
