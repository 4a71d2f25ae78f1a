"""Tests that a called phone learns nothing of the identity of a caller who hides the number."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from email import message_from_string
from email.message import Message

import pytest

from tests.sip.conftest import Sites, Softphones
from tests.sip.phones import NETWORK, Phone, call_in
from tests.sip.relay import EmbeddedRelay
from tests.sip.sipp import Line, Played
from tests.sip.softphone import talk
from tests.sip.wire import Wire
from workers.stack.ports import LOOPBACK

_TELLING = """\
Privacy: id
P-Asserted-Identity: <sip:{number}@sip.example>
P-Access-Network-Info: 3GPP-UTRAN; location={number}
Remote-Party-ID: <sip:{number}@sip.example>
Call-Info: <https://example.com/{number}.jpg>;purpose=icon
Reply-To: <sip:{number}@sip.example>
Referred-By: <sip:{number}@sip.example>
Subject: {number} calls
Organization: {user}
User-Agent: {user}
X-Line: {user}
b: <sip:{number}@sip.example>
s: {number} calls
y: {number}
Contact-Info: {number}
Warning: 399 {user} "{number}"
Session-ID: {user}
Authentication-Info: nextnonce="{user}"
Reason: Q.850;cause=16;text="{number}"
A-New-One: {number}"""


def test_no_message_of_a_call_names_a_caller_who_hides(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    number, user = berlin.numbers[1], berlin.user
    taking = hamburg.answer_and_hang_up()
    calling = berlin.call_and_wait(
        hamburg.numbers[0],
        contact=f"{number[1:]}.example:5070;line={user}",
        name=user,
        sender="anonymous@anonymous.invalid",
        extra=_TELLING.format(number=number, user=user),
    )
    _say_nothing(taking.finish(), number, user)
    # The hang-up of the called side goes to the caller's own Contact, which it knows.
    assert calling.finish().heard("BYE").startswith(f"BYE sip:{user}@{number[1:]}.example:5070;line={user} SIP/2.0")


def test_no_message_names_a_caller_outside_who_hides(sites: Sites, hamburg: Phone) -> None:
    taking = hamburg.answer()
    call_in(sites.line, hamburg.numbers[0], extra=_TELLING.format(number="+441632960961", user="trunk-9"))
    _say_nothing(taking.finish(), "+441632960961", "trunk-9")


def test_a_softphone_that_hides_its_number_talks_holds_and_is_held(sites: Sites, soft: Softphones) -> None:
    one, two = sites.order(numbers=1), sites.order(numbers=1)
    berlin, hamburg = soft.baresip(one, tone=440, anonymous=True), soft.linphone(two, tone=1000)
    talk(berlin, hamburg, two.numbers[0])
    assert 'From: "Anonymous" <sip:anonymous@anonymous.invalid>' in hamburg.log
    assert one.user not in hamburg.log and one.numbers[0].removeprefix("+49") not in hamburg.log


_SDP = """\
v=0
o=HansMuster 1 1 IN IP4 127.0.0.2
s=HansMuster calls
i=HansMuster
c=IN IP4 127.0.0.2
t=0 0
m=audio 4000 RTP/AVP 8
a=ssrc:1 cname:HansMuster
a=sendrecv
"""
_MIXED = (
    "multipart/mixed;boundary=b",
    f"--b\nContent-Type: application/sdp\n\n{_SDP}\n--b\nContent-Type: text/plain\n\nHansMuster\n--b--\n",
)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/sdp", _SDP),
        ("Application/SDP;charset=utf-8", _SDP),
        _MIXED,
        (
            'multipart/alternative;boundary="b"',
            f"--b\nContent-Type: text/plain\n\nHansMuster\n--b\nContent-Type: application/sdp\n\n{_SDP}\n--b--\n",
        ),
    ],
)
def test_no_part_of_a_body_names_a_caller_who_hides(sites: Sites, hamburg: Phone, kind: str, body: str) -> None:
    heard = _hear(hamburg, kind, body)
    assert "HansMuster" not in heard
    head, said = heard.split("\r\n\r\n", 1)
    assert re.findall(r"^(?:c|Content-Type): (.*?)\r?$", head, re.M) == ["application/sdp"]
    assert re.findall(r"^(?:l|Content-Length): (.*?)\r?$", head, re.M) == [str(len(said))]
    told = ["v=0", "o=- 1 1 IN IP4 127.0.0.2", "s=-", "i=-", "c=IN IP4 127.0.0.2", "t=0 0", "m=audio 4000 RTP/AVP 8"]
    assert said.split("\r\n") == [*told, "a=ssrc:1 cname:anonymous", "a=sendrecv", ""]


def test_names_of_a_caller_who_hides_do_not_pass_a_relay(sites: Sites, relayed: Line, relay: EmbeddedRelay) -> None:
    for kind, body in (_MIXED, ("application/sdp", _SDP)):
        heard = _hear(replace(sites.order(), line=relayed), kind, body)
        assert "HansMuster" not in heard
        assert heard.count("v=0") == 1 and f"c=IN IP4 {relay.host}" in heard and "cname:anonymous" in heard


def test_a_relay_leaves_the_other_parts_of_a_body_of_a_caller_who_does_not_hide(
    sites: Sites, relayed: Line, relay: EmbeddedRelay
) -> None:
    heard = _hear(replace(sites.order(), line=relayed), *_MIXED, caller="+441632960961@sip.example")
    body = heard.split("\r\n\r\n", 1)[1]
    parts = message_from_string(f"Content-Type: {_MIXED[0]}\r\n\r\n{body}").get_payload()
    told = {part.get_content_type(): str(part.get_payload()) for part in parts if isinstance(part, Message)}
    assert told.keys() == {"text/plain", "application/sdp"} and told["text/plain"].strip() == "HansMuster"
    assert told["application/sdp"].count("v=0") == 1 and f"c=IN IP4 {relay.host}" in told["application/sdp"]


def test_a_body_that_describes_no_media_is_not_sent_on_for_a_caller_who_hides(sites: Sites, hamburg: Phone) -> None:
    heard = _hear(hamburg, "text/plain", "HansMuster calls")
    assert "HansMuster" not in heard and "text/plain" not in heard and heard.endswith("\r\n\r\n")


def _hear(phone: Phone, kind: str, body: str, *, caller: str = "anonymous@anonymous.invalid") -> str:
    """Call the phone from the telephone network with `body` in the INVITE; return the INVITE that the phone receives.

    `kind` is the Content-Type of `body`; `caller` is the address in the From header.
    """
    number, domain, body = phone.numbers[0], phone.line.domain, body.replace("\n", "\r\n")
    outside = (LOOPBACK, phone.line.interconnect)
    with Wire(phone) as wire, socket.create_connection(outside, source_address=(NETWORK, 0)) as network:
        wire.register()
        at = f"{NETWORK}:{network.getsockname()[1]}"
        lines = [
            f"INVITE sip:{number}@{domain} SIP/2.0",
            f"Via: SIP/2.0/TCP {at};branch=z9hG4bK{wire.port}",
            "Max-Forwards: 70",
            f"From: <sip:{caller}>;tag={wire.port}",
            f"To: <sip:{number}@{domain}>",
            f"Call-ID: hidden-{wire.port}",
            "CSeq: 1 INVITE",
            f"m: <sip:HansMuster@{at}>",
            f"c: {kind}",
            f"l: {len(body)}",
        ]
        network.sendall("\r\n".join([*lines, "", body]).encode())
        return wire.receive()


def _say_nothing(taking: Played, number: str, user: str) -> None:
    for message in re.findall(r"message received \[\d+\] bytes :\n\n(.*?)\n-{20,}", taking.messages, re.S):
        assert number.removeprefix("+")[2:] not in message and user not in message
