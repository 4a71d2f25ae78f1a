"""`standorte trunks …`: suspend and resume SIP trunks on the carrier's behalf."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from models.errors import Forbidden, NotFound, TrunkClosed
from models.telephony.suspension import resume_for_carrier, suspend_for_carrier
from models.telephony.trunks import TrunkState
from workers.commands.resources import open_database, out, refuse

app = typer.Typer(no_args_is_help=True, help="SIP trunks.")

UserArgument = Annotated[str, typer.Argument(metavar="SIP_USER", help="As the dashboard shows it.")]


@app.command()
def suspend(
    sip_user: UserArgument,
    reason: Annotated[str, typer.Option(help="Why, in the customer's words: the portal shows it.")],
) -> None:
    """Suspend a trunk for the carrier: no phone can register with the trunk or call, except 110 and 112.

    Only `trunks resume` lifts the suspension. Safe to run twice; a new reason replaces the earlier reason.
    """
    reason = " ".join(reason.split())
    if not reason:
        refuse("The customer has to read why: --reason.")
    with _changing(sip_user) as (session, now):
        changed = suspend_for_carrier(session, sip_user, reason, now)
    done = "is suspended" if changed else "was suspended for that already"
    out.print(f"Trunk {sip_user} {done}.", highlight=False)


@app.command()
def resume(sip_user: UserArgument) -> None:
    """Lift the carrier's suspension of a trunk; the customer's own suspension stays. Safe to run twice."""
    with _changing(sip_user) as (session, now):
        trunk, changed = resume_for_carrier(session, sip_user, now)
    done = "is not suspended by us any more" if changed else "was not suspended by us"
    stays = "; it stays suspended by the customer" if trunk.state is TrunkState.SUSPENDED else ""
    out.print(f"Trunk {sip_user} {done}{stays}.", highlight=False)


@contextmanager
def _changing(sip_user: str) -> Iterator[tuple[Session, datetime]]:
    """Open a transaction for a change of the trunk with this SIP user; yield its session and the current time.

    Ends the command with a message if the block raises `NotFound`, `TrunkClosed`, or `Forbidden` for a trunk still on
    order.
    """
    with open_database() as database:
        try:
            with database.transaction() as session:
                yield session, database.now()
        except NotFound:
            refuse(f"There is no trunk {sip_user}.")
        except TrunkClosed:
            refuse(f"Trunk {sip_user} is closed for good.")
        except Forbidden:
            refuse(
                f"Trunk {sip_user} is still on order; `standorte requests list` shows the order, `cancel` calls it off."
            )
