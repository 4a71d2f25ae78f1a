"""Tests of how Kamailio answers phones that register.

A repeated request gets the same answer. A used nonce is refused. Contacts are added, renewed and removed as RFC 3261
says. After too many wrong passwords, an IP address has to wait.
"""

from __future__ import annotations

import psycopg

from tests.sip.conftest import Sites
from tests.sip.phones import Phone
from tests.sip.wire import Wire
from workers.gateways.registrar import plain_url


def test_a_repeated_request_gets_the_same_answer_and_a_used_nonce_another_one(sites: Sites, berlin: Phone) -> None:
    with Wire(berlin) as wire:
        nonce = wire.nonce()
        register = wire.request(nonce=nonce)
        first = wire.ask(register)
        assert first.startswith("SIP/2.0 200")
        assert [wire.ask(register) for _ in range(2)] == [first, first]
        stale = wire.ask(wire.request(nonce=nonce))
        assert stale.startswith("SIP/2.0 401") and "stale=true" in stale
        invite = wire.request("INVITE", "4711", nonce=wire.nonce())
        first = wire.ask(invite)
        assert first.startswith("SIP/2.0 404")
        assert [wire.ask(invite) for _ in range(2)] == [first, first]


def test_contacts_are_added_renewed_and_removed_as_the_standard_says(sites: Sites) -> None:
    with Wire(sites.order()) as wire:
        contacts = [f"<sip:line-{place}@127.0.0.1:{wire.port}>" for place in range(6)]
        brief = wire.register(contacts[0], expires=30)
        assert brief.startswith("SIP/2.0 423") and "Min-Expires: 60" in brief
        for place, contact in enumerate(contacts[:5], 1):
            assert wire.register(contact).count("sip:line-") == place
        refused = wire.register(contacts[5])
        assert refused.startswith("SIP/2.0 503") and "Retry-After: 60" in refused
        # One that is known is renewed also when there are as many as there may be; one that leaves makes room.
        assert wire.register(contacts[0]).count("sip:line-") == 5
        assert wire.register(f"{contacts[1]};expires=0").count("sip:line-") == 4
        assert wire.register(contacts[5]).count("sip:line-") == 5
        assert wire.register("*").startswith("SIP/2.0 400")
        gone = wire.register("*", expires=0)
        assert gone.startswith("SIP/2.0 200") and "sip:line-" not in gone


def test_a_refused_registration_is_answered_once(sites: Sites) -> None:
    phone = sites.order()
    with Wire(phone) as wire:
        for place in range(5):
            wire.register(f"<sip:line-{place}@127.0.0.1:{wire.port}>")
        refused = {
            "423": wire.request(contact=f"<sip:line-0@127.0.0.1:{wire.port}>", expires=30, nonce=wire.nonce()),
            "503": wire.request(nonce=wire.nonce()),
            "400": wire.request(contact="*", nonce=wire.nonce()),
            "401": wire.request(),
        }
        right, phone.secret = phone.secret, "geraten"
        refused["403"] = wire.request(nonce=wire.nonce())
        phone.secret = right
        for status, request in refused.items():
            replies = wire.replies(request)
            assert [reply[8:11] for reply in replies] == [status], replies


def test_who_guesses_has_to_wait_and_who_knows_does_not(sites: Sites, berlin: Phone, registrar_url: str) -> None:
    right, berlin.secret = berlin.secret, "geraten"
    hamburg = sites.order()
    with Wire(berlin) as wire:
        answers = [wire.register() for _ in range(8)]
        assert [answer[8:11] for answer in answers] == ["403"] * 5 + ["503"] * 3
        assert "Retry-After: 60" in answers[-1]
        berlin.secret = right
        assert wire.register().startswith("SIP/2.0 200")
    with psycopg.connect(plain_url(registrar_url)) as connection:
        assert connection.execute("SELECT username, tries FROM refusals").fetchall() == [(berlin.user, 1)]
    hamburg.register()
    hamburg.secret = "geraten"
    hamburg.register(gets=403)
    # What is said of a user that does not exist does not differ.
    nobody = Phone(sites.line, "t000000000009", "egal", berlin.port)
    with Wire(nobody) as wire:
        assert [wire.register()[8:11] for _ in range(6)] == ["403"] * 5 + ["503"]


def test_wrong_secrets_with_a_nonce_of_another_address_do_not_count(sites: Sites, berlin: Phone) -> None:
    right, berlin.secret = berlin.secret, "geraten"
    # An attacker has got a nonce at its own address; the replies to what it sends in another's name go there.
    with Wire(berlin, host="127.0.0.9") as own, Wire(berlin) as forged:
        nonces = [own.nonce(), "made-up", f"{own.nonce()[:-1]}x"]
        for nonce in nonces * 20:
            answer = forged.ask(forged.request(nonce=nonce))
            assert answer.startswith("SIP/2.0 401") and "stale=true" in answer
        # The same nonce counts where it was sent to.
        assert own.ask(own.request(nonce=own.nonce())).startswith("SIP/2.0 403")
    # A phone that has never registered from the forged address, and one that has.
    sites.order().register()
    berlin.secret = right
    berlin.register()
