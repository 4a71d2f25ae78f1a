"""Tests of the page of a trunk's registrations and calls, which the portal reads from Kamailio's database."""

from __future__ import annotations

import html
import re
import socket
from collections.abc import Iterator
from datetime import datetime
from threading import Thread

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from models.accounts.accounts import Account
from models.db.privileges import REGISTRAR
from models.db.roles import DatabaseRole
from models.people.audit_log import AuditEvent
from models.people.rights import Role
from models.telephony.trunks import SipTrunk, SuspendedBy, TrunkState
from tests.factories import join, make_account, make_staff, make_user
from tests.fakes import FakeClock
from tests.web.conftest import Front, FrontOf, form_token
from tests.web.portal.accounts.sites import Site, come_in, deeds, get, make_site, make_trunk
from tests.web.portal.telephony.network import USER, Network
from web.telephone_network import PAUSE_AFTER_FAILURE, NetworkAway, TelephoneNetwork
from workers.gateways.registrar import plain_url
from workers.stack.ports import free_port

AWAY = "Das Telefonnetz antwortet gerade nicht"


@pytest.fixture
def network(registrar_url: str) -> Iterator[Network]:
    """Provide an object that writes registrations and calls to Kamailio's database, which is empty at first."""
    with psycopg.connect(plain_url(registrar_url), autocommit=True) as connection:
        yield Network(connection)


@pytest.fixture
def wired(front: Front, usual_with: FrontOf, registrar_url: str) -> Front:
    """Provide a client of a web application that reads Kamailio's database; nobody is signed in."""
    return Front(usual_with(registrar_url=registrar_url), front.database, front.main, front.manager, "")


@pytest.fixture
def site(wired: Front) -> Site:
    """Create a sub-account with a trunk and users under the client's main account."""
    with wired.database.transaction() as session:
        return make_site(session, session.get_one(Account, wired.main.id))


def page_of(site: Site) -> str:
    """Return the path of the page with the registrations and calls of the site's trunk."""
    return f"{site.path}/sip/{site.trunk}/anrufe"


def words(page: str) -> str:
    """Return the text of the page (HTML), without tags, each run of white space as one space."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def rows(page: str) -> list[list[str]]:
    """Return the cells of each call that the page (HTML) lists: direction, own number, other number, result.

    The column of the times is left out.
    """
    found = []
    for row in re.findall(r"<tr>(.*?)</tr>", page, re.S)[1:]:
        _, result, *call = [words(cell) for cell in re.findall(r"<td.*?</td>", row, re.S)]
        found.append([*call, result])
    return found


def at(moment: datetime) -> str:
    """Return the time of day as German pages show it, such as "09:15 Uhr". `moment` must be in German time."""
    return f"{moment:%H:%M} Uhr"


def test_a_registered_trunk_says_since_when_and_from_where(wired: Front, site: Site, network: Network) -> None:
    since = network.register()
    network.register("sip:t1@10.0.0.9", user="t000000000002")
    network.register("sip:t1@10.0.0.8", minutes=-1)
    come_in(wired, site.administrator.email)
    dashboard = words(get(wired, site.path))
    assert f"Angemeldet seit {since.day}. " in dashboard and f"{at(since)} von 203.0.113.7:5060" in dashboard
    assert "Nicht angemeldet" not in dashboard and f'href="{page_of(site)}"' in get(wired, site.path)
    page = words(get(wired, page_of(site)))
    assert "Von 203.0.113.7:5060 Snom 715 <10> seit" in page and at(since) in page
    assert "10.0.0" not in page and "Noch keine Anrufe" in page
    network.register("sip:t1@203.0.113.8:5062")
    assert "und von 1 weiteren Adresse" in words(get(wired, site.path))


def test_the_name_of_a_phone_moves_nothing_beside_it(wired: Front, site: Site, network: Network) -> None:
    network.register(device="\u202eSnom\u2066\u2069 שלום 7")
    come_in(wired, site.administrator.email)
    page = get(wired, page_of(site))
    assert "\u2068Snom שלום 7\u2069" in page and "\u202e" not in page


def test_a_trunk_that_is_not_registered_says_what_to_do(wired: Front, site: Site) -> None:
    come_in(wired, site.administrator.email)
    assert "Nicht angemeldet Es klingelt erst, wenn" in words(get(wired, site.path))
    page = get(wired, page_of(site))
    assert "Nicht angemeldet Es klingelt erst, wenn die Telefonanlage" in words(page)
    assert f"SIP-Benutzer {USER}" in words(page) and site.secret in page and site.renewal in page


def test_the_table_of_trunks_says_whether_a_phone_system_is_registered(
    wired: Front, site: Site, network: Network
) -> None:
    come_in(wired, wired.manager.email)
    path = "/standortverwaltung/trunks"
    assert "Eingerichtet, keine Telefonanlage angemeldet" in words(get(wired, path))
    network.register()
    assert "Eingerichtet, Telefonanlage angemeldet" in words(get(wired, path))
    assert "Eingerichtet, Telefonanlage angemeldet" in wired.client.get(path + "/export.csv").text
    network.connection.execute("ALTER TABLE location RENAME TO gone")
    try:
        assert "Eingerichtet" in (page := words(get(wired, path))) and "angemeldet" not in page
    finally:
        network.connection.execute("ALTER TABLE gone RENAME TO location")


def test_a_wrong_secret_is_told_to_who_may_put_it_right(wired: Front, site: Site, network: Network) -> None:
    network.refuse()
    come_in(wired, site.administrator.email)
    assert "falsches SIP-Passwort wurde gesendet, zuletzt am 2. März 2026, 09:15 Uhr" in words(get(wired, site.path))
    page = get(wired, page_of(site))
    assert "Am 2. März 2026, 09:15 Uhr wurde von 198.51.100.9 ein falsches SIP-Passwort gesendet." in words(page)
    assert "Es wurden 3 Versuche abgewiesen, der erste am 2. März 2026, 09:10 Uhr" in words(page)
    assert page.count(site.secret) == 1 and page.count(site.renewal) == 1
    come_in(wired, site.member.email)
    page = get(wired, page_of(site))
    assert "198.51.100.9" in page and site.secret not in page and site.renewal not in page


def test_a_phone_system_that_takes_another_name_is_told_which(wired: Front, site: Site, network: Network) -> None:
    network.refuse("other_address", tries=1)
    come_in(wired, site.administrator.email)
    page = words(get(wired, page_of(site)))
    assert f"Tragen Sie {USER} in der Telefonanlage überall ein" in page and "Versuche" not in page


RESULTS = [
    ("in", "answered", 200, "Angenommen"),
    ("in", "busy", 486, "Besetzt: so hat es die Telefonanlage gemeldet."),
    ("out", "busy", 486, "Besetzt"),
    ("in", "channels", 486, "alle Kanäle des SIP-Trunks waren belegt. Leiten Sie Anrufe bei besetzt weiter"),
    ("out", "channels", 486, "bei der Gegenstelle waren alle Leitungen belegt."),
    ("out", "own_channels", 503, "Nicht möglich: alle Kanäle des SIP-Trunks waren belegt. Beenden Sie"),
    ("in", "not_answered", 408, "Niemand hat abgenommen."),
    ("in", "not_registered", 480, "Die Telefonanlage war nicht angemeldet. Prüfen Sie"),
    ("out", "not_registered", 480, "Die Gegenstelle ist zurzeit nicht erreichbar."),
    ("in", "silent", 408, "Die Telefonanlage ist angemeldet, hat aber nicht reagiert. Prüfen Sie den Router"),
    ("out", "silent", 408, "Die Gegenstelle hat nicht reagiert."),
    ("in", "given_up", 487, "Der Anrufer hat aufgelegt, bevor jemand abgenommen hat."),
    ("out", "given_up", 487, "Aufgelegt, bevor jemand abgenommen hat."),
    ("out", "no_such_number", 404, "Die gewählte Rufnummer ist nicht vergeben. Prüfen Sie, wie"),
    ("in", "circle", 482, "Die Rufweiterleitungen führen im Kreis. Sehen Sie"),
    ("in", "too_often", 483, "Der Anruf wurde zu oft weitergeleitet. Sehen Sie"),
    ("in", "suspended", 480, "Der SIP-Trunk ist gesperrt."),
    ("out", "suspended", 480, "Die Gegenstelle ist zurzeit nicht erreichbar."),
    ("out", "own_suspended", 403, "Nicht möglich: der SIP-Trunk ist gesperrt."),
    ("in", "refused", 407, "Die Telefonanlage lässt unsere Anrufe nicht herein. Stellen Sie"),
    ("in", "refused", 404, "Die Telefonanlage kennt diese Rufnummer nicht. Tragen Sie"),
    ("in", "refused", 480, "Die Telefonanlage hat kein Telefon erreicht. Prüfen Sie"),
    ("in", "refused", 488, "nicht auf eine Übertragung der Sprache einigen. Erlauben Sie"),
    ("in", "refused", 603, "Der Anruf wurde abgelehnt."),
    ("in", "refused", 500, "Die Telefonanlage hat den Anruf abgewiesen."),
    ("out", "refused", 403, "Die Gegenstelle hat den Anruf abgewiesen."),
    ("out", "refused", 404, "Die gewählte Rufnummer ist nicht vergeben."),
    ("in", "not_relayed", 500, "Der Anruf konnte nicht zugestellt werden. Prüfen Sie, mit welcher Adresse"),
    ("out", "of a later version", 599, "Der Anruf konnte nicht zugestellt werden."),
]


def test_every_result_in_plain_words_the_newest_first(wired: Front, site: Site, network: Network) -> None:
    network.call("answered", user="t000000000002", own_number="+4930111")
    for direction, result, status, _ in RESULTS:
        network.call(result, direction, status)
    come_in(wired, site.administrator.email)
    shown = rows(get(wired, page_of(site)))
    assert len(shown) == len(RESULTS)
    for (direction, _, status, said), row in zip(reversed(RESULTS), shown, strict=True):
        way = "Eingehend" if direction == "in" else "Ausgehend"
        assert row[:3] == [way, "0221 34200", "040 123456xxx"]
        assert row[3].startswith(said) or said in row[3]
        assert row[3].endswith(f"SIP {status}") is (status != 200)


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("unconditional", "Weitergeleitet an 01511 2345xxx, wie immer."),
        ("user-busy", "Weitergeleitet an 01511 2345xxx, weil besetzt war."),
        ("no-answer", "Weitergeleitet an 01511 2345xxx, weil niemand abgenommen hat."),
        ("unavailable", "Weitergeleitet an 01511 2345xxx, weil die Telefonanlage nicht erreichbar war."),
    ],
)
def test_a_forwarding_says_where_to_and_why(wired: Front, site: Site, network: Network, why: str, said: str) -> None:
    network.call("forwarded", status=181, forwarded_to="+4915112345xxx", forwarded_because=why, other_number="")
    come_in(wired, site.administrator.email)
    [row] = rows(get(wired, page_of(site)))
    assert row == ["Eingehend", "0221 34200", "Unbekannt", f"{said} SIP 181"]


@pytest.mark.parametrize(
    ("claimed", "said"),
    [("+493090000xxx", "hat 030 90000xxx als Absender gesendet"), ("", "hat keine Rufnummer dieses SIP-Trunks")],
)
def test_a_number_that_is_not_the_trunks_is_named(
    wired: Front, site: Site, network: Network, claimed: str, said: str
) -> None:
    network.call("foreign_number", "out", 403, own_number=claimed, other_number="4xxx")
    come_in(wired, site.administrator.email)
    [row] = rows(get(wired, page_of(site)))
    assert row[:3] == ["Ausgehend", "–", "4xxx"]
    assert said in row[3] and "Tragen Sie in der Telefonanlage eine Rufnummer dieses SIP-Trunks" in row[3]


def test_in_english_too(wired: Front, site: Site, network: Network) -> None:
    network.register()
    network.call("busy")
    come_in(wired, site.administrator.email)
    wired.client.post("/sprache/en", data={"csrf_token": form_token(wired.client)})
    page = words(get(wired, page_of(site)))
    assert "Registration and calls" in page and "Busy: the phone system said so. SIP 486" in page


def test_a_change_on_its_way_and_a_suspension_are_said(wired: Front, site: Site) -> None:
    come_in(wired, site.administrator.email)
    assert "Eine Änderung wird gerade" not in get(wired, page_of(site))
    with wired.database.transaction() as session:
        trunk = session.get_one(SipTrunk, site.trunk)
        trunk.suspend(SuspendedBy.CUSTOMER, trunk.created_at)
    page = words(get(wired, page_of(site)))
    assert "Eine Änderung wird gerade an das Telefonnetz übertragen." in page
    assert "Gesperrt Der SIP-Trunk kann sich nicht anmelden" in page and "Nicht angemeldet" not in page
    assert "Nicht angemeldet" not in get(wired, site.path)


def test_the_page_goes_on_by_itself(wired: Front, site: Site, network: Network) -> None:
    come_in(wired, site.administrator.email)
    version = re.search(r'data-live="([^"]+)" data-version="(\w+)"', get(wired, page_of(site)))
    assert version is not None
    head = {"If-None-Match": f'"{version[2]}"'}
    assert wired.client.get(version[1], headers=head).status_code == 304
    network.call("busy")
    answer = wired.client.get(version[1], headers=head)
    assert answer.status_code == 200 and "Besetzt" in answer.text and answer.headers["ETag"] != head["If-None-Match"]


@pytest.mark.parametrize("who", ["manager", "location manager", "administrator", "member", "staff", "stranger"])
def test_who_may_see_it(wired: Front, site: Site, who: str) -> None:
    with wired.database.transaction() as session:
        people = {
            name: make_staff(session) if name == "staff" else make_user(session)
            for name in ("location manager", "staff", "stranger")
        }
        join(session, people["location manager"], session.get_one(Account, wired.main.id), Role.LOCATION_MANAGER)
        join(session, people["stranger"], make_account(session))
        closed = make_trunk(session, session.get_one(Account, site.account.id), "t000000000002")
        session.get_one(SipTrunk, closed).state = TrunkState.CLOSED
        main = f"/standortverwaltung/{wired.main.customer_number}"
    emails = {name: person.email for name, person in people.items()}
    emails |= {"manager": wired.manager.email, "administrator": site.administrator.email, "member": site.member.email}
    come_in(wired, emails[who])
    for path in (page_of(site), page_of(site) + "/stand"):
        assert wired.client.get(path).status_code == (404 if who == "stranger" else 200)
    for path in (f"{site.path}/sip/{closed}", f"{site.path}/sip/999", f"{main}/sip/{site.trunk}"):
        get(wired, path + "/anrufe", 404)
    looked = [deed for deed in deeds(wired) if deed[0] is AuditEvent.LOOKED_IN]
    assert len(looked) == (1 if who in ("manager", "location manager", "staff") else 0)


def test_a_local_team_finds_it_beside_its_forwardings_and_back(wired: Front, site: Site) -> None:
    come_in(wired, site.member.email)
    forwardings = site.path + "/rufweiterleitung"
    assert f'href="{page_of(site)}"' in get(wired, forwardings)
    page = get(wired, page_of(site))
    assert f'href="{forwardings}"' in page and f'href="{site.path}"' not in page


def test_a_front_that_is_not_connected_shows_nothing_of_it(front: Front, usual_with: FrontOf, site: Site) -> None:
    usual_with(registrar_url=None)
    come_in(front, site.administrator.email)
    for path in (site.path, site.path + "/rufweiterleitung"):
        assert "/anrufe" not in get(front, path)
    get(front, page_of(site), 404)


def test_without_the_telephone_network_everything_else_works(front: Front, front_of: FrontOf, site: Site) -> None:
    nowhere = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/registrar"
    alone = Front(front_of(registrar_url=nowhere), front.database, front.main, front.manager, "")
    come_in(alone, site.administrator.email)
    dashboard = get(alone, site.path)
    assert AWAY in dashboard and USER in dashboard and site.secret in dashboard
    page = words(get(alone, page_of(site)))
    assert AWAY in page and "Letzte Anrufe" not in page and "Nicht angemeldet" not in page


def test_a_network_that_is_stuck_is_given_up_and_left_alone_for_a_moment(
    network: Network, registrar_url: str, clock: FakeClock
) -> None:
    network.register()
    asking, address = TelephoneNetwork(registrar_url, clock), (USER, "sip.example")
    with network.connection.transaction():
        network.connection.execute("LOCK TABLE location")
        with pytest.raises(NetworkAway):
            asking.lines([address])
    # The database answers again.
    with pytest.raises(NetworkAway):
        asking.line_with_calls(address)
    clock.advance(PAUSE_AFTER_FAILURE)
    assert [one.address for one in asking.lines([address])[address].registrations] == ["203.0.113.7:5060"]


def test_a_network_that_does_not_say_a_word_is_asked_once(clock: FakeClock) -> None:
    came: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def take() -> None:
            while True:
                try:
                    came.append(silent.accept()[0])
                except OSError:
                    return

        taking = Thread(target=take)
        taking.start()
        asking = TelephoneNetwork(f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/x", clock)
        for _ in range(3):
            with pytest.raises(NetworkAway):
                asking.lines([(USER, "sip.example")])
        silent.shutdown(socket.SHUT_RDWR)
        taking.join()
    assert len(came) == 1
    came[0].close()


def test_to_read_three_tables_is_all_that_it_needs(network: Network, registrar_url: str, clock: FakeClock) -> None:
    network.register()
    network.call("busy")
    readable = {table for table, privileges in REGISTRAR.items() if privileges.front}
    assert readable == {"location", "refusals", "calls"}
    address = (USER, "sip.example")
    asking = TelephoneNetwork(make_conninfo(plain_url(registrar_url), user=DatabaseRole.FRONT), clock)
    line, calls = asking.line_with_calls(address)
    assert len(line.registrations) == len(calls) == 1


def test_it_never_writes(network: Network, registrar_url: str, clock: FakeClock) -> None:
    asking = TelephoneNetwork(registrar_url, clock)
    with pytest.raises(NetworkAway), asking._connected() as connection:
        connection.execute("DELETE FROM calls")
