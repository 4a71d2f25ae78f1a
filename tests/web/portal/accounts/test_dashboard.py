"""Tests of an account's dashboard and audit log, and of who may open which of the account's pages.

A local team sees only its own account. A view by users of the main account is recorded in the log, at most once an
hour.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach, detach
from models.contracts.contracts import ContractItem
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Role
from models.people.users import User
from models.states import Origin
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, PASSWORD, an_order, fill_pool, join, make_account, make_user, submit_order
from tests.web.conftest import Back, Front, form_token
from tests.web.portal.accounts.sites import OLD, Site, arrive, come_in, deeds, get, give_numbers
from tests.web.portal.page.test_portal import csrf


def test_the_dashboard_through_the_main_account(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    page = get(front, site.path)
    number = site.account.customer_number
    assert f"Sie sehen den Nebenaccount {number} (Filiale Köln)" in page
    assert f'href="/standortverwaltung?konto={front.main.customer_number}#konto-{number}"' in page
    for words in (
        "t000000000001",
        "sip.example",
        "Registrar (Domain)",
        "Wenn besetzt ist",
        "0171 1234567",
        "Gilt jetzt",
    ):
        assert words in page
    assert "Lore Lokal" in page and "Mia Mitglied" in page
    assert "Benutzer verwalten" not in page and "Was Personen Ihres Hauptaccounts" in page and OLD not in page


def test_the_dashboard_leads_with_the_phone_system_and_ends_with_what_is_dangerous(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        block = give_numbers(session, site)
    come_in(front, site.administrator.email)
    page = get(front, site.path)
    headings = re.findall("<h2>(.*?)</h2>", page)
    order = [
        "Telefonanlage verbinden", "Rufweiterleitung", "Rufnummern", "Vertrag", "Benutzer", "Standort",
        "Ansprechperson", "Zuordnung", "Wer hineingesehen oder etwas geändert hat", "Unterbrechen oder zurückgeben",
        "Vom Hauptaccount lösen",
    ]  # fmt: skip
    assert headings[0] == order[0] and [one for one in headings if one in order] == order
    connect, _, rest = page.partition("<h2>Rufweiterleitung</h2>")
    for name, value in {"user": "t000000000001", "registrar": "sip.example", "port": "5060"}.items():
        id = f"{name}-{site.trunk}"
        assert f'<code class="copied" id="{id}" translate="no">{value}</code>' in connect
        assert f'data-copy="{id}"' in connect
    assert "UDP oder TCP" in connect and f'href="{site.secret}"' in connect
    apart = rest.partition("<h2>Unterbrechen oder zurückgeben</h2>")[2]
    release = f"{site.path}/rufnummern/{block}/zurueckgeben"
    for path in (site.renewal, f"{site.path}/sip/{site.trunk}/sperren", release, site.path + "/loesen"):
        assert page.count(f'href="{path}"') == apart.count(f'href="{path}"') == 1
    assert "/neu?nummern=49221700340-49221700349" in rest


def test_the_settings_of_phone_systems_are_those_of_the_trunk(front: Front, site: Site) -> None:
    come_in(front, site.administrator.email)
    path = f"{site.path}/sip/{site.trunk}/telefonanlagen"
    assert path in get(front, site.path)
    page = get(front, path)
    for words in ("Asterisk", "FreePBX", "3CX", "FRITZ!Box", "STARFACE", "client_uri=sip:t000000000001@sip.example"):
        assert words in page
    assert OLD not in page


def test_the_main_accounts_look_is_in_the_log_once_an_hour(front: Front, site: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    for _ in range(3):
        get(front, site.path)
        get(front, site.path + "/rufweiterleitung")
    looked = (AuditEvent.LOOKED_IN, front.manager.user_id, front.main.id)
    assert deeds(front) == [looked]
    back.clock.advance(timedelta(hours=1))
    get(front, site.path)
    assert deeds(front) == [looked, looked]
    assert arrive(front, site.administrator.email) == site.path
    page = get(front, site.path)
    assert page.count("Hat das Dashboard angesehen.") == 2
    assert f"über Hauptaccount {front.main.customer_number}" in page and front.manager.name in page
    assert "2. März 2026, 10:00 Uhr" in page
    assert deeds(front) == [looked, looked]


def test_the_whole_log_page_by_page(front: Front, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.portal.accounts.dashboard.LOG_PAGE", 2)
    with front.database.transaction() as session:
        for name in "abcde":
            session.add(
                AuditEntry(
                    account_id=site.account.id,
                    user_id=site.administrator.id,
                    deed=AuditEvent.INVITATION_WITHDRAWN,
                    facts={"name": name, "role": "administrator"},
                    at=NOW,
                )
            )
            session.flush()
    come_in(front, site.administrator.email)
    path, told = site.path + "/protokoll", []
    while path:
        page = get(front, path)
        told += re.findall("Einladung von (.) zur", page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        path = following[1] if following else ""
    assert "".join(told) == "edcba"
    for place in ("x", -1, 2**63):
        get(front, f"{site.path}/protokoll?vor={place}", 404)


def test_fewer_channels_than_the_product_has_are_explained(front: Front, site: Site) -> None:
    come_in(front, site.administrator.email)
    said = "von 10 Kanälen Ihres Tarifs, wie bestellt: So viele Gespräche sind gleichzeitig möglich"
    assert said not in get(front, site.path)
    with front.database.transaction() as session:
        trunk = session.get_one(SipTrunk, site.trunk)
        price = {"monthly_cents": 2990, "one_off_cents": 0}
        session.add(ContractItem(contract_id=trunk.contract_id, product_key="trunk-10", **price))
    assert said in get(front, site.path)
    with front.database.transaction() as session:
        session.get_one(SipTrunk, site.trunk).channels = 10
    assert said not in get(front, site.path)


def test_the_main_account_sees_what_its_own_people_did_and_nothing_of_the_local_team(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        entry = {"deed": AuditEvent.INVITATION_WITHDRAWN, "at": NOW, "account_id": site.account.id}
        own, local = ({"name": name, "role": "administrator"} for name in ("Olga Oben", "Uwe Unten"))
        session.add(AuditEntry(user_id=front.manager.user_id, through_id=front.main.id, facts=own, **entry))
        session.add(AuditEntry(user_id=site.administrator.id, facts=local, **entry))
    for person, seen in ((front.manager.email, ["Olga Oben"]), (site.administrator.email, ["Olga Oben", "Uwe Unten"])):
        come_in(front, person)
        for page in (site.path, f"{site.path}/protokoll"):
            assert [name for name in ("Olga Oben", "Uwe Unten") if name in get(front, page)] == seen, page
    come_in(front, front.manager.email)
    assert "Was das örtliche Team tut" in get(front, f"{site.path}/protokoll")


def test_a_local_administrator_has_a_dashboard_and_nothing_of_others(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        other = make_site_of_another(session, front)
    assert arrive(front, site.administrator.email) == site.path
    page = get(front, site.path)
    assert "Sie sehen den" not in page and "Zurück zur Übersicht" not in page
    assert ">Dashboard</a>" in page and ">Standorte</a>" not in page and ">Benutzer</a>" in page
    for number in (front.main.customer_number, other.customer_number):
        get(front, f"/standortverwaltung/{number}", 404)
    assert other.customer_number not in page


def make_site_of_another(session: Session, front: Front) -> Account:
    """Create another sub-account of the client's main account, without users or a trunk; return it."""
    other = make_account(session)
    attach(session, front.main.id, other.id, Origin.LINK, NOW)
    return other


def test_who_administers_two_sub_accounts_switches_between_them(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        second = make_site_of_another(session, front)
        join(session, session.get_one(User, site.administrator.id), second)
    come_in(front, site.administrator.email)
    assert 'name="konto"' in get(front, site.path)
    answer = front.client.get(f"/standortverwaltung?konto={second.customer_number}", follow_redirects=True)
    assert answer.request.path == f"/standortverwaltung/{second.customer_number}"


def test_a_link_code_is_offered_where_the_account_can_be_attached_or_switched(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        owner = make_user(session)
        alone = make_account(session, administrator=owner)
    come_in(front, owner.email)
    assert "Verknüpfungscodes verwalten" in get(front, f"/standortverwaltung/{alone.customer_number}")
    come_in(front, site.administrator.email)
    assert "Verknüpfungscode" in get(front, site.path)
    come_in(front, front.manager.email)
    assert "Verknüpfungscode" not in get(front, f"/standortverwaltung/{front.main.customer_number}")


def test_a_local_member_sees_call_forwarding_and_nothing_else(front: Front, site: Site) -> None:
    assert arrive(front, site.member.email) == site.path + "/rufweiterleitung"
    page = get(front, site.path + "/rufweiterleitung")
    menu = re.search(r'<nav class="menu".*?</nav>', page, re.DOTALL)
    assert menu is not None
    assert re.findall(r'href="([^"]+)"', menu[0]) == ["/rufweiterleitung"]
    assert "Dashboard" not in page
    with front.database.transaction() as session:
        second = make_account(session, name="Lager")
        join(session, session.get_one(User, site.member.id), second, Role.LOCAL_MEMBER)
    page = get(front, "/rufweiterleitung")
    assert "Lager" in page and "Filiale Köln" in page


EVERYBODY = {"manager", "location manager", "administrator", "member"}
NOT_MEMBERS = EVERYBODY - {"member"}
PAGES = {
    "/standortverwaltung/{number}": {"manager", "location manager", "administrator"},
    "/standortverwaltung/{number}/protokoll": {"manager", "location manager", "administrator"},
    "/standortverwaltung/{number}/loesen": {"manager", "location manager", "administrator"},
    "/standortverwaltung/{number}/sip/{trunk}/passwort": {"manager", "location manager", "administrator"},
    "/standortverwaltung/{number}/sip/{trunk}/erneuern": {"manager", "location manager", "administrator"},
    "/standortverwaltung/{number}/sip/999/passwort": set(),
    "/standortverwaltung/{number}/sip/{trunk}/telefonanlagen": {"manager", "location manager", "administrator"},
    "/standortverwaltung/{number}/sip/999/telefonanlagen": set(),
    "/standortverwaltung/{main}/sip/{trunk}/telefonanlagen": set(),
    "/standortverwaltung/{number}/sip/{trunk}/sperren": {"manager", "location manager", "administrator"},
    "/standortverwaltung/{number}/sip/{trunk}/entsperren": {"manager", "location manager", "administrator"},
    "/standortverwaltung/{number}/sip/{trunk}/anrufzustellung": {"manager", "location manager", "administrator"},
    "/standortverwaltung/{number}/sip/{trunk}/ziele": {"manager", "administrator"},
    "/standortverwaltung/{number}/sip/999/ziele": set(),
    "/standortverwaltung/{main}/sip/{trunk}/ziele": set(),
    "/standortverwaltung/{number}/sip/999/anrufzustellung": set(),
    "/standortverwaltung/{main}/sip/{trunk}/anrufzustellung": set(),
    "/standortverwaltung/{number}/sip/999/sperren": set(),
    "/standortverwaltung/{number}/rufnummern/{block}/zurueckgeben": {"manager", "location manager", "administrator"},
    "/standortverwaltung/{main}/sip/{trunk}/sperren": set(),
    "/standortverwaltung/{main}/sip/{trunk}/entsperren": set(),
    "/standortverwaltung/{number}/rufweiterleitung": EVERYBODY,
    "/standortverwaltung/{number}/rufweiterleitung/neu": EVERYBODY,
    "/standortverwaltung/{number}/rufweiterleitung/{forwarding}": EVERYBODY,
    "/standortverwaltung/{number}/rufweiterleitung/{forwarding}/loeschen": EVERYBODY,
    "/standortverwaltung/{number}/rufweiterleitung/999": set(),
    "/standortverwaltung/{main}": {"manager", "location manager"},
    "/standortverwaltung/{main}/protokoll": {"manager", "location manager"},
    "/standortverwaltung/{main}/rufweiterleitung": {"manager", "location manager"},
    "/standortverwaltung/{main}/rufweiterleitung/{forwarding}": set(),
    "/standortverwaltung/{main}/sip/{trunk}/passwort": set(),
    "/standortverwaltung/nebenaccount": {"manager", "location manager"},
    "/standortverwaltung/export.csv": NOT_MEMBERS,
    "/standortverwaltung/gruppen/ort": {"manager", "location manager"},
    "/standortverwaltung/landkarte": {"manager", "location manager"},
    "/standortverwaltung/stand": NOT_MEMBERS,
    "/benutzer/{number}": {"administrator"},
    "/benutzer/{number}/einladen": {"manager", "location manager", "administrator"},
    "/benutzer/{main}/einladen": {"manager"},
    "/backoffice/konten/{number}/administrator": set(),
    "/benutzer/{main}": {"manager"},
    "/anfragen": NOT_MEMBERS | {"stranger"},
    "/verknuepfungscode": NOT_MEMBERS | {"stranger"},
    "/anmeldung": EVERYBODY | {"stranger"},
    "/anmeldung/passwort": EVERYBODY | {"stranger"},
}  # fmt: skip


@pytest.mark.parametrize("who", ["manager", "location manager", "administrator", "member", "stranger"])
def test_every_page_for_every_role(front: Front, site: Site, who: str) -> None:
    with front.database.transaction() as session:
        locations, stranger = make_user(session), make_user(session)
        join(session, locations, session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
        join(session, stranger, make_account(session))
        block = give_numbers(session, site)
    emails = {
        "manager": front.manager.email,
        "location manager": locations.email,
        "administrator": site.administrator.email,
        "member": site.member.email,
        "stranger": stranger.email,
    }
    come_in(front, emails[who])
    places = {
        "number": site.account.customer_number,
        "main": front.main.customer_number,
        "trunk": site.trunk,
        "forwarding": site.forwarding,
        "block": block,
    }
    token = form_token(front.client)
    general = {"/standortverwaltung/nebenaccount", "/standortverwaltung/export.csv", "/standortverwaltung/stand"}
    general |= {"/standortverwaltung/gruppen/ort", "/standortverwaltung/landkarte"}
    for page, roles in PAGES.items():
        path = page.format(**places)
        opened = front.client.get(path).status_code
        expected = 200 if who in roles or (who == "stranger" and page in general) else 404
        assert opened == expected, (who, path, opened)
        if expected == 404:
            # The POST is refused like the page.
            data = {"csrf_token": token, "password": PASSWORD}
            assert front.client.post(path, data=data).status_code in (404, 405), (who, path)


def test_every_page_is_closed_to_members_unless_it_is_open_to_them(front: Front, site: Site) -> None:
    """GET every route of the application as a local member: it answers 404, unless the test names it as open.

    So a route that is added later is covered, too.
    """
    come_in(front, site.member.email)
    open_to_all = {"people", "logins", "forwardings", "telephone", "health", "letters", "emails", "consents"}
    open_to_all |= {"dev_mail", "portal.home", "portal.overview", "users.invitation", "typeface"}
    places = {"customer_number": site.account.customer_number, "id": "1", "user_id": "1", "form": "csv"}
    asked = 0
    for rule in front.client.application.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or rule.rule.startswith(("/api/", "/static/")):
            continue
        if not open_to_all & {rule.endpoint, rule.endpoint.split(".")[0]}:
            path = re.sub(r"<(?:[^:<>]+:)?(\w+)>", lambda found: places.get(found[1], "x"), rule.rule)
            assert front.client.get(path).status_code == 404, path
            asked += 1
    assert asked > 15


@pytest.mark.parametrize("who", ["manager", "administrator"])
def test_the_user_who_requests_a_detachment_is_in_the_log(front: Front, site: Site, who: str) -> None:
    number, main = site.account.customer_number, front.main.customer_number
    foreign = who == "manager"
    come_in(front, front.manager.email if foreign else site.administrator.email)
    page = get(front, site.path + "/loesen")
    front.client.post(site.path + "/loesen", data={"csrf_token": csrf(page), "customer_number": number})
    asker = (front.manager.user_id, front.main.id) if foreign else (site.administrator.id, None)
    assert [deed for deed in deeds(front) if deed[0] is not AuditEvent.LOOKED_IN] == [(AuditEvent.DETACH_ASKED, *asker)]
    come_in(front, site.administrator.email)
    assert f"Hat beantragt, den Account vom Hauptaccount {main} zu lösen." in get(front, site.path)
    front.client.post("/sprache/en", data={"csrf_token": form_token(front.client)})
    assert f"Asked to detach the account from main account {main}." in get(front, site.path)


def test_an_order_that_is_held_opens_no_account_that_has_left(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        order = submit_order(session, front.manager, main, an_order(), NOW)
        path, id = f"/standortverwaltung/{order.customer_number}", order.account_id
    assert id is not None
    come_in(front, front.manager.email)
    get(front, path)
    with front.database.transaction() as session:
        session.get_one(Account, id).activate()
        attach(session, front.main.id, id, Origin.ORDER, NOW)
    get(front, path)
    with front.database.transaction() as session:
        detach(session, front.main.id, id)
    for page in ("", "/protokoll", "/loesen", "/rufweiterleitung"):
        get(front, path + page, 404)


def test_users_are_managed_in_the_log(front: Front, site: Site, back: Back) -> None:
    come_in(front, site.administrator.email)
    users = f"/benutzer/{site.account.customer_number}"
    token = csrf(get(front, users + "/einladen"))
    data = {"csrf_token": token, "name": "Ida Neu", "email": "ida@example.com", "role": Role.LOCAL_MEMBER}
    front.client.post(users + "/einladen", data=data)
    change = {"csrf_token": token, "role": Role.LOCATION_MANAGER}
    front.client.post(f"{users}/{site.member.id}", data=change)
    front.client.post(f"{users}/{site.member.id}/entfernen", data={"csrf_token": token})
    page = get(front, site.path)
    for words in (
        "Hat Ida Neu eingeladen (Rolle: Team vor Ort).",
        "Hat die Rolle von Mia Mitglied geändert: ",
        "Hat Mia Mitglied (",
        "Ida Neu <span",
        "Noch nicht angenommen",
    ):
        assert words in page
    with front.database.transaction() as session:
        fill_pool(session, area_code="0521", count=1)
        assert "ida@example.com" not in str(session.execute(sa.text("SELECT facts FROM audit_entries")).all())
