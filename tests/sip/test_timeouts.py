"""Tests of what Kamailio does when a timeout ends, such as that of a call whose phones have died.

The timeouts are shortened for these tests.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from models.db.roles import DatabaseRole
from tests.fakes import wait_until
from tests.sip.conftest import DOMAIN, Sites
from tests.sip.phones import NETWORK, Phone
from tests.sip.short_timeouts import LIMIT, PAUSE, HastyKamailio
from tests.sip.sipp import Line
from tests.sip.wire import Wire
from workers.gateways.registrar import plain_url
from workers.stack.kamailio import EmbeddedKamailio
from workers.stack.ports import LOOPBACK, free_sip_port
from workers.stack.postgres import EmbeddedPostgres


@pytest.fixture
def hasty(kamailio: EmbeddedKamailio, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Line]:
    """Provide a `Line`, which runs sipp, for a second Kamailio that has short timeouts."""
    server = HastyKamailio(
        tmp_path / "hasty",
        registrar_url=postgres.url("registrar", DatabaseRole.KAMAILIO),
        domain=DOMAIN,
        interconnect=NETWORK,
        network=f"{NETWORK}:9",
        emergency=f"{LOOPBACK}:9",
        user=postgres.user,
    )
    server.start()
    line = Line(tmp_path, server.port, DOMAIN, interconnect=server.interconnect_port)
    yield line
    line.end()
    server.stop()


def test_what_takes_its_time(sites: Sites, hasty: Line, registrar_url: str) -> None:
    berlin, hamburg, munich, cologne = (sites.order(channels=1) for _ in range(4))
    for phone in (berlin, hamburg, munich, cologne):
        phone.line = hasty
    call_id = "after-silence@test"
    attending = munich.attend(call_id)
    silent_since = time.monotonic()
    hamburg.register()
    elsewhere = f"{LOOPBACK}:{free_sip_port()}"
    taking = hamburg.answer(contact=elsewhere)
    held = berlin.hold(hamburg.numbers[0])
    # Both sides lose their power, and nobody says BYE.
    ports = held.where[1], hamburg.port
    for played in (taking, held):
        played.end()
    with socket.socket(type=socket.SOCK_DGRAM) as caller, socket.socket(type=socket.SOCK_DGRAM) as called:
        for wire, port in zip((caller, called), ports, strict=True):
            wire.bind((LOOPBACK, port))
            wire.settimeout(10)
        # Both are asked where their messages came from, not where their Contact leads.
        for wire in (caller, called):
            # On a slow machine an ACK comes late, because the 200 was sent twice.
            wait_until(lambda wire=wire: wire.recv(65535).startswith(b"OPTIONS "), what="the question")  # type: ignore[misc]
    with Wire(berlin) as calling:
        number = hamburg.numbers[0]

        def answered() -> str:
            return calling.ask(calling.request("INVITE", number, nonce=calling.nonce()))[8:11]

        hamburg.register(expires=0)
        # The only channel of the caller is free again.
        wait_until(lambda: answered() == "480", what="the end of the dead call")
    _guess(berlin, hamburg, registrar_url)
    # A process of the server keeps a connection for some seconds beyond its life.
    time.sleep(max(0, silent_since + 12 - time.monotonic()))
    cologne.call(munich.numbers[0], call_id=call_id)
    attending.finish()


def _guess(berlin: Phone, hamburg: Phone, registrar_url: str) -> None:
    """Assert that after too many wrong passwords from an IP address its registrations are refused for a while.

    Phones at the same address that have registered with the right password before are not refused.
    """
    nobody = replace(hamburg, user="t000000000009")
    with (
        Wire(berlin) as known,
        Wire(replace(berlin, secret="geraten")) as guessing,
        Wire(hamburg) as other,
        Wire(nobody) as stranger,
    ):
        old = known.nonce()
        assert known.register().startswith("SIP/2.0 200")
        answers = [guessing.register() for _ in range(LIMIT)]
        assert [answer[8:11] for answer in answers] == ["403"] * 5 + ["503"] * (LIMIT - 5)
        assert known.register().startswith("SIP/2.0 200") and other.register().startswith("SIP/2.0 200")
        assert stranger.register().startswith("SIP/2.0 503")
        time.sleep(PAUSE + 1)
        assert stranger.register().startswith("SIP/2.0 403")
        assert guessing.register().startswith("SIP/2.0 403")
        # A nonce that has expired meanwhile.
        stale = known.ask(known.request(nonce=old))
        assert stale.startswith("SIP/2.0 401") and "stale=true" in stale
    with psycopg.connect(plain_url(registrar_url)) as connection:
        # One was written at once, all others with the first after the pause.
        tries = connection.execute("SELECT tries FROM refusals WHERE username = %s", [berlin.user]).fetchall()
    assert tries == [(LIMIT + 1,)]
