"""The front in one process, on a real PostgreSQL, with no broker in reach: it accepts requests all the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from models.accounts import Account
from models.people import Principal, Scope, User, create_token
from models.session import Database
from tests.factories import NOW, fill_pool, make_main
from tests.fakes import FakeClock
from web.app import create_app
from web.resources import resources
from web.settings import WebSettings

ORDER: dict[str, Any] = {
    "product": "trunk-10",
    "channels": 4,
    "location": {"name": "Filiale Berlin", "street": "Brückenstr. 5", "postal_code": "10179", "city": "Berlin"},
    "contact": {"name": "Hanna Palmer", "email": "hanna.palmer@example.com", "phone": "+4930901820"},
    "numbers": {"area_code": "030", "block_size": 10},
    "locale": "de",
}


@dataclass
class Front:
    """A client of the front, and the main account it acts for."""

    client: FlaskClient
    database: Database
    main: Account
    manager: Principal
    token: str

    def post(self, path: str, body: object = None, *, key: str | None = None, **headers: str) -> TestResponse:
        """A POST of the API."""
        head = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key or uuid4().hex, **headers}
        return self.client.post("/api/v1" + path, json=body, headers=head)

    def get(self, path: str, **headers: str) -> TestResponse:
        """A GET of the API."""
        return self.client.get("/api/v1" + path, headers={"Authorization": f"Bearer {self.token}", **headers})

    def token_with(self, *scopes: Scope) -> str:
        """A token of the same person with these scopes."""
        with self.database.transaction() as session:
            account = session.get_one(Account, self.main.id)
            user = session.get_one(User, self.manager.user_id)
            return create_token(session, account, user, "test", frozenset(scopes), NOW)


@pytest.fixture
def front(postgres: Any, database: Database, clock: FakeClock) -> Iterator[Front]:
    """The front, a main account, and a token of its administrator."""
    app = create_app(
        WebSettings(
            database_url=postgres.url("standorte"),
            redis_url="redis://127.0.0.1:1/0",
            secret_key=SecretStr("a secret for tests, long enough to be one"),
        ),
        clock,
    )
    with database.transaction() as session:
        main, manager = make_main(session)
        fill_pool(session)
    found = Front(app.test_client(), database, main, manager, "")
    found.token = found.token_with(Scope.READ, Scope.WRITE)
    yield found
    with app.app_context():
        resources().database.close()
