"""Offers to pay by collective invoice whose mails reached no administrator of the sub-account, for the back office."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from models.accounts.accounts import Account
from models.links.invoice_membership import InvoiceOffer, mails_of_offer
from models.messages.outbox import Message, MessageState
from models.people.invitations import Invitation
from models.people.rights import Role
from models.people.users import Membership, User


@dataclass(frozen=True, slots=True)
class UnreachedOffer:
    """An offer of the main account `main` to pay for `account`, whose mails have all been refused.

    The offer is open until `until`; `since` is the time at which all mails had been refused.
    """

    account: Account
    main: Account
    since: datetime
    until: datetime


def unreached_offers(session: Session, now: datetime, most: int = 50) -> list[UnreachedOffer]:
    """Return up to `most` open offers whose mails were all refused for good, the longest waiting first.

    Offers to an account are left out if it now has an administrator to whom no such mail was refused, or if an
    administrator was invited since.
    """
    main = aliased(Account)
    refused = mails_of_offer().where(Message.state == MessageState.REFUSED)
    reached = sa.exists().where(
        Membership.account_id == Account.id,
        Membership.role == Role.ADMINISTRATOR,
        User.id == Membership.user_id,
        User.disabled_at.is_(None),
        User.email.not_in(refused.with_only_columns(Message.recipient_address).correlate(InvoiceOffer, Account)),
    )
    invited = sa.exists().where(
        Invitation.account_id == Account.id,
        Invitation.role == Role.ADMINISTRATOR,
        Invitation.invited_at >= InvoiceOffer.unreached_since,
        Invitation.expires_at > now,
    )
    query = (
        sa.select(Account, main, InvoiceOffer)
        .join(InvoiceOffer, InvoiceOffer.account_id == Account.id)
        .join(main, main.id == InvoiceOffer.main_id)
        .where(InvoiceOffer.reaches_nobody(now), ~reached, ~invited)
        .order_by(InvoiceOffer.unreached_since, Account.id)
        .limit(most)
    )
    return [
        UnreachedOffer(account, payer, offer.unreached_since, offer.expires_at)
        for account, payer, offer in session.execute(query)
        if offer.unreached_since is not None
    ]
