"""Fixtures of the web tests: the application in the test's process, on a real PostgreSQL and a fake Redis."""

from __future__ import annotations

import pickle
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import uuid4

import fakeredis
import pytest
import redis
import sqlalchemy as sa
from flask import Flask, before_render_template, template_rendered
from flask.testing import FlaskClient
from itsdangerous import URLSafeTimedSerializer
from jinja2 import FileSystemBytecodeCache, Template
from pydantic import SecretStr
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.people.api_tokens import create_token
from models.people.rights import Principal, Scope
from models.people.users import User
from models.vault import Vault
from tasks.bulk.place import place_due
from tasks.hints import sending_app
from tasks.ports import Ports
from tasks.runtime import Runtime
from tests.due_work import advance_requests, send_messages, sync_registrar
from tests.emptying import Emptying
from tests.factories import NOW, PLENTY, fill_pool, make_main
from tests.factories import SECRET as SECRET
from tests.fakes import FakeClock, FakeMailer, FakePrinter, FakeRegistrar
from web.app import create_app
from web.resources import resources, store_resources
from web.settings import WebSettings
from web.telephone_network import TelephoneNetwork

ORDER: dict[str, Any] = {
    "product": "trunk-10",
    "channels": 4,
    "location": {"name": "Filiale Berlin", "street": "Brückenstr. 5", "postal_code": "10179", "city": "Berlin"},
    "contact": {"name": "Hanna Palmer", "email": "hanna.palmer@example.com", "phone": "+4930901820"},
    "numbers": {"area_code": "030", "block_size": 10},
    "locale": "de",
}
FrontOf = Callable[..., FlaskClient]


@dataclass
class Front:
    """A test client of the web application, with a main account, its manager, and the manager's API token.

    `post`, `get` and `delete` call the API with the token. `client` is Flask's test client, which keeps cookies as a
    browser does.
    """

    client: FlaskClient
    database: Database
    main: Account
    manager: Principal
    token: str

    def post(self, path: str, body: object = None, *, key: str | None = None, **headers: str) -> TestResponse:
        """Send a POST with the JSON `body` to a path under /api/v1, with the idempotency key `key` (None: a new one).

        `headers` are further headers. Return the answer.
        """
        head = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key or uuid4().hex, **headers}
        return self.client.post("/api/v1" + path, json=body, headers=head)

    def get(self, path: str, **headers: str) -> TestResponse:
        """Send a GET to a path under /api/v1 with the API token; return the answer. `headers` are further headers."""
        return self.client.get("/api/v1" + path, headers={"Authorization": f"Bearer {self.token}", **headers})

    def delete(self, path: str) -> TestResponse:
        """Send a DELETE to a path under /api/v1 with the API token; return the answer."""
        return self.client.delete("/api/v1" + path, headers={"Authorization": f"Bearer {self.token}"})

    def token_with(self, *scopes: Scope) -> str:
        """Create an API token of the manager for the main account, with these scopes; return the token."""
        with self.database.transaction() as session:
            account = session.get_one(Account, self.main.id)
            user = session.get_one(User, self.manager.user_id)
            return create_token(session, account, user, "test", frozenset(scopes), NOW)


@dataclass
class Back:
    """The workers' code with fakes of the registrar, the mail server and the printer, which keep what they are sent."""

    runtime: Runtime
    mailer: FakeMailer
    printer: FakePrinter
    clock: FakeClock

    def advance(self) -> None:
        """Do one batch of due requests, one of due messages and one of due bulk files."""
        advance_requests(self.runtime)
        send_messages(self.runtime)
        place_due(self.runtime, lambda: None)

    def advance_to_the_network(self) -> None:
        """Do due work, write due trunks to the registrar, and do the work that has waited for that."""
        self.advance()
        sync_registrar(self.runtime)
        self.advance()

    def mail_to(self, address: str) -> tuple[str, str]:
        """Return the path of the link, and the code, in the newest mail to this address. Fail if either is missing."""
        text = [mail.text for mail in self.mailer.sent if mail.recipient_address == address][-1]
        return _found(rf"{BASE_URL}(/\S+)", text), _found(CODE, text)

    def letter_code(self) -> str:
        """Return the code of the newest letter."""
        return _found(CODE, self.printer.printed[-1].text)


BASE_URL = "http://portal.example"
CODE = r":\s+([A-Z0-9]{5} [A-Z0-9]{5})\b"


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found[1]


@pytest.fixture
def back(worker_database: Database, clock: FakeClock) -> Back:
    """Provide the workers' code with fakes of outside systems, on the database of the web application in the test."""
    return back_of(worker_database, clock)


def back_of(database: Database, clock: FakeClock) -> Back:
    """Return the workers' code with fakes of outside systems, on this database.

    It has the secret key of the web application in tests, so both derive the same codes.
    """
    registrar, mailer, printer = FakeRegistrar(), FakeMailer(), FakePrinter()
    runtime = Runtime(
        database=database,
        ports=Ports(registrar, mailer, printer, registrar, registrar),
        vault=Vault(SECRET),
        clock=clock,
        sip_domain="sip.example",
        base_url=BASE_URL,
        mail_domain="portal.example",
        limits=PLENTY,
    )
    return Back(runtime, mailer, printer, clock)


NO_REDIS = "redis://127.0.0.1:1/0"
"""The Redis URL of the web application in tests. Nothing listens there; a fake Redis keeps the counters of failed
attempts."""

# Compiling the templates takes a fifth of the time of these tests, if each process and each application does it anew.
_COMPILED = Path(__file__).parents[2] / ".pytest_cache" / "isolating-templates"


@contextmanager
def running(postgres: Any, clock: FakeClock, **settings: Any) -> Iterator[Flask]:
    """Create the web application on the test's database, yield it, and close its database connections at the end.

    `settings` replace the usual settings. Redis is a fake unless `redis_url` is among them.
    """
    usual = {
        "database_url": postgres.url("standorte", DatabaseRole.FRONT),
        "redis_url": NO_REDIS,
        "secret_key": SecretStr(SECRET),
        # Passkeys need a host name.
        "base_url": "http://localhost:8000",
    }
    usual |= settings
    with pytest.MonkeyPatch.context() as patch:
        if usual["redis_url"] == NO_REDIS:
            patch.setattr(redis, "from_url", fakeredis.FakeRedis.from_url)
        app = create_app(WebSettings(**usual), clock)
    _COMPILED.mkdir(parents=True, exist_ok=True)
    app.jinja_env.bytecode_cache = FileSystemBytecodeCache(str(_COMPILED))
    yield app
    with app.app_context():
        resources().database.close()


def form_token(client: FlaskClient) -> str:
    """Return a CSRF token that is valid for all forms in this client's session.

    Tests that only sign in, for example, need not open the form's page for it.
    """
    with client.session_transaction() as session:
        secret = session.setdefault("csrf_token", token_hex(20))
    key = client.application.secret_key
    assert key is not None
    return str(URLSafeTimedSerializer(key, salt="wtf-csrf-token").dumps(secret))


def as_new(app: Flask) -> Flask:
    """Reset what earlier tests left in a shared application, and return the application.

    The counters of failed attempts become zero, and the process's default Celery app is again the web application's.
    """
    forget_attempts(app)
    sending_app("standorte-front", NO_REDIS).set_default()
    return app


def forget_attempts(app: Flask) -> None:
    """Set the application's counters of failed attempts to zero."""
    for limiter in app.extensions["limiter"]:
        limiter.limiter.storage.reset()


@pytest.fixture(scope="session")
def usual_app(postgres: Any, session_clock: FakeClock) -> Iterator[Flask]:
    """Create the web application once per session, because creating it takes longer than most tests.

    It is shared by the tests, and closed at the end of the session.
    """
    with running(postgres, session_clock) as app:
        yield app


@pytest.fixture
def front_of(postgres: Any, database: Database, clock: FakeClock) -> Iterator[FrontOf]:
    """Provide a function that takes settings, creates a web application with them, and returns its test client.

    Settings that are not given have their usual values. The applications use the test's database, and are closed after
    the test.
    """
    with ExitStack() as stack:

        def make(**settings: Any) -> FlaskClient:
            app = stack.enter_context(running(postgres, clock, **settings))
            stack.enter_context(templates_leave_alone(app))
            return app.test_client()

        yield make


@pytest.fixture
def usual_with(usual_app: Flask, clock: FakeClock) -> Iterator[FrontOf]:
    """Provide a function that changes settings of the shared application, and returns a new test client of it.

    Only limits and `registrar_url` can be changed: the application reads all other settings while it is created. For
    those, the fixture `front_of` creates a new application, which takes longer. The usual settings are restored after
    the test.
    """
    with usual_app.app_context():
        usual = resources()

    def make(**settings: Any) -> FlaskClient:
        changed = usual.settings.model_copy(update=settings)
        network = None if changed.registrar_url is None else TelephoneNetwork(changed.registrar_url, clock)
        store_resources(usual_app, replace(usual, settings=changed, network=network))
        return usual_app.test_client()

    yield make
    store_resources(usual_app, usual)


@pytest.fixture
def front(usual_app: Flask, database: Database, emptying: Emptying, clock: FakeClock) -> Iterator[Front]:
    """Provide a client in which nobody is signed in, with a main account, its manager and the manager's API token.

    The number pool has numbers to order. The test fails if a transaction is open while a template is rendered.
    """
    app = as_new(usual_app)
    found = Front(app.test_client(), database, *_customer(database, emptying))
    with templates_leave_alone(app):
        yield found


_customers: dict[Emptying, bytes] = {}


def _customer(database: Database, emptying: Emptying) -> tuple[Account, Principal, str]:
    """Create a main account, its manager, an API token, and numbers to order; return the first three.

    They are created once for each process, and later tests get the same rows back. Only if the database has other rows
    already, new ones are created.
    """
    if emptying in _customers and emptying.put_back("customer"):
        kept: tuple[Account, Principal, str] = pickle.loads(_customers[emptying])
        return kept
    is_alone = emptying.is_empty() and emptying not in _customers
    with database.transaction() as session:
        main, manager = make_main(session)
        fill_pool(session)
        user = session.get_one(User, manager.user_id)
        token = create_token(session, main, user, "test", frozenset({Scope.READ, Scope.WRITE}), NOW)
    if is_alone:
        emptying.keep("customer")
        _customers[emptying] = pickle.dumps((main, manager, token))
    return main, manager, token


@contextmanager
def templates_leave_alone(app: Flask) -> Iterator[None]:
    """Check during the `with` block that no transaction is open or begins while a template is rendered.

    At the end of the block, fail with a list of the templates for which that was not so.
    """
    with app.app_context():
        engine = resources().database.engine
    here = threading.local()
    wrong: list[str] = []

    def begins(*_: object) -> None:
        here.open = getattr(here, "open", 0) + 1
        if rendered := getattr(here, "rendered", None):
            wrong.append(f"a transaction begins in {rendered}")

    def ends(*_: object) -> None:
        here.open -= 1

    def before(_: Flask, template: Template, **__: object) -> None:
        here.rendered = template.name
        if getattr(here, "open", 0):
            wrong.append(f"a transaction is open at {template.name}")

    def after(_: Flask, **__: object) -> None:
        here.rendered = None

    sa.event.listen(engine, "checkout", begins)
    sa.event.listen(engine, "checkin", ends)
    with before_render_template.connected_to(before, app), template_rendered.connected_to(after, app):
        yield
    sa.event.remove(engine, "checkout", begins)
    sa.event.remove(engine, "checkin", ends)
    assert wrong == []
