"""Tests that calls to numbers of other carriers go to the telephone network, and calls from there never back to it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.telephony.forwarding import Condition
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import close_trunk
from tests.sip.conftest import Sites
from tests.sip.phones import NETWORK, Phone, answer, call_in, refuse
from tests.sip.sipp import Played

MOBILE = "+4915112345678"


@pytest.fixture
def network(sites: Sites, network_port: int) -> Played:
    """Start a run of sipp that answers the next call in the telephone network; return the running sipp."""
    return answer(sites.line, network_port, NETWORK)


@pytest.fixture
def free_block(sites: Sites) -> NumberBlock:
    """Return one of the carrier's number blocks of ten that belongs to no account."""
    with sites.runtime.database.transaction() as session:
        free = sa.select(NumberBlock).where(NumberBlock.account_id.is_(None)).order_by(NumberBlock.id.desc())
        return session.scalars(free.limit(1)).one()


@pytest.mark.parametrize(
    ("dialled", "seen"),
    [
        (MOBILE, MOBILE),
        ("015112345678", MOBILE),
        ("(0151)1234-5678", MOBILE),
        ("004915112345678", MOBILE),
        ("tel:+49-151-12345678", MOBILE),
        ("+43158858123", "+43158858123"),
        ("0043158858123", "+43158858123"),
        ("115", "+49115"),
        ("116117", "+49116117"),
    ],
)
def test_a_number_of_somebody_else_is_called_in_the_network(
    berlin: Phone, network: Played, network_port: int, dialled: str, seen: str
) -> None:
    berlin.call(dialled)
    heard = network.finish().heard("INVITE")
    assert heard.startswith(f"INVITE sip:{seen}@{NETWORK}:{network_port} SIP/2.0")
    assert f"P-Asserted-Identity: <sip:{berlin.numbers[0]}@sip.example>" in heard
    assert "Diversion" not in heard and "Authorization" not in heard


def test_a_sister_site_rings_in_every_spelling_of_its_number(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    number = hamburg.numbers[3]
    local = number.removeprefix("+49")
    for spelled in (
        f"+490{local}",
        f"00490{local}",
        f"+49 (0){local}".replace(" ", "%20"),
        f"%2B49{local}",
        f"%2b49{local[:2]}%2F{local[2:]}".replace("%2F", "-"),
        f"{number};npdi;rn=+49199123",
        f"0{local};npdi",
        f"tel:+490{local}",
        f"tel:{number};npdi;rn=+49199123",
    ):
        taking = hamburg.answer()
        berlin.call(spelled)
        assert taking.finish().heard("INVITE").startswith(f"INVITE sip:{number}@"), spelled
    # Without the area code it is no number: an area's numbers differ in length, so nobody can tell.
    assert "404 No Such Number" in berlin.call(local[2:], gets=404).messages


def test_the_network_sees_the_number_that_was_named(berlin: Phone, network: Played) -> None:
    own = berlin.numbers[7]
    berlin.call(MOBILE, sender=own.replace("+49", "0"))
    assert f"P-Asserted-Identity: <sip:{own}@sip.example>" in network.finish().heard("INVITE")


def test_the_network_is_told_not_to_show_who_does_not_want_it(berlin: Phone, network: Played) -> None:
    berlin.call(MOBILE, sender="anonymous@anonymous.invalid")
    heard = network.finish().heard("INVITE")
    assert "\nPrivacy: id" in heard
    assert f"P-Asserted-Identity: <sip:{berlin.numbers[0]}@sip.example>" in heard
    assert berlin.user not in heard


def test_nobody_calls_out_in_the_name_of_another(berlin: Phone, hamburg: Phone) -> None:
    assert "403 Not Your Number" in berlin.call(MOBILE, gets=403, sender=hamburg.numbers[0]).messages


@pytest.mark.parametrize("place", [0, 9], ids=["first", "last"])
def test_a_number_of_ours_that_nobody_has_is_not_found(
    sites: Sites, berlin: Phone, free_block: NumberBlock, place: int
) -> None:
    number = free_block.numbers[place]
    assert "404 No Such Number" in berlin.call(number, gets=404).messages
    sites.forward(berlin, Condition.ALWAYS, number)
    assert "404 No Such Number" in call_in(sites.line, berlin.numbers[0], gets=404).messages


def test_a_number_beside_ours_is_not_ours(berlin: Phone, free_block: NumberBlock, network: Played) -> None:
    berlin.call(f"+{free_block.first_number + free_block.size}")
    network.finish()


def test_a_number_that_rests_is_not_found(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    with sites.changing(hamburg) as trunk:
        close_trunk(trunk, sites.runtime.clock())
    assert "404 No Such Number" in berlin.call(hamburg.numbers[0], gets=404).messages


@pytest.mark.parametrize("number", [MOBILE, "0043158858123", "115"])
def test_what_comes_from_the_network_does_not_go_back_to_it(sites: Sites, number: str) -> None:
    assert "404 No Such Number" in call_in(sites.line, number, gets=404).messages


def test_a_call_out_takes_a_channel(sites: Sites, network: Played) -> None:
    berlin = sites.order(channels=1)
    berlin.register()
    held = berlin.hold(MOBILE)
    assert "503 All Channels Of Your Trunk" in berlin.call("0043158858123", gets=503).messages
    assert "486 All Channels Of The Called" in call_in(sites.line, berlin.numbers[0], gets=486).messages
    held.hang_up()
    network.finish()
    berlin.answer()
    call_in(sites.line, berlin.numbers[0])


@pytest.mark.parametrize(
    "status", ["404 Not Found", "484 Address Incomplete", "486 Busy Here", "503 Service Unavailable", "603 Decline"]
)
def test_what_the_network_says_is_what_the_caller_hears(
    sites: Sites, berlin: Phone, network_port: int, status: str
) -> None:
    refusing = refuse(sites.line, network_port, status, NETWORK)
    assert f"SIP/2.0 {status}" in berlin.call(MOBILE, gets=int(status[:3])).messages
    refusing.finish()
    # The refused call has released its channels.
    taking = answer(sites.line, network_port, NETWORK)
    berlin.call(MOBILE)
    taking.finish()
