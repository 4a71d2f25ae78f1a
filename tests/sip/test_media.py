"""Tests whether the parties of a call hear each other: without a media relay, with one, and after it has ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes import wait_until
from tests.sip.baresip import Baresip
from tests.sip.conftest import Sites, Softphones
from tests.sip.phones import answer, call_in
from tests.sip.relay import EmbeddedRelay
from tests.sip.sipp import Line
from tests.sip.softphone import talk

_UNREACHABLE = "127.0.0.250"
"""An address at which nobody receives media, such as a phone's address inside another network."""


def test_without_a_relay_a_phone_that_announces_an_unreachable_address_hears_nothing(
    sites: Sites, soft: Softphones
) -> None:
    one, two = sites.order(numbers=1), sites.order(numbers=1)
    two.register()
    berlin = soft.baresip(one, tone=440)
    taking = two.answer_behind_nat(_UNREACHABLE)
    berlin.dial(two.numbers[0])
    wait_until(lambda: _sent(berlin), what="media")
    # The other phone sends back what it hears.
    assert berlin.heard() == 0 and f"c=IN IP4 {_UNREACHABLE}" in berlin.log
    berlin.hang_up()
    taking.finish()


def test_with_a_relay_phones_that_announce_unreachable_addresses_hear_and_are_heard(
    sites: Sites, soft: Softphones, relayed: Line, relay: EmbeddedRelay
) -> None:
    one, two = (replace(sites.order(numbers=1), line=relayed) for _ in range(2))
    two.register()
    berlin = soft.baresip(one, tone=440)
    taking = two.answer_behind_nat(_UNREACHABLE)
    berlin.dial(two.numbers[0])
    wait_until(lambda: berlin.hears(berlin), what="the tone sent back by the called phone")
    berlin.hang_up()
    taking.finish()
    berlin.forget()
    calling = two.call_from_behind_nat(one.numbers[0], _UNREACHABLE)
    wait_until(lambda: berlin.hears(berlin), what="the tone sent back by the calling phone")
    calling.hang_up()
    # Neither learns the other's address.
    assert _UNREACHABLE not in berlin.log and f"c=IN IP4 {relay.host}" in berlin.last_invite()


def test_softphones_talk_and_hold_through_a_relay(
    sites: Sites, soft: Softphones, relayed: Line, relay: EmbeddedRelay
) -> None:
    one, two, three = (replace(sites.order(numbers=1), line=relayed) for _ in range(3))
    berlin, hamburg = soft.linphone(one, tone=440), soft.linphone(two, tone=1000)
    talk(berlin, hamburg, two.numbers[0])
    bremen = soft.baresip(three, tone=700)
    talk(hamburg, bremen, three.numbers[0])
    assert f"c=IN IP4 {relay.host}" in bremen.last_invite()


@pytest.mark.parametrize("emergency", [False, True])
def test_a_relay_that_is_gone_stops_no_call(
    sites: Sites, relayed: Line, relay: EmbeddedRelay, psap_port: int, emergency: bool
) -> None:
    phone = replace(sites.order(numbers=1), line=relayed)
    phone.register()
    relay.stop()
    if emergency:
        taking = answer(relayed, psap_port)
        phone.call("112")
    else:
        taking = phone.answer()
        call_in(relayed, phone.numbers[0])
    taking.finish()


def _sent(phone: Baresip) -> bool:
    """Return whether the softphone's log shows a call of three seconds, in which media would have arrived."""
    return "[0:00:03]" in phone.log
