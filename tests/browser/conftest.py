"""The real front on a free port, on a real PostgreSQL, and a real browser that looks at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, sync_playwright
from pydantic import SecretStr
from werkzeug.serving import make_server

from models.accounts import Account
from models.orders import submit_order
from models.people import Principal
from models.session import Database
from tests.factories import an_order, fill_pool, make_main
from tests.fakes import FakeClock
from tests.web.conftest import SECRET
from web.app import create_app
from web.resources import resources
from web.settings import WebSettings

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Without one the tests are skipped, but on a CI machine (CI=true) they fail."""
    executable = shutil.which("chromium")
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail(_NO_CHROMIUM, pytrace=False)
        pytest.skip(_NO_CHROMIUM)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=_LAUNCH, headless=True)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a German browser without a past. At its end nothing may have been blocked or broken."""
    context = browser.new_context(locale="de-DE", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(10_000)
    opened = context.new_page()
    broken: list[str] = []
    opened.on("pageerror", lambda error: broken.append(str(error)))
    opened.on("console", lambda said: broken.append(said.text) if "Content Security Policy" in said.text else None)
    yield opened
    context.close()
    assert broken == []


@pytest.fixture
def portal(postgres: Any, database: Database, clock: FakeClock, tmp_path: Path) -> Iterator[Portal]:
    """The front without a worker, so that a fresh order stays fresh for as long as somebody looks at it."""
    settings = WebSettings(
        database_url=postgres.url("standorte"),
        redis_url="redis://127.0.0.1:1/0",
        secret_key=SecretStr(SECRET),
        dev_mail_dir=tmp_path,
        dev_letters_dir=tmp_path,
    )
    app = create_app(settings, clock)
    with database.transaction() as session:
        main, manager = make_main(session, subs=1)
        fill_pool(session)
        ordered = submit_order(session, manager, main, an_order(), clock()).customer_number
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = Thread(target=server.serve_forever)
    serving.start()
    yield Portal(f"http://127.0.0.1:{server.port}", database, main, manager, ordered, app, tmp_path)
    server.shutdown()
    serving.join()
    server.server_close()
    with app.app_context():
        resources().database.close()
