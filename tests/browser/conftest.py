"""Fixtures of the browser tests: the web application on a free port, with a real PostgreSQL, and a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Browser, Page, expect, sync_playwright
from werkzeug.serving import make_server

from models.accounts.accounts import Account
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.people.rights import Principal
from tests.browser.axe import share_checks
from tests.browser.visit import DESKTOP, Contexts, Device, Pages, Visit, chromium
from tests.browser.working import working
from tests.factories import an_order, fill_pool, make_account, make_main, make_user, submit_order
from tests.fakes import FakeClock, MailSink, wait_until
from tests.made_once import folder_of_run
from tests.sip.conftest import kamailio as kamailio
from tests.sip.conftest import network_port as network_port
from tests.sip.conftest import psap_port as psap_port
from tests.web.conftest import as_new, running
from web.resources import resources
from workers.demo.carrier import DEMO_CARRIER
from workers.stack.postgres import EmbeddedPostgres

_LAUNCH = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # All pages are ours: one process draws them, and no other one has to be started for each context.
    "--renderer-process-limit=1",
    "--process-per-site",
    "--disable-site-isolation-trials",
    "--in-process-gpu",
    "--disable-software-rasterizer",
    # No new frame for each page that is opened, no process kept in reserve, none for the network alone.
    "--disable-features=IsolateOrigins,site-per-process,PaintHolding,Translate,BackForwardCache,RenderDocument,"
    "SpareRendererForSitePerProcess,AvoidUnnecessaryBeforeUnloadCheckSync,OptimizationHints,MediaRouter",
    "--enable-features=NetworkServiceInProcess2",
)
_NO_CHROMIUM = "NO CHROMIUM ON PATH: NO BROWSER TEST HAS RUN. As root on Debian: .make/chromium"


@dataclass
class Served:
    """The web application while it runs: its URL, the application, and the folder of the mails that /dev/mail shows."""

    url: str
    app: Flask
    mails: Path


@dataclass
class Portal:
    """The running web application at `url`, with a main account that has a sub-account and a new order.

    `manager` is the administrator of `main`, `ordered` the customer number of the new order, `mails` the folder of the
    mails that the pages at /dev/mail show.
    """

    url: str
    database: Database
    main: Account
    manager: Principal
    ordered: str
    app: Flask
    mails: Path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Debian's Chromium, and close it at the end. Without it the tests are skipped; on CI (CI=true) they fail."""
    share_checks(folder_of_run(tmp_path_factory))
    executable = chromium()
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


@pytest.fixture(scope="session")
def _usual(
    postgres: EmbeddedPostgres, session_clock: FakeClock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Create and serve the web application once per session, because that takes longer than a test.

    It stops at the end of the session. The fixture `served` resets what tests leave in it.
    """
    mails = tmp_path_factory.mktemp("mails")
    settings: dict[str, Any] = {"registrar_url": postgres.url("registrar", DatabaseRole.FRONT)}
    settings |= {"dev_mail_dir": mails, "dev_letters_dir": mails}
    settings |= {name.lower(): value for name, value in DEMO_CARRIER.items()}
    with running(postgres, session_clock, **settings) as app:
        # No browser asks again for each style sheet and script with every page: they stay the same while tests run.
        app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 86400
        server = make_server("127.0.0.1", 0, app, threaded=True)
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield Served(f"http://127.0.0.1:{server.port}", app, mails)
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.fixture
def served(_usual: Served, database: Database, registrar_url: str, clock: FakeClock) -> Iterator[Served]:
    """Provide the running web application without what earlier tests left in it (counters, mails). No workers run."""
    with _usual.app.app_context():
        pool = resources().database.engine.pool
    assert isinstance(pool, sa.QueuePool)
    as_new(_usual.app)
    yield _usual
    for file in _usual.mails.iterdir():
        file.unlink()
    # The last request of a page may still run after its browser is closed.
    wait_until(lambda: pool.checkedout() == 0, what="the last answer")


@pytest.fixture(scope="session")
def contexts(browser: Browser) -> Contexts:
    """Provide the pool from which tests take browser contexts, and to which they return them for later tests."""
    return Contexts(browser)


@pytest.fixture
def pages(contexts: Contexts, served: Served) -> Iterator[Pages]:
    """Provide an object that opens pages, each in a separate browser context.

    They are closed at the end of the test, before its data is deleted.
    """
    opened = Pages(contexts)
    yield opened
    opened.close()


@pytest.fixture
def page(pages: Pages) -> Page:
    """Open an empty page in a German desktop browser."""
    return pages.open()


@pytest.fixture
def portal(served: Served, database: Database, clock: FakeClock) -> Portal:
    """Create a main account with a sub-account and a new order, and provide them with the running web application.

    No workers run, so the order stays new.
    """
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
    worker_database: Database,
    clock: FakeClock,
    smtp_sink: MailSink,
    tmp_path: Path,
) -> Iterator[Visit]:
    """Provide a visit of a main account's administrator to the portal, in a German desktop browser.

    A test can be parametrized with another `Device` (language, screen, JavaScript). The visit's workers run only when
    the test calls them; they send mails by SMTP and print letters as PDF.
    """
    device: Device = getattr(request, "param", DESKTOP)
    with database.transaction() as session:
        person = make_user(session, email="maxi@mustermensch.example", name="Maxi Mustermensch", locale=device.language)
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
    with working(served.url, worker_database, clock, smtp_sink, tmp_path) as workers:
        yield Visit(pages.open(device), pages, device, served.app, served.url, main, person, workers)
