"""Tests of RabbitMQ as broker: hints, workers and beat with a real server that is killed or has a wrong queue."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection, Queue

from models.db.session import Database
from models.db.work_queue import WorkKind
from models.links.links import submit_link
from models.requests.requests import Request
from models.states import Status
from models.values import utc_now
from models.vault import Vault
from tasks.broker_address import BrokerAddress, broker_url
from tasks.hints import broker_fault, hint, send_hint, sending_app
from tasks.settings import SettingsError
from tests.certificates import self_signed
from tests.factories import a_link, make_main
from tests.fakes import wait_until
from tests.rabbitmq import RabbitMQ, waiting_hints
from tests.tls_proxy import tls_in_front_of
from tests.workers.conftest import Children
from workers import programs
from workers.commands.doctor import CHECKS, Broken
from workers.settings import WorkerSettings
from workers.stack.ports import free_port


@pytest.fixture
def app(rabbitmq: RabbitMQ) -> Iterator[Celery]:
    """Provide a Celery app that sends to RabbitMQ and is the current app of this process."""
    with sending_app("standorte-test", rabbitmq.url, connections=3) as app:
        yield app


@pytest.fixture
def submit(database: Database) -> Callable[[], Callable[[], bool]]:
    """Provide a function that submits a link request, which a worker has to reject.

    It returns another function, which tells whether a worker has rejected the request.
    """
    numbers = iter(range(1000001, 1000100))

    def submitted() -> Callable[[], bool]:
        with database.transaction() as session:
            main, manager = make_main(session)
            link = submit_link(session, Vault("a key"), manager, main, a_link(str(next(numbers))), utc_now())

        def is_rejected() -> bool:
            with database.transaction() as session:
                return session.get_one(Request, link.id).status is Status.REJECTED

        return is_rejected

    return submitted


@pytest.mark.usefixtures("database_settings", "app")
def test_what_a_dead_broker_lost_is_found_and_worker_and_beat_go_on_without_a_restart(
    rabbitmq: RabbitMQ, children: Children, submit: Callable[[], Callable[[], bool]], tmp_path: Path
) -> None:
    kinds = [WorkKind.VERIFY, WorkKind.SWEEP]
    children.start(programs.worker(1, kinds), BROKER_URL=rabbitmq.url)
    wait_until(lambda: children.said().count("ready.") == len(kinds), what="the worker")
    first = submit()
    assert hint([WorkKind.VERIFY])
    wait_until(first, what="the end of the request")
    children.start(programs.beat(tmp_path / "schedule"), BROKER_URL=rabbitmq.url)
    second = submit()
    wait_until(second, what="the sweep to find what no hint tells of")
    rabbitmq.stop()
    third = submit()
    assert not hint([WorkKind.VERIFY])
    assert broker_fault() is not None
    rabbitmq.start()
    wait_until(third, seconds=60, what="the end of the request whose hint was lost")
    assert "worker.ended" not in children.said()
    assert children.said().count("ready.") == len(kinds)


@pytest.mark.usefixtures("app")
def test_no_queue_grows_while_no_worker_runs(rabbitmq: RabbitMQ) -> None:
    assert broker_fault() is None
    for kind in (WorkKind.VERIFY, WorkKind.MESSAGES, WorkKind.VERIFY, WorkKind.VERIFY):
        assert send_hint(kind)
    assert waiting_hints(rabbitmq) == {WorkKind.VERIFY: 1, WorkKind.MESSAGES: 1}


@pytest.mark.usefixtures("app")
def test_connections_that_broke_while_idle_lose_no_hint(rabbitmq: RabbitMQ) -> None:
    assert hint([WorkKind.VERIFY])
    rabbitmq.stop()
    rabbitmq.start()
    assert hint([WorkKind.MESSAGES])
    assert broker_fault() is None
    assert waiting_hints(rabbitmq)[WorkKind.MESSAGES] == 1


def test_a_queue_of_another_kind_in_the_place_of_ours_is_a_fault(app: Celery, rabbitmq: RabbitMQ) -> None:
    with app.connection_for_write() as connection:
        Queue(WorkKind.VERIFY).bind(connection.default_channel).queue_declare()
    assert broker_fault() == "PreconditionFailed"
    assert not send_hint(WorkKind.VERIFY)
    # The channel that the server closed is not used again.
    assert send_hint(WorkKind.MESSAGES)


def test_workers_make_no_queues_for_later(
    app: Celery, rabbitmq: RabbitMQ, children: Children, database_settings: None
) -> None:
    children.start(programs.worker(1, [WorkKind.VERIFY]), BROKER_URL=rabbitmq.url)
    wait_until(lambda: "ready." in children.said(), what="the worker")
    # As the container asks for its worker's health.
    wait_until(lambda: bool(app.control.ping(timeout=1)), what="an answer of the worker")
    with app.connection_for_write() as connection, pytest.raises(connection.channel_errors, match="celery_delayed_0"):
        Queue("celery_delayed_0").bind(connection.default_channel).queue_declare(passive=True)


def test_hints_go_over_tls_to_a_server_that_is_trusted(
    rabbitmq: RabbitMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    with tls_in_front_of(rabbitmq.port, certificate) as port:
        url = rabbitmq.url.replace("amqp://", "amqps://").replace(str(rabbitmq.port), str(port))
        with sending_app("standorte-test", url):
            assert broker_fault() == "OperationalError"
            assert not hint([WorkKind.VERIFY])
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with sending_app("standorte-test", url):
            assert broker_fault() is None
            assert hint([WorkKind.VERIFY])
    assert waiting_hints(rabbitmq) == {WorkKind.VERIFY: 1}


def test_of_several_nodes_one_that_is_away_does_no_harm(rabbitmq: RabbitMQ) -> None:
    away = rabbitmq.url.replace(f":{rabbitmq.port}", f":1,127.0.0.1:{rabbitmq.port}")
    with sending_app("standorte-test", away):
        assert hint([WorkKind.VERIFY])
        assert broker_fault() is None


def test_doctor_writes_to_the_broker_and_to_the_counters(
    rabbitmq: RabbitMQ, redis_url: str, monkeypatch: pytest.MonkeyPatch, database_settings: None
) -> None:
    monkeypatch.setenv("BROKER_URL", rabbitmq.url)
    assert CHECKS["broker"](WorkerSettings()) == "takes hints"
    with pytest.raises(Broken, match=r"^Redis: ConnectionError"):
        CHECKS["wrong tries"](WorkerSettings())
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert CHECKS["wrong tries"](WorkerSettings()) == "counted in Redis"
    monkeypatch.delenv("REDIS_URL")
    assert CHECKS["wrong tries"](WorkerSettings()) == "counted in the database"
    monkeypatch.setenv("BROKER_URL", rabbitmq.url.replace(f":{rabbitmq.port}/", f":{free_port()}/"))
    with pytest.raises(Broken, match=r"^OperationalError$"):
        CHECKS["broker"](WorkerSettings())


def test_a_program_needs_a_broker_and_may_have_two_servers(
    monkeypatch: pytest.MonkeyPatch, database_settings: None
) -> None:
    monkeypatch.setenv("BROKER_URL", "redis://broker/1")
    assert (WorkerSettings().hints_url, WorkerSettings().redis_url) == ("redis://broker/1", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("BROKER_URL", "http://broker")
    with pytest.raises(SettingsError, match=r"^BROKER_URL must begin with redis://.*, or for RabbitMQ with amqp://"):
        WorkerSettings()
    # As Compose passes on what is not set.
    monkeypatch.setenv("BROKER_URL", "")
    assert WorkerSettings().hints_url == broker_url(os.environ) == "redis://127.0.0.1:1/0"
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("BROKER_URL", "amqp://broker//")
    assert (WorkerSettings().hints_url, WorkerSettings().redis_url) == ("amqp://broker//", None)
    assert broker_url(os.environ) == "amqp://broker//"
    monkeypatch.delenv("BROKER_URL")
    assert broker_url(os.environ) == "redis://127.0.0.1:6379/0"
    monkeypatch.delenv("REDIS_URL")
    with pytest.raises(SettingsError, match=r"^REDIS_URL is missing"):
        WorkerSettings()


def test_celery_hears_of_each_node() -> None:
    settings = BrokerAddress("amqps://u:p%2Fq@a:1,b:2/portal").celery_settings
    assert settings["broker_url"] == "amqps://u:p%2Fq@a:1/portal;amqps://u:p%2Fq@b:2/portal"
    assert {queue.name for queue in settings["task_queues"]} == set(WorkKind)
    with Connection(settings["broker_url"]) as connection:
        assert (connection.userid, connection.password, connection.virtual_host) == ("u", "p/q", "portal")
