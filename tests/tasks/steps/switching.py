"""Functions that ask for switches and answer them, and the sub-account that goes, for the tests of switches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts import hierarchy
from models.accounts.accounts import Account
from models.messages.outbox import Message
from models.people.rights import Principal
from models.people.users import User
from models.proofs.main_consents import decide_for_main
from models.proofs.proofs import Decision
from models.requests.requests import Request
from models.states import Kind, Origin, Reason, Status
from tests.factories import a_link, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline


@dataclass(frozen=True, slots=True)
class Branch:
    """A sub-account of another main account than the pipeline's.

    `id`, `number` and `owner` are its id, customer number and administrator; `main_id` and `chief` are the id and the
    administrator of its main account.
    """

    id: int
    number: str
    owner: User
    main_id: int
    chief: Principal


@pytest.fixture
def branch(pipeline: Pipeline) -> Branch:
    """Create a sub-account that another main account has linked."""
    return make_branch(pipeline)


def make_branch(pipeline: Pipeline, origin: Origin = Origin.LINK) -> Branch:
    """Create a sub-account of another main account, with an administrator of its own.

    `origin` says how it became a sub-account.
    """
    with pipeline.runtime.database.transaction() as session:
        main, chief = make_main(session)
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        hierarchy.attach(session, main.id, account.id, origin, pipeline.clock.now)
        return Branch(account.id, account.customer_number, owner, main.id, chief)


def ask(pipeline: Pipeline, branch: Branch, **means: Any) -> UUID:
    """Request to switch the sub-account to the pipeline's main account, and run the workers; return the request's id.

    `means` are the proof, as parameters of `a_link` (none: the login of the sub-account's administrator).
    """
    draft = a_link(branch.number, **(means or {"email": branch.owner.email}))
    id = pipeline.link(replace(draft, kind=Kind.SWITCH))
    pipeline.advance()
    return id


def answer(pipeline: Pipeline, id: UUID, person: int, decision: Decision = Decision.ACCEPTED) -> None:
    """Answer the switch as the user with the id `person`, for the present main account, and run the workers."""
    with pipeline.runtime.database.transaction() as session:
        switch, user = session.get_one(Request, id), session.get_one(User, person)
        assert decide_for_main(session, pipeline.runtime.vault, switch, user, decision, None, pipeline.clock.now)
    pipeline.advance()


def standing(pipeline: Pipeline, id: UUID) -> tuple[Status, Reason | None]:
    """Return the request's status and reason."""
    request = pipeline.request(id)
    return request.status, request.reason


def main_of(pipeline: Pipeline, branch: Branch) -> int | None:
    """Return the id of the sub-account's main account in the database."""
    with pipeline.runtime.database.transaction() as session:
        return session.get_one(Account, branch.id).main_id


def mails(pipeline: Pipeline, id: UUID) -> list[tuple[str, str]]:
    """Return template name and recipient of each mail about the request, sorted."""
    with pipeline.runtime.database.transaction() as session:
        found = session.execute(sa.select(Message.template, Message.recipient_address).where(Message.request_id == id))
        return sorted((row[0], row[1]) for row in found)


WAITS = (Status.PENDING, Reason.MAIN_CONSENT_AWAITED)
