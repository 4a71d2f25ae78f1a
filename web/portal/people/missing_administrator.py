"""The text that says why nobody can administer an account, for example because an invitation is not accepted yet."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import RuleBroken
from models.people.invitations import ensure_administered
from tasks.wording.reasons import reason_text
from web.portal.page.locale import locale


def not_administered_text(session: Session, account: Account, now: datetime) -> str | None:
    """Return why nobody can sign in and administer the account, in the page's language; None if somebody can."""
    try:
        ensure_administered(session, account, now)
    except RuleBroken as error:
        return reason_text(error.reason, locale())
    return None
