"""Tests of the tags of sub-accounts: on their page, in the overview and its export, by the API, and when they end."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach, detach, move
from models.links.tags import CHANGES_A_DAY, LONGEST, MOST, set_tags
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Role
from models.people.users import User
from models.states import Origin
from tests.factories import NOW, join, make_account, make_main
from tests.web.conftest import Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, make_site
from tests.web.portal.accounts.test_overview import OVERVIEW, listed


@pytest.fixture
def site(front: Front) -> Site:
    """Create a linked sub-account, and sign the manager of its main account in."""
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id), Origin.LINK)
    come_in(front, front.manager.email)
    return site


def tag(front: Front, site: Site, typed: str, status: int = 303) -> str:
    """Save `typed` as the site's tags on its page; fail unless the answer has this status. Return the answer's text."""
    path = f"{site.path}/schlagwoerter"
    page = front.client.get(path)
    assert page.status_code == 200
    assert_valid(page.text)
    answer = front.client.post(path, data={"csrf_token": form_token(front.client), "tags": typed})
    assert answer.status_code == status, answer.text
    return html.unescape(answer.text)


def tags_in(front: Front, site: Site) -> list[str] | None:
    """Return the site's tags as the database has them."""
    with front.database.transaction() as session:
        return session.get_one(Account, site.account.id).tags


def test_tags_are_set_shown_and_filtered_by(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        plain = make_account(session)
        attach(session, front.main.id, plain.id, Origin.LINK, NOW)
        other = replace(site, account=plain)
    tag(front, site, " Region  Nord , filiale,, FILIALE")
    assert tags_in(front, site) == ["filiale", "Region Nord"]
    # Elsewhere in the company the same tag is written as before.
    tag(front, other, "Filiale, region nord, Süd")
    assert tags_in(front, other) == ["filiale", "Region Nord", "Süd"]
    page = front.client.get(OVERVIEW).text
    assert_valid(page)
    assert page.count(">filiale</a>") == 2 and ">Süd</option>" in page
    for view in ("karten", "tabelle"):
        found = front.client.get(f"{OVERVIEW}?schlagwort=Süd&ansicht={view}").text
        assert_valid(found)
        assert listed(found) == [front.main.customer_number, other.account.customer_number]
        assert "schlagwort=S%C3%BCd" in found
    assert "Nichts gefunden" in front.client.get(f"{OVERVIEW}?schlagwort=nirgends").text
    rows = front.client.get(f"{OVERVIEW}/export.csv?schlagwort=Süd").text
    assert "filiale, Region Nord, Süd" in rows and site.account.customer_number not in rows
    assert "filiale, Region Nord" in front.client.get(site.path).text
    with front.database.transaction() as session:
        entries = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == AuditEvent.TAGS_SET)).all()
        assert [(one.through_id, one.facts["tags"]) for one in entries] == [
            (front.main.id, ["filiale", "Region Nord"]),
            (front.main.id, ["filiale", "Region Nord", "Süd"]),
        ]
    assert "Hat die Schlagwörter gesetzt: filiale, Region Nord." in html.unescape(front.client.get(site.path).text)


def test_the_same_tags_again_change_nothing_and_none_removes_them(front: Front, site: Site) -> None:
    for typed in ("Nord", "nord", " "):
        tag(front, site, typed)
    assert tags_in(front, site) is None
    with front.database.transaction() as session:
        deeds = sa.select(sa.func.count()).where(AuditEntry.deed == AuditEvent.TAGS_SET)
        assert session.scalar(deeds) == 2
    assert "Hat alle Schlagwörter entfernt." in front.client.get(site.path).text


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("x" * (LONGEST + 1), f"höchstens {LONGEST} Zeichen"),
        (",".join(map(str, range(MOST + 1))), f"Höchstens {MOST} Schlagwörter"),
    ],
)
def test_what_is_too_long_or_too_many_is_said_and_kept(front: Front, site: Site, typed: str, says: str) -> None:
    page = tag(front, site, typed, 422)
    assert says in page and f'value="{typed}"' in page
    assert tags_in(front, site) is None


def test_a_form_without_the_field_removes_no_tags(front: Front, site: Site) -> None:
    tag(front, site, "Nord")
    answer = front.client.post(f"{site.path}/schlagwoerter", data={"csrf_token": form_token(front.client)})
    assert answer.status_code == 422 and tags_in(front, site) == ["Nord"]


def test_the_local_team_sees_tags_but_does_not_set_them(front: Front, site: Site) -> None:
    tag(front, site, "Nord")
    come_in(front, site.administrator.email)
    page = front.client.get(site.path).text
    assert "Nord" in page and "/schlagwoerter" not in page
    assert front.client.get(f"{site.path}/schlagwoerter").status_code == 404


def test_tags_end_with_the_company(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        other = make_main(session)[0].id
    for leave in ("detach", "switch"):
        tag(front, site, "Nord")
        assert "Seine Schlagwörter werden gelöscht: Nord" in front.client.get(f"{site.path}/loesen").text
        with front.database.transaction() as session:
            if leave == "detach":
                detach(session, front.main.id, site.account.id)
                session.flush()
                attach(session, front.main.id, site.account.id, Origin.LINK, NOW)
            else:
                move(session, front.main.id, other, site.account.id, NOW)
        assert tags_in(front, site) is None


def test_programs_set_read_and_filter_by_tags(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        plain = make_account(session)
        attach(session, front.main.id, plain.id, Origin.LINK, NOW)
    number = site.account.customer_number
    path = f"/api/v1/accounts/{number}/tags"
    head = {"Authorization": f"Bearer {front.token}"}
    for _ in range(2):
        answer = front.client.put(path, json={"tags": ["Süd", "Filiale", "süd"]}, headers=head)
        assert (answer.status_code, answer.get_json()) == (200, {"tags": ["Filiale", "Süd"]})
    assert front.get(f"/accounts/{number}").get_json()["tags"] == ["Filiale", "Süd"]
    found = front.get("/accounts?tag=Filiale").get_json()["items"]
    assert [one["customer_number"] for one in found] == [number]
    for body, status in (({"tags": ["a,b"]}, 422), ({"tags": ["x" * 41]}, 422), ({"tags": "x"}, 422), ({}, 422)):
        assert front.client.put(path, json=body, headers=head).status_code == status
    own = f"/api/v1/accounts/{front.main.customer_number}/tags"
    assert front.client.put(own, json={"tags": []}, headers=head).status_code == 403
    assert front.client.put(path, json={"tags": []}, headers=head).get_json() == {"tags": []}


def test_a_location_manager_of_the_main_account_sets_tags_too(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        person = session.get_one(User, site.member.id)
        join(session, person, session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
        email = person.email
    come_in(front, email)
    tag(front, site, "Nord")
    assert tags_in(front, site) == ["Nord"]


def test_tags_are_changed_50_times_a_day_at_most_because_the_log_is_kept(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        for count in range(CHANGES_A_DAY):
            set_tags(session, front.manager, account, [f"Region {count}"], NOW)
    said = tag(front, site, "Filiale", 422)
    assert "Das haben Sie innerhalb eines Tages oft genug getan." in said and 'value="Filiale"' in said
    assert tags_in(front, site) == ["Region 49"]
    # To save what is there already is no change.
    tag(front, site, "Region 49")
    path = f"/accounts/{site.account.customer_number}/tags"
    assert (
        front.client.put(
            f"/api/v1{path}", json={"tags": []}, headers={"Authorization": f"Bearer {front.token}"}
        ).status_code
        == 429
    )
