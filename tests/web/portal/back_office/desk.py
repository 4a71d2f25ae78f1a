"""Browsers in which staff are signed in, for tests of the back office, and functions that make requests for staff."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.people.audit_log import AuditEvent
from models.people.users import User
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.states import Reason
from tests.audit_entries import entries_of_deeds
from tests.factories import NOW, PASSWORD, an_order, make_staff, submit_order
from tests.second_factor import enter_code
from tests.web.api.calls import PDF, upload
from tests.web.api.calls import an_order as waiting_order
from tests.web.conftest import Back, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf

OFFICE, JOBS_PAGE = "/backoffice", "/backoffice/abgleich"
REMOVALS = f"{JOBS_PAGE}/registrar/entfernen"
PLACES = f"{OFFICE}/vorwahlen"
HOUR = timedelta(hours=1)
NOBODYS = UUID("01890000-0000-7000-8000-000000000000")


class Desk:
    """A browser (Flask's test client, with separate cookies) in which the user with the address `email` is signed in.

    With None for `email`, nobody is signed in.
    """

    def __init__(self, client: FlaskClient, email: str | None = None) -> None:
        self.client = client
        if email is not None:
            form = {"csrf_token": form_token(client), "email": email, "password": PASSWORD}
            answer = enter_code(client, client.post("/anmelden", data=form))
            assert answer.status_code == 302
            self._led_to = answer.location

    @property
    def arrives_at(self) -> str:
        """Return the path of the page to which the sign-in leads."""
        return self.client.get(self._led_to, follow_redirects=True).request.path

    def page(self, path: str, status: int = 200) -> str:
        """Return the HTML of the page at `path`; fail if it has another status, or status 200 and invalid HTML."""
        answer = self.client.get(path)
        assert answer.status_code == status, (path, answer.status_code)
        if status == 200:
            assert_valid(answer.text)
        return answer.text

    def press(self, path: str, shown: str, **fields: str) -> TestResponse:
        """Submit `fields` to `path` with the hidden fields of the page `shown` (HTML); return the page that follows.

        The hidden fields are the CSRF token and `seen`, which says in which state the page shows the request.
        """
        found = re.search(r'name="seen" value="(\d+)"', shown)
        seen = {"seen": found[1]} if found is not None else {}
        data = {"csrf_token": csrf(shown), **seen, **fields}
        return self.client.post(path, data=data, follow_redirects=True)

    def _token(self, path: str) -> str:
        return csrf(self.client.get(path).text)


SitDown = Callable[[str | None], Desk]


def staff(front: Front, name: str) -> User:
    """Create a member of the carrier's staff with this name, and return the user."""
    with front.database.transaction() as session:
        return make_staff(session, name=name)


def ordered(front: Front, change: Callable[[Request], None] | None = None) -> UUID:
    """Place an order, and return its id.

    If `change` is given, it is called with the order's new request, to bring it into another state.
    """
    with front.database.transaction() as session:
        order = submit_order(session, front.manager, session.get_one(Account, front.main.id), an_order(), NOW)
        session.flush()
        if change is not None:
            change(order)
        return order.id


def held(front: Front, reason: Reason = Reason.INTERNAL_ERROR, at: datetime = NOW) -> UUID:
    """Place an order that is held since `at` for this reason: the carrier has to act. Return its id."""
    return ordered(front, lambda order: order.hold(reason, at))


def failed(front: Front, at: datetime = NOW) -> UUID:
    """Place an order that the telephone network has refused at `at`; return its id."""

    def fail(order: Request) -> None:
        order.begin(at)
        order.fail(Reason.GATEWAY_REFUSED, at)

    return ordered(front, fail)


def with_document(front: Front, back: Back) -> str:
    """Place an order, and upload an address document for it that waits for review; return its id."""
    id = waiting_order(front, back)
    assert upload(front, id, PDF).status_code == 200
    back.advance()
    return id


def of(id: UUID | str, more: str = "") -> str:
    """Return the path of the page of the request `id` in the back office; `more` is appended, such as "/stornieren"."""
    return f"{OFFICE}/anfragen/{id}{more}"


def request_of(front: Front, id: UUID | str) -> Request:
    with front.database.transaction() as session:
        return session.get_one(Request, UUID(str(id)), options=[sa.orm.joinedload(Request.account)])


def codes(front: Front, id: UUID | str) -> list[str]:
    """Return the codes of the request's timeline entries, the oldest first."""
    with front.database.transaction() as session:
        lines = sa.select(TimelineEntry.code).where(TimelineEntry.request_id == UUID(str(id)))
        return list(session.scalars(lines.order_by(TimelineEntry.id)))


def deeds(front: Front) -> list[tuple[AuditEvent, int | None, int | None, bool]]:
    """Return the entries of the audit log, the oldest first, without those about access and about opening a request.

    Each is event, user id, account's id, and whether the user acted as staff.
    """
    with front.database.transaction() as session:
        entries = [entry for entry in entries_of_deeds(session) if entry.deed is not AuditEvent.REQUEST_SEEN]
        return [(entry.deed, entry.user_id, entry.account_id, entry.by_staff) for entry in entries]


def listed(page: str) -> list[str]:
    """Return the ids of the requests that the page (HTML) of the back office lists, from top to bottom."""
    return re.findall(rf'<a href="{OFFICE}/anfragen/([0-9a-f-]+)"', page)
