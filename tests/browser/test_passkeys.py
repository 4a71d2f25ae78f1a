"""Tests of passkeys in Chromium with a simulated device: set one up, sign in, and confirm important changes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from threading import Thread

import pytest
import sqlalchemy as sa
from playwright.sync_api import CDPSession, Page, expect
from werkzeug.serving import make_server

from models.accounts.accounts import Account
from models.db.session import Database
from models.people.invitations import Invitation
from models.people.rights import Principal
from models.people.second_factors import FactorKind, SecondFactor
from tests.browser.visit import Pages
from tests.factories import PASSWORD, make_main
from tests.fakes import FakeClock
from tests.web.conftest import running
from workers.stack.postgres import EmbeddedPostgres


@pytest.fixture
def url(postgres: EmbeddedPostgres, database: Database, clock: FakeClock) -> Iterator[str]:
    """Serve the web application at the host name localhost, because passkeys need a host name; yield its URL."""
    # Bound before the application is made, which has to know its own address.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://localhost:{listener.getsockname()[1]}"
        with running(postgres, clock, base_url=address) as app:
            server = make_server("127.0.0.1", 0, app, threaded=True, fd=listener.fileno())
            serving = Thread(target=server.serve_forever)
            serving.start()
            yield address
            server.shutdown()
            serving.join()


@pytest.fixture
def company(database: Database) -> tuple[Account, Principal]:
    """Create an account; return it and its administrator."""
    with database.transaction() as session:
        return make_main(session)


@pytest.fixture
def page(pages: Pages, url: str, company: tuple[Account, Principal]) -> Page:
    """Open a page in a German desktop browser that is closed before the web application of `url` stops."""
    return pages.open()


@pytest.fixture
def device(page: Page) -> tuple[CDPSession, str]:
    """Add a simulated passkey device to the browser, which confirms every request without being touched.

    Return the DevTools session that controls the device, and the device's id.
    """
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session, made["authenticatorId"]


def enter_password(page: Page, url: str, email: str) -> None:
    """Submit e-mail address and password on the sign-in page. Does not check which page follows."""
    page.goto(url + "/anmelden")
    page.get_by_label("E-Mail-Adresse").fill(email)
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()


def test_a_passkey_is_set_up_and_signs_in_and_confirms(
    page: Page,
    url: str,
    company: tuple[Account, Principal],
    device: tuple[CDPSession, str],
    database: Database,
    clock: FakeClock,
) -> None:
    main, manager = company
    enter_password(page, url, manager.email)
    page.get_by_role("button", name="Abmelden").wait_for()
    page.goto(url + "/anmeldung")
    page.get_by_role("link", name="Passkey einrichten").click()
    page.get_by_label("Name").fill("Notebook")
    page.get_by_label("Ihr Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Passkey einrichten").click()
    expect(page.get_by_role("heading", name="Ihre Wiederherstellungscodes")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Als Datei speichern").click()
    assert len(download.value.path().read_text().split("\n")) == 10
    page.get_by_role("button", name="Abmelden").click()

    enter_password(page, url, manager.email)
    page.get_by_role("button", name="Passkey verwenden").click()
    page.get_by_role("button", name="Abmelden").wait_for()
    page.goto(url + "/anmeldung")
    expect(page.get_by_text("Notebook", exact=False).first).to_be_visible()
    with database.transaction() as session:
        factor = session.scalars(sa.select(SecondFactor)).one()
        assert (factor.kind, factor.last_used_at) == (FactorKind.PASSKEY, clock.now) and factor.counter > 0

    page.goto(f"{url}/benutzer/{main.customer_number}/einladen")
    page.get_by_label("Name").fill("Ida Invitata")
    page.get_by_label("E-Mail-Adresse").fill("ida@example.com")
    page.locator("input[name=role]").first.check()
    clock.advance(timedelta(minutes=10))
    page.get_by_role("main").locator("button.primary").click()
    page.get_by_role("button", name="Passkey verwenden").click()
    page.get_by_role("button", name="Jetzt senden").click()
    expect(page.get_by_text("ida@example.com ist unterwegs")).to_be_visible()
    with database.transaction() as session:
        assert session.scalars(sa.select(Invitation.email)).all() == ["ida@example.com"]


def test_a_device_that_does_not_check_who_holds_it_proves_nothing(
    page: Page, url: str, company: tuple[Account, Principal], device: tuple[CDPSession, str], clock: FakeClock
) -> None:
    _, manager = company
    enter_password(page, url, manager.email)
    page.get_by_role("button", name="Abmelden").wait_for()
    page.goto(url + "/anmeldung/passkey")
    page.get_by_label("Ihr Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Passkey einrichten").click()
    expect(page.get_by_role("heading", name="Ihre Wiederherstellungscodes")).to_be_visible()
    page.get_by_role("button", name="Abmelden").click()
    protocol, id = device
    protocol.send("WebAuthn.setUserVerified", {"authenticatorId": id, "isUserVerified": False})
    enter_password(page, url, manager.email)
    page.get_by_role("button", name="Passkey verwenden").click()
    expect(page.get_by_text("Das hat mit dem Passkey nicht geklappt")).to_be_visible()
    # Without the browser's own check the portal would refuse the answer.
    page.locator("[data-passkey]").evaluate(
        "button => { const options = JSON.parse(button.dataset.passkey); options.userVerification = 'discouraged';"
        " button.dataset.passkey = JSON.stringify(options); }"
    )
    page.get_by_role("button", name="Passkey verwenden").click()
    expect(page.get_by_role("alert")).to_contain_text("Das hat mit dem Passkey nicht geklappt")
    clock.advance(timedelta(seconds=1))
    protocol.send("WebAuthn.setUserVerified", {"authenticatorId": id, "isUserVerified": True})
    page.get_by_role("button", name="Passkey verwenden").click()
    page.get_by_role("button", name="Abmelden").wait_for()
