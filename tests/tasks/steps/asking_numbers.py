"""Functions that ask for more numbers and look at them, and the trunk that gets them, for the tests of steps."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.contracts.contracts import ContractItem, runs
from models.orders.orders import cancel_and_release
from models.people.rights import Principal
from models.people.users import principal_of
from models.requests.requests import Request
from models.staff.place_questions import answer_place_question
from models.states import Reason
from models.telephony.numbers import NumberBlock
from models.telephony.place_answers import open_questions
from models.telephony.trunks import SipTrunk
from tests.factories import an_order, fill_pool, make_staff
from tests.tasks.conftest import Pipeline


@pytest.fixture
def trunk_id(pipeline: Pipeline) -> int:
    """Complete the order of a sub-account with ten numbers, clear the sent mails, and return its trunk's id."""
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.mailer.sent.clear()
    with pipeline.runtime.database.transaction() as session:
        return session.scalars(sa.select(SipTrunk.id)).one()


def ask(
    pipeline: Pipeline,
    trunk_id: int,
    size: int = 10,
    day: date | None = None,
    area_code: str = "030",
    person: Principal | None = None,
    shown: str | None = None,
) -> UUID:
    """Request a block of `size` numbers for the trunk from `day` on (None: at once); return the request's id.

    `person` requests it (None: the manager). `shown` is the text with the prices that a form has shown and sends back
    (None: the prices are not checked).
    """
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        draft = NumbersDraft(area_code, size, day, "de")
        return submit_numbers(session, person or pipeline.manager, account, trunk_id, draft, now, shown=shown).id


def take_back(pipeline: Pipeline, id: UUID) -> None:
    """Cancel the request, as the customer who made it."""
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)


def block_of(pipeline: Pipeline, id: UUID) -> NumberBlock:
    """Return the number block that the request has reserved or added, as it is in the database now."""
    with pipeline.runtime.database.transaction() as session:
        found = session.get_one(Request, id).reserved_block_id
        assert found is not None
        return session.get_one(NumberBlock, found)


def block_lines(pipeline: Pipeline, trunk_id: int, at: datetime) -> list[tuple[str, int, int | None]]:
    """Return the lines for number blocks of the trunk's contract that run at the time `at`.

    Each is product key, occurrence (1 for the first line of this product, 2 for the second) and the block's id.
    """
    with pipeline.runtime.database.transaction() as session:
        items = session.scalars(
            sa.select(ContractItem)
            .join(SipTrunk, SipTrunk.contract_id == ContractItem.contract_id)
            .where(SipTrunk.id == trunk_id, ContractItem.product_key.like("block-%"), runs(ContractItem, at))
            .order_by(ContractItem.product_key, ContractItem.occurrence)
        )
        return [(item.product_key, item.occurrence, item.block_id) for item in items]


def numbers_there(pipeline: Pipeline) -> int:
    """Return how many numbers the fake registrar has for the only trunk."""
    [record] = pipeline.registrar.trunks.values()
    return len(record.numbers)


def near_munich(pipeline: Pipeline, trunk_id: int) -> None:
    """Move the trunk's account to Dachau, and add numbers of Dachau and of München to the pools."""
    with pipeline.owner.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        account.street, account.postal_code, account.city = "Münchner Str. 1", "85221", "Dachau"
        fill_pool(session, area_code="08131", first="200000", count=2)
        fill_pool(session, area_code="089", count=2)


def answer(pipeline: Pipeline, *, fits: bool) -> list[UUID]:
    """Answer as staff the only open question: whether an address lies in the area of an area code (`fits`).

    Return the ids of the requests that waited for the answer.
    """
    with pipeline.owner.transaction() as session:
        [question] = open_questions(session, 10)
        staff, now = principal_of(session, make_staff(session)), pipeline.clock.now
        return [one.id for one in answer_place_question(session, staff, question.id, now, fits=fits, seen=0)]
