"""What changes at the portal, or in the registrar behind its back, counts for the next message."""

from __future__ import annotations

import psycopg
import pytest

from models.telephony import TrunkState, give_up_trunk
from models.vault import new_sip_secret
from tests.sip.conftest import Sites
from tests.sip.phones import Phone, call_in
from workers.gateways.registrar import plain_url


def test_a_suspended_site_is_out_at_once_and_can_come_back(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    number = berlin.numbers[0]
    with sites.changing(berlin) as trunk:
        trunk.state = TrunkState.SUSPENDED
    berlin.register(gets=403)
    berlin.call(hamburg.numbers[0], gets=403)
    call_in(sites.line, number, gets=404)
    with sites.changing(berlin) as trunk:
        trunk.state = TrunkState.ACTIVE
    # What it had registered before does not count any more.
    call_in(sites.line, number, gets=480)
    berlin.register()
    berlin.answer()
    call_in(sites.line, number)


def test_a_closed_site_is_out_and_its_numbers_rest(sites: Sites, berlin: Phone) -> None:
    with sites.changing(berlin) as trunk:
        give_up_trunk(trunk, sites.runtime.clock())
    berlin.register(gets=403)
    call_in(sites.line, berlin.numbers[0], gets=404)


def test_a_new_secret_counts_at_once_also_while_registered(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    old = berlin.secret
    berlin.secret = new_sip_secret()
    with sites.changing(berlin) as trunk:
        trunk.secret = sites.runtime.vault.seal(berlin.secret)
    hamburg.answer()
    berlin.call(hamburg.numbers[0])
    berlin.register()
    berlin.secret = old
    berlin.register(gets=403)
    berlin.call(hamburg.numbers[0], gets=403)


def test_fewer_channels_count_at_once(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    with sites.changing(berlin) as trunk:
        trunk.channels = 1
    hamburg.answer()
    held = berlin.hold(hamburg.numbers[0])
    berlin.call(hamburg.numbers[0], gets=503)
    held.hang_up()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM subscriber",
        "UPDATE subscriber SET ha1 = 'x'",
        "DELETE FROM dbaliases",
        "UPDATE dbaliases SET alias_username = alias_username || '0'",
        "UPDATE usr_preferences SET value = '0' WHERE attribute = 'channels'",
        "DELETE FROM usr_preferences WHERE attribute = 'channels'",
    ],
)
def test_what_was_damaged_by_hand_is_mended(
    sites: Sites, berlin: Phone, hamburg: Phone, registrar_url: str, damage: str
) -> None:
    with psycopg.connect(plain_url(registrar_url)) as connection:
        connection.execute(damage.encode())
    sites.reconcile()
    hamburg.answer()
    berlin.call(hamburg.numbers[0])
