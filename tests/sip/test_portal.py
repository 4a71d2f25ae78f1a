"""Tests of what the portal shows about a trunk whose phone system has registered, was refused, or has made calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from models.accounts.accounts import Account
from models.db.roles import DatabaseRole
from models.telephony.forwarding import Condition
from models.telephony.trunks import SipTrunk
from models.values import utc_now
from tests.fakes import wait_until
from tests.sip.conftest import Sites
from tests.sip.phones import NETWORK, Phone, answer, call_in
from tests.web.conftest import SECRET, Front
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.telephony.test_registrations_and_calls import rows, words
from web.app import create_app
from web.resources import resources
from web.settings import WebSettings
from web.telephone_network import Line, TelephoneNetwork
from workers.gateways.registrar import plain_url
from workers.stack.ports import free_sip_port
from workers.stack.postgres import EmbeddedPostgres

MOBILE = "+4915112345678"
FREE = "+493020000199"
"""A number of the pool's last block, which belongs to no account."""


@dataclass
class Portal:
    """The portal with the company's manager signed in (`front`). `network` reads Kamailio's registrations and calls."""

    front: Front
    network: TelephoneNetwork

    def line(self, phone: Phone) -> Line:
        """Return what the portal reads from Kamailio's database about the phone's trunk, such as its registrations."""
        address = (phone.user, phone.line.domain)
        return self.network.lines([address])[address]

    def page(self, phone: Phone) -> str:
        """Return the HTML of the portal's page with the registrations and calls of the phone's trunk."""
        with self.front.database.transaction() as session:
            trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == phone.user)).one()
            number = session.get_one(Account, trunk.account_id).customer_number
        answer = self.front.client.get(f"/standortverwaltung/{number}/sip/{trunk.id}/anrufe")
        assert answer.status_code == 200
        return answer.text

    def calls(self, phone: Phone, count: int = 1) -> list[list[str]]:
        """Return the calls that the page of the phone's trunk shows, the newest first.

        Each call is a list of four texts: direction, own number, other number and result. Waits until at least `count`
        calls are shown, because Kamailio refuses a call before it saves the record of it.
        """
        wait_until(lambda: len(rows(self.page(phone))) >= count, what="the result of the call")
        return rows(self.page(phone))


@pytest.fixture
def portal(sites: Sites, postgres: EmbeddedPostgres, registrar_url: str) -> Iterator[Portal]:
    """Provide the web application with the company's manager signed in, as a `Portal`."""
    settings = WebSettings(
        database_url=postgres.url("standorte", DatabaseRole.FRONT),
        redis_url="redis://127.0.0.1:1/0",
        registrar_url=postgres.url("registrar", DatabaseRole.FRONT),
        secret_key=SecretStr(SECRET),
    )
    app = create_app(settings, sites.runtime.clock)
    front = Front(app.test_client(), sites.runtime.database, sites.main, sites.manager, "")
    assert sign_in(front, sites.manager.email)[0] == 302
    with app.app_context():
        found = resources().network
        assert found is not None
        yield Portal(front, found)
        resources().database.close()


@pytest.fixture
def network(registrar_url: str) -> Iterator[psycopg.Connection]:
    """Provide a connection to Kamailio's database, in autocommit mode."""
    with psycopg.connect(plain_url(registrar_url), autocommit=True) as connection:
        yield connection


def shown(number: str) -> str:
    """Return a Berlin number, given in E.164, in the form in which the portal's pages show it."""
    return f"030 {number.removeprefix('+4930')}"


def hidden(number: str) -> str:
    """Return a Berlin number, given in E.164, as another trunk's page shows it: with "xxx" as its last three digits."""
    return shown(number)[:-3] + "xxx"


def since(portal: Portal, phone: Phone) -> datetime:
    """Return when the only registration of the phone's trunk began.

    Fails unless it has the phone's address and ends in about 10 minutes.
    """
    [found] = portal.line(phone).registrations
    assert found.address == f"127.0.0.1:{phone.port}"
    assert timedelta(minutes=9) < found.until - utc_now() <= timedelta(minutes=10, seconds=1)
    return found.since


def test_a_registration_is_kept_by_renewing_it_and_ends(portal: Portal, sites: Sites) -> None:
    phone = sites.order()
    assert portal.line(phone).registrations == []
    assert "Nicht angemeldet" in words(portal.page(phone))
    before = utc_now()
    phone.register()
    first = since(portal, phone)
    assert before - timedelta(seconds=1) < first < utc_now() + timedelta(seconds=1)
    # Each registration in the tests has its own Call-ID.
    phone.register()
    assert since(portal, phone) == first
    assert f"Von 127.0.0.1:{phone.port}" in words(portal.page(phone))
    phone.register(expires=0)
    assert portal.line(phone).registrations == []
    phone.register()
    assert since(portal, phone) > first


def test_one_that_had_lapsed_begins_anew(portal: Portal, berlin: Phone, network: psycopg.Connection) -> None:
    first = since(portal, berlin)
    network.execute("UPDATE location SET expires = last_modified - interval '1 hour'")
    assert portal.line(berlin).registrations == []
    berlin.register()
    assert since(portal, berlin) > first


def test_a_wrong_secret_is_noted_in_one_row(
    portal: Portal, sites: Sites, berlin: Phone, network: psycopg.Connection
) -> None:
    assert portal.line(berlin).refusal is None
    right, berlin.secret = berlin.secret, "geraten"
    for _ in range(2):
        berlin.register(gets=403)
    berlin.call("+4930123456", gets=403)
    refusal = portal.line(berlin).refusal
    assert refusal is not None
    # Of the three one is written; the others are counted until the minute is over.
    assert (refusal.reason, refusal.address, refusal.tries) == ("wrong_secret", "127.0.0.1", 1)
    assert "wurde von 127.0.0.1 ein falsches SIP-Passwort gesendet" in words(portal.page(berlin))
    network.execute("UPDATE refusals SET first_at = first_at - interval '2 h', last_at = last_at - interval '2 h'")
    berlin.secret = right
    berlin.register(gets=403, as_user="t000000000000")
    refusal = portal.line(berlin).refusal
    assert refusal is not None and (refusal.reason, refusal.tries) == ("other_address", 1)
    assert refusal.first_at == refusal.last_at
    assert len(network.execute("SELECT FROM refusals").fetchall()) == 1


def test_who_does_not_exist_is_not_noted(sites: Sites, network: psycopg.Connection) -> None:
    for user in ("t000000000000", "t1' OR '1'='1"):
        Phone(sites.line, user, "egal", free_sip_port()).register(gets=403, as_user="t1")
    assert network.execute("SELECT FROM refusals").fetchall() == []


def test_a_call_is_told_to_both_sides(portal: Portal, berlin: Phone, hamburg: Phone) -> None:
    hamburg.answer()
    berlin.call(hamburg.numbers[3])
    one, other = berlin.numbers[0], hamburg.numbers[3]
    assert portal.calls(berlin) == [["Ausgehend", shown(one), hidden(other), "Angenommen"]]
    assert portal.calls(hamburg) == [["Eingehend", shown(other), hidden(one), "Angenommen"]]


def test_a_call_from_the_telephone_network(portal: Portal, sites: Sites, berlin: Phone) -> None:
    berlin.answer()
    call_in(sites.line, berlin.numbers[0])
    [row] = portal.calls(berlin)
    assert row[2] == "+44 1632 960xxx"
    berlin.answer()
    call_in(sites.line, berlin.numbers[0], extra="Privacy: id")
    assert portal.calls(berlin, 2)[0][2] == "Unbekannt"


def test_who_hides_their_number_stays_hidden(portal: Portal, berlin: Phone, hamburg: Phone) -> None:
    hamburg.answer()
    berlin.call(hamburg.numbers[0], sender="anonymous@anonymous.invalid")
    assert [row[2] for row in portal.calls(hamburg)] == ["Unbekannt"]
    assert portal.calls(berlin)[0][1:3] == [shown(berlin.numbers[0]), hidden(hamburg.numbers[0])]


@pytest.mark.parametrize(
    ("status", "here", "there"),
    [
        ("486 Busy Here", "Besetzt: so hat es die Telefonanlage gemeldet. SIP 486", "Besetzt SIP 486"),
        (
            "404 Not Found",
            "Die Telefonanlage kennt diese Rufnummer nicht. Tragen Sie diese Rufnummer in der Telefonanlage ein und "
            "legen Sie fest, welche Telefone klingeln. Wir senden sie als +49… SIP 404",
            "Die gewählte Rufnummer ist nicht vergeben. SIP 404",
        ),
        ("603 Decline", "Der Anruf wurde abgelehnt. SIP 603", "Die Gegenstelle hat den Anruf abgewiesen. SIP 603"),
    ],
)
def test_a_refused_call(portal: Portal, berlin: Phone, hamburg: Phone, status: str, here: str, there: str) -> None:
    hamburg.refuse(status)
    berlin.call(hamburg.numbers[0], gets=int(status[:3]))
    assert [row[3] for row in portal.calls(hamburg)] == [here]
    assert [row[3] for row in portal.calls(berlin)] == [there]


def test_nobody_there(portal: Portal, sites: Sites, berlin: Phone) -> None:
    away = sites.order()
    berlin.call(away.numbers[0], gets=480)
    assert portal.calls(away)[0][3].startswith("Die Telefonanlage war nicht angemeldet. Prüfen Sie")
    assert portal.calls(berlin)[0][3] == "Die Gegenstelle ist zurzeit nicht erreichbar. SIP 480"
    away.register()
    berlin.call(away.numbers[0], gets=408)
    assert portal.calls(away, 2)[0][3].startswith("Die Telefonanlage ist angemeldet, hat aber nicht reagiert.")
    assert portal.calls(berlin, 2)[0][3] == "Die Gegenstelle hat nicht reagiert. SIP 408"


def test_a_caller_who_gives_up(portal: Portal, berlin: Phone, hamburg: Phone) -> None:
    ringing = hamburg.ring()
    berlin.give_up(hamburg.numbers[0])
    ringing.finish()
    assert portal.calls(hamburg)[0][3] == "Der Anrufer hat aufgelegt, bevor jemand abgenommen hat. SIP 487"
    assert portal.calls(berlin)[0][3] == "Aufgelegt, bevor jemand abgenommen hat. SIP 487"


def test_all_channels_in_use(portal: Portal, sites: Sites, hamburg: Phone) -> None:
    berlin = sites.order(channels=1)
    berlin.register()
    hamburg.answer()
    held = berlin.hold(hamburg.numbers[0])
    berlin.call(hamburg.numbers[0], gets=503)
    assert portal.calls(berlin, 2)[0][3].startswith("Nicht möglich: alle Kanäle des SIP-Trunks waren belegt.")
    hamburg.call(berlin.numbers[0], gets=486)
    assert portal.calls(berlin, 3)[0][3].startswith("Besetzt: alle Kanäle des SIP-Trunks waren belegt.")
    assert portal.calls(hamburg, 2)[0][3] == "Besetzt: bei der Gegenstelle waren alle Leitungen belegt. SIP 486"
    held.hang_up()


def test_a_number_of_somebody_else(portal: Portal, berlin: Phone, hamburg: Phone) -> None:
    berlin.call(hamburg.numbers[0], gets=403, sender="+493090123456")
    [row] = portal.calls(berlin)
    assert row[:3] == ["Ausgehend", "–", hidden(hamburg.numbers[0])]
    assert "hat 030 90123xxx als Absender gesendet" in row[3]
    assert rows(portal.page(hamburg)) == []


@pytest.mark.parametrize(("number", "seen"), [(FREE, "030 20000xxx"), ("4711", "4xxx"), ("nobody", "Unbekannt")])
def test_a_number_that_nobody_has(portal: Portal, berlin: Phone, number: str, seen: str) -> None:
    berlin.call(number, gets=404)
    [row] = portal.calls(berlin)
    assert row[2] == seen and row[3].startswith("Die gewählte Rufnummer ist nicht vergeben.")


def test_a_forwarded_call_says_where_to_and_why(
    portal: Portal, sites: Sites, berlin: Phone, hamburg: Phone, network_port: int
) -> None:
    sites.forward(berlin, Condition.BUSY, MOBILE)
    berlin.refuse("486 Busy Here")
    answer(sites.line, network_port, NETWORK)
    hamburg.call(berlin.numbers[1])
    forwarded = "Weitergeleitet an 01511 2345xxx, weil besetzt war. SIP 181"
    assert portal.calls(berlin) == [["Eingehend", shown(berlin.numbers[1]), hidden(hamburg.numbers[0]), forwarded]]
    # The caller's page does not show where the call was forwarded.
    assert portal.calls(hamburg) == [["Ausgehend", shown(hamburg.numbers[0]), hidden(berlin.numbers[1]), "Angenommen"]]
    # The second time nothing answers at the target of the forwarding.
    berlin.refuse("486 Busy Here")
    hamburg.call(berlin.numbers[1], gets=408)
    assert portal.calls(hamburg, 2)[0][3] == "Die Gegenstelle hat nicht reagiert. SIP 408"


def test_a_call_that_rings_too_long(portal: Portal, sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    sites.forward(berlin, Condition.NO_ANSWER, hamburg.numbers[0], after_seconds=5)
    ringing = berlin.ring()
    hamburg.answer()
    call_in(sites.line, berlin.numbers[0])
    ringing.finish()
    assert "weil niemand abgenommen hat" in portal.calls(berlin)[0][3]
    assert portal.calls(hamburg) == [["Eingehend", shown(hamburg.numbers[0]), "+44 1632 960xxx", "Angenommen"]]


def test_a_circle_is_told_to_who_is_in_it(portal: Portal, sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[0])
    sites.forward(hamburg, Condition.ALWAYS, berlin.numbers[1])
    call_in(sites.line, berlin.numbers[0], gets=482)
    results = [row[3] for row in portal.calls(berlin, 2)]
    assert results[0].startswith("Die Rufweiterleitungen führen im Kreis.") and "wie immer" in results[1]
    assert ["wie immer" in row[3] for row in portal.calls(hamburg)] == [True]


def test_an_emergency_call_is_told_to_nobody(portal: Portal, sites: Sites, berlin: Phone, psap_port: int) -> None:
    taking = answer(sites.line, psap_port)
    berlin.call("112")
    taking.finish()
    berlin.call("4711", gets=404)
    assert [row[2] for row in portal.calls(berlin)] == ["4xxx"]


def test_nothing_that_is_kept_has_a_whole_number_of_others(
    portal: Portal, sites: Sites, berlin: Phone, hamburg: Phone, network: psycopg.Connection
) -> None:
    sites.forward(berlin, Condition.ALWAYS, MOBILE)
    hamburg.call(berlin.numbers[0], gets=408)
    hamburg.call(FREE, gets=404)
    call_in(sites.line, berlin.numbers[0], gets=408)
    portal.calls(hamburg, 2)
    kept = str(network.execute("SELECT * FROM calls").fetchall())
    assert not [number for number in (MOBILE, FREE, "+441632960961") if number in kept]


def test_a_call_goes_through_whatever_becomes_of_its_result(
    berlin: Phone, hamburg: Phone, network: psycopg.Connection
) -> None:
    network.execute("ALTER TABLE calls RENAME TO gone; ALTER TABLE refusals RENAME TO gone_too")
    try:
        hamburg.answer()
        berlin.call(hamburg.numbers[0])
        berlin.call("4711", gets=404)
        berlin.secret = "geraten"
        berlin.register(gets=403)
    finally:
        network.execute("ALTER TABLE gone RENAME TO calls; ALTER TABLE gone_too RENAME TO refusals")
