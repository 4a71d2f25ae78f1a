"""Fixtures: the web application on a free port, with a real PostgreSQL, and a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pydantic import SecretStr
from werkzeug.serving import make_server

from models.accounts.accounts import Account
from models.db.session import Database
from models.orders.orders import submit_order
from models.people.rights import Principal
from tests.browser.visit import DESKTOP, Pages, Visit, Way, working
from tests.factories import an_order, fill_pool, make_account, make_main, make_user
from tests.fakes import FakeClock, MailSink
from tests.web.conftest import SECRET
from web.app import create_app
from web.resources import resources
from web.settings import WebSettings
from workers.stack.postgres import EmbeddedPostgres

_LAUNCH = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_NO_CHROMIUM = "NO CHROMIUM ON PATH: NO BROWSER TEST HAS RUN. As root on Debian: .make/chromium"


@dataclass
class Served:
    """The running web application and its URL."""

    url: str
    app: Flask


@dataclass
class Portal:
    """The running portal with a main account, a sub-account, a new order, and the manager's login.

    `ordered` is the customer number of the new order, `mails` the folder that /dev/mail reads.
    """

    url: str
    database: Database
    main: Account
    manager: Principal
    ordered: str
    app: Flask
    mails: Path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Debian's Chromium. Without it the tests are skipped; on CI (CI=true) they fail."""
    executable = shutil.which("chromium")
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail(_NO_CHROMIUM, pytrace=False)
        pytest.skip(_NO_CHROMIUM)
    # Generous, for slow machines: a wait ends as soon as its condition is true.
    expect.set_options(timeout=15_000)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=_LAUNCH, headless=True)
        yield launched
        launched.close()


@pytest.fixture
def pages(browser: Browser) -> Iterator[Pages]:
    """Provide as many browser contexts as a test needs."""
    opened = Pages(browser)
    yield opened
    opened.close()


@pytest.fixture
def page(pages: Pages) -> Page:
    """Open a page of a German browser on a desktop."""
    return pages.open()


@pytest.fixture
def served(
    postgres: EmbeddedPostgres, database: Database, registrar_url: str, clock: FakeClock, tmp_path: Path
) -> Iterator[Served]:
    """Run the web application without workers."""
    settings = WebSettings(
        database_url=postgres.url("standorte"),
        redis_url="redis://127.0.0.1:1/0",
        registrar_url=registrar_url,
        secret_key=SecretStr(SECRET),
        dev_mail_dir=tmp_path,
        dev_letters_dir=tmp_path,
    )
    app = create_app(settings, clock)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = Thread(target=server.serve_forever)
    serving.start()
    yield Served(f"http://127.0.0.1:{server.port}", app)
    server.shutdown()
    serving.join()
    server.server_close()
    with app.app_context():
        resources().database.close()


@pytest.fixture
def portal(served: Served, database: Database, clock: FakeClock, tmp_path: Path) -> Portal:
    """Create the accounts of the portal. Without workers the new order stays new."""
    with database.transaction() as session:
        main, manager = make_main(session, subs=1)
        fill_pool(session)
        ordered = submit_order(session, manager, main, an_order(), clock()).customer_number
    return Portal(served.url, database, main, manager, ordered, served.app, tmp_path)


@pytest.fixture
def visit(
    request: pytest.FixtureRequest,
    pages: Pages,
    served: Served,
    database: Database,
    clock: FakeClock,
    smtp_sink: MailSink,
    tmp_path: Path,
) -> Iterator[Visit]:
    """Open the visit of a location manager, in German on a desktop or as the test is parametrized."""
    way: Way = getattr(request, "param", DESKTOP)
    with database.transaction() as session:
        person = make_user(session, email="maxi@mustermensch.example", name="Maxi Mustermensch", locale=way.language)
        main = make_account(
            session,
            administrator=person,
            name="Mustermensch GmbH",
            contact_name="Maxi Mustermensch",
            street="Oranienplatz 1",
            postal_code="10999",
            city="Berlin",
        )
        fill_pool(session)
    with working(served.url, database, clock, smtp_sink, tmp_path) as workers:
        yield Visit(pages.open(way), pages, way, served.url, main, person, workers)
