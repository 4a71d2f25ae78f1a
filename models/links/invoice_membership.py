"""How sub-accounts join and leave the collective invoice of their main account: rights, proofs, offers and mails.

People of the main account decide, because it pays; the sub-account's administrators, if there are any, have to agree.
People of either account can end the membership. Accounts without a main account are put on an invoice by the carrier
(`models.links.collective_invoices`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.accounts.locks import lock_active_account
from models.calendar_days import berlin_day, end_of_day
from models.db.base import Base
from models.errors import Forbidden, InvalidField, NotAwaited, TooEarly
from models.links.collective_invoices import (
    CollectiveInvoice,
    is_billed_together,
    own_item,
    put_on_invoice,
)
from models.links.links import submit_detach
from models.links.planned_detach import ensure_no_change_is_lost, running_detach
from models.messages.outbox import Message, MessageState, Recipient, queue_message
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, may
from models.people.users import User, administrators_of
from models.proofs.deadlines import VALID_FOR
from models.proofs.ownership import Credentials, ownership_by
from models.requests.requests import Request
from models.states import AccountState, Origin
from models.values import Locale
from models.vault import Vault

OFFERED_AGAIN_AFTER = timedelta(days=1)
"""How long after an offer a sub-account can get the next one, if the first was declined or withdrawn."""
OFFER_MAIL = "invoice_offered"
"""The template of the mail that asks a sub-account's administrators whether the main account may pay for it."""
_RIGHT = Action.DETACH
"""The right by which the audit log tells whether a person has joined or left by a role in the main account only.

People of the main account who may order have this right, too.
"""


class InvoiceOffer(Base):
    """An offer of a main account to a sub-account: to pay its contracts by the main account's collective invoice.

    The sub-account's administrators can answer until `expires_at`. If they have declined, or the main account has
    withdrawn the offer, `expires_at` is the moment of that. An account has at most one offer, which counts only while
    `main_id` is its main account. `unreached_since` is the time from which mail servers had refused all mails about the
    offer; null if they have not.
    """

    __tablename__ = "invoice_offers"

    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    main_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    offered_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    unreached_since: Mapped[datetime | None]

    __table_args__ = (sa.CheckConstraint("account_id <> main_id", name="two_accounts"),)

    @classmethod
    def reaches_nobody(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the offer can still be answered, but mail servers have refused all mails about it.

        Only offers of the account's present main account count. The query must have joined the offer's account.
        """
        return sa.and_(
            cls.unreached_since.is_not(None),
            cls.expires_at > now,
            Account.main_id == cls.main_id,
            Account.state == AccountState.ACTIVE,
        )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition for offers that may be deleted: they have expired."""
        return cls.expires_at <= now


class JoiningProof(StrEnum):
    """The proof that a person of the main account needs to put a sub-account on the collective invoice.

    `NONE`: no proof, because they administer both accounts, or the sub-account has no administrator. `ASKED`: the
    consent of an administrator of the sub-account, or that administrator's login.
    """

    NONE = "none"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class BillingView:
    """How a sub-account is billed, and what one person may do about it.

    `invoice` is the number of its main account's collective invoice, None if the sub-account is billed by itself.
    `offer` is the main account's open offer to pay, None if there is none. `joins` is the proof that the person needs
    to put the account on the invoice, None if they may not. `answers`: they may answer the offer. `leaves`: they may
    take the account off the invoice. `may_stay`: they may decide that it then stays a sub-account.
    """

    invoice: str | None
    offer: InvoiceOffer | None
    joins: JoiningProof | None
    answers: bool
    leaves: bool
    may_stay: bool


def billing_view(session: Session, principal: Principal, account: Account, now: datetime) -> BillingView:
    """Return how the account is billed, and what the person may do about it.

    For an account that is not a sub-account, everything in the view is None or False.
    """
    main = session.get_one(Account, account.main_id) if account.main_id is not None else None
    if main is None:
        return BillingView(None, None, None, answers=False, leaves=False, may_stay=False)
    pays, owns = may(principal, Action.ORDER, main), may(principal, Action.MANAGE_HOLDER, account)
    billed = is_billed_together(session, account)
    item = own_item(session, account) if billed else None
    offer = None if billed else _open_offer(session, account, now)
    return BillingView(
        invoice=session.get_one(CollectiveInvoice, item.invoice_id).number if item is not None else None,
        offer=offer,
        joins=_proof(session, principal, account) if pays and not billed else None,
        answers=owns and offer is not None,
        leaves=billed and (pays or owns),
        may_stay=owns or account.origin is not Origin.COLLECTIVE_INVOICE,
    )


def join_invoice(
    session: Session,
    vault: Vault,
    principal: Principal,
    account: Account,
    means: Credentials | None,
    now: datetime,
) -> bool:
    """Put a sub-account on the collective invoice of its main account; create the invoice if there is none.

    `means` is the login of an administrator of the sub-account; None if the person needs no proof. Returns False if the
    proof is missing or wrong, otherwise True. Queues mails to the administrators of both accounts. Locks the account.
    Safe to run twice.

    Raises `Forbidden` unless the account is an active sub-account and the person may order for its main account. Raises
    `InvalidField` if the account is to be detached, and `BilledElsewhere` if it is on another collective invoice.
    """
    main = _lock_for_main(session, principal, account, now)
    if is_billed_together(session, account):
        return True
    if _proof(session, principal, account) is JoiningProof.ASKED and (
        means is None or ownership_by(session, vault, account.customer_number, means, now) is None
    ):
        return False
    _join(session, principal, main, account, now)
    return True


def offer_invoice(session: Session, principal: Principal, account: Account, now: datetime) -> None:
    """Ask the sub-account's administrators by mail whether the main account may pay for it by its collective invoice.

    They can answer on the account's page within 14 days. Does nothing if an offer is open, or if the account is already
    on the invoice. Locks the account. Raises `Forbidden` unless the account is an active sub-account and the person may
    order for its main account, `InvalidField` if the account is to be detached, and `TooEarly` if an offer made within
    the last day (`OFFERED_AGAIN_AFTER`) was declined or withdrawn.
    """
    main = _lock_for_main(session, principal, account, now)
    if _open_offer(session, account, now) is not None or is_billed_together(session, account):
        return
    before = session.get(InvoiceOffer, account.id)
    if before is not None and before.main_id == main.id and now < before.offered_at + OFFERED_AGAIN_AFTER:
        raise TooEarly(before.offered_at + OFFERED_AGAIN_AFTER)
    session.execute(sa.delete(InvoiceOffer).where(InvoiceOffer.account_id == account.id))
    until = end_of_day(now + VALID_FOR)
    session.add(InvoiceOffer(account_id=account.id, main_id=main.id, offered_at=now, expires_at=until))
    theirs = administrators_of(session, account.id)
    _tell(session, OFFER_MAIL, main, account, principal, theirs, now, until=until.isoformat())
    session.flush()


def mails_of_offer() -> sa.Select[Message]:
    """Return a query for the mails, of any state, that ask the administrators of a sub-account to answer its offer.

    It compares the columns of `Message` with those of `Account` (the sub-account) and `InvoiceOffer` (its offer), but
    does not say which account and offer. So either add conditions that choose these two rows, by `Account.id` and
    `InvoiceOffer.account_id`, or correlate it with an outer query on both tables.
    """
    return sa.select(Message).where(
        Message.request_id.is_(None),
        Message.template == OFFER_MAIL,
        Message.facts["customer_number"].astext == Account.customer_number,
        Message.queued_at >= InvoiceOffer.offered_at,
    )


def note_refused(session: Session, message: Message, now: datetime) -> None:
    """Record that an offer reaches nobody, if mail servers have refused all mails about it: the back office has to act.

    `message` is the mail that was refused just now, of template `OFFER_MAIL`. An offer that was made after that mail
    stays unchanged. Flushes the session. Runs one statement, because the offer may be answered, and so deleted, at this
    moment.
    """
    session.flush()
    others = mails_of_offer().where(Message.state != MessageState.REFUSED).correlate(InvoiceOffer, Account)
    unreached = sa.update(InvoiceOffer).where(
        InvoiceOffer.account_id == Account.id,
        Account.customer_number == message.facts["customer_number"],
        InvoiceOffer.offered_at <= message.queued_at,
        InvoiceOffer.unreached_since.is_(None),
        ~others.exists(),
    )
    session.execute(unreached.values(unreached_since=now).execution_options(synchronize_session=False))


def ask_late_administrators(session: Session, now: datetime) -> int:
    """Send the mail of each open offer that reached nobody to administrators who never got it; return how many mails.

    These administrators were named or joined after the offer was made. The mails are queued. Safe to run twice.
    """
    offers = sa.select(Account).join(InvoiceOffer, InvoiceOffer.account_id == Account.id)
    unreached = offers.where(InvoiceOffer.reaches_nobody(now))
    asked = 0
    for account in session.scalars(unreached.with_for_update(of=InvoiceOffer, skip_locked=True)).all():
        of_offer = mails_of_offer().where(Account.id == account.id, InvoiceOffer.account_id == account.id)
        mails = session.scalars(of_offer.order_by(Message.queued_at.desc())).all()
        had = {mail.recipient_address for mail in mails}
        for person in administrators_of(session, account.id):
            if mails and person.email not in had:
                to = Recipient(person.name, person.email, person.locale)
                queue_message(session, None, OFFER_MAIL, to, mails[0].facts, now, occasion=secrets.token_hex(8))
                asked += 1
    session.flush()
    return asked


def answer_offer(session: Session, principal: Principal, account: Account, now: datetime, *, agrees: bool) -> None:
    """Answer the main account's offer to pay, as an administrator of the sub-account.

    If the person agrees (`agrees`), the account is put on the invoice; otherwise the offer expires now. Queues mails to
    the administrators of the main account and, after an agreement, also to those of the sub-account. Locks the account.
    Raises `Forbidden` unless the person administers the account by a role in the account itself, `NotAwaited` if no
    offer is open, and `InvalidField` if the person agrees and the account is to be detached.
    """
    lock_active_account(session, account)
    if account.main_id is None or not may(principal, Action.MANAGE_HOLDER, account):
        raise Forbidden
    offer = _open_offer(session, account, now)
    if offer is None:
        raise NotAwaited
    main = session.get_one(Account, account.main_id)
    if agrees:
        _ensure_stays(session, account, now)
        _join(session, principal, main, account, now)
    else:
        offer.expires_at = now
        _tell(session, "invoice_declined", main, account, principal, administrators_of(session, main.id), now)
    session.flush()


def withdraw_offer(session: Session, principal: Principal, account: Account, now: datetime) -> None:
    """End the main account's open offer to pay for the sub-account; do nothing if there is none. Locks the account.

    Raises `Forbidden` unless the account is an active sub-account and the person may order for its main account.
    """
    lock_active_account(session, account)
    if account.main_id is None or not may(principal, Action.ORDER, session.get_one(Account, account.main_id)):
        raise Forbidden
    offer = _open_offer(session, account, now)
    if offer is not None:
        offer.expires_at = now


def leave_invoice(
    session: Session, principal: Principal, account: Account, locale: Locale, now: datetime, *, stays_linked: bool
) -> Request | None:
    """Take a sub-account off its main account's collective invoice, so that it is billed by itself from now on.

    With `stays_linked` the account stays a sub-account, and None is returned; otherwise a request to detach it at once
    is created and returned. Queues mails to the administrators of both accounts. Locks the account. Safe to run twice:
    returns None if the account is not on the invoice.

    Raises `Forbidden` unless the person may order for the main account, or administers the sub-account by a role in it.
    Raises it also for `stays_linked` if the invoice has attached the account and the person does not administer the
    sub-account. Raises `InvalidField` if the invoice has attached the account, and people who lose access with the
    detachment have planned a change of its contract.

    If the account is to be detached, raises `RuleBroken` if it has no administrator of its own, `AlreadyRequested` if a
    request to detach it is running, and `TooEarly` if the person has requested that ten times within a day.
    """
    lock_active_account(session, account)
    if account.main_id is None:
        raise Forbidden
    main = session.get_one(Account, account.main_id)
    owns = may(principal, Action.MANAGE_HOLDER, account)
    if not owns and not may(principal, Action.ORDER, main):
        raise Forbidden
    by_invoice = account.origin is Origin.COLLECTIVE_INVOICE
    if stays_linked and by_invoice and not owns:
        raise Forbidden
    item = own_item(session, account, lock=True)
    if item is None or not is_billed_together(session, account):
        return None
    if by_invoice:
        ensure_no_change_is_lost(session, account, None, now)
    number = session.get_one(CollectiveInvoice, item.invoice_id).number
    item.left_at, item.stays_linked = now, stays_linked
    session.flush()
    record(session, principal, account, AuditEvent.INVOICE_LEFT, _RIGHT, now, {"invoice": number})
    _tell_both(session, "invoice_left", main, account, principal, now, invoice=number, stays_linked=stays_linked)
    if stays_linked:
        return None
    return submit_detach(session, principal, account, locale, now)


def _lock_for_main(session: Session, principal: Principal, account: Account, now: datetime) -> Account:
    """Lock a sub-account that is to join the invoice of its main account, and return the main account.

    Raises `Forbidden` unless the account is an active sub-account and the person may order for its main account, and
    `InvalidField` if it is to be detached.
    """
    lock_active_account(session, account)
    main = session.get_one(Account, account.main_id) if account.main_id is not None else None
    if main is None or not may(principal, Action.ORDER, main):
        raise Forbidden
    _ensure_stays(session, account, now)
    return main


def _ensure_stays(session: Session, account: Account, now: datetime) -> None:
    detach = running_detach(session, account)
    if detach is not None:
        raise InvalidField("invoice", "detached_before", detach.effective_on or berlin_day(now))


def _join(session: Session, principal: Principal, main: Account, account: Account, now: datetime) -> None:
    invoices = sa.select(CollectiveInvoice.number).where(CollectiveInvoice.main_id == main.id)
    number = session.scalar(invoices.order_by(CollectiveInvoice.id).limit(1)) or f"SR-{main.customer_number}"
    session.execute(sa.delete(InvoiceOffer).where(InvoiceOffer.account_id == account.id))
    if not put_on_invoice(session, number, main, account, now):
        return
    record(session, principal, account, AuditEvent.INVOICE_JOINED, _RIGHT, now, {"invoice": number})
    _tell_both(session, "invoice_joined", main, account, principal, now, invoice=number)
    session.flush()


def _proof(session: Session, principal: Principal, account: Account) -> JoiningProof:
    alone = may(principal, Action.MANAGE_HOLDER, account) or not administrators_of(session, account.id)
    return JoiningProof.NONE if alone else JoiningProof.ASKED


def _open_offer(session: Session, account: Account, now: datetime) -> InvoiceOffer | None:
    return session.scalar(
        sa.select(InvoiceOffer).where(
            InvoiceOffer.account_id == account.id,
            InvoiceOffer.main_id == account.main_id,
            InvoiceOffer.expires_at > now,
        )
    )


def _tell_both(
    session: Session, template: str, main: Account, account: Account, person: Principal, now: datetime, **facts: Any
) -> None:
    readers = [*administrators_of(session, main.id), *administrators_of(session, account.id)]
    _tell(session, template, main, account, person, readers, now, **facts)


def _tell(
    session: Session,
    template: str,
    main: Account,
    account: Account,
    person: Principal,
    readers: Sequence[User],
    now: datetime,
    **facts: Any,
) -> None:
    """Queue a mail to each of `readers` about what `person` has done with the account's billing.

    A reader who is listed twice gets one mail. `template` names the mail's text, and `facts` are further variables of
    the text.
    """
    told = {
        "path": f"/standortverwaltung/{account.customer_number}/sammelrechnung",
        "name": person.name,
        "customer_number": account.customer_number,
        "account_name": account.name,
        "main_customer_number": main.customer_number,
        "main_account_name": main.name,
        **facts,
    }
    # Each time is told, also the second in one moment.
    occasion = secrets.token_hex(8)
    for reader in {found.id: found for found in readers}.values():
        to = Recipient(reader.name, reader.email, reader.locale)
        queue_message(session, None, template, to, told, now, occasion=occasion)
