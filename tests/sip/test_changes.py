"""What changes at the portal, or in the registrar behind its back, counts for the next message."""

from __future__ import annotations

import psycopg
import pytest

from models.vault import new_sip_secret
from tests.sip.conftest import Sites
from tests.sip.phones import Phone
from workers.gateways.registrar import plain_url


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
