"""The back office's search for customers, people and phone numbers, and the page of one account as staff see it."""

from __future__ import annotations

from functools import partial

from flask import abort, render_template, request, url_for

from models.accounts.accounts import Account, account_by_number
from models.db.paging import BadCursor
from models.people.audit_log import LogPart, entries_of
from models.people.looks import record_look
from models.people.members import users_of
from models.people.rights import Action, Role, may
from models.states import AccountState
from models.telephony.holdings import holdings_of
from models.text_cutting import shortened
from models.views import back_office, office_search
from models.views import locations as listing
from tasks.wording.labels import role_text
from web.portal.accounts.audit_log_text import deed_text
from web.portal.accounts.overview import kind_label, state_label
from web.portal.back_office import wording
from web.portal.back_office.requests_and_jobs import office
from web.portal.back_office.searches import record_search
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.resources import resources

_REQUESTS, _SUBS, _LOG = 20, 50, 10


@office.get("/suche")
def search() -> str:
    """Show what the search text in the query parameter `suche` finds among all customers, in groups.

    The groups are accounts, people, phone numbers and requests. The customer numbers and the people's ids that were
    found are logged. The search is also recorded in the audit logs of the accounts that it shows, if these are five at
    most.
    """
    typed = shortened(" ".join(request.args.get("suche", "").split()), 100)
    with resources().database.transaction() as session:
        found = office_search.search(session, typed)
        matters = back_office.MatterFilter(search=typed)
        requests = back_office.page_of(session, matters, limit=_REQUESTS).items if typed else []
        if typed:
            record_search(session, found, requests)
    return render_template(
        "back_office/search.html",
        typed=typed,
        least=office_search.LEAST,
        found=found,
        requests=requests,
        words=wording,
        status_label=wording.status_label,
        state_label=state_label,
        role_text=_role_text,
    )


@office.get("/kunden/<string(length=7):customer_number>")
def customer(customer_number: str) -> str:
    """Show what staff may see of an account, even a closed one, and record the view in the account's audit log.

    The query parameter `nach` is the cursor of the list of its sub-accounts, sorted by customer number. Abort with 404
    if there is no such account or if the cursor is invalid.
    """
    now, person = resources().clock(), principal()
    with resources().database.transaction() as session:
        account = account_by_number(session, customer_number)
        if account is None or not may(person, Action.VIEW, account):
            abort(404)
        record_look(session, person, account, now)
        by_number = listing.LocationFilter(order=listing.Order.NUMBER)
        try:
            subs = listing.page_of(session, account, by_number, after=request.args.get("nach") or None, limit=_SUBS)
        except BadCursor:
            abort(404)
        about = back_office.page_of(session, back_office.MatterFilter(search=customer_number), limit=_REQUESTS)
        main = session.get(Account, account.main_id) if account.main_id is not None else None
        holdings, users = holdings_of(session, account, now), users_of(session, account)
        log = entries_of(session, account, limit=_LOG, part=LogPart.DEEDS)
    return render_template(
        "back_office/customer.html",
        account=account,
        main=main,
        holdings=holdings,
        users=users,
        subs=subs,
        first=not request.args.get("nach"),
        requests=about.items,
        log=log,
        address=partial(url_for, "office.customer", customer_number=customer_number),
        is_closed=account.state is AccountState.CLOSED,
        kind=kind_label(account),
        words=wording,
        state_label=state_label,
        status_label=wording.status_label,
        role_text=_role_text,
        deed_text=deed_text,
        locale=locale(),
    )


def _role_text(role: Role) -> str:
    return role_text(role, locale())
