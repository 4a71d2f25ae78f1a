"""The record of what staff are shown by searches and lists: in the log, and in the audit logs of the accounts found."""

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


def record_waiting_orders(session: Session, orders: Sequence[Request]) -> None:
    """Log that the signed-in member of staff was shown orders with their main accounts and streets.

    Each is a look at the order, in the audit log of its main account, unless they are more than five (`MOST_FOUND`).
    """
    record_list(orders)
    if len(orders) <= MOST_FOUND:
        for order in orders:
            record_request_look(session, principal(), order.main, order.id, order.customer_number, resources().clock())


def record_list(requests: Iterable[Request], accounts: Iterable[Account] = ()) -> None:
    """Log that the signed-in member of staff was shown a list of what waits for staff, if there is anything in it.

    The event names the customer numbers of the `requests`, of their main accounts, and of the `accounts`.
    """
    numbers = {number for request in requests for number in (request.customer_number, request.main.customer_number)}
    numbers |= {account.customer_number for account in accounts}
    if numbers:
        log.info("office.listed", by=principal().user_id, customer_numbers=sorted(numbers))
