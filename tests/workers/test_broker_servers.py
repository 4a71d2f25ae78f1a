"""Tests of brokers other than one plain Redis: behind Redis Sentinel, whose master is lost, and over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from models.db.session import Database
from models.db.work_queue import WorkKind
from models.links.links import submit_link
from models.requests.requests import Request
from models.states import Status
from models.values import utc_now
from models.vault import Vault
from tasks.broker_address import BrokerAddress
from tasks.hints import broker_fault, hint, sending_app
from tests.certificates import self_signed
from tests.factories import a_link, make_main
from tests.fakes import wait_until
from tests.sentinels import PASSWORD, Watched, watched_redis
from tests.tls_proxy import tls_in_front_of
from tests.workers.conftest import Children
from web.throttle import Throttle
from workers import programs

pytestmark = pytest.mark.usefixtures("database_settings")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Run a master, a replica and a sentinel."""
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
    """Return a client of an application whose only page counts a wrong code, by the limits of the portal."""
    app = Flask("counting")
    throttle = Throttle(app, url)

    @app.get("/")
    def _wrong() -> str:
        throttle.begin_code_try("1000001")
        throttle.count_wrong_try()
        return ""

    return app.test_client()


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
