"""`make chaos`: puts load on the system for two minutes, causes one fault after the other, and audits the result.

With `--long` every fault lasts longer and comes several times. Prints the auditor's report; exits with 1 if it finds
anything wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from models.bulk.bulk import Bulk
from models.messages.outbox import Message
from models.requests.requests import Request
from models.states import Status
from models.telephony.trunks import SipTrunk
from tests.chaos.faults import FAULTS, LOCKED_ROW
from tests.chaos.load import Load
from tests.chaos.plant import SECRET, Plant, open_plant
from workers.gateways.registrar import plain_url
from workers.stack.data_directory import StackDirectory

SHORT, LONG = 2.0, 5.0
"""Seconds that a fault lasts, in a short run and in a long one."""
A_MINUTE = 60.0
"""Seconds that the row of a customer's account is locked in a long run."""
MANY = 10_000
"""How many requests a long run makes: all faults happen again and again until so many were accepted."""
CLIENTS, OWNED, FILES = 12, 5_000, 20
"""For a long run: clients of the API, accounts that they can link, and the most files of orders that are sent."""
GIVES_UP = 120.0
"""Seconds after a fault until the run stops waiting for an order to be completed.

At the end of the run it stops waiting when for so many seconds no work was done.
"""


def main() -> None:
    """Run load and faults, save the record of the run to .standorte/chaos.json, and let the auditor check it.

    Exits with the auditor's exit status: 1 if anything is wrong.
    """
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--long", action="store_true", help="longer faults, several rounds, and 10,000 requests")
    parser.add_argument("--requests", type=int, default=MANY, help="so many instead of 10,000 in a long run")
    parser.add_argument("--only", choices=FAULTS, action="append", help="only this fault; may be repeated")
    arguments = parser.parse_args()
    names = arguments.only or list(FAULTS)
    file = StackDirectory().path / "chaos.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with open_plant() as plant:
        file.write_text(json.dumps(_run(plant, names, long=arguments.long, requests=arguments.requests)))
        ended = subprocess.run([sys.executable, "-m", "tests.chaos.auditor", str(file)])
        if ended.returncode:
            _show_logs(plant)
    sys.exit(ended.returncode)


def _run(plant: Plant, names: Sequence[str], *, long: bool, requests: int) -> dict[str, Any]:
    plant.start_all()
    load = Load(plant, clients=CLIENTS, owned=OWNED, files=FILES) if long else Load(plant)
    load.start()
    suffered = [_suffer(plant, load, name, LONG if long else SHORT) for name in names]
    while long and len(load.accepted) < requests:
        suffered += [_suffer(plant, load, name, LONG) for name in names]
    if long:
        suffered.append(_suffer(plant, load, LOCKED_ROW, A_MINUTE))
    load.stop()
    _wait_for_end(plant)
    answers = load.answers()
    plant.end_all()
    return {
        "portal": plain_url(plant.postgres.url("standorte")),
        "registrar": plain_url(plant.postgres.url("registrar")),
        "secret_key": SECRET,
        "accounts": load.accounts,
        "answers": answers,
        "bulks": load.bulks,
        "pages": load.pages.tried,
        "accepted": load.accepted,
        "cancelled": load.cancelled,
        "unanswered": load.unanswered,
        "failed": [*load.failed, *plant.unexpected],
        "mails": plant.mail.taken,
        "letters": [letter.name for letter in (plant.directory / "letters").glob("*.pdf")],
        "faults": suffered,
    }


def _suffer(plant: Plant, load: Load, name: str, seconds: float) -> dict[str, Any]:
    """Cause the fault of this name for some seconds, then place an order and wait until it is completed.

    Return the fault for the record of the run: `name`, when it `began` and `ended` (seconds since 1970), and `healed`,
    the seconds from its end until the order was completed (None if it was not within `GIVES_UP` seconds).
    """
    began = time.time()
    FAULTS[name](plant, seconds)
    ended = time.time()
    id = load.order(plant.customers[2])
    healed = None
    while time.time() - ended < GIVES_UP:
        if id is not None and _is_completed(plant, UUID(id)):
            healed = time.time() - ended
            break
        time.sleep(0.02)
    print(f"{name}: {'never healed' if healed is None else f'{healed:.1f} s'}", flush=True)
    return {"name": name, "began": began, "ended": ended, "healed": healed}


def _is_completed(plant: Plant, id: UUID) -> bool:
    with plant.database.transaction() as session:
        return session.scalar(sa.select(Request.status).where(Request.id == id)) is Status.COMPLETED


def _wait_for_end(plant: Plant) -> None:
    """Wait until no work is left, or until the amount left has not fallen for `GIVES_UP` seconds.

    In the second case, print how many rows of work are left.
    """
    fewest, moved = math.inf, time.monotonic()
    while left := _left(plant):
        if left < fewest:
            fewest, moved = left, time.monotonic()
        elif time.monotonic() - moved > GIVES_UP:
            print(f"{left} rows of work stand still")
            return
        time.sleep(0.5)


def _left(plant: Plant) -> int:
    """Return how many requests, messages, trunks and bulk files still have work to be done."""
    with plant.database.transaction() as session:
        return sum(
            session.scalars(sa.select(sa.func.count()).select_from(table).where(table.due_at.is_not(None))).one()
            for table in (Request, Message, SipTrunk, Bulk)
        )


def _show_logs(plant: Plant) -> None:
    for log in sorted(plant.directory.glob("*.log")):
        errors = [line for line in log.read_text(errors="replace").splitlines() if '"level": "error"' in line]
        print(f"{log.name}: {len(errors)} errors", *errors[-5:], sep="\n  ")


if __name__ == "__main__":
    main()
