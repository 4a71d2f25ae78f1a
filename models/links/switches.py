"""What a switch does at its moment: a sub-account goes from its main account to another main account in one step."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts import hierarchy
from models.accounts.accounts import Account
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
    """Raise an error if the account, whose ownership is proved, may not go to the main account of the switch.

    The error is `AlreadyAttached` if it belongs to that main account already, and `RuleBroken` if its present main
    account bills it by a collective invoice, which it has to leave first.
    """
    if account.main_id == switch.main_id:
        raise AlreadyAttached(account.customer_number)
    if is_billed_together(session, account):
        raise RuleBroken(Reason.BILLED_TOGETHER, account.customer_number)


def switch_account(session: Session, switch: Request, account: Account, now: datetime) -> None:
    """Move the account, which is locked, from its main account to the one that has asked for the switch.

    What a detachment does is done at the same moment: a copy of the former main account's contract holder stays with
    an account that it has ordered, and invitations by its people are deleted. Its offer of a collective invoice is
    deleted, a detachment that runs or is planned for a later day is rejected, as the account has left, and other
    switches that wait for the former main account are woken. Planned changes of contracts and cancellations belong to
    the account, and stay.

    Raises `AlreadyAttached` if the account belongs to another main account than the one that has agreed, and what
    `ensure_may_switch` raises.
    """
    ensure_may_switch(session, switch, account)
    consent = session.get(MainConsent, switch.id)
    if consent is None or consent.decision is not Decision.ACCEPTED or consent.main_id != account.main_id:
        raise AlreadyAttached(account.customer_number)
    was_ordered = account.origin is Origin.ORDER
    hierarchy.move(session, consent.main_id, switch.main_id, account.id, now)
    consent.moved_at = now
    if was_ordered:
        keep_holder_of(session, consent.main_id, account, now)
    void_foreign_invitations(session, account)
    session.execute(sa.delete(InvoiceOffer).where(InvoiceOffer.account_id == account.id))
    end_planned_detach(session, account, Reason.NOT_ATTACHED, now)
    wake_switches(session, account, now)
