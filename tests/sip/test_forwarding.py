"""Tests that Kamailio forwards calls by the rules that users have set up in the portal."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import psycopg
import pytest

from models.telephony.forwarding import Condition
from models.telephony.weekly_hours import ALL_WEEK, WEEK, Hours, minute_of
from models.values import utc_now
from tests.sip.conftest import Sites
from tests.sip.phones import NETWORK, Phone, answer, call_in
from workers.gateways.registrar import plain_url
from workers.stack.ports import free_sip_port

MOBILE = "+4915112345678"


def test_always(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[5])
    taking = hamburg.answer()
    call_in(sites.line, berlin.numbers[2])
    heard = taking.finish().heard("INVITE")
    assert heard.startswith(f"INVITE sip:{hamburg.numbers[5]}@127.0.0.1:{hamburg.port} ")
    assert f"Diversion: <sip:{berlin.numbers[2]}@sip.example>;reason=unconditional" in heard
    assert "From: <sip:+441632960961@" in heard


def test_a_number_beats_its_range_and_a_range_beats_the_account(
    sites: Sites, berlin: Phone, hamburg: Phone, network_port: int
) -> None:
    sites.forward(berlin, Condition.ALWAYS, MOBILE)
    sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[1], first=berlin.numbers[2], last=berlin.numbers[6])
    own = sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[2], first=berlin.numbers[4])

    def leads_to(number: str, target: str) -> None:
        taking = answer(sites.line, network_port, NETWORK) if target == MOBILE else hamburg.answer()
        call_in(sites.line, number)
        assert taking.finish().heard("INVITE").startswith(f"INVITE sip:{target}@")

    for place, target in ((4, hamburg.numbers[2]), (2, hamburg.numbers[1]), (6, hamburg.numbers[1]), (7, MOBILE)):
        leads_to(berlin.numbers[place], target)
    # The next call follows a change.
    sites.stop_forwarding(berlin, own)
    leads_to(berlin.numbers[4], hamburg.numbers[1])


def test_always_for_the_account_spares_a_number_with_another_forwarding(
    sites: Sites, berlin: Phone, hamburg: Phone
) -> None:
    sites.forward(berlin, Condition.ALWAYS, MOBILE)
    sites.forward(berlin, Condition.BUSY, hamburg.numbers[0], first=berlin.numbers[4])
    refusing, taking = berlin.refuse("486 Busy Here"), hamburg.answer()
    call_in(sites.line, berlin.numbers[4])
    refusing.finish()
    assert "reason=user-busy" in taking.finish().heard("INVITE")


def test_at_another_hour_the_account_s_forwarding_counts_for_the_number_too(
    sites: Sites, berlin: Phone, hamburg: Phone
) -> None:
    _, outside = around(minute_of(utc_now()))
    sites.forward(berlin, Condition.ALWAYS, MOBILE, first=berlin.numbers[0], hours=outside)
    sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[0])
    taking = hamburg.answer()
    call_in(sites.line, berlin.numbers[0])
    taking.finish()


def test_when_the_phones_are_busy(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    sites.forward(berlin, Condition.BUSY, hamburg.numbers[0])
    refusing, taking = berlin.refuse("486 Busy Here"), hamburg.answer()
    call_in(sites.line, berlin.numbers[0])
    refusing.finish()
    assert "reason=user-busy" in taking.finish().heard("INVITE")


def test_when_all_channels_are_in_use(sites: Sites, hamburg: Phone, network_port: int) -> None:
    berlin = sites.order(channels=1)
    berlin.register()
    sites.forward(berlin, Condition.BUSY, MOBILE)
    hamburg.answer()
    held = berlin.hold(hamburg.numbers[0])
    taking = answer(sites.line, network_port, NETWORK)
    call_in(sites.line, berlin.numbers[0])
    assert "reason=user-busy" in taking.finish().heard("INVITE")
    held.hang_up()


def test_when_nobody_answers(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    sites.forward(berlin, Condition.NO_ANSWER, hamburg.numbers[0], after_seconds=5)
    ringing, taking = berlin.ring(), hamburg.answer()
    call_in(sites.line, berlin.numbers[0])
    ringing.finish()
    assert "reason=no-answer" in taking.finish().heard("INVITE")


def test_a_contact_that_is_gone_does_not_hide_what_the_other_says(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    """Register two contacts of a trunk, of which only one answers: its reply decides about the forwarding."""
    replace(berlin, port=free_sip_port()).register()
    berlin.refuse("486 Busy Here")
    call_in(sites.line, berlin.numbers[0], gets=486)
    sites.forward(berlin, Condition.BUSY, hamburg.numbers[0])
    berlin.refuse("486 Busy Here")
    taking = hamburg.answer()
    call_in(sites.line, berlin.numbers[0])
    assert "reason=user-busy" in taking.finish().heard("INVITE")
    sites.forward(berlin, Condition.NO_ANSWER, hamburg.numbers[0], after_seconds=5)
    ringing, taking = berlin.ring(), hamburg.answer()
    call_in(sites.line, berlin.numbers[0])
    ringing.finish()
    assert "reason=no-answer" in taking.finish().heard("INVITE")


@pytest.mark.parametrize("registered", [False, True], ids=["not registered", "registered but gone"])
def test_when_the_phones_are_not_there(sites: Sites, hamburg: Phone, registered: bool) -> None:
    berlin = sites.order()
    if registered:
        berlin.register()
    sites.forward(berlin, Condition.NOT_REGISTERED, hamburg.numbers[0])
    taking = hamburg.answer()
    call_in(sites.line, berlin.numbers[0])
    assert "reason=unavailable" in taking.finish().heard("INVITE")


@pytest.mark.parametrize("now", [True, False], ids=["in these hours", "at another time"])
def test_at_certain_hours_only(sites: Sites, berlin: Phone, hamburg: Phone, now: bool) -> None:
    inside, outside = around(minute_of(utc_now()))
    sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[0], hours=inside if now else outside)
    taking = (hamburg if now else berlin).answer()
    call_in(sites.line, berlin.numbers[0])
    taking.finish()


def around(minute: int) -> tuple[Hours, Hours]:
    """Return two weekly schedules: the ten minutes around `minute`, and all the rest of the week.

    `minute` is counted from the beginning of the week.
    """
    start, end = (minute - 5) % WEEK, (minute + 5) % WEEK
    between, beside = ((min(start, end), max(start, end)),), ((0, min(start, end)), (max(start, end), WEEK))
    return (between, beside) if start < end else (beside, between)


def test_out_of_our_numbers(sites: Sites, berlin: Phone, network_port: int) -> None:
    sites.forward(berlin, Condition.ALWAYS, MOBILE)
    taking = answer(sites.line, network_port, NETWORK)
    call_in(sites.line, berlin.numbers[0])
    heard = taking.finish().heard("INVITE")
    assert heard.startswith(f"INVITE sip:{MOBILE}@{NETWORK}:{network_port} ")
    assert f"Diversion: <sip:{berlin.numbers[0]}@sip.example>;reason=unconditional" in heard


def test_one_after_the_other_each_says_why(sites: Sites, berlin: Phone, hamburg: Phone, network_port: int) -> None:
    sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[0])
    sites.forward(hamburg, Condition.BUSY, MOBILE)
    hamburg.refuse("486 Busy Here")
    taking = answer(sites.line, network_port, NETWORK)
    call_in(sites.line, berlin.numbers[0])
    heard = taking.finish().heard("INVITE")
    last, first = [line for line in heard.splitlines() if line.startswith("Diversion:")]
    assert f"{hamburg.numbers[0]}@sip.example>;reason=user-busy" in last
    assert f"{berlin.numbers[0]}@sip.example>;reason=unconditional" in first


def test_a_circle_ends_in_a_clear_reply(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[0])
    sites.forward(hamburg, Condition.ALWAYS, berlin.numbers[1])
    assert "482 Forwarded In A Circle" in call_in(sites.line, berlin.numbers[0], gets=482).messages


def test_a_sip_user_that_contains_another_is_no_circle(
    sites: Sites, berlin: Phone, hamburg: Phone, registrar_url: str
) -> None:
    """Forward calls from a trunk to one whose SIP user is the beginning of its own, such as 1010 and 101.

    Kamailio must not take this for a forwarding in a circle. Imported trunks may have such SIP users.
    """
    sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[0])
    part = replace(hamburg, user=berlin.user[:-1])
    with psycopg.connect(plain_url(registrar_url)) as connection:
        for table in ("subscriber", "dbaliases", "usr_preferences"):
            connection.execute(
                f"UPDATE {table} SET username = %s WHERE username = %s".encode(), [part.user, hamburg.user]
            )
        whose = {"user": part.user, "domain": "sip.example", "secret": hamburg.secret}
        ha1 = "UPDATE subscriber SET ha1 = md5(%(user)s || ':' || %(domain)s || ':' || %(secret)s)"
        connection.execute(f"{ha1} WHERE username = %(user)s".encode(), whose)
    part.register()
    taking = part.answer()
    call_in(sites.line, berlin.numbers[2])
    assert taking.finish().heard("INVITE").startswith(f"INVITE sip:{hamburg.numbers[0]}@")


def test_so_does_a_long_chain(sites: Sites) -> None:
    chain = [sites.order() for _ in range(7)]
    for one, next_one in pairwise(chain):
        sites.forward(one, Condition.ALWAYS, next_one.numbers[0])
    assert "483 Forwarded Too Often" in call_in(sites.line, chain[0].numbers[0], gets=483).messages
    chain[-1].register()
    chain[-1].answer()
    call_in(sites.line, chain[1].numbers[0])


@pytest.mark.parametrize("headers", [(1, 1, 1, 1, 1), (5,), (2, 3), (40,)])
def test_a_circle_through_the_telephone_network_ends_too(sites: Sites, berlin: Phone, headers: tuple[int, ...]) -> None:
    sites.forward(berlin, Condition.ALWAYS, MOBILE)
    value = "<sip:+4915112345678@example.com>;reason=unconditional"
    often = "\n".join("Diversion: " + ", ".join([value] * count) for count in headers)
    assert "483 Forwarded Too Often" in call_in(sites.line, berlin.numbers[0], gets=483, extra=often).messages


def test_commas_in_names_and_addresses_are_no_forwardings(sites: Sites, berlin: Phone, network_port: int) -> None:
    sites.forward(berlin, Condition.ALWAYS, MOBILE)
    taking = answer(sites.line, network_port, NETWORK)
    named = '"Meier, Hans, und, viele, andere" <sip:a,b,c,d,e@example.com;x=1,2,3>;reason=unconditional'
    call_in(sites.line, berlin.numbers[0], extra=f"Diversion: {named}, {named}\nDiversion: {named}, {named}")
    assert taking.finish().heard("INVITE").startswith(f"INVITE sip:{MOBILE}@")


def test_a_forwarded_call_takes_no_channel_of_the_site_that_forwards(sites: Sites, hamburg: Phone) -> None:
    berlin, munich = sites.order(channels=1), sites.order()
    munich.register()
    sites.forward(berlin, Condition.NOT_REGISTERED, hamburg.numbers[0])
    hamburg.answer()
    held = munich.hold(berlin.numbers[0])
    berlin.register()
    berlin.answer()
    munich.call(berlin.numbers[0])
    held.hang_up()


def test_what_was_damaged_by_hand_is_mended(sites: Sites, berlin: Phone, hamburg: Phone, registrar_url: str) -> None:
    sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[0], hours=ALL_WEEK)
    with psycopg.connect(plain_url(registrar_url)) as connection:
        connection.execute("UPDATE usr_preferences SET value = '+493099 0 10080' WHERE attribute LIKE 'forward.%'")
    [finding] = sites.reconcile()
    assert (finding.kind, finding.facts["what"]) == ("differs_there", ["forwardings"])
    taking = hamburg.answer()
    call_in(sites.line, berlin.numbers[0])
    taking.finish()
