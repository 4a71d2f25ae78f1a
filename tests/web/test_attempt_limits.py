"""Tests that failed attempts are counted in Redis for all processes, or by each process while Redis is away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
import redis
from flask.testing import FlaskClient

from tests.factories import PASSWORD
from tests.web.conftest import Front, FrontOf, form_token
from workers.stack.redis import EmbeddedRedis


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """Provide a running Redis of the test's own, for counters of failed attempts; it is stopped after the test."""
    server = EmbeddedRedis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def make(front: Front, front_of: FrontOf, counters: EmbeddedRedis) -> FrontOf:
    """Provide a function that creates a new web application, and returns its test client. All share the test's Redis.

    It takes further settings.
    """
    return partial(front_of, redis_url=counters.url(0))


def attempt(client: FlaskClient, number: str = "9999999", peer: str = "192.0.2.1", **headers: str) -> int:
    """Submit a wrong code on the page for codes from letters; return the status of the answer.

    `number` is the customer number on the form, `peer` the IP address of the browser. `headers` are headers of the
    request.
    """
    token = form_token(client)
    form = {"csrf_token": token, "customer_number": number, "code": "AAAAA AAAAA"}
    answer = client.post("/brief", data=form, headers=headers, environ_base={"REMOTE_ADDR": peer})
    return answer.status_code


def guess(client: FlaskClient, name: str, peer: str = "192.0.2.1", **headers: str) -> int:
    """Sign in as NAME@example.com with a wrong password; return the status of the answer.

    `peer` is the IP address of the browser, `headers` are headers of the request.
    """
    form = {"csrf_token": form_token(client), "email": f"{name}@example.com", "password": "wrong"}
    answer = client.post("/anmelden", data=form, headers=headers, environ_base={"REMOTE_ADDR": peer})
    return answer.status_code


def test_all_fronts_count_together_and_keep_no_name(make: FrontOf, counters: EmbeddedRedis) -> None:
    one, other = make(), make()
    answers = [guess(client, "hanna", f"192.0.2.{turn}") for turn in range(6) for client in (one, other)]
    assert answers == [422] * 10 + [429] * 2
    with redis.Redis.from_url(counters.url(0)) as client:
        keys = [key.decode() for key in client.scan_iter("LIMITS*")]
    assert len(keys) > 1 and not any("hanna" in key for key in keys)


def test_when_redis_is_gone_or_hangs_each_front_counts_for_itself(make: FrontOf, counters: EmbeddedRedis) -> None:
    client = make()
    assert attempt(client) == 422
    with redis.Redis.from_url(counters.url(0)) as asking:
        pid = asking.info()["process_id"]
    os.kill(pid, signal.SIGSTOP)
    assert attempt(client) == 422
    # From time to time one call checks whether Redis is back.
    assert [attempt(client) for _ in range(10)] == [422] * 9 + [429]
    os.kill(pid, signal.SIGCONT)


def test_a_client_is_told_apart_by_its_address(make: FrontOf) -> None:
    client = make()
    for turn in range(30):
        assert guess(client, f"person{turn}") == 422
    assert guess(client, "other2000000") == 429
    assert guess(client, "other2000001", peer="192.0.2.2") == 422
    # Without a trusted proxy the header is ignored.
    assert guess(client, "other2000002", **{"X-Forwarded-For": "198.51.100.1"}) == 429


def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_saw(make: FrontOf) -> None:
    client = make(trusted_proxies=1)
    for turn in range(30):
        claimed = f"203.0.113.{turn}, 198.51.100.1"
        assert guess(client, f"person{turn}", **{"X-Forwarded-For": claimed}) == 422
    assert guess(client, "other2000000", **{"X-Forwarded-For": "198.51.100.1"}) == 429
    assert guess(client, "other2000001", **{"X-Forwarded-For": "198.51.100.2"}) == 422


def test_an_ipv6_network_is_one_client(make: FrontOf) -> None:
    client = make()
    for turn in range(30):
        assert guess(client, f"person{turn}", peer=f"2001:db8::{turn}") == 422
    assert guess(client, "other2000000", peer="2001:db8::ffff:1") == 429
    assert guess(client, "other2000001", peer="2001:db8:0:1::1") == 422


def test_of_many_wrong_tries_at_once_no_more_go_on_than_may(make: FrontOf, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make(web_threads=13)
    token = form_token(client)
    began = Barrier(12, timeout=30)

    def answered_late(*_: object) -> None:
        # Refused attempts do not reach this point.
        began.wait()

    monkeypatch.setattr("web.portal.proofs.letters.answer_letter", answered_late)

    def wrong() -> int:
        own = client.application.test_client()
        own.set_cookie("session", session, domain="localhost")
        form = {"csrf_token": token, "customer_number": "9999999", "code": "AAAAA AAAAA"}
        status = own.post("/brief", data=form, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code
        if status == 429:
            began.wait()
        return status

    session = client.get_cookie("session").value  # type: ignore[union-attr]
    with ThreadPoolExecutor(12) as pool:
        answers = sorted(pool.map(lambda _: wrong(), range(12)))
    assert answers == [422] * 10 + [429] * 2
    assert attempt(client) == 429


def test_right_tries_are_given_back(front: Front, make: FrontOf, counters: EmbeddedRedis) -> None:
    client = make()
    form = {"email": front.manager.email, "password": PASSWORD}
    for _ in range(12):
        form["csrf_token"] = form_token(client)
        assert client.post("/anmelden", data=form).status_code == 302
        client.post("/abmelden", data={"csrf_token": form_token(client)})
    with redis.Redis.from_url(counters.url(0), decode_responses=True) as asking:
        assert {asking.get(key) for key in asking.scan_iter("LIMITS*")} == {"0"}


def test_windows_slide(make: FrontOf, counters: EmbeddedRedis) -> None:
    client = make()
    assert [attempt(client) for _ in range(10)] == [422] * 10

    def age(minutes: int) -> None:
        with redis.Redis.from_url(counters.url(0)) as asking:
            for key in asking.scan_iter("LIMITS*"):
                asking.pexpire(key, asking.pttl(key) - minutes * 60_000)

    # A window that ended would allow ten more at once: twenty within seconds.
    age(minutes=15)
    assert [attempt(client) for _ in range(2)] == [422, 429]
    age(minutes=6)
    assert [attempt(client) for _ in range(5)] == [422] * 4 + [429]
