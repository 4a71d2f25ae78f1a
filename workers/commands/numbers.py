"""`standorte numbers …`: fill, show and empty the pools of free numbers, and show who had a number and when."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from models.errors import InvalidField
from models.orders.restocking import ensure_range, pool_levels, restock
from models.people.audit_log import AuditEvent, record_of_carrier
from models.phone_numbers import BadPhoneNumber, typed_phone_number
from models.telephony.number_history import assignments_of, block_of
from models.telephony.number_pool import withdraw_from_pool
from workers.commands.resources import open_database, out, refuse, when

app = typer.Typer(no_args_is_help=True, help="Number pools.")

REFUSALS = {
    "unknown_area_code": "There is no Ortsnetz {area_code}.",
    "not_digits": "--first-subscriber is the number after the area code, digits only.",
    "not_aligned": "A block of {size} begins at a multiple of {size}.",
    "unknown_block_size": "A block has 1, 10 or 100 numbers.",
    "too_long": "A number with country code has 13 digits at the most.",
    "leaves_area_code": "So many blocks would run out of the area code.",
}


AreaOption = Annotated[str, typer.Option(help="With its leading 0.", metavar="030")]
FirstOption = Annotated[str, typer.Option(help="The first number, without the area code.", metavar="23125500")]
SizeOption = Annotated[int, typer.Option(help="Numbers in a block: 1, 10 or 100.")]
CountOption = Annotated[int, typer.Option(help="Blocks, one after the other.", min=1, max=100_000)]


@app.command()
def stock(area_code: AreaOption, first_subscriber: FirstOption, size: SizeOption, count: CountOption = 1) -> None:
    """Add free number blocks to an area code's pool, and retry the orders held because the pool had none of this size.

    Blocks that were withdrawn come back; those that an account had in the last 90 days become free after that time.
    Safe to run twice: numbers that are in the pool already are left unchanged.
    """
    with open_database() as database:
        try:
            with database.transaction() as session:
                done = restock(session, area_code, first_subscriber, size, count, database.now())
                if done.added:
                    told = {"numbers": _range(area_code, first_subscriber, size, count), "added": done.added}
                    record_of_carrier(session, None, AuditEvent.NUMBERS_STOCKED, database.now(), told)
        except InvalidField as error:
            refuse(REFUSALS[error.code].format(area_code=area_code, size=size))
    blocks = "1 block" if done.added == 1 else f"{done.added} blocks"
    out.print(f"{blocks} added, {count - done.added} there already.", highlight=False)
    if done.retried:
        out.print(f"{going_on(len(done.retried))}.", highlight=False)


@app.command()
def withdraw(area_code: AreaOption, first_subscriber: FirstOption, size: SizeOption, count: CountOption = 1) -> None:
    """Take number blocks out of an area code's pool, so that they are assigned to nobody any more. Safe to run twice.

    Blocks that are assigned stay with their accounts, and return to the pool some time after they are given back. The
    next run of the job `registrar` deletes the withdrawn blocks from the registrar. `numbers stock` brings withdrawn
    blocks back. Blocks that the job `registrar` reports as set aside (the registrar lists one of their numbers under
    another trunk) are not changed.
    """
    with open_database() as database:
        try:
            with database.transaction() as session:
                ensure_range(session, area_code, first_subscriber, size, count)
                gone, given_out = withdraw_from_pool(session, area_code, first_subscriber, size, count)
                if gone:
                    told = {"numbers": _range(area_code, first_subscriber, size, count), "withdrawn": gone}
                    record_of_carrier(session, None, AuditEvent.NUMBERS_WITHDRAWN, database.now(), told)
                kept = [block.display for block in given_out]
        except InvalidField as error:
            refuse(REFUSALS[error.code].format(area_code=area_code, size=size))
    blocks = "1 block" if gone == 1 else f"{gone} blocks"
    out.print(f"{blocks} withdrawn, {count - gone - len(kept)} not in the pool.", highlight=False)
    if kept:
        shown = "; ".join(kept[:10]) + (f"; and {len(kept) - 10} more" if len(kept) > 10 else "")
        out.print(f"Given out, and left as they are: {shown}.", highlight=False)


def _range(area_code: str, first_subscriber: str, size: int, count: int) -> str:
    return f"{area_code} {first_subscriber}, {count} × {size}"


def going_on(orders: int) -> str:
    """Return a text on how many held orders are retried, such as "2 held orders go on"."""
    return "1 held order goes on" if orders == 1 else f"{orders} held orders go on"


@app.command()
def show(
    area_code: Annotated[str | None, typer.Option(help="Only this one.", metavar="030")] = None,
) -> None:
    """List the number pools with their blocks: free, resting, given out, withdrawn and set aside."""
    table = Table("area code", "Ortsnetz", box=None)
    for heading in ("block of", "free", "resting", "given out", "withdrawn", "set aside"):
        table.add_column(heading, justify="right")
    with open_database() as database, database.transaction() as session:
        for line in pool_levels(session, database.now(), area_code):
            counts = (line.size, line.free, line.quarantined, line.given_out, line.withdrawn, line.set_aside)
            style = "" if line.free else "yellow"
            table.add_row(line.area_code, line.area_name, *map(str, counts), style=style)
    out.print(table if table.row_count else "No numbers in stock.")


@app.command()
def history(
    number: Annotated[str, typer.Argument(help="In any usual spelling, such as 030 2312551.", metavar="NUMBER")],
) -> None:
    """Show which account and contract holder had a number from when to when (§ 172 TKG), the newest first.

    Contract holder and connection address are those of that time. An entry is deleted at the end of the year after the
    one in which the account lost the number.
    """
    try:
        typed = typed_phone_number(number)
    except BadPhoneNumber:
        refuse(f"{number} is no phone number.")
    table = Table("from", "until", "customer number", "contract holder", "connection address", box=None)
    with open_database() as database, database.transaction() as session:
        block = block_of(session, int(typed.removeprefix("+")))
        if block is None:
            refuse(f"{typed} is none of our numbers.")
        for one, customer_number in assignments_of(session, block):
            holder = f"{one.holder_name}, {one.holder_street}, {one.holder_postal_code} {one.holder_city}"
            place = f"{one.street}, {one.postal_code} {one.city}"
            table.add_row(when(one.since), when(one.until) or "today", customer_number, escape(holder), escape(place))
    out.print(f"{typed} is in block {block.display}.", highlight=False)
    out.print(table if table.row_count else "No account has it, and none had it that we still know of.")
