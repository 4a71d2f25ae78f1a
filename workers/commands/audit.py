"""`standorte audit`: check the audit log against its seals."""

from __future__ import annotations

from typing import Annotated

import typer

from models.jobs.jobs import last_successes
from models.people.audit_chain import ChainCheck, ChainFlaw, ChainHead
from tasks.reconcile.audit import PAGE, SEALING
from tasks.wording.findings import FINDINGS
from tasks.wording.translate import translate
from workers.commands.resources import open_database, out, refuse

app = typer.Typer(no_args_is_help=True, help="Check the audit log.")


@app.callback()
def _only_commands() -> None:
    """Commands about the audit log: `verify` checks it against its seals (hashes that reveal later changes)."""


@app.command()
def verify(
    heads: Annotated[
        list[str] | None,
        typer.Option("--head", help="POSITION:HASH that an earlier run printed: the chain must still contain it."),
    ] = None,
) -> None:
    """Check every entry of the audit log against its seal. Print each flaw, and the newest seal's position and hash.

    Ends with 1 if an entry or a seal was changed, removed, inserted or moved.
    """
    try:
        known = [ChainHead.parse(head) for head in heads or []]
    except ValueError:
        raise typer.BadParameter("POSITION:HASH, as this command prints it", param_hint="--head") from None
    check, flawed = ChainCheck(), False
    with open_database() as database:
        while True:
            with database.transaction() as session:
                flaws = check.next_page(session, PAGE)
            if flaws is None:
                break
            flawed |= _print(flaws)
        with database.transaction() as session:
            if sealing := last_successes(session).get(SEALING):
                known.append(ChainHead(int(sealing.counts.get("position", 0)), b""))
            flawed |= _print(check.end(session, known, PAGE))
    out.print(f"{check.sealed} entries have a seal, {check.unsealed} wait for theirs", highlight=False)
    out.print(f"head {check.head}", highlight=False, soft_wrap=True)
    if flawed:
        refuse("The audit log is not what was written.")
    out.print("ok: the audit log is what was written", highlight=False)


def _print(flaws: list[ChainFlaw]) -> bool:
    for found in flaws:
        text = translate("en", FINDINGS[found.flaw], position=found.position, entry=found.entry_id)
        out.print(text, highlight=False, soft_wrap=True)
    return bool(flaws)
