"""Tests of closing an account: afterwards it has no trunk, no number and no user.

Some accounts cannot be closed, such as those with a running request. A request that waits for the closing is rejected.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.hierarchy import attach
from models.contracts.contracts import Contract
from models.db.session import Database
from models.errors import CannotClose, NotFound, RuleBroken
from models.links.account_closing import close_account
from models.links.collective_invoices import put_on_invoice
from models.links.links import submit_link
from models.messages.outbox import Recipient
from models.people.api_tokens import ApiToken, create_token
from models.people.audit_log import AuditEvent
from models.people.invitation_acceptance import find_invitation
from models.people.invitations import invite
from models.people.rights import Role, Scope
from models.people.users import User, principal_of
from models.requests.requests import Request
from models.states import AccountState, Kind, Origin, ProofMethod, Reason
from models.telephony import sip_secrets
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.holdings import holdings_of
from models.telephony.number_pool import QUARANTINE
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from tests.factories import NOW, VAULT, a_link, an_order, make_account, make_bulk, make_main, sites, submit_order
from tests.fakes import wait_until
from tests.models.telephony.conftest import LATER, Company, deeds, state


def test_a_closed_account_has_nothing_and_nobody(database: Database, company: Company) -> None:
    with database.transaction() as session:
        account = company.account(session)
        session.add(CallForwarding(account_id=account.id, condition=Condition.BUSY, target="+4930901820"))
        session.get_one(NumberBlock, company.one).trunk_id = None
        session.add(Contract(account_id=account.id, started_at=NOW))
        session.flush()
        invite(session, company.person, account, Recipient("Ida", "ida@example.com", "de"), Role.ADMINISTRATOR, NOW)
        user = session.get_one(User, company.person.user_id)
        create_token(session, account, user, "ERP", frozenset(Scope), NOW)
        assert close_account(session, account, LATER)
    with database.transaction() as session:
        account = company.account(session)
        assert account.state is AccountState.CLOSED
        holdings = holdings_of(session, account, LATER)
        assert (holdings.items, holdings.trunks, holdings.blocks) == ([], [], [])
        assert {block.available_from for block in session.scalars(sa.select(NumberBlock))} == {LATER + QUARANTINE}
        assert {contract.ended_at for contract in session.scalars(sa.select(Contract))} == {LATER}
        for table in ("call_forwardings", "invitations"):
            assert session.scalar(sa.text(f"SELECT count(*) FROM {table}")) == 0
        assert session.scalars(sa.select(ApiToken.revoked_at)).one() == LATER
        assert principal_of(session, session.get_one(User, company.person.user_id)).roles == {}
        assert deeds(session)[-1] == (AuditEvent.ACCOUNT_CLOSED, None, {})
        assert not close_account(session, account, LATER)
    assert state(database, company) == (TrunkState.CLOSED, True)


def test_of_a_closed_account_no_secret_is_renewed_and_no_invitation_accepted(
    database: Database, company: Company
) -> None:
    with database.transaction() as session:
        account = company.account(session)
        to = Recipient("Ida", "ida@example.com", "de")
        invited = invite(session, company.person, account, to, Role.ADMINISTRATOR, NOW)
        issue = sip_secrets.issue_of(session.get_one(SipTrunk, company.trunk))
        words = invited.id, VAULT.token(*invited.words())
        close_account(session, account, LATER)
    with database.transaction() as session, pytest.raises(NotFound):
        sip_secrets.renew(session, VAULT, company.person, company.account(session), company.trunk, issue, LATER)
    with database.transaction() as session, pytest.raises(NotFound):
        find_invitation(session, VAULT, *words, LATER, lock=True)


def under_a_main_account(session: Session, company: Company) -> None:
    attach(session, make_main(session)[0].id, company.id, Origin.LINK, NOW)


def over_a_sub_account(session: Session, company: Company) -> None:
    attach(session, company.id, make_account(session).id, Origin.LINK, NOW)


def asked_for_by_another(session: Session, company: Company) -> None:
    main, manager = make_main(session)
    submit_link(session, VAULT, manager, main, a_link(company.number, method=ProofMethod.CONSENT), NOW)


def with_an_order_of_its_own(session: Session, company: Company) -> None:
    submit_order(session, company.person, company.account(session), an_order(), NOW)


def with_a_file_of_its_own(session: Session, company: Company) -> None:
    make_bulk(session, company.person, company.account(session), sites(1)).send(NOW)


def billed_by_another(session: Session, company: Company) -> None:
    put_on_invoice(session, "SR-1", make_main(session)[0], company.account(session), NOW)


def paying_for_another(session: Session, company: Company) -> None:
    put_on_invoice(session, "SR-1", company.account(session), make_account(session), NOW)


def on_order(session: Session, company: Company) -> None:
    company.account(session).state = AccountState.ORDERED


OBSTACLES: dict[str, list[Callable[[Session, Company], None]]] = {
    "is_sub_account": [under_a_main_account],
    "has_sub_accounts": [over_a_sub_account],
    "request_runs": [asked_for_by_another, with_an_order_of_its_own],
    "bulk_runs": [with_a_file_of_its_own],
    "billed_together": [billed_by_another, paying_for_another],
    "ordered": [on_order],
}


@pytest.mark.parametrize(("code", "obstacle"), [(code, one) for code, them in OBSTACLES.items() for one in them])
def test_what_keeps_an_account_from_being_closed(
    database: Database, company: Company, code: str, obstacle: Callable[[Session, Company], None]
) -> None:
    with database.transaction() as session:
        obstacle(session, company)
        session.flush()
        with pytest.raises(CannotClose) as refused:
            close_account(session, company.account(session), NOW)
        assert refused.value.code == code
    assert state(database, company)[0] is TrunkState.ACTIVE


def test_a_request_about_an_account_that_is_closed_meanwhile_is_rejected(database: Database, company: Company) -> None:
    """Submit a request while its account is being closed: it waits for the account's lock, and is then rejected."""

    def ask() -> None:
        with database.transaction() as session:
            submit_order(session, company.person, company.account(session), an_order(), NOW)

    def waits() -> bool:
        locked = "wait_event_type = 'Lock' AND query LIKE '%INSERT INTO requests%'"
        with database.transaction() as session:
            return bool(session.scalar(sa.text(f"SELECT count(*) FROM pg_stat_activity WHERE {locked}")))

    with ThreadPoolExecutor() as pool:
        with database.transaction() as session:
            assert close_account(session, company.account(session), NOW)
            session.flush()
            asking = pool.submit(ask)
            wait_until(waits)
        asking.result()
    with database.transaction() as session:
        [request] = session.scalars(sa.select(Request).where(Request.kind == Kind.ORDER))
        with pytest.raises(RuleBroken) as broken:
            attach(session, company.id, request.account_id or 0, Origin.ORDER, NOW)
        assert broken.value.reason is Reason.ACCOUNT_CLOSED
