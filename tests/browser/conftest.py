"""The real front on a free port, on a real PostgreSQL, and a real browser that looks at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Browser, Page, expect, sync_playwright
from werkzeug.serving import make_server

from models.accounts import Account
from models.orders import submit_order
from models.people import Principal
from models.session import Database
from tests.browser.visit import DESKTOP, Pages, Visit, Way, chromium, working
from tests.factories import an_order, fill_pool, make_account, make_main, make_user
from tests.fakes import FakeClock, MailSink, wait_until
from tests.web.conftest import as_new, running
from web.resources import resources
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
    """The front, where it listens, and the folder in which /dev/mail finds mails and letters."""

    url: str
    app: Flask
    mails: Path


@dataclass
class Portal:
    """The portal, the main account with one sub-account and a fresh order, and the manager's login.

    `ordered`: the customer number of the fresh order. `mails`: where /dev/mail finds mails and letters.
    """

    url: str
    database: Database
    main: Account
    manager: Principal
    ordered: str
    app: Flask
    mails: Path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Without one the tests are skipped, but on a CI machine (CI=true) they fail."""
    executable = chromium()
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail(_NO_CHROMIUM, pytrace=False)
        pytest.skip(_NO_CHROMIUM)
    # For machines with little to spare: who waits for what is there does not wait.
    expect.set_options(timeout=15_000)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=_LAUNCH, headless=True)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def _usual(
    postgres: EmbeddedPostgres, session_clock: FakeClock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The front, made and served once: to make it takes longer than to show a page."""
    mails = tmp_path_factory.mktemp("mails")
    settings = {"registrar_url": postgres.url("registrar"), "dev_mail_dir": mails, "dev_letters_dir": mails}
    with running(postgres, session_clock, **settings) as app:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield Served(f"http://127.0.0.1:{server.port}", app, mails)
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.fixture
def served(_usual: Served, database: Database, registrar_url: str, clock: FakeClock) -> Iterator[Served]:
    """The front without a worker."""
    with _usual.app.app_context():
        pool = resources().database.engine.pool
    assert isinstance(pool, sa.QueuePool)
    as_new(_usual.app)
    yield _usual
    for file in _usual.mails.iterdir():
        file.unlink()
    # What a page has asked for last may still be on its way when its browser is closed.
    wait_until(lambda: pool.checkedout() == 0, what="the last answer")


@pytest.fixture
def pages(browser: Browser, served: Served) -> Iterator[Pages]:
    """As many browsers as a test needs, closed before the data is removed that their pages ask for."""
    opened = Pages(browser)
    yield opened
    opened.close()


@pytest.fixture
def page(pages: Pages) -> Page:
    """A page of a German browser on a desktop."""
    return pages.open()


@pytest.fixture
def portal(served: Served, database: Database, clock: FakeClock) -> Portal:
    """With no worker a fresh order stays fresh for as long as somebody looks at it."""
    with database.transaction() as session:
        main, manager = make_main(session, subs=1)
        fill_pool(session)
        ordered = submit_order(session, manager, main, an_order(), clock()).customer_number
    return Portal(served.url, database, main, manager, ordered, served.app, served.mails)


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
    """The location manager of the client's page, in German at a desktop or as a test is parametrised."""
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
