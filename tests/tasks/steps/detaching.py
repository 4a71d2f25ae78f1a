"""Functions that ask for a sub-account to be detached on a day, and the sub-account, for the tests of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.calendar_days import berlin_day
from models.links.links import submit_detach
from models.messages.outbox import Message
from models.orders.orders import cancel_and_release
from models.people.rights import Principal
from models.people.users import User, principal_of
from models.requests.requests import Request
from models.states import Origin, Reason
from tests.factories import make_account, make_user
from tests.tasks.conftest import Pipeline

DAY = 30


@dataclass(frozen=True, slots=True)
class Branch:
    """A sub-account of the pipeline's main account.

    `id` is its id. `owner` and `local` are the same person, its administrator: as a row, and as a principal with roles.
    """

    id: int
    owner: User
    local: Principal


@pytest.fixture
def branch(pipeline: Pipeline) -> Branch:
    """Create a sub-account that was linked, with an administrator of its own."""
    return make_branch(pipeline, Origin.LINK)


def make_branch(pipeline: Pipeline, origin: Origin) -> Branch:
    """Create a sub-account with an administrator of its own; `origin` says how it became a sub-account."""
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        attach(session, pipeline.main.id, account.id, origin, pipeline.clock.now)
        session.flush()
        return Branch(account.id, owner, principal_of(session, owner))


def day_in(pipeline: Pipeline, days: int) -> date:
    """Return the date that is `days` days from now."""
    return berlin_day(pipeline.clock.now) + timedelta(days=days)


def ask(pipeline: Pipeline, branch: Branch, day: date | None, person: Principal | None = None) -> UUID:
    """Request to detach the sub-account on `day` (None: at once); return the request's id.

    `person` requests it (None: the main account's manager).
    """
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, branch.id)
        return submit_detach(session, person or pipeline.manager, account, "de", pipeline.clock.now, day).id


def take_back(pipeline: Pipeline, id: UUID) -> None:
    """Cancel the request, as the customer who made it."""
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id, with_for_update=True)
        cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)


def go_to(pipeline: Pipeline, at: datetime) -> None:
    """Set the clock to `at` and run the workers."""
    pipeline.clock.now = at
    for _ in range(3):
        pipeline.advance()


def main_of(pipeline: Pipeline, branch: Branch) -> int | None:
    """Return the id of the sub-account's main account in the database; None if it has none."""
    with pipeline.runtime.database.transaction() as session:
        return session.get_one(Account, branch.id).main_id


def told(pipeline: Pipeline, id: UUID) -> list[tuple[str, str]]:
    """Return template name and recipient of each message about the request, sorted."""
    with pipeline.runtime.database.transaction() as session:
        query = sa.select(Message.template, Message.recipient_address).where(Message.request_id == id)
        return sorted((template, to) for template, to in session.execute(query))
