"""Tests that Kamailio sends only to addresses from which packets have come, not to others that a message names."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from models.telephony.forwarding import Condition
from tests.sip.conftest import Sites
from tests.sip.phones import NETWORK, Phone, Within, answer, call_in
from tests.sip.sipp import PATIENCE
from workers.stack.kamailio import EmbeddedKamailio
from workers.stack.ports import LOOPBACK, free_sip_port
from workers.stack.processes import wait_for


class Inside:
    """A stand-in for a server inside the carrier's network: it notices each TCP connection and UDP datagram.

    It listens at `port` of the loopback address.
    """

    def __init__(self) -> None:
        self.port = free_sip_port()
        self._streams = socket.create_server((LOOPBACK, self.port))
        self._datagrams = socket.socket(type=socket.SOCK_DGRAM)
        self._datagrams.bind((LOOPBACK, self.port))
        for wire in (self._streams, self._datagrams):
            wire.setblocking(False)

    def was_reached(self) -> bool:
        """Return whether a connection or a datagram has arrived that no earlier call of this method has reported."""
        try:
            self._streams.accept()[0].close()
        except BlockingIOError:
            try:
                self._datagrams.recv(65535)
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        """Close the sockets, which frees the port."""
        self._streams.close()
        self._datagrams.close()


@pytest.fixture
def inside() -> Iterator[Inside]:
    """Provide a stand-in for a server inside the carrier's network; fail after the test if anything has reached it."""
    server = Inside()
    yield server
    reached = server.was_reached()
    server.close()
    assert not reached


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:x@127.0.0.1:{};transport=tcp>",
        "<sip:x@127.0.0.1:{}>",
        "sip:x@127.0.0.1:{}",
        "<sip:x@127.0.0.1:{};transport=ws>",
        "<sip:x@127.0.0.1:{};transport=tls>",
        "<sip:x@169.254.169.254:80;transport=tcp>",
        "<sip:x@192.168.1.2>",
        "<sip:x@localhost:{};transport=tcp>",
        "<sip:x@192.0.2.1;maddr=127.0.0.1:{};transport=tcp>",
        "<sip:x@127.0.0.1:9;alias=127.0.0.1~{}~2>",
        '<sip:x@127.0.0.1:{};transport=tcp;ob>;reg-id=1;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"',
    ],
)
def test_a_phone_is_called_where_it_registered_from_whatever_its_contact_names(
    sites: Sites, berlin: Phone, inside: Inside, contact: str
) -> None:
    unregistered = berlin.register(expires=0)
    assert "Contact" not in unregistered.heard("SIP/2.0 200")
    path = f"Supported: path\nPath: <sip:127.0.0.1:{inside.port};transport=tcp;lr>"
    berlin.register(contact=contact.format(inside.port), extra=path)
    taking = berlin.answer()
    call_in(sites.line, berlin.numbers[0])
    assert taking.finish().heard("INVITE").startswith(f"INVITE sip:{berlin.numbers[0]}@")


def test_several_contacts_in_one_registration_lead_nowhere_else(sites: Sites, berlin: Phone, inside: Inside) -> None:
    berlin.register(expires=0)
    evil = f"<sip:x@127.0.0.1:{inside.port};transport=tcp>, <sip:y@127.0.0.1:{inside.port}>"
    berlin.register(contact="<sip:z@192.0.2.1>", extra=f"m: {evil}")
    refusing = berlin.refuse("486 Busy Here", branches=3)
    call_in(sites.line, berlin.numbers[0], gets=486)
    refusing.finish()


@pytest.mark.parametrize("name", ["received", "Received", "q=1; received"])
def test_a_contact_does_not_say_where_its_registration_came_from(
    sites: Sites, berlin: Phone, inside: Inside, name: str
) -> None:
    berlin.register(expires=0)
    forged = f'<sip:x@192.0.2.1>;{name}="sip:127.0.0.1:{inside.port};transport=tcp"'
    berlin.register(contact=forged, gets=400)
    berlin.register(contact="<sip:y@192.0.2.1>", extra=f"m: {forged}", gets=400)
    call_in(sites.line, berlin.numbers[0], gets=480)


def test_a_registration_over_tcp_is_called_on_its_connection(sites: Sites, berlin: Phone, inside: Inside) -> None:
    """Register two phones over TCP and one over UDP at one trunk, and call it.

    All three must ring, and one of the phones on TCP answers.
    """
    call_id = "over-tcp@test"
    others = [replace(berlin, port=free_sip_port()) for _ in range(2)]
    ringing = [berlin.ring(), others[0].attend(call_id, takes=False)]
    taking = others[1].attend(call_id)
    hamburg = sites.order()
    hamburg.call(berlin.numbers[0], call_id=call_id)
    for played in (*ringing, taking):
        assert f"INVITE sip:{berlin.numbers[0]}@" in played.finish().messages


def test_a_call_that_the_registered_phone_does_not_take_is_forwarded_to_the_network(
    sites: Sites, berlin: Phone, network_port: int
) -> None:
    sites.forward(berlin, Condition.BUSY, "+4915112345678")
    refusing, taking = berlin.refuse("486 Busy Here"), answer(sites.line, network_port, NETWORK)
    call_in(sites.line, berlin.numbers[0])
    refusing.finish()
    assert "reason=user-busy" in taking.finish().heard("INVITE")


def test_messages_within_a_call_go_to_the_two_sides_only(
    sites: Sites, berlin: Phone, hamburg: Phone, inside: Inside, kamailio: EmbeddedKamailio
) -> None:
    there = f"127.0.0.1:{inside.port}"
    server = f"<sip:127.0.0.1:{kamailio.port};lr>"
    targets = [
        f"sip:x@{there};transport=tcp",
        f"sip:x@{there}",
        f"sip:x@127.0.0.1:9;alias=127.0.0.1~{inside.port}~2",
        f"sip:x@127.0.0.1:9;alias=127.0.0.1~{inside.port}~1",
        f"sip:x@192.0.2.1;maddr={there};transport=tcp",
        f"sip:x@localhost:{inside.port};transport=tcp",
        f"sip:x@127.0.0.1:{kamailio.port}",
        f"sip:x@{NETWORK}",
    ]
    messages = [Within(method, target) for target in targets for method in ("ACK", "INFO")]
    messages += [
        Within(method, f"sip:phone@127.0.0.1:{hamburg.port}", f"{server}, <sip:{there}{how}>")
        for how in (";transport=tcp;lr", ";lr", "")
        for method in ("ACK", "MESSAGE")
    ]
    messages += [Within(method, targets[0], f"<sip:{there};lr>") for method in ("ACK", "NOTIFY")]
    taking = hamburg.answer()
    berlin.say_within(hamburg.numbers[0], messages)
    heard = taking.finish().messages
    for method in ("INFO", "MESSAGE", "NOTIFY"):
        assert f"\n{method} " not in heard


@pytest.mark.parametrize(
    "named",
    [
        "127.0.0.1:{};transport=tcp",
        "127.0.0.1:{}",
        "192.0.2.1;alias=127.0.0.1~{}~2",
        "192.0.2.1;maddr=127.0.0.1",
        "192.168.1.2:5060",
        "phone.invalid",
    ],
)
def test_each_side_of_a_call_is_where_its_messages_came_from(
    sites: Sites, berlin: Phone, hamburg: Phone, inside: Inside, named: str
) -> None:
    address = named.format(inside.port)
    taking = hamburg.answer(contact=address)
    berlin.call(hamburg.numbers[0])
    assert "\nBYE sip:" in taking.finish().messages
    ending = hamburg.answer_and_hang_up()
    calling = berlin.call_and_wait(hamburg.numbers[0], contact=address)
    ending.finish()
    assert "\nBYE sip:" in calling.finish().messages


def test_a_phone_that_redirects_a_call_leads_it_nowhere(sites: Sites, berlin: Phone, inside: Inside) -> None:
    moved = f"302 Moved Temporarily\nContact: <sip:x@127.0.0.1:{inside.port};transport=tcp>"
    berlin.refuse(moved)
    call_in(sites.line, berlin.numbers[0], gets=302)


@pytest.mark.parametrize("method", ["MESSAGE", "NOTIFY", "SUBSCRIBE", "PUBLISH", "INFO", "BYE", "UPDATE", "REFER"])
@pytest.mark.parametrize("routed", [False, True], ids=["by request URI", "by Route"])
def test_a_request_that_is_no_call_is_relayed_to_nobody(
    sites: Sites, kamailio: EmbeddedKamailio, inside: Inside, method: str, routed: bool
) -> None:
    there = f"sip:x@127.0.0.1:{inside.port};transport=tcp"
    route = f"\r\nRoute: <sip:127.0.0.1:{kamailio.port};lr>, <{there};lr>" if routed else ""
    with Wire(kamailio) as wire:
        wire.send(f"{method} {there} SIP/2.0{route}", method)
        assert wire.reply().startswith("SIP/2.0 405")


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_reply_to_nothing_that_was_sent_is_relayed_to_nobody(
    kamailio: EmbeddedKamailio, inside: Inside, transport: str
) -> None:
    top = f"Via: SIP/2.0/UDP 127.0.0.1:{kamailio.port};branch=z9hG4bK1"
    forged = f"Via: SIP/2.0/{transport} 127.0.0.1:{inside.port};branch=z9hG4bK2"
    with Wire(kamailio) as wire:
        wire.say(f"SIP/2.0 200 OK\r\n{top}\r\n{forged}", "INVITE")
        # One process reads a socket's messages in order, so a reply to this one shows that the earlier one was read.
        wire.send("OPTIONS sip:x SIP/2.0", "OPTIONS")
        assert wire.reply().startswith("SIP/2.0 200")
        assert not wait_for(inside.was_reached, patience=0.5)


@pytest.mark.parametrize("hops", [70, 0], ids=["answered", "refused before it is read"])
@pytest.mark.parametrize("mark", ["", ";maddr=127.0.0.1", ";received=127.0.0.1;rport={}"])
def test_a_reply_goes_to_where_the_request_came_from(
    kamailio: EmbeddedKamailio, inside: Inside, mark: str, hops: int
) -> None:
    via = f"Via: SIP/2.0/UDP 127.0.0.1:{inside.port};branch=z9hG4bK1{mark.format(inside.port)}"
    with Wire(kamailio) as wire:
        wire.say(f"OPTIONS sip:x SIP/2.0\r\n{via}", "OPTIONS", hops=hops)
        assert wire.reply().startswith("SIP/2.0 200" if hops else "SIP/2.0 483")


class Wire:
    """A UDP socket from which a test sends SIP messages to Kamailio as a stranger, without a trunk's credentials."""

    def __init__(self, server: EmbeddedKamailio) -> None:
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.connect((LOOPBACK, server.port))

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def send(self, start: str, method: str) -> None:
        """Send a SIP request with the request line `start` and a Via header with this socket's address.

        `method` is the method in its CSeq header.
        """
        port = self._socket.getsockname()[1]
        self.say(f"{start}\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{method}", method)

    def say(self, start: str, method: str, *, hops: int = 70) -> None:
        """Send a SIP message that begins with the lines `start`.

        `method` is the method in its CSeq header, `hops` the value of its Max-Forwards header.
        """
        lines = [
            start,
            f"Max-Forwards: {hops}",
            "From: <sip:a@test>;tag=1",
            "To: <sip:b@test>",
            f"Call-ID: {method}-{self._socket.getsockname()[1]}@test",
            f"CSeq: 1 {method}",
            "Content-Length: 0",
            "",
            "",
        ]
        self._socket.send("\r\n".join(lines).encode())

    def reply(self) -> str:
        """Wait for the next SIP message from Kamailio and return its text; raise `TimeoutError` if none comes."""
        return self._socket.recv(65535).decode()
