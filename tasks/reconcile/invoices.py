"""Job `invoices`: request to link the accounts that join a collective invoice, and to detach those that leave it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, aliased, contains_eager

from models.accounts.accounts import Account
from models.accounts.hierarchy import (
    ensure_may_be_main,
    ensure_may_be_sub,
)
from models.accounts.locks import lock_accounts
from models.errors import RuleBroken
from models.links.collective_invoices import (
    CollectiveInvoice,
    CollectiveInvoiceItem,
    billed_by_main,
    prove_by_invoice,
    request_leaving,
    request_listing,
)
from models.people.invitations import ensure_administered
from models.requests.requests import Request
from models.states import ATTACHING, ENDED, AccountState, Kind, Origin, Reason
from tasks.reconcile.job_run import Run

PAGE = 200

Running = dict[tuple[int, str], Request]
"""Link or detach requests that have not ended, by the main account's id and the account's customer number."""


def reconcile_invoices(run: Run) -> None:
    """Create the link and detach requests that make the account hierarchy match the collective invoices.

    A running link request that waits for consent is accepted without it, because the invoice proves ownership. Safe to
    run twice: no request is created if one of its kind is running for the account, or if it would be rejected.
    """
    for page in (_leaving, _joining):
        after = 0
        while done := page(run, after):
            after = done[-1]


def _leaving(run: Run, after: int) -> Sequence[int]:
    """Create detach requests for sub-accounts that were attached by a collective invoice and are no longer on it.

    An account that is to stay a sub-account, because it was taken off the invoice with that wish, is marked as attached
    by a link instead. An account without an administrator who can sign in stays a sub-account, and is reported as a
    finding. Works on one page, of accounts with ids above `after`, in one transaction. Return the ids of these
    accounts; empty after the last page.
    """
    main = aliased(Account)
    with run.transaction() as session:
        rows = session.execute(
            sa.select(Account, main)
            .join(main, main.id == Account.main_id)
            .where(Account.id > after, Account.origin == Origin.COLLECTIVE_INVOICE, ~billed_by_main())
            .order_by(Account.id)
            .limit(PAGE)
        ).all()
        staying = _staying(session, [account.id for account, _ in rows])
        # Before the requests, as who detaches an account locks it first.
        lock_accounts(session, sorted(staying))
        leaving = [account.customer_number for account, _ in rows if account.id not in staying]
        running = _running(session, (Kind.DETACH,), leaving)
        for account, payer in rows:
            run.counts["looked_at"] += 1
            if account.id in staying:
                run.counts["stay_linked"] += 1
                if account.main_id == payer.id:
                    account.origin = Origin.LINK
                continue
            if (payer.id, account.customer_number) in running:
                run.counts["on_their_way"] += 1
                continue
            facts = {"customer_number": account.customer_number, "main_customer_number": payer.customer_number}
            try:
                ensure_administered(session, account, run.now)
            except RuleBroken as error:
                run.find("cannot_leave", account.customer_number, repaired=False, **facts, reason=error.reason)
                continue
            request = request_leaving(session, payer, account, run.now)
            run.find(
                "still_listed",
                account.customer_number,
                repaired=True,
                **facts,
                request=str(request.id),
            )
        return [account.id for account, _ in rows]


def _staying(session: Session, account_ids: Sequence[int]) -> frozenset[int]:
    """Return the ids of those accounts that stay sub-accounts of their main account after leaving its invoice.

    The person who took the account off the invoice has chosen so. If it left several times, the last choice counts.
    """
    last = (
        sa.select(CollectiveInvoiceItem.account_id, CollectiveInvoiceItem.stays_linked)
        .ext(postgresql.distinct_on(CollectiveInvoiceItem.account_id))
        .join(CollectiveInvoiceItem.invoice)
        .join(CollectiveInvoiceItem.account)
        .where(CollectiveInvoiceItem.account_id.in_(account_ids), CollectiveInvoice.main_id == Account.main_id)
        .order_by(CollectiveInvoiceItem.account_id, CollectiveInvoiceItem.left_at.desc())
    )
    return frozenset(id for id, stays in session.execute(last) if stays)


def _joining(run: Run, after: int) -> Sequence[int]:
    """Create link requests for accounts on a collective invoice that are not sub-accounts of its main account.

    If such a link request is running already and waits for consent, the invoice is recorded as its proof of ownership.
    Works on one page, of open invoice items with ids above `after`, in one transaction. Return the ids of these items;
    empty after the last page.
    """
    with run.transaction() as session:
        items = _not_listed(session, after)
        running = _running(session, ATTACHING, [item.account.customer_number for item in items])
        for item in items:
            run.counts["looked_at"] += 1
            _join(run, session, item, running)
        return [item.id for item in items]


def _join(run: Run, session: Session, item: CollectiveInvoiceItem, running: Running) -> None:
    account, main = item.account, item.invoice.main
    # An account that another invoice has linked must be detached first.
    moving = account.origin is Origin.COLLECTIVE_INVOICE or account.state is AccountState.ORDERED
    already = running.get((main.id, account.customer_number))
    if moving or already is not None:
        run.counts["on_their_way"] += 1
        is_asked = already is not None and already.kind is Kind.LINK and already.reason is Reason.CONSENT_AWAITED
        if already is not None and is_asked and not moving:
            prove_by_invoice(session, already, item, run.now)
        return
    facts = {
        "customer_number": account.customer_number,
        "main_customer_number": main.customer_number,
        "invoice": item.invoice.number,
    }
    try:
        ensure_may_be_main(main)
        ensure_may_be_sub(account)
    except RuleBroken as error:
        # The pipeline would reject the request.
        run.find("cannot_be_listed", account.customer_number, repaired=False, **facts, reason=error.reason)
        return
    request: uuid.UUID = request_listing(session, item, run.now).id
    run.find("not_listed", account.customer_number, repaired=True, **facts, request=str(request))


def _not_listed(session: Session, after: int) -> Sequence[CollectiveInvoiceItem]:
    main = aliased(Account)
    invoice = contains_eager(CollectiveInvoiceItem.invoice)
    return session.scalars(
        sa.select(CollectiveInvoiceItem)
        .join(CollectiveInvoiceItem.account)
        .join(CollectiveInvoiceItem.invoice)
        .join(CollectiveInvoice.main.of_type(main))
        .where(
            CollectiveInvoiceItem.id > after,
            CollectiveInvoiceItem.left_at.is_(None),
            Account.main_id.is_distinct_from(main.id),
            # The main account is on its own invoice.
            Account.id != main.id,
        )
        .order_by(CollectiveInvoiceItem.id)
        .limit(PAGE)
        .options(
            contains_eager(CollectiveInvoiceItem.account), invoice.contains_eager(CollectiveInvoice.main.of_type(main))
        )
    ).all()


def _running(session: Session, kinds: Sequence[Kind], customer_numbers: Sequence[str]) -> Running:
    # Locked: a person may give a proof for one of them at the same time.
    requests = session.scalars(
        sa.select(Request)
        .where(Request.kind.in_(kinds), Request.status.not_in(ENDED), Request.customer_number.in_(customer_numbers))
        .order_by(Request.id)
        .with_for_update()
    )
    return {(request.main_id, request.customer_number): request for request in requests}
