"""Tests of `standorte demo` from end to end, with the real API and the workers' code in this process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa
import typer
from flask_openapi3 import OpenAPI
from typer.testing import CliRunner, Result

from models.db.roles import DatabaseRole
from models.db.session import Database
from models.messages.outbox import Channel, Message
from models.people.api_tokens import ApiToken
from models.requests.requests import Request
from models.states import Status
from models.values import utc_now
from models.vault import Vault
from tasks.ports import GatewayRefused, Mail, Ports
from tasks.runtime import Runtime
from tests.due_work import advance_requests, send_messages, sync_registrar
from tests.factories import an_order, make_main, submit_order
from tests.fakes import FakeRegistrar
from web.app import create_app
from workers.commands import demo, resources
from workers.demo import play
from workers.demo.api import PortalApi
from workers.demo.mailbox import Mailbox, caught_mails
from workers.demo.people import People
from workers.demo.seed import seed
from workers.gateways.letters import LetterFolder
from workers.gateways.smtp import build_message
from workers.settings import WorkerSettings
from workers.stack.postgres import EmbeddedPostgres

SCENES = 25

pytestmark = pytest.mark.usefixtures("database_settings")


@dataclass
class FolderMailer:
    """A mail gateway that stores each mail as a file in `folder`, as the embedded stack's mail catcher does.

    `refused` says, by e-mail address, how many of the next mails to it are refused.
    """

    folder: Path
    refused: dict[str, int] = field(default_factory=dict)

    def send(self, mail: Mail) -> None:
        if self.refused.get(mail.recipient_address):
            self.refused[mail.recipient_address] -= 1
            raise GatewayRefused("no such box")
        message = build_message(mail, Address("Portal", addr_spec="portal@example.com"))
        (self.folder / f"{uuid4().hex}.eml").write_bytes(message.as_bytes())

    def close(self) -> None:
        pass


@pytest.fixture
def runtime(database: Database, tmp_path: Path) -> Runtime:
    """Load the demo data, and return a runtime for workers with it; mails and letters are written to files."""
    vault = Vault(WorkerSettings().secret_key.get_secret_value())
    seed(database, vault, "sip.example.com", utc_now())
    mails, letters = tmp_path / "mails", tmp_path / "letters"
    mails.mkdir()
    registrar = FakeRegistrar()
    ports = Ports(registrar, FolderMailer(mails), LetterFolder(letters, "Portal"), registrar, registrar)
    return Runtime(database, ports, vault, utc_now, "sip.example.com", "http://portal.test", "portal.test")


class Network(httpx.WSGITransport):
    """An HTTP transport to the web application in this process.

    Before each GET it processes due requests and mails, as workers would do.
    """

    def __init__(self, front: OpenAPI, runtime: Runtime) -> None:
        super().__init__(app=front)
        self._runtime = runtime

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            advance_requests(self._runtime)
            sync_registrar(self._runtime)
            for _ in range(2):
                send_messages(self._runtime)
        return super().handle_request(request)


@pytest.fixture
def stack(
    runtime: Runtime, postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runtime]:
    """Let `standorte demo` use a web application in this process; yield the runtime of the workers.

    The application's database connections are closed after the test.
    """
    monkeypatch.setenv("FRONT_DATABASE_URL", postgres.url("standorte", DatabaseRole.FRONT))
    front = create_app()
    network = Network(front, runtime)
    monkeypatch.setattr(resources, "hint_workers", lambda kinds: None)
    monkeypatch.setattr(demo, "PortalApi", lambda url, token: PortalApi(url, token, network))
    monkeypatch.setattr(demo, "People", partial(People, transport=network))
    monkeypatch.setattr(demo, "_mailbox", lambda _: Mailbox(tmp_path / "mails", tmp_path / "letters", patience=1))
    monkeypatch.setattr(play, "POLL_SECONDS", 0)
    yield runtime
    # create_app keeps the database open until the process ends, so the test closes it.
    front.extensions["standorte"].database.close()


def run() -> Result:
    console = typer.Typer()
    console.command()(demo.demo)
    return CliRunner().invoke(console, [])


def test_everything_ends_as_it_should_and_does_so_again(stack: Runtime) -> None:
    for performance in (1, 2):
        result = run()

        assert result.exit_code == 0, result.stdout
        assert result.stdout.count("✓") == SCENES
        assert "Die Kundennummer" in result.stdout
        with stack.database.transaction() as session:
            ended = session.scalars(sa.select(Request.status)).all()
            assert len(ended) == SCENES * performance
            assert ended.count(Status.COMPLETED) == 16 * performance
            assert all(session.scalars(sa.select(ApiToken.revoked_at)))


def test_a_mail_too_few_is_noticed(stack: Runtime) -> None:
    assert isinstance(stack.ports.mailer, FolderMailer)
    stack.ports.mailer.refused["dortmund@example.de"] = 1

    result = run()

    assert result.exit_code == 1
    assert result.stdout.count("✗") == 1
    said = " ".join(result.stdout.split())
    assert "it should be 2 to dortmund@example.de, 3 to maxi.mustermensch@example.com" in said


def test_without_demo_data_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "_mailbox", lambda _: Mailbox(tmp_path, tmp_path))
    result = run()

    assert result.exit_code == 1
    assert "There is no demo data" in result.stderr


def test_only_mails_of_these_requests_are_counted(database: Database, tmp_path: Path) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        ours, other = (submit_order(session, manager, main, an_order(), utc_now()).id for _ in range(2))
        session.flush()
        messages = session.scalars(sa.select(Message).where(Message.channel == Channel.MAIL).order_by(Message.id)).all()
        assert {message.request_id for message in messages} == {ours, other}
        twice = next(message for message in messages if message.request_id == ours)
        for number, message in enumerate([*messages, twice]):
            mail = EmailMessage()
            mail["To"] = f"Somebody <{message.recipient_address}>"
            mail["Message-ID"] = message.message_id("portal.test")
            (tmp_path / f"{number}.eml").write_bytes(mail.as_bytes())
        (tmp_path / "other.eml").write_text("To: a@example.com\nMessage-ID: <other@example.com>\n\n")

        expected = Counter(message.recipient_address for message in messages if message.request_id == ours)
        expected[twice.recipient_address] += 1
        assert caught_mails(session, tmp_path, [ours], 0) == {ours: expected}
        assert not caught_mails(session, tmp_path, [ours], time.time() + 60)[ours]
