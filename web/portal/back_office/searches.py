"""The record of what staff are shown by searches: in the log, and in the audit logs of the accounts found."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from sqlalchemy.orm import Session

from models.people.looks import record_found
from models.views.back_office import Listed
from models.views.office_search import SearchResult
from web.portal.page.login_session import principal
from web.resources import resources

log = structlog.get_logger()


def record_search(session: Session, found: SearchResult | None, requests: Sequence[Listed]) -> None:
    """Log that the signed-in member of staff was shown these hits of a search, and record it in the audit log.

    The event names the customer numbers and the ids of the people, whatever their number, and not what was typed. The
    audit log of an account that the hits name has an entry if they name five accounts at most (`MOST_FOUND`).
    """
    accounts = [hit.request.main for hit in requests]
    people = []
    if found is not None:
        accounts += [account for hit in found.accounts for account in (hit.account, hit.main) if account is not None]
        accounts += [hit.account for hit in found.numbers]
        accounts += [account for hit in found.people for account, _ in hit.roles]
        people = [hit.user.id for hit in found.people]
    by = principal()
    record_found(session, by, accounts, resources().clock())
    numbers = {account.customer_number for account in accounts} | {hit.request.customer_number for hit in requests}
    log.info("office.searched", by=by.user_id, customer_numbers=sorted(numbers), people=people)
