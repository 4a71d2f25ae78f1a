"""Records which customers staff were shown by searches and lists: in the log, and in audit logs of accounts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.looks import MOST_FOUND, record_found, record_request_look
from models.requests.requests import Request
from models.views.back_office import Listed
from models.views.office_search import SearchResult
from web.portal.page.login_session import principal
from web.resources import resources

log = structlog.get_logger()


def record_search(session: Session, found: SearchResult | None, requests: Sequence[Listed]) -> None:
    """Log that the signed-in member of staff was shown these hits of a search, and record it in the audit log.

    `found` has the accounts, people and numbers found; None for a search of requests only. `requests` are the requests
    found. The log event names the customer numbers and the ids of the people, however many there are, but not the
    search text. If the hits name five accounts at most (`MOST_FOUND`), the audit log of each gets an entry, too.
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


def record_waiting_orders(session: Session, orders: Sequence[Request]) -> None:
    """Log that the signed-in member of staff was shown orders with their main accounts and streets.

    If there are five orders at most (`MOST_FOUND`), the view of each is recorded in the audit log of its main account,
    too.
    """
    record_list(orders)
    if len(orders) <= MOST_FOUND:
        for order in orders:
            record_request_look(session, principal(), order.main, order.id, order.customer_number, resources().clock())


def record_list(requests: Iterable[Request], accounts: Iterable[Account] = ()) -> None:
    """Log that the signed-in member of staff was shown a list of what waits for staff; an empty list is not logged.

    The log event names the customer numbers of the `requests`, of their main accounts, and of the `accounts`.
    """
    numbers = {number for request in requests for number in (request.customer_number, request.main.customer_number)}
    numbers |= {account.customer_number for account in accounts}
    if numbers:
        log.info("office.listed", by=principal().user_id, customer_numbers=sorted(numbers))
