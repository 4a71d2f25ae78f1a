"""Tests of Kamailio while its database is silent: emergency calls succeed, other requests must be repeated later."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from models.db.roles import DatabaseRole
from tests.fakes import wait_until
from tests.proxy import Proxy, proxy_to
from tests.sip.conftest import Sites, run_kamailio
from tests.sip.phones import Phone, answer
from tests.sip.wire import Wire
from workers.gateways.registrar import plain_url
from workers.stack.kamailio import EmbeddedKamailio
from workers.stack.ports import LOOPBACK
from workers.stack.postgres import EmbeddedPostgres

_PROCESSES = 8
"""How many processes of Kamailio receive messages over UDP."""


@pytest.fixture
def between(postgres: EmbeddedPostgres) -> Iterator[Proxy]:
    """Provide a running proxy to the database server, which can make the server silent for Kamailio."""
    with proxy_to(f"{postgres.socket_dir}/.s.PGSQL.5432") as proxy:
        yield proxy


@pytest.fixture
def berlin(
    kamailio: EmbeddedKamailio,
    postgres: EmbeddedPostgres,
    sites: Sites,
    between: Proxy,
    psap_port: int,
    network_port: int,
    tmp_path: Path,
) -> Iterator[Phone]:
    """Provide a registered phone system at a Kamailio whose database is behind the proxy `between`."""
    url = f"postgresql+psycopg://{DatabaseRole.KAMAILIO}@{LOOPBACK}:{between.port}/registrar"
    with run_kamailio(postgres, tmp_path / "sip", psap_port, network_port, registrar_url=url) as server:
        sites.line.server = server.port
        phone = sites.order()
        phone.register()
        yield phone
        between.speak()


def test_an_emergency_call_goes_through_though_the_database_answers_nobody(
    berlin: Phone, sites: Sites, between: Proxy, psap_port: int
) -> None:
    stranger = sites.order()
    between.silence()
    with ExitStack() as stack:
        waiting = [stack.enter_context(Wire(berlin)) for _ in range(_PROCESSES * 3)]
        for wire, request in [(wire, wire.request(nonce=wire.nonce())) for wire in waiting]:
            wire.send(request)
        # By now each process waits for the database, or has waited.
        for _ in range(2):
            taking = answer(sites.line, psap_port)
            berlin.call("112")
            heard = taking.finish().heard("INVITE")
            assert heard.startswith(f"INVITE sip:112-10179@{LOOPBACK}:{psap_port} SIP/2.0")
            assert f"P-Asserted-Identity: <sip:{berlin.numbers[0]}@sip.example>" in heard
    dataclasses.replace(berlin, secret="geraten").call("112", gets=403)
    # Nobody can tell whether the secret of a phone that was never here is right.
    assert "Retry-After: " in stranger.call("112", gets=503).messages


def test_what_needs_the_database_is_told_to_come_back_and_served_again_when_it_answers(
    berlin: Phone, between: Proxy
) -> None:
    between.silence()
    with Wire(berlin) as wire:
        refused = wire.register()
        assert refused.startswith("SIP/2.0 503") and re.search(r"^Retry-After: [12]\d\r$", refused, re.M)
        called = wire.ask(wire.request("INVITE", berlin.numbers[0]))
        assert called.startswith("SIP/2.0 503")
        between.speak()
        # Asked for the secret, no longer told to come back.
        wait_until(lambda: wire.ask(wire.request()).startswith("SIP/2.0 401"), what="the database's answer")
        assert wire.register().startswith("SIP/2.0 200")


def test_a_restart_of_the_database_that_is_over_costs_nobody_a_registration(berlin: Phone, between: Proxy) -> None:
    with Wire(berlin) as wire:
        for _ in range(3):
            between.cut()
            assert [wire.register()[8:11] for _ in range(_PROCESSES)] == ["200"] * _PROCESSES


def test_a_query_that_waits_for_a_lock_is_ended_by_the_database(berlin: Phone, registrar_url: str) -> None:
    with psycopg.connect(plain_url(registrar_url)) as somebody, Wire(berlin) as wire:
        somebody.execute("LOCK location")
        assert wire.register().startswith("SIP/2.0 500")
        # Kamailio's own clean-up may have asked, too.
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: somebody.execute(waiting).fetchone() == (0,), what="the end of every query that waits")


def test_what_is_kept_counts_only_while_the_database_is_silent(
    berlin: Phone, sites: Sites, psap_port: int, registrar_url: str
) -> None:
    with psycopg.connect(plain_url(registrar_url)) as connection:
        connection.execute("UPDATE usr_preferences SET value = '20095' WHERE attribute = 'postal_code'")
    taking = answer(sites.line, psap_port)
    berlin.call("110")
    assert taking.finish().heard("INVITE").startswith("INVITE sip:110-20095@")
