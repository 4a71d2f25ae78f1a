"""Carrying out a switch: a sub-account moves from its main account to another main account in one step."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts import hierarchy
from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.errors import AlreadyAttached, RuleBroken
from models.links.collective_invoices import is_billed_together
from models.links.invoice_membership import InvoiceOffer
from models.links.planned_detach import end_planned_detach
from models.orders.holder_changes import keep_holder_of
from models.people.invitations import void_foreign_invitations
from models.proofs.main_consents import wake_switches
from models.proofs.proofs import Decision, MainConsent
from models.requests.requests import Request
from models.states import Origin, Reason


def ensure_may_switch(session: Session, switch: Request, account: Account) -> None:
    """Raise an error if the account, whose ownership is proved, may not move to the main account of the switch.

    The error is `AlreadyAttached` if the account already belongs to that main account. It is `RuleBroken` if the
    account is on a collective invoice of its present main account, which it has to leave first.
    """
    if account.main_id == switch.main_id:
        raise AlreadyAttached(account.customer_number)
    if is_billed_together(session, account):
        raise RuleBroken(Reason.BILLED_TOGETHER, account.customer_number)


def switch_account(session: Session, switch: Request, account: Account, now: datetime) -> None:
    """Move the account, which must be locked, from its main account to the one that has requested the switch.

    The move has the effects of a detachment. If the former main account had ordered the account, the account gets a
    copy of that contract holder. Invitations sent by people of the former main account, and its offer to pay by its
    collective invoice, are deleted. A running or planned detach request is rejected, and other switches that wait for
    the former main account's answer are scheduled for now. Planned changes of contracts and cancellations stay.

    The day from which the former main account had the account is saved with its consent: once the account is closed,
    the former main account can see its costs from that day until the switch.

    Raises `AlreadyAttached` if the account already belongs to the requesting main account, or belongs to another one
    than the main account that has consented. Raises `RuleBroken` if it is on a collective invoice of its present main
    account.
    """
    ensure_may_switch(session, switch, account)
    consent = session.get(MainConsent, switch.id)
    if consent is None or consent.decision is not Decision.ACCEPTED or consent.main_id != account.main_id:
        raise AlreadyAttached(account.customer_number)
    was_ordered = account.origin is Origin.ORDER
    assert account.paid_since is not None
    consent.costs_from = berlin_day(account.paid_since)
    hierarchy.move(session, consent.main_id, switch.main_id, account.id, now)
    consent.moved_at = now
    if was_ordered:
        keep_holder_of(session, consent.main_id, account, now)
    void_foreign_invitations(session, account)
    session.execute(sa.delete(InvoiceOffer).where(InvoiceOffer.account_id == account.id))
    end_planned_detach(session, account, Reason.NOT_ATTACHED, now)
    wake_switches(session, account, now)
