"""Tests that the phone system of an ordered location can make and take calls.

Phones without the trunk's password cannot.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest

from models.telephony.forwarding import Condition
from tests.naughty_strings import NAUGHTY
from tests.sip.conftest import Sites
from tests.sip.phones import NETWORK, Phone, answer, bye_out_of_nowhere, call_in
from tests.sip.sipp import PATIENCE
from tests.world_names import WORLD_NAMES
from workers.stack.ports import free_sip_port
from workers.stack.processes import wait_for

ALL = os.environ.get("NAUGHTY_STRINGS") == "all"
PLAYED = [
    kind
    for kind, text in NAUGHTY.items()
    if text.isprintable() and len(text) < 201 and not re.search(r"[\[\]{}]", text)
]
"""The kinds of strings that sipp can send as a quoted display name.

RFC 3261 allows no control characters in it, and sipp would replace what is in brackets.
"""
SOME = ["quotes", "backslashes", "html", "percent format", "mail address", "shell", "combining", "sharp s"]


def test_what_the_customer_was_sent_registers(sites: Sites) -> None:
    phone = sites.order()
    assert f"sip:{phone.user}@127.0.0.1:{phone.port}>;expires=600" in phone.register().heard("SIP/2.0 200")


@pytest.mark.parametrize("wrong", ["user", "secret"])
def test_a_wrong_user_or_secret_is_refused_with_the_same_words(sites: Sites, wrong: str) -> None:
    phone = sites.order()
    setattr(phone, wrong, "t000000000000" if wrong == "user" else "geraten")
    assert "403 Wrong User Or Password" in phone.register(gets=403).messages


@pytest.mark.parametrize("hostile", ["t1' OR '1'='1", "t1;--", "t1\\"])
def test_a_user_that_could_be_sql_is_nobody(sites: Sites, hostile: str) -> None:
    phone = Phone(sites.line, hostile, "egal", free_sip_port())
    assert "403 Wrong User Or Password" in phone.register(gets=403, as_user="t1").messages


def test_a_trunk_cannot_register_for_another(sites: Sites, berlin: Phone) -> None:
    other = sites.order()
    assert "403 Not Your Own Address" in berlin.register(gets=403, as_user=other.user).messages
    call_in(sites.line, other.numbers[0], gets=480)


@pytest.mark.parametrize("spelled", ["+49{}", "0049{}", "0{}"])
def test_a_number_is_called_from_outside_in_its_usual_spellings(sites: Sites, berlin: Phone, spelled: str) -> None:
    number = berlin.numbers[3]
    taking = berlin.answer()
    call_in(sites.line, spelled.format(number.removeprefix("+49")))
    heard = taking.finish().heard("INVITE")
    assert heard.startswith(f"INVITE sip:{number}@127.0.0.1:{berlin.port} SIP/2.0")
    assert "From: <sip:+441632960961@" in heard


def test_a_number_in_a_tel_uri_is_read_as_people_write_it(sites: Sites, berlin: Phone) -> None:
    number = berlin.numbers[0]
    taking = berlin.answer()
    call_in(sites.line, f"tel:{number[:3]}-{number[3:5]}-{number[5:]}")
    assert taking.finish().heard("INVITE").startswith(f"INVITE sip:{number}@")


def test_one_site_calls_another_and_is_seen_by_its_number(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    taking = hamburg.answer()
    berlin.call(hamburg.numbers[0])
    heard = taking.finish().heard("INVITE")
    assert f"P-Asserted-Identity: <sip:{berlin.numbers[0]}@sip.example>" in heard
    # Phones that show From show the number too.
    assert f"From: <sip:{berlin.numbers[0]}@sip.example>" in heard and berlin.user not in heard
    # The trunk's credentials are not sent to the called side.
    assert "Authorization" not in heard


@pytest.mark.parametrize("kind", ["chinese", "persian", "hebrew", "hindi", "vietnamese", "family"])
def test_the_name_that_a_phone_shows_arrives_in_any_script(
    sites: Sites, berlin: Phone, hamburg: Phone, kind: str
) -> None:
    name = f'"{WORLD_NAMES[kind]} \\"x\\""'
    taking = hamburg.answer()
    berlin.call(hamburg.numbers[0], sender=f"{name} {berlin.numbers[0]}")
    assert f"From: {name}<sip:{berlin.numbers[0]}@sip.example>" in taking.finish().heard("INVITE")
    # Where From is rewritten to the number, the name stays.
    taking = hamburg.answer()
    berlin.call(hamburg.numbers[0], sender=f"{name} {berlin.user}")
    heard = taking.finish().heard("INVITE")
    assert name in heard and berlin.user not in heard


@pytest.mark.parametrize("kind", PLAYED if ALL else SOME)
def test_the_name_that_a_phone_shows_arrives_whole_whatever_it_is(berlin: Phone, hamburg: Phone, kind: str) -> None:
    quoted = re.sub(r'(["\\\\])', r"\\\1", NAUGHTY[kind])
    taking = hamburg.answer()
    berlin.call(hamburg.numbers[0], sender=f'"{quoted}" {berlin.user}')
    heard = taking.finish().heard("INVITE")
    assert f'From: "{quoted}"<sip:{berlin.numbers[0]}@sip.example>' in heard and berlin.user not in heard


@pytest.mark.parametrize("header", ["From", "P-Asserted-Identity", "P-Preferred-Identity"])
def test_a_site_is_seen_by_the_number_of_its_own_that_it_names(
    sites: Sites, berlin: Phone, hamburg: Phone, header: str
) -> None:
    own = berlin.numbers[7]
    taking = hamburg.answer()
    if header == "From":
        berlin.call(hamburg.numbers[0], sender=own.replace("+49", "0"))
    else:
        berlin.call(hamburg.numbers[0], extra=f"{header}: <sip:{own}@sip.example>")
    heard = taking.finish().heard("INVITE")
    assert heard.count("-Identity:") == 1
    assert f"P-Asserted-Identity: <sip:{own}@sip.example>" in heard


def test_who_does_not_show_a_number_is_known_to_the_network_only(
    sites: Sites, berlin: Phone, hamburg: Phone, network_port: int
) -> None:
    own = berlin.numbers[7]
    hidden = f"P-Asserted-Identity: <sip:{own}@sip.example>\nPrivacy: id"
    taking = hamburg.answer()
    berlin.call(hamburg.numbers[0], sender="anonymous@anonymous.invalid", extra=hidden)
    heard = taking.finish().heard("INVITE")
    assert own not in heard and berlin.numbers[0] not in heard and berlin.user not in heard
    sites.forward(hamburg, Condition.ALWAYS, "+4915112345678")
    taking = answer(sites.line, network_port, NETWORK)
    berlin.call(hamburg.numbers[0], sender="anonymous@anonymous.invalid", extra=hidden)
    heard = taking.finish().heard("INVITE")
    assert f"P-Asserted-Identity: <sip:{own}@sip.example>" in heard and "Privacy: id" in heard


def test_a_number_that_the_network_hides_stays_hidden(sites: Sites, berlin: Phone) -> None:
    caller = "<sip:+4940123456@network.example>"
    hidden = f"P-Asserted-Identity: {caller}\nRemote-Party-ID: {caller}\nPrivacy: id"
    taking = berlin.answer()
    call_in(sites.line, berlin.numbers[0], extra=hidden)
    assert "+4940123456" not in taking.finish().heard("INVITE")


def test_what_else_a_phone_system_says_of_itself_goes_no_further(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    taking = hamburg.answer()
    berlin.call(hamburg.numbers[0], extra="Remote-Party-ID: <sip:+493090000000@sip.example>")
    assert "+493090000000" not in taking.finish().heard("INVITE")


@pytest.mark.parametrize("header", ["Diversion", "History-Info", "Route"])
def test_where_else_a_call_has_been_or_should_go_goes_no_further(
    sites: Sites, berlin: Phone, hamburg: Phone, header: str
) -> None:
    taking = hamburg.answer()
    berlin.call(hamburg.numbers[0], extra=f"{header}: <sip:+493090000000@127.0.0.1:9;lr>")
    assert "+493090000000" not in taking.finish().heard("INVITE")


@pytest.mark.parametrize("header", ["From", "P-Asserted-Identity", "P-Preferred-Identity"])
@pytest.mark.parametrize("whose", ["hamburg", "nobody"])
def test_a_foreign_identity_is_refused(sites: Sites, berlin: Phone, hamburg: Phone, header: str, whose: str) -> None:
    foreign = hamburg.numbers[0] if whose == "hamburg" else "+493090000000"
    target = hamburg.numbers[1]
    if header == "From":
        refused = berlin.call(target, gets=403, sender=foreign)
    else:
        refused = berlin.call(target, gets=403, extra=f"{header}: <sip:{foreign}@sip.example>")
    assert "403 Not Your Number" in refused.messages


def test_who_hides_is_hidden_however_a_phone_system_says_it(
    sites: Sites, berlin: Phone, hamburg: Phone, network_port: int
) -> None:
    own = berlin.numbers[7]
    ways = [("anonymous@sip.example", "Privacy: id"), ("Anonymous@sip.example", ""), (own, "Privacy: user;id")]
    for sender, extra in [*ways, ("tel:anonymous", ""), ("unavailable@unknown.invalid", "")]:
        taking = hamburg.answer_and_hang_up()
        berlin.call_and_wait(hamburg.numbers[0], contact="127.0.0.1:9", sender=sender, extra=extra).finish()
        heard = taking.finish().heard("INVITE")
        assert 'From: "Anonymous" <sip:anonymous@anonymous.invalid>' in heard, sender
        assert own not in heard and berlin.numbers[0] not in heard and "P-Asserted-Identity" not in heard
    taking = answer(sites.line, network_port, NETWORK)
    berlin.call("+4915112345678", sender="anonymous@sip.example")
    heard = taking.finish().heard("INVITE")
    assert "Privacy: id" in heard and f"P-Asserted-Identity: <sip:{berlin.numbers[0]}@sip.example>" in heard


def test_a_caller_whom_the_phone_system_forwards_is_shown_with_the_trunk_answering_for_it(
    sites: Sites, berlin: Phone, network_port: int
) -> None:
    own, caller = berlin.numbers[7], "+441632960961"
    for header in ("P-Asserted-Identity", "P-Preferred-Identity", "Diversion"):
        taking = answer(sites.line, network_port, NETWORK)
        berlin.call("+4915112345678", sender=caller, extra=f"{header}: <sip:{own}@sip.example>")
        heard = taking.finish().heard("INVITE")
        assert f"From: <sip:{caller}@sip.example>" in heard, header
        assert f"P-Asserted-Identity: <sip:{own}@sip.example>" in heard and heard.count("-Identity:") == 1
    mine = f"P-Asserted-Identity: <sip:{own}@sip.example>"
    foreign = "Diversion: <sip:+493090000000@sip.example>"
    # § 120 TKG: numbers that nobody may show, no number at all, and a forwarding for somebody else.
    for sender, extra in [
        ("+499001234567", mine),
        ("+4911833", mine),
        ("+491371234", mine),
        ("110", mine),
        ("somebody", mine),
        (caller, foreign),
        (caller, f"P-Asserted-Identity: <sip:{berlin.user}@sip.example>"),
    ]:
        assert "403 Not Your Number" in berlin.call("+4915112345678", gets=403, sender=sender, extra=extra).messages


def test_who_is_anonymous_names_no_number(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    refused = berlin.call(hamburg.numbers[0], gets=403, sender="+493090000000@anonymous.invalid")
    assert "403 Not Your Number" in refused.messages


@pytest.mark.parametrize("number", ["4711", "114", "1161", "nobody"])
def test_what_is_no_number_is_not_found(sites: Sites, berlin: Phone, number: str) -> None:
    assert "404 No Such Number" in berlin.call(number, gets=404).messages
    call_in(sites.line, number, gets=404)


def test_a_site_that_is_not_registered_says_so(sites: Sites) -> None:
    assert "480 Not Registered" in call_in(sites.line, sites.order().numbers[0], gets=480).messages


def test_no_more_calls_than_channels(sites: Sites) -> None:
    berlin, hamburg = sites.order(channels=2), sites.order(channels=4)
    for phone in (berlin, hamburg):
        phone.register()
    there, here = hamburg.numbers[0], berlin.numbers[0]
    hamburg.answer()
    first = berlin.hold(there)
    berlin.answer()
    second = hamburg.hold(here)
    refused = berlin.call(there, gets=503)
    assert "503 All Channels Of Your Trunk Are In Use" in refused.messages
    assert "486 All Channels Of The Called Trunk Are In Use" in call_in(sites.line, here, gets=486).messages
    first.hang_up()
    berlin_takes = free_sip_port()
    berlin.port = berlin_takes
    berlin.register()
    answer(sites.line, berlin_takes)
    call_in(sites.line, here)
    second.hang_up()


def test_a_call_that_nobody_takes_gives_its_channel_back(sites: Sites, berlin: Phone) -> None:
    away = sites.order(channels=1)
    for _ in range(3):
        berlin.call(away.numbers[0], gets=480)
    away.register()
    away.answer()
    berlin.call(away.numbers[0])


def test_a_call_that_is_given_up_or_not_taken_gives_its_channels_back(sites: Sites) -> None:
    berlin, hamburg = sites.order(channels=1), sites.order(channels=1)
    for phone in (berlin, hamburg):
        phone.register()
    ringing = hamburg.ring()
    berlin.give_up(hamburg.numbers[0])
    ringing.finish()
    hamburg.refuse("486 Busy Here")
    berlin.call(hamburg.numbers[0], gets=486)
    hamburg.answer()
    berlin.call(hamburg.numbers[0])


def test_nothing_is_passed_on_that_belongs_to_no_call(sites: Sites) -> None:
    bye_out_of_nowhere(sites.line, "sip:anybody@127.0.0.1:9", gets=481)


def test_nobody_has_a_call_made_that_is_not_checked(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    taking = hamburg.answer()
    refused = berlin.transfer(hamburg.numbers[0], "+4915112345678")
    assert "405 Method Not Allowed" in refused.messages
    assert "REFER" not in taking.finish().messages


def test_a_call_between_sites_does_not_turn_to_the_network(
    sites: Sites, berlin: Phone, hamburg: Phone, network_port: int
) -> None:
    outside = answer(sites.line, network_port, NETWORK)
    taking = hamburg.answer()
    berlin.turn_to(hamburg.numbers[0], f"sip:+4915112345678@{NETWORK}:{network_port}")
    taking.finish()
    assert outside.messages == ""


@pytest.mark.parametrize("address", ["192.168.1.2", "phone.invalid"])
def test_a_phone_behind_a_nat_takes_calls_to_their_end(sites: Sites, berlin: Phone, address: str) -> None:
    taking = berlin.answer(contact=f"{address}:{berlin.port}")
    call_in(sites.line, berlin.numbers[0])
    assert "\nBYE sip:" in taking.finish().messages


def test_all_phones_of_a_trunk_ring_and_one_takes_the_call(sites: Sites, berlin: Phone) -> None:
    ringing = berlin.ring()
    berlin.port = free_sip_port()
    berlin.register()
    taking = berlin.answer()
    call_in(sites.line, berlin.numbers[0])
    for played in (ringing, taking):
        assert played.finish().heard("INVITE").startswith(f"INVITE sip:{berlin.numbers[0]}@")


def test_of_calls_at_the_same_moment_no_more_than_the_channels_come_through(sites: Sites, berlin: Phone) -> None:
    narrow = sites.order(channels=1)
    narrow.register()
    narrow.ring()
    attempts = [berlin.attempt(narrow.numbers[0], refused=486) for _ in range(4)]

    def got(status: str) -> int:
        return sum(f"SIP/2.0 {status}" in one.messages for one in attempts)

    # In any order: the one that rings may hear of it last.
    assert wait_for(lambda: (got("486"), got("180")) == (3, 1), patience=PATIENCE)


def test_a_phone_system_may_speak_tcp(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    berlin.line = replace(berlin.line, tcp=True)
    berlin.register()
    taking = hamburg.answer()
    berlin.call(hamburg.numbers[0])
    assert "/TCP 127.0.0.1" in taking.finish().heard("INVITE")


def test_nobody_calls_in_the_name_of_another_with_a_second_set_of_credentials(
    sites: Sites, berlin: Phone, hamburg: Phone
) -> None:
    munich = sites.order()
    munich.register()
    other = f'Authorization: Digest username="{hamburg.user}",realm="sip.example",nonce="x",uri="x",response="x"'
    refused = berlin.call(munich.numbers[0], gets=400, sender=hamburg.numbers[0], extra=other)
    assert "400 One Set Of Credentials At A Time" in refused.messages
