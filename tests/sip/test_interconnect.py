"""Tests that calls of the telephone network are accepted at one port only, and from the network's addresses only.

A called phone must learn nothing of the network except the caller's number.
"""

from __future__ import annotations

import re
import socket
from itertools import count

import pytest

from tests.sip.conftest import Sites
from tests.sip.phones import NETWORK, Phone, answer, call_in
from tests.sip.wire import Wire
from workers.stack.ports import LOOPBACK

_CALLER = "+441632960961"
_FORGED = """\
P-Asserted-Identity: "Sparkasse" <sip:+49800110110@bank.example>
Remote-Party-ID: "Sparkasse" <sip:+49800110110@bank.example>;party=calling
Call-Info: <https://bank.example/logo.jpg>;purpose=icon
Alert-Info: <https://bank.example/ring.wav>
Identity: eyJhbGciOiJFUzI1NiJ9..bank;info=<https://bank.example/cert.cer>
y: eyJhbGciOiJFUzI1NiJ9..bank
Subject: bank
s: bank
Organization: bank
Reply-To: <sip:bank@bank.example>
Diversion: "bank" <sip:+49800110110@bank.example>
History-Info: <sip:bank@bank.example>;index=1
Referred-By: <sip:bank@bank.example>
Reason: Q.850;cause=16;text="bank"
X-Any: bank"""
_numbers = count(1)


def invite(number: str, domain: str, at: str, via: str, sender: str, extra: str = "") -> bytes:
    """Return the bytes of an INVITE with forged headers, which name another origin than its real one.

    `at` is the address in the Via and Contact headers, `via` the transport in Via, such as UDP. `sender` is the value
    of the From header, `extra` are further header lines.
    """
    place = next(_numbers)
    lines = [
        f"INVITE sip:{number}@{domain} SIP/2.0",
        f"Via: SIP/2.0/{via} {at};branch=z9hG4bKforged{place}",
        "Max-Forwards: 70",
        f"From: {sender};tag={place}",
        f"To: <sip:{number}@{domain}>",
        f"Call-ID: forged-{place}",
        "CSeq: 1 INVITE",
        f"Contact: <sip:forged@{at}>",
        *extra.splitlines(),
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def test_an_address_of_the_network_opens_nothing_where_phones_register(sites: Sites, berlin: Phone) -> None:
    bank = '"Sparkasse" <sip:+49800110110@bank.example>'
    with socket.socket(type=socket.SOCK_DGRAM) as network:
        # What an attacker achieves with a forged source address.
        network.bind((NETWORK, 0))
        network.settimeout(20)
        at = f"{NETWORK}:{network.getsockname()[1]}"
        for extra in ("", _FORGED):
            call = invite(berlin.numbers[0], sites.line.domain, at, "UDP", bank, extra)
            network.sendto(call, (LOOPBACK, sites.line.server))
            assert network.recv(65535).startswith(b"SIP/2.0 407 ")


def test_over_tcp_neither(sites: Sites, berlin: Phone) -> None:
    server = (LOOPBACK, sites.line.server)
    with socket.create_connection(server, timeout=20, source_address=(NETWORK, 0)) as network:
        at = f"{NETWORK}:{network.getsockname()[1]}"
        network.sendall(invite(berlin.numbers[0], sites.line.domain, at, "TCP", f"<sip:{_CALLER}@bank.example>"))
        assert network.recv(65535).startswith(b"SIP/2.0 407 ")


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER"])
def test_who_is_not_the_network_gets_nothing_at_its_entrance(sites: Sites, berlin: Phone, method: str) -> None:
    entrance = (LOOPBACK, sites.line.interconnect)
    with socket.create_connection(entrance, timeout=20, source_address=("127.0.0.4", 0)) as stranger:
        at = f"127.0.0.4:{stranger.getsockname()[1]}"
        call = invite(berlin.numbers[0], sites.line.domain, at, "TCP", f"<sip:{_CALLER}@bank.example>")
        stranger.sendall(call.replace(b"INVITE", method.encode()))
        assert stranger.recv(65535).startswith(b"SIP/2.0 403 ")


def test_a_phone_does_not_register_at_the_entrance_of_the_network(sites: Sites, berlin: Phone) -> None:
    entrance = (LOOPBACK, sites.line.interconnect)
    with socket.create_connection(entrance, timeout=20, source_address=(NETWORK, 0)) as phone:
        at = f"{NETWORK}:{phone.getsockname()[1]}"
        asked = invite(berlin.user, sites.line.domain, at, "TCP", f"<sip:{berlin.user}@{sites.line.domain}>")
        phone.sendall(asked.replace(b"INVITE", b"REGISTER"))
        assert phone.recv(65535).startswith(b"SIP/2.0 403 ")


def test_nobody_listens_there_over_udp(sites: Sites) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        # Taken over UDP by nobody: the port can be had.
        probe.bind((LOOPBACK, sites.line.interconnect))


def test_a_call_from_outside_tells_a_phone_its_number_alone(sites: Sites, berlin: Phone) -> None:
    taking = berlin.answer()
    call_in(sites.line, berlin.numbers[0], sender=f'"Sparkasse" <sip:{_CALLER}@bank.example>', extra=_FORGED)
    taking.finish()
    assert re.findall("^(?:f|From): +(.*?);tag=", taking.heard("INVITE"), re.M) == [f"<sip:{_CALLER}@sip.example>"]
    for message in _received(taking.messages):
        assert not re.search("(?i)bank|sparkasse|110110", message)


@pytest.mark.parametrize("user", ["Sparkasse", "110", "+49110", "bank%2B49800110110", "0137", "x' OR 1"])
def test_what_is_no_number_is_shown_as_none(sites: Sites, user: str) -> None:
    berlin, entrance = sites.order(), (LOOPBACK, sites.line.interconnect)
    with Wire(berlin) as wire, socket.create_connection(entrance, timeout=20, source_address=(NETWORK, 0)) as network:
        wire.register()
        at = f"{NETWORK}:{network.getsockname()[1]}"
        network.sendall(
            invite(berlin.numbers[0], sites.line.domain, at, "TCP", f"<sip:{user.replace(' ', '%20')}@bank.example>")
        )
        heard = wire.receive()
    assert re.findall("^From: (.*?);tag=", heard, re.M) == ['"Anonymous" <sip:anonymous@anonymous.invalid>']
    assert "bank.example" not in heard.replace(f"sip:forged@{at}", "")


@pytest.mark.parametrize("spelled", ["00441632960961", "+44-1632-960961", "%2B441632960961"])
def test_a_number_is_shown_as_one_however_it_is_spelled(sites: Sites, berlin: Phone, spelled: str) -> None:
    taking = berlin.answer()
    call_in(sites.line, berlin.numbers[0], sender=f"<sip:{spelled}@bank.example;user=phone>")
    assert f"From: <sip:{_CALLER}@sip.example>" in taking.finish().heard("INVITE")


def test_a_trunk_tells_another_its_name_and_number_and_no_more(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    taking = hamburg.answer()
    own = berlin.numbers[1]
    claims = "\n".join(line for line in _FORGED.splitlines() if not line.startswith(("P-Asserted", "Diversion")))
    berlin.call(hamburg.numbers[0], sender=f'"Kim" <sip:{own}@bank.example>', extra=claims)
    taking.finish()
    assert f'From: "Kim"<sip:{own}@sip.example>' in taking.heard("INVITE").replace('" <', '"<')
    for message in _received(taking.messages):
        assert not re.search("(?i)bank|110110", message)


def test_the_side_that_answers_outside_tells_a_phone_no_more(sites: Sites, berlin: Phone, network_port: int) -> None:
    taking = answer(sites.line, network_port, NETWORK, extra=_FORGED)
    calling = berlin.call("+4915112345678")
    taking.finish()
    for message in _received(calling.messages):
        assert not re.search("(?i)sparkasse|logo|ring.wav|Identity", message)


def _received(messages: str) -> list[str]:
    return re.findall(r"message received \[\d+\] bytes :\n\n(.*?)\n-{20,}", messages, re.S)
