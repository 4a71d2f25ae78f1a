"""An account in Berlin that moves, and what people do for that, for the tests of moves."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.changes.moves import MoveDraft, submit_move
from models.errors import AlreadyRequested, InvalidField
from models.orders.orders import Location
from models.people.rights import Principal
from models.proofs.order_codes import enter_letter_code
from models.proofs.proofs import AddressProof
from models.requests.moved_blocks import MovedBlock
from models.requests.requests import Request
from models.same_address import Place
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.number_pool import give_reserved_block
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tests.factories import an_order, fill_pool
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.test_change import go_to

MUNICH = Place("Marienplatz 8", "80331", "München")
BERLIN = Place("Invalidenstr. 10", "10115", "Berlin")


@pytest.fixture
def account_id(pipeline: Pipeline) -> int:
    """Complete the order of a sub-account in Berlin with ten numbers, delete the kept mails, and return its id.

    The pool has numbers in Munich, too.
    """
    with pipeline.owner.transaction() as session:
        fill_pool(session, area_code="089", first="20000000", count=5)
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.mailer.sent.clear()
    with pipeline.runtime.database.transaction() as session:
        return session.scalars(sa.select(SipTrunk.account_id)).one()


def ask(
    pipeline: Pipeline,
    account_id: int,
    place: Place = MUNICH,
    day: date | None = None,
    area_code: str | None = None,
    person: Principal | None = None,
    shown: str | None = None,
) -> UUID:
    """Request that the account moves to `place` on `day` (None: at once); return the request's id."""
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        draft = MoveDraft(place, area_code, day, "de")
        return submit_move(session, person or pipeline.manager, account, draft, now, shown=shown).id


def prove(pipeline: Pipeline, id: UUID) -> None:
    """Enter the code of the letter about the move."""
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        key = {"main_id": request.account_id, "address_key": request.place.key}
        code = pipeline.runtime.vault.code(*session.get_one(AddressProof, key).words())
        assert enter_letter_code(session, pipeline.runtime.vault, request, code, pipeline.clock.now)


def asked_and_proved(pipeline: Pipeline, account_id: int, place: Place = MUNICH, day: date | None = None) -> UUID:
    """Request a move, let a worker ask for the proof of the address, and give it."""
    id = ask(pipeline, account_id, place, day)
    go_to(pipeline, pipeline.clock.now)
    prove(pipeline, id)
    go_to(pipeline, pipeline.clock.now)
    return id


def ask_for_sub(pipeline: Pipeline, location: Location) -> UUID:
    """Order a sub-account at the location, with an area code of Munich; return the order's id."""
    return pipeline.order(an_order(location=location, area_code="089"))


def give(pipeline: Pipeline, account_id: int, size: int, first: str) -> None:
    """Give the account's trunk a block of `size` more numbers of Berlin, beginning with `first`."""
    with pipeline.owner.transaction() as session:
        fill_pool(session, size=size, count=1, first=first)
        trunk_id = session.scalars(sa.select(SipTrunk.id).where(SipTrunk.account_id == account_id)).one()
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.first_number == int(f"4930{first}"))).one()
        give_reserved_block(session, block, account_id, trunk_id, pipeline.clock.now)


def set_available(session: Session, ids: sa.Select[int], at: datetime) -> None:
    """Make the number blocks with these ids free at `at`."""
    session.execute(sa.update(NumberBlock).where(NumberBlock.id.in_(ids)).values(available_from=at))


def blocks_of(pipeline: Pipeline, account_id: int) -> list[NumberBlock]:
    with pipeline.runtime.database.transaction() as session:
        query = sa.select(NumberBlock).where(NumberBlock.account_id == account_id)
        return list(session.scalars(query.order_by(NumberBlock.first_number)))


def forward(pipeline: Pipeline, account_id: int, first: int, last: int, target: str) -> None:
    """Save a forwarding of the account's numbers from `first` to `last`."""
    with pipeline.runtime.database.transaction() as session:
        numbers = {"first_number": first, "last_number": last}
        session.add(CallForwarding(account_id=account_id, condition=Condition.BUSY, target=target, **numbers))


def refused(pipeline: Pipeline, account_id: int, place: Place, **changes: object) -> tuple[str, str]:
    """Return field and code of the error with which a move to `place` is refused."""
    with pytest.raises(InvalidField) as error:
        ask(pipeline, account_id, place, **changes)  # type: ignore[arg-type]
    return error.value.field, error.value.code


def pairs(pipeline: Pipeline, id: UUID) -> list[tuple[NumberBlock, NumberBlock]]:
    """Return what goes and what comes by the move, as it is now; every block that goes must have a replacement."""
    with pipeline.runtime.database.transaction() as session:
        rows = session.scalars(sa.select(MovedBlock).where(MovedBlock.request_id == id)).all()
        return [
            (session.get_one(NumberBlock, row.block_id), session.get_one(NumberBlock, row.replacement_id))
            for row in rows
        ]


def refused_as_running(pipeline: Pipeline, account_id: int) -> str | None:
    """Return the id of the running move because of which another one is refused."""
    with pytest.raises(AlreadyRequested) as error:
        ask(pipeline, account_id, BERLIN)
    return error.value.request_id
