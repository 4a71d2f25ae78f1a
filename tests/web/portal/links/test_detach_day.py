"""Tests of the page that detaches an account on a chosen day, and of what both accounts see until then."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import berlin_day, first_moment
from models.people.audit_log import AuditEvent
from models.requests.requests import Request
from models.states import Kind, Status
from tests.factories import NOW
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, deeds, get, make_site
from tests.web.portal.changes.contract_changes import plain
from tests.web.portal.telephony.test_suspension import press

DAY = berlin_day(NOW) + timedelta(days=30)
WORDS = "1. April 2026"
OVERVIEW = "/standortverwaltung"


@pytest.fixture
def site(front: Front) -> Site:
    """Create a linked location with an administrator."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id))


def plan(front: Front, site: Site, day: str = DAY.isoformat()) -> None:
    """Request on the site's page to detach it on `day` (as typed); fail unless that is accepted."""
    answer = press(front, f"{site.path}/loesen", effective_on=day, customer_number=site.account.customer_number)
    assert answer.status_code == 303, answer.text


def running(front: Front) -> list[Request]:
    """Return the detach requests that have not ended, the oldest first."""
    with front.database.transaction() as session:
        query = sa.select(Request).where(Request.kind == Kind.DETACH, Request.ended_at.is_(None))
        return list(session.scalars(query.order_by(Request.id)))


def test_a_planned_detachment_is_seen_by_both_sides_and_taken_back_by_the_one_that_asked(
    front: Front, site: Site, back: Back
) -> None:
    number = site.account.customer_number
    come_in(front, front.manager.email)
    plan(front, site, "1.4.2026")
    [asked] = running(front)
    assert (asked.status, asked.effective_on, asked.by_sub_account) == (Status.ACKNOWLEDGED, DAY, False)
    page = get(front, OVERVIEW)
    assert f"Der Account {number} wird am {WORDS} gelöst. Die Administratoren beider Seiten" in plain(page)
    assert f"Wird am {WORDS} gelöst" in plain(page) and 'data-poll="0"' in page
    assert f"Wird am {WORDS} gelöst" in plain(get(front, f"{OVERVIEW}?ansicht=tabelle"))
    seen = get(front, f"/anfragen/{asked.id}")
    assert_valid(seen)
    assert f"Der Account wird zu Beginn des {WORDS} vom Hauptaccount gelöst." in plain(seen)
    assert "Vorgemerkt" in seen and "/stornieren" in seen
    log = plain(get(front, f"{site.path}/protokoll"))
    assert f"den Account am {WORDS} vom Hauptaccount {front.main.customer_number} zu lösen" in log
    come_in(front, site.administrator.email)
    own = get(front, site.path)
    assert_valid(own)
    assert "Vorgemerkt" in own and f"Der Account wird am {WORDS} gelöst." in plain(own)
    assert f"/anfragen/{asked.id}" in get(front, "/anfragen")
    assert "/stornieren" not in get(front, f"/anfragen/{asked.id}")
    path = f"/anfragen/{asked.id}/stornieren"
    assert press(front, path, get(front, site.path)).status_code == 404
    come_in(front, front.manager.email)
    assert press(front, path).status_code == 303
    assert running(front) == []
    back.clock.now = first_moment(DAY)
    for _ in range(3):
        back.advance()
    come_in(front, front.manager.email)
    assert number in get(front, OVERVIEW)
    assert [deed for deed, *_ in deeds(front)].count(AuditEvent.DETACH_ASKED) == 1


def test_another_day_is_chosen_on_the_same_page(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    plan(front, site)
    page = get(front, f"{site.path}/loesen")
    assert_valid(page)
    assert f"wird bereits am {WORDS} gelöst" in plain(page) and f'value="{DAY.isoformat()}"' in page
    again = press(front, f"{site.path}/loesen", page, effective_on="1.4.2026", customer_number=site.path[-7:])
    assert again.status_code == 303 and len(running(front)) == 1
    assert f"wird bereits am {WORDS} gelöst" in plain(get(front, OVERVIEW))
    plan(front, site, (DAY + timedelta(days=1)).isoformat())
    [asked] = running(front)
    assert asked.effective_on == DAY + timedelta(days=1)


def test_the_other_side_chooses_an_earlier_day_only(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    plan(front, site)
    come_in(front, site.administrator.email)
    typed = {"effective_on": "2.4.2026", "customer_number": site.account.customer_number}
    refused = press(front, f"{site.path}/loesen", **typed)
    assert refused.status_code == 422
    assert_valid(refused.text)
    assert f"Die andere Seite hat die Loslösung für den {WORDS} vorgemerkt." in plain(refused.text)
    plan(front, site, "")
    [asked] = running(front)
    assert (asked.effective_on, asked.by_sub_account) == (None, True)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("31.2.2026", "Das ist kein Tag."),
        ("1.3.2026", "Dieser Tag ist vorbei."),
        ("2028-01-01", "Das kann bis zum 3. März 2027 beauftragt werden."),
    ],
)
def test_a_day_that_is_not_possible_is_said_at_its_field(front: Front, site: Site, typed: str, words: str) -> None:
    come_in(front, front.manager.email)
    answer = press(front, f"{site.path}/loesen", effective_on=typed, customer_number=site.account.customer_number)
    assert answer.status_code == 422 and words in plain(answer.text) and typed in answer.text
    assert running(front) == []
