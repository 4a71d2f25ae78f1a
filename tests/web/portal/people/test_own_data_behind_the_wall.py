"""Tests of the download of a person's data under row-level security: it is complete, and nobody else can get it."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.db.caller import NOBODY_SIGNED_IN, Named, act_for, login_caller, name_to_database, token_caller
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.messages.outbox import Recipient, queue_message
from models.orders.drafts import Draft
from models.orders.orders import LocalUser
from models.people.api_tokens import create_token, token_hash
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.invitations import Invitation
from models.people.invited_people import note_name
from models.people.login_sessions import begin_login
from models.people.rights import Role, Scope
from models.people.users import User
from models.proofs.proofs import AddressProof, EmailProof, LinkCode
from models.requests.requests import Request
from models.views.person_data import person_data
from tasks.wording.person_data import worded
from tests.factories import NOW, an_order, fill_pool, make_main, make_user, submit_order
from tests.web.conftest import Front, FrontOf
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.test_own_data import download
from tests.web.test_row_security import enforced
from workers.stack.postgres import EmbeddedPostgres


def name_in_other_companies(session: Session, person: User) -> None:
    """Create a company in which `person` has no role, and store the person's name, address or id in its rows.

    It uses every table in which that can happen, such as orders, invitations and mails.
    """
    main, manager = make_main(session, subs=1)
    [site] = session.scalars(sa.select(Account).where(Account.main_id == main.id))
    site.contact_email = person.email
    day = timedelta(days=1)
    asked = {"asked_at": NOW, "expires_at": NOW + day}
    fill_pool(session)
    order = an_order(local_user=LocalUser("Kim Local", person.email))
    request = submit_order(session, manager, main, order, NOW)
    session.flush()
    session.execute(sa.update(Request).where(Request.id == request.id).values(requested_by=person.id))
    create_token(session, main, person, "Former", [Scope.READ], NOW)
    session.add_all(
        [
            EmailProof(main_id=main.id, address=person.email, **asked),
            AddressProof(main_id=main.id, address_key="x", proved_by=person.id, **asked),
            Invitation(
                account_id=main.id,
                email=person.email,
                name="Kim",
                role=Role.LOCAL_MEMBER,
                locale="de",
                invited_by=manager.user_id,
                invited_at=NOW,
                expires_at=NOW + day,
            ),
            LinkCode(account_id=main.id, created_by=person.id, created_at=NOW, expires_at=NOW + day),
            AuditEntry(
                account_id=main.id, user_id=person.id, by_staff=False, deed=AuditEvent.TOKEN_CREATED, facts={}, at=NOW
            ),
            Draft(account_id=main.id, user_id=person.id, data={}, created_at=NOW, updated_at=NOW),
        ]
    )
    note_name(session, 4711, main.id, "Kim", person.email, NOW)
    queue_message(session, request.id, "order_receipt", Recipient("Kim", person.email, "de"), {"path": "/x"}, NOW)


def test_the_file_is_complete_behind_the_wall_too(
    front: Front, front_of: FrontOf, owner_database: Database, postgres: EmbeddedPostgres
) -> None:
    with owner_database.transaction() as session:
        person = session.get_one(User, front.manager.user_id)
        name_in_other_companies(session, person)
    with enforced(postgres):
        front.client = front_of()
        sign_in(front, person.email)
        shown = json.loads(download(front).text)
        with owner_database.transaction() as session:
            at_the_console = person_data(session, session.get_one(User, person.id))
    assert shown == worded(at_the_console, "de")
    named = {name for name, rows in at_the_console.items() if name != "person" and rows}
    assert named >= {
        "contact_of",
        "contact_email_asked",
        "invited_by_order",
        "invitations_to_me",
        "invited_as",
        "api_tokens",
        "requests",
        "mails",
        "link_codes",
        "order_drafts",
        "address_proofs_accepted",
    }


def test_the_whole_data_of_a_person_is_for_that_person_alone(
    front: Front, owner_database: Database, postgres: EmbeddedPostgres
) -> None:
    with owner_database.transaction() as session:
        person = session.get_one(User, front.manager.user_id)
        name_in_other_companies(session, person)
        login, _ = begin_login(session, make_user(session), "", "", NOW)
    with closing(Database(postgres.url("standorte", DatabaseRole.FRONT))) as database:
        callers = (login_caller(login.secret_hash), token_caller(token_hash(front.token)), NOBODY_SIGNED_IN)
        for caller in callers:
            with database.transaction() as session:
                act_for(session, caller)
                name_to_database(session, Named.PERSON, person.id)
                name_to_database(session, Named.EMAIL, person.email)
                found = session.execute(sa.select(sa.func.own_data(type_=sa.JSON))).scalar_one()
            assert {part for part, rows in found.items() if rows} <= {"sign_ins"}, caller
