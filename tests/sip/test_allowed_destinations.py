"""Tests that a trunk can call only the destinations that its limit allows, but always 110 and 112."""

from __future__ import annotations

from models.telephony.country_prefixes import EEA
from tests.sip.conftest import Sites
from tests.sip.phones import NETWORK, Phone, answer
from tests.sip.test_changes_at_once import by_hand

SATELLITE = "00881612345678"


def test_a_limited_trunk_calls_what_it_may_and_the_emergency_services(
    sites: Sites, berlin: Phone, hamburg: Phone, network_port: int, psap_port: int
) -> None:
    refused = "403 Destination Not Allowed For Your Trunk"
    # As ordered: EU and EEA, no high-risk destinations.
    for number in (SATELLITE, "+252612345678", "0041446681800", "tel:+1-473-444-1234", "+49002526123456"):
        assert refused in berlin.call(number, gets=403).messages, number
    for number in ("+43158858123", "015112345678"):
        taking = answer(sites.line, network_port, NETWORK)
        berlin.call(number)
        taking.finish()
    with sites.changing(berlin) as trunk:
        assert trunk.countries == list(EEA)
        trunk.countries = ["DE"]
    assert refused in berlin.call("+43158858123", gets=403).messages
    taking = hamburg.answer()
    berlin.call(hamburg.numbers[0])
    taking.finish()
    for number in ("112", "0049110", "sip:%2B49112@sip.example", "urn:service:sos"):
        taking = answer(sites.line, psap_port)
        berlin.call(number)
        taking.finish()
    with sites.changing(berlin) as trunk:
        trunk.countries = None
    assert refused in berlin.call(SATELLITE, gets=403).messages
    with sites.changing(berlin) as trunk:
        trunk.high_risk = True
    taking = answer(sites.line, network_port, NETWORK)
    berlin.call(SATELLITE)
    assert "INVITE sip:+881612345678@" in taking.finish().heard("INVITE")
    assert not sites.reconcile()


def test_a_limit_that_was_taken_away_by_hand_is_mended(sites: Sites, berlin: Phone, registrar_url: str) -> None:
    by_hand(registrar_url, "DELETE FROM usr_preferences WHERE attribute LIKE 'allow.%%'")
    [found] = sites.reconcile()
    assert (found.kind, found.facts["what"], found.repaired) == ("differs_there", ["destinations"], True)
    assert not sites.reconcile()
    by_hand(registrar_url, "UPDATE usr_preferences SET value = '1' WHERE attribute LIKE 'allow.%%'")
    assert [one.facts["what"] for one in sites.reconcile()] == [["destinations"]]
    assert not sites.reconcile()
