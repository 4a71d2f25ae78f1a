"""Job `tokens`: remind people of API tokens that expire soon, so that no customer's system stops without warning."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.messages.outbox import Recipient, queue_message, was_queued
from models.people.api_tokens import ApiToken
from models.people.users import Membership, User, administrators_of
from models.states import AccountState
from tasks.reconcile.job_run import Run

REMINDED_BEFORE = timedelta(days=14)
"""How long before an API token expires a reminder is mailed."""
MAIL = "api_token_expires"


def remind_of_tokens(run: Run) -> None:
    """Queue mails about usable API tokens that expire within 14 days (`REMINDED_BEFORE`).

    The person for whom a token acts and the account's administrators get one mail each. Safe to run twice: nobody is
    reminded of a token twice.
    """
    with run.transaction() as session:
        now = run.now
        for token, account, user in _expiring(session, run):
            people = {user.id: user} | {person.id: person for person in administrators_of(session, account.id)}
            assert token.expires_at is not None
            facts = {
                "account_name": account.name,
                "customer_number": account.customer_number,
                "acts_for": user.name,
                "token_name": token.name,
                "scopes": token.scopes,
                "until": token.expires_at.isoformat(),
                "last_used": token.last_used_at.isoformat() if token.last_used_at is not None else None,
                "path": f"/benutzer/{account.customer_number}/api-token",
            }
            for person in people.values():
                to = Recipient(person.name, person.email, person.locale)
                if not was_queued(session, MAIL, str(token.id), to):
                    queue_message(session, None, MAIL, to, facts, now, occasion=str(token.id))
                    run.counts["reminded"] += 1


def _expiring(session: Session, run: Run) -> list[tuple[ApiToken, Account, User]]:
    """Return the usable API tokens that expire within 14 days, each with its account and the person it acts for.

    Not usable are revoked tokens, and those whose account is closed or whose person has no role in the account.
    """
    member = sa.exists().where(Membership.user_id == User.id, Membership.account_id == Account.id)
    query = (
        sa.select(ApiToken, Account, User)
        .join(Account, Account.id == ApiToken.account_id)
        .join(User, User.id == ApiToken.user_id)
        .where(
            ApiToken.revoked_at.is_(None),
            ApiToken.expires_at > run.now,
            ApiToken.expires_at <= run.now + REMINDED_BEFORE,
            Account.state != AccountState.CLOSED,
            member,
        )
        .order_by(ApiToken.id)
    )
    return [(token, account, user) for token, account, user in session.execute(query)]
