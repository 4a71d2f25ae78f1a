"""Tests of brokers other than a plain Redis: Redis Sentinel, also when the master is lost, and Redis over TLS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from celery import Celery
from flask import Flask
from flask.testing import FlaskClient
from kombu import Queue

from models.db.session import Database
from models.db.work_queue import WorkKind
from models.links.links import submit_link
from models.requests.requests import Request
from models.states import Status
from models.values import utc_now
from models.vault import Vault
from tasks.broker_address import TCP_LIMITS, BrokerAddress
from tasks.hints import broker_fault, hint, sending_app
from tests.certificates import self_signed
from tests.factories import a_link, make_main
from tests.fakes import wait_until
from tests.sentinels import PASSWORD, Watched, watched_redis
from tests.tls_proxy import tls_in_front_of
from tests.workers.conftest import Children
from web.attempt_limits import Throttle
from workers import programs
from workers.stack.ports import LOOPBACK

pytestmark = pytest.mark.usefixtures("database_settings")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Provide a running Redis master, its replica and a sentinel that watches them."""
    with watched_redis(tmp_path) as found:
        yield found


def test_hints_find_the_new_master_and_a_worker_goes_on_without_a_restart(
    watched: Watched, children: Children, database: Database
) -> None:
    children.start(programs.worker(1, [WorkKind.VERIFY]), REDIS_URL=watched.url)
    wait_until(lambda: "ready." in children.said(), what="the worker")
    with sending_app("standorte-test", watched.url):

        def goes_through() -> None:
            with database.transaction() as session:
                main, manager = make_main(session)
                link = submit_link(session, Vault("a key"), manager, main, a_link("1000001"), utc_now())

            def ended() -> bool:
                hint([WorkKind.VERIFY])
                with database.transaction() as session:
                    return session.get_one(Request, link.id).status is Status.REJECTED

            wait_until(ended, what="the end of the request")

        goes_through()
        watched.master.stop()
        wait_until(lambda: watched.master_port() == watched.replica.port, what="another master")
        wait_until(lambda: broker_fault() is None, what="the broker to take hints again")
        goes_through()
    counting = counts_wrong_tries(watched.url)
    assert [counting.get("/").status_code for _ in range(11)] == [200] * 10 + [429]
    with redis.Redis(port=watched.replica.port, password=PASSWORD) as client:
        assert client.info("replication")["role"] == "master"
        assert client.keys("LIMITS*")


def test_hints_and_wrong_tries_go_over_tls_to_a_server_that_is_trusted(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    server = urlsplit(redis_url)
    assert server.port is not None
    with tls_in_front_of(server.port, certificate) as port, redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        url = server._replace(scheme="rediss", netloc=server.netloc.replace(str(server.port), str(port))).geturl()
        with sending_app("standorte-test", url):
            assert broker_fault() == "OperationalError"
            assert not hint([WorkKind.VERIFY])
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with sending_app("standorte-test", url):
            assert broker_fault() is None
            assert hint([WorkKind.VERIFY])
        assert client.llen(WorkKind.VERIFY) == 1
        counting = counts_wrong_tries(url)
        assert [counting.get("/").status_code for _ in range(11)] == [200] * 10 + [429]
        assert client.keys("LIMITS*")


def counts_wrong_tries(url: str) -> FlaskClient:
    """Return a client of a small application with one page, `/`: each GET counts as a try with a wrong code.

    The page answers 429 when the portal's limit for such tries is exceeded. `url` is the URL of the Redis that has the
    counters.
    """
    app = Flask("counting")
    throttle = Throttle(app, url, Database("postgresql+psycopg://"))

    @app.get("/")
    def _wrong() -> str:
        throttle.begin_code_try("1000001")
        throttle.count_wrong_try()
        return ""

    return app.test_client()


def test_a_worker_that_waits_for_a_hint_notices_that_the_brokers_host_has_vanished(watched: Watched) -> None:
    master = watched.master.url()
    for url in (watched.url, master):
        with Celery("standorte-test", config_source="celeryconfig", set_as_current=False) as worker:
            settings = BrokerAddress(url).celery_settings
            options = worker.conf.broker_transport_options | settings["broker_transport_options"]
            worker.conf.update(broker_url=settings["broker_url"], broker_transport_options=options)
            with worker.connection_for_read() as connection:
                channel: Any = connection.default_channel
                client = channel.client
                waiting = client.connection_pool.get_connection()
                limits = {option: waiting._sock.getsockopt(socket.IPPROTO_TCP, option) for option in TCP_LIMITS}
                assert waiting._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert limits == TCP_LIMITS
                client.connection_pool.release(waiting)


def test_a_hint_is_acknowledged_without_a_broker(watched: Watched) -> None:
    # An acknowledgement that failed would keep the worker from taking another hint, for good.
    with Celery("standorte-test", config_source="celeryconfig", set_as_current=False) as worker:
        worker.conf.update(broker_url=watched.master.url())
        worker.send_task(WorkKind.SWEEP)
        with worker.connection_for_read() as connection:
            channel: Any = connection.default_channel
            channel.basic_qos(0, 1, False)
            with connection.Consumer(Queue(WorkKind.SWEEP), on_message=lambda _: None) as consumer:
                taken: list[Any] = []
                consumer.on_message = taken.append
                connection.drain_events(timeout=10)
                [hint_message] = taken
                assert not channel.qos.can_consume()
                watched.master.stop()
                hint_message.ack()
                assert channel.qos.can_consume()


def test_a_sentinel_that_says_nothing_is_asked_once(watched: Watched) -> None:
    # With the library's own repetitions it would hold a customer, and /readyz, for a quarter of a minute each time.
    with socket.create_server((LOOPBACK, 0)) as silent:
        port = silent.getsockname()[1]
        url = watched.url.replace("@", f"@{LOOPBACK}:{port},")
        with sending_app("standorte-test", url):
            assert broker_fault() is None
        assert counts_wrong_tries(url).get("/").status_code == 200
        silent.settimeout(0)
        asked = [silent.accept()[0] for _ in range(2)]
        with pytest.raises(BlockingIOError):
            silent.accept()
        for connection in asked:
            connection.close()


@pytest.mark.parametrize(
    ("url", "celery", "limiter"),
    [
        ("rediss://:p@host:6380/1", "rediss://:p@host:6380/1", "rediss://:p@host:6380/1"),
        ("sentinel://a:1,b:2/m", "sentinel://a:1;sentinel://b:2", "redis+sentinel://a:1,b:2/m"),
        ("sentinel://a/m", "sentinel://a:26379", "redis+sentinel://a:26379/m"),
        (
            "sentinel://:p%2Fq@a:1,b:2/m",
            "sentinel://:p%2Fq@a:1;sentinel://:p%2Fq@b:2",
            "redis+sentinel://a:1,b:2/m",
        ),
    ],
)
def test_each_library_hears_of_the_broker_in_its_own_form(url: str, celery: str, limiter: str) -> None:
    address = BrokerAddress(url)
    assert address.celery_settings["broker_url"] == celery
    assert address.limiter_settings["RATELIMIT_STORAGE_URI"] == limiter
    if url.startswith("sentinel"):
        assert address.celery_settings["broker_transport_options"]["master_name"] == "m"
