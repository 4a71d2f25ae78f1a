"""Tests of what the called side learns of a caller who hides the number: nothing."""

from __future__ import annotations

import re

from tests.sip.conftest import Sites, Softphones
from tests.sip.phones import Phone, call_in
from tests.sip.sipp import Played
from tests.sip.softphone import talk

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
X-Line: {user}"""


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


def _say_nothing(taking: Played, number: str, user: str) -> None:
    for message in re.findall(r"message received \[\d+\] bytes :\n\n(.*?)\n-{20,}", taking.messages, re.S):
        assert number.removeprefix("+")[2:] not in message and user not in message
