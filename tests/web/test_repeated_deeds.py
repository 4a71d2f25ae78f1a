"""Tests that an action which sends mails to people of another account can be repeated only ten times a day."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.messages.outbox import Message
from models.people.repeated_deeds import MOST_A_DAY
from models.people.users import User
from models.states import Origin
from tests.factories import NOW, give_app
from tests.fakes import FakeClock
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, get, make_site
from tests.web.portal.changes.contract_changes import plain
from tests.web.portal.telephony.test_suspension import press

DAY = berlin_day(NOW) + timedelta(days=30)
SAID = "innerhalb eines Tages oft genug getan. Ab 3. März 2026"


@pytest.fixture
def site(front: Front) -> Site:
    """Create an ordered location under the client's main account, with an administrator."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id), Origin.ORDER)


def ask(front: Front, site: Site, kind: str) -> tuple[int, str]:
    """Request by API to detach the site's account on a day, or to cancel it; `kind` is "detach" or "cancel".

    Return the status of the answer and the request's id ("": none).
    """
    number = site.account.customer_number
    if kind == "detach":
        answer = front.delete(f"/accounts/{number}/link?effective_on={DAY.isoformat()}")
    else:
        answer = front.post("/cancellations", {"customer_number": number, "last_day": "2026-05-31"})
    return answer.status_code, answer.get_json().get("id", "")


def told(front: Front, email: str) -> int:
    """Return how many mails to this address are in the database, sent or still queued."""
    with front.database.transaction() as session:
        return session.scalar(sa.select(sa.func.count()).where(Message.recipient_address == email)) or 0


@pytest.mark.parametrize(("kind", "page"), [("detach", "loesen"), ("cancel", "kuendigung")])
def test_a_plan_is_made_and_taken_back_ten_times_a_day(
    front: Front, site: Site, clock: FakeClock, kind: str, page: str
) -> None:
    for _ in range(MOST_A_DAY):
        status, id = ask(front, site, kind)
        assert status == 202
        assert front.post(f"/requests/{id}/cancel").status_code == 200
    assert ask(front, site, kind) == (429, "")
    before = told(front, site.administrator.email)
    come_in(front, front.manager.email)
    typed = {"effective_on": DAY.isoformat(), "customer_number": site.account.customer_number}
    typed |= {"last_day": "2026-05-31", "meant": "y"}
    refused = press(front, f"{site.path}/{page}", **typed)
    assert refused.status_code == 422 and SAID in plain(refused.text)
    assert_valid(refused.text)
    assert told(front, site.administrator.email) == before == 2 * MOST_A_DAY
    # Others are not held up by it.
    come_in(front, site.administrator.email)
    done = press(front, f"{site.path}/{page}", **typed)
    assert done.status_code == 303, done.text
    clock.advance(timedelta(days=1))
    if kind == "cancel":
        come_in(front, site.administrator.email)
        assert press(front, f"{done.location}/stornieren", get(front, done.location)).status_code == 303
    else:
        typed["effective_on"] = (DAY - timedelta(days=1)).isoformat()
    come_in(front, front.manager.email)
    assert press(front, f"{site.path}/{page}", **typed).status_code == 303


def test_a_second_factor_is_demanded_ten_times_a_day(front: Front, site: Site, clock: FakeClock) -> None:
    with front.database.transaction() as session:
        give_app(session, session.get_one(User, front.manager.user_id))
    come_in(front, front.manager.email)
    path = f"/benutzer/{front.main.customer_number}/zweiter-faktor"
    for _ in range(MOST_A_DAY + 2):
        for demand in ("yes", "no"):
            assert press(front, path, demand=demand).status_code == 303
            clock.advance(timedelta(seconds=1))
    assert told(front, site.administrator.email) == MOST_A_DAY
    press(front, path, demand="yes")
    assert SAID in plain(get(front, f"/benutzer/{front.main.customer_number}"))
