"""Tests of the scheduled job `invoices`: accounts on a collective invoice become sub-accounts of the payer.

Accounts that are taken off the invoice leave the payer again.
"""

from __future__ import annotations

from datetime import datetime

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.links.collective_invoices import (
    BilledElsewhere,
    CollectiveInvoice,
    CollectiveInvoiceItem,
    OtherPayer,
    put_on_invoice,
    take_off_invoice,
)
from models.people.users import Membership
from models.requests.requests import Request
from models.states import AccountRole, AccountState, Kind, Origin, ProofMethod, Reason, Status
from tests.factories import a_link, join, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.reconcile.job_findings import changing, finds


def billed(pipeline: Pipeline, number: str = "SR-1", main: Account | None = None, **facts: object) -> Account:
    """Create an account with an administrator, put it on the collective invoice `number`, and return it.

    `main` pays the invoice (None: the pipeline's main account). `facts` are columns of the new account.
    """
    with changing(pipeline) as session:
        payer = session.get_one(Account, (main or pipeline.main).id)
        account = make_account(session, administrator=make_user(session), **facts)
        put_on_invoice(session, number, payer, account, pipeline.clock.now)
    return account


def reread(pipeline: Pipeline, account: Account) -> Account:
    with changing(pipeline) as session:
        return session.get_one(Account, account.id)


def requests(pipeline: Pipeline) -> list[Request]:
    with changing(pipeline) as session:
        return list(session.scalars(sa.select(Request).order_by(Request.id)))


def leave(pipeline: Pipeline, account: Account, number: str = "SR-1") -> None:
    with changing(pipeline) as session:
        assert take_off_invoice(session, number, session.get_one(Account, account.id), pipeline.clock.now)


def test_who_is_billed_together_is_listed_and_everybody_is_told(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    [finding] = finds(pipeline, "invoices", "not_listed")
    assert (finding.subject, finding.repaired) == (account.customer_number, True)
    [request] = requests(pipeline)
    assert (request.kind, request.requested_by) == (Kind.LINK, None)
    assert request.asked_proof is ProofMethod.COLLECTIVE_INVOICE
    # On its way: no second request.
    finds(pipeline, "invoices")
    pipeline.advance()
    listed = reread(pipeline, account)
    assert (listed.main_id, listed.origin) == (pipeline.main.id, Origin.COLLECTIVE_INVOICE)
    codes = ["invoice_joined", "proved_collective_invoice", "attached", "completed", "confirmed", "confirmed"]
    assert pipeline.codes(request.id) == codes
    assert len(pipeline.mailer.but_receipts) == 2
    assert pipeline.manager.email in {mail.recipient_address for mail in pipeline.mailer.but_receipts}
    finds(pipeline, "invoices")
    assert len(requests(pipeline)) == 1


def test_who_leaves_the_invoice_leaves_the_main_account(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    pipeline.run("invoices")
    pipeline.advance()
    leave(pipeline, account)
    finds(pipeline, "invoices", "still_listed")
    finds(pipeline, "invoices")
    pipeline.advance()
    left = reread(pipeline, account)
    assert (left.role, left.main_id) == (AccountRole.STANDALONE, None)
    [_, request] = requests(pipeline)
    assert (request.kind, request.status, request.requested_by) == (Kind.DETACH, Status.COMPLETED, None)
    assert pipeline.codes(request.id)[:2] == ["invoice_left", "detached"]
    finds(pipeline, "invoices")


def test_an_account_of_nobody_stays_until_somebody_can_sign_in(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    pipeline.run("invoices")
    pipeline.advance()
    with changing(pipeline) as session:
        session.execute(sa.delete(Membership).where(Membership.account_id == account.id))
    leave(pipeline, account)
    for _ in range(2):
        [finding] = finds(pipeline, "invoices", "cannot_leave")
        assert (finding.facts["reason"], finding.repaired) == (Reason.NO_ADMINISTRATOR, False)
    with changing(pipeline) as session:
        join(session, make_user(session), session.get_one(Account, account.id))
    finds(pipeline, "invoices", "still_listed")
    pipeline.advance()
    assert reread(pipeline, account).main_id is None


def test_who_moves_to_another_invoice_leaves_first(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    pipeline.run("invoices")
    pipeline.advance()
    leave(pipeline, account)
    with changing(pipeline) as session:
        other, _ = make_main(session)
        put_on_invoice(session, "SR-2", other, session.get_one(Account, account.id), pipeline.clock.now)
    finds(pipeline, "invoices", "still_listed")
    pipeline.advance()
    finds(pipeline, "invoices", "not_listed")
    pipeline.advance()
    assert reread(pipeline, account).main_id == other.id


def test_who_was_linked_by_hand_stays_linked_by_hand(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    with changing(pipeline) as session:
        attach(session, pipeline.main.id, account.id, Origin.LINK, pipeline.clock.now)
    finds(pipeline, "invoices")
    leave(pipeline, account)
    finds(pipeline, "invoices")
    assert reread(pipeline, account).origin is Origin.LINK
    assert requests(pipeline) == []


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [
        ("sub", Reason.ALREADY_ATTACHED),
        ("main", Reason.IS_MAIN_ACCOUNT),
        ("closed", Reason.ACCOUNT_CLOSED),
        ("payer", Reason.IS_SUB_ACCOUNT),
    ],
)
def test_who_cannot_be_listed_is_a_finding_and_no_request(pipeline: Pipeline, obstacle: str, reason: Reason) -> None:
    account = billed(pipeline)
    with changing(pipeline) as session:
        other, _ = make_main(session, subs=1)
        found = session.get_one(Account, account.id)
        if obstacle == "sub":
            attach(session, other.id, found.id, Origin.LINK, pipeline.clock.now)
        if obstacle == "main":
            attach(session, found.id, make_account(session).id, Origin.LINK, pipeline.clock.now)
        if obstacle == "closed":
            found.close()
        if obstacle == "payer":
            attach(session, other.id, pipeline.main.id, Origin.LINK, pipeline.clock.now)
    for _ in range(2):
        [finding] = finds(pipeline, "invoices", "cannot_be_listed")
        assert (finding.facts["reason"], finding.repaired) == (reason, False)
    assert requests(pipeline) == []


def test_a_link_that_somebody_has_asked_for_is_not_asked_for_again(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    finds(pipeline, "invoices")
    assert pipeline.run("invoices").counts["on_their_way"] == 1
    assert len(requests(pipeline)) == 1


def test_an_account_that_is_still_ordered_and_the_main_account_itself_are_let_be(pipeline: Pipeline) -> None:
    billed(pipeline, state=AccountState.ORDERED)
    with changing(pipeline) as session:
        main = session.get_one(Account, pipeline.main.id)
        put_on_invoice(session, "SR-1", main, main, pipeline.clock.now)
    finds(pipeline, "invoices")


def test_more_accounts_than_a_page_are_all_listed_and_all_leave(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.reconcile.invoices.PAGE", 2)
    accounts = [billed(pipeline) for _ in range(5)]
    finds(pipeline, "invoices", *["not_listed"] * 5)
    pipeline.advance()
    assert {reread(pipeline, account).main_id for account in accounts} == {pipeline.main.id}
    for account in accounts:
        leave(pipeline, account)
    finds(pipeline, "invoices", *["still_listed"] * 5)


def test_an_account_is_on_one_invoice_at_most(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    now: datetime = pipeline.clock.now
    with changing(pipeline) as session:
        other, _ = make_main(session)
        main, found = session.get_one(Account, pipeline.main.id), session.get_one(Account, account.id)
        put_on_invoice(session, "SR-1", main, found, now)
        with pytest.raises(BilledElsewhere):
            put_on_invoice(session, "SR-2", other, found, now)
        with pytest.raises(OtherPayer):
            put_on_invoice(session, "SR-1", other, found, now)
        invoice = CollectiveInvoice(number="SR-3", main_id=main.id)
        session.add(invoice)
        session.flush()
        second = sa.insert(CollectiveInvoiceItem).values(invoice_id=invoice.id, account_id=account.id, since=now)
        with pytest.raises(sa.exc.IntegrityError, match="uq_collective_invoice_items_open"), session.begin_nested():
            session.execute(second)
    leave(pipeline, account)
    with changing(pipeline) as session:
        other = session.get_one(Account, other.id)
        put_on_invoice(session, "SR-2", other, session.get_one(Account, account.id), now)
