"""Tests that calls to 110 and 112 succeed in every spelling, also from a trunk that may make no other calls."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.telephony.suspension import suspend
from models.telephony.trunks import SipTrunk
from tests.sip.conftest import Sites
from tests.sip.phones import NETWORK, Phone, answer

SPELLINGS = {
    "112": [
        "112",
        "+112",
        "+49112",
        "0049112",
        "49112",
        "1-1-2",
        "0112",
        "112;phone-context=+49",
        "sip:112@sip.example;user=phone",
        "sip:112;phone-context=+49@sip.example;user=phone",
        "sip:%31%31%32@sip.example",
        "sip:%2B49112@sip.example",
        "sips:112@sip.example",
        "tel:112",
        "tel:112;phone-context=+49",
        "tel:112;phone-context=sip.example",
        "tel:+49-112",
        "TEL:+49112",
        "urn:service:sos",
        "URN:service:SOS",
        "urn:service:sos.ambulance",
        "urn:service:sos.fire",
        "urn:service:sos.mountain",
        "sip:sos@sip.example",
    ],
    "110": [
        "110",
        "+110",
        "+49110",
        "0049110",
        "0110",
        "110;phone-context=+49",
        "sip:%31%31%30@sip.example",
        "tel:110;phone-context=+49",
        "tel:+49110",
        "urn:service:sos.police",
        "sip:sos.police@sip.example",
    ],
}


@pytest.mark.parametrize("number", SPELLINGS)
def test_an_emergency_call_goes_where_the_address_says_whatever_else(sites: Sites, psap_port: int, number: str) -> None:
    """Call `number` (110 or 112) in all its spellings while the trunk is suspended and its only channel is in use.

    From names a number that the trunk does not have. Each call must go to the emergency number with the postal code of
    the location. A call with a wrong password must be refused.
    """
    berlin, hamburg = sites.order(channels=1), sites.order()
    for phone in (berlin, hamburg):
        phone.register()
    hamburg.answer()
    only_channel = berlin.hold(hamburg.numbers[0])
    with sites.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == berlin.user)).one()
        account = session.get_one(Account, trunk.account_id)
        assert suspend(session, sites.manager, account, trunk.id, sites.runtime.clock())
    sites.tell()
    for spelling in SPELLINGS[number]:
        taking = answer(sites.line, psap_port)
        berlin.call(spelling, sender="+493090000000")
        heard = taking.finish().heard("INVITE")
        assert heard.startswith(f"INVITE sip:{number}-10179@127.0.0.1:{psap_port} SIP/2.0"), spelling
        assert f"P-Asserted-Identity: <sip:{berlin.numbers[0]}@sip.example>" in heard
    only_channel.hang_up()
    # An emergency call still needs the trunk's secret.
    berlin.secret = "geraten"
    berlin.call(number, gets=403)


@pytest.mark.parametrize("dialled", ["+4911205551", "00491120555", "011205551", "0049112112"])
def test_a_number_that_only_begins_like_an_emergency_number_is_called(
    sites: Sites, berlin: Phone, network_port: int, dialled: str
) -> None:
    taking = answer(sites.line, network_port, NETWORK)
    berlin.call(dialled)
    taking.finish()


def test_a_number_abroad_that_begins_like_an_emergency_number_is_judged_by_the_trunks_limit(berlin: Phone) -> None:
    assert "Destination Not Allowed" in berlin.call("+1120555123", gets=403).messages


def test_what_only_looks_like_an_emergency_call_is_not_found(berlin: Phone) -> None:
    services = ["urn:service:sosx", "urn:service:counseling", "sip:soso@sip.example", "sip:112sos@sip.example"]
    for dialled in ["1120", "1122", "111", "+1120", "tel:112112", *services]:
        assert "404 No Such Number" in berlin.call(dialled, gets=404).messages
