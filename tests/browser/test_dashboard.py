"""Tests in the browser of an account's dashboard, as users of the main account and the local team see and use it.

A local administrator can see and renew the SIP password. A local member can only set up call forwardings.
"""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from models.accounts.accounts import Account
from models.telephony.trunks import SipTrunk
from models.vault import Vault
from tests.browser.conftest import Portal
from tests.browser.signing_in import sign_in_without_form
from tests.browser.test_portal import card, send_form
from tests.factories import PASSWORD
from tests.web.conftest import SECRET
from tests.web.portal.accounts.sites import OLD, Site, give_numbers, make_site


@pytest.fixture
def site(portal: Portal) -> Site:
    """Create a location: a sub-account with a trunk, an administrator, a local member, and a forwarding when busy."""
    with portal.database.transaction() as session:
        return make_site(session, session.get_one(Account, portal.main.id))


def come_in(page: Page, portal: Portal, email: str) -> None:
    """Sign in as the user with this e-mail address, without the form, and open the page that the portal shows first."""
    sign_in_without_form(page, portal.app, portal.url, email)
    page.goto(portal.url)


def test_the_main_account_looks_in_and_the_local_team_sees_it(page: Page, portal: Portal, site: Site) -> None:
    come_in(page, portal, portal.manager.email)
    number = site.account.customer_number
    card(page, number).get_by_role("link", name="Dashboard anzeigen").click()
    expect(page.get_by_role("note")).to_contain_text(f"Sie sehen den Nebenaccount {number} (Filiale Köln)")
    expect(page.get_by_role("note")).to_contain_text(portal.main.customer_number)
    expect(page.get_by_text("t000000000001").first).to_be_visible()
    expect(page.get_by_role("heading", name="Wer hineingesehen")).to_have_count(0)
    page.get_by_role("link", name="Zurück zur Übersicht").click()
    expect(page).to_have_url(re.compile(f"konto={portal.main.customer_number}#konto-{number}$"))
    expect(card(page, number)).to_be_visible()
    page.get_by_role("button", name="Abmelden").click()
    send_form(page, portal, PASSWORD, site.administrator.email)
    expect(page).to_have_url(portal.url + site.path)
    expect(page.get_by_role("note")).to_have_count(0)
    seen = page.get_by_role("listitem").filter(has_text="Hat das Dashboard angesehen.")
    expect(seen).to_contain_text(portal.manager.name)
    expect(seen).to_contain_text(f"über Hauptaccount {portal.main.customer_number}")
    page.get_by_role("link", name="Ganzes Protokoll anzeigen").click()
    expect(page.get_by_role("heading", name="Protokoll")).to_be_visible()
    expect(seen).to_have_count(1)


def test_a_local_administrator_sees_a_secret_and_renews_it(page: Page, portal: Portal, site: Site) -> None:
    sign_in_without_form(page, portal.app, portal.url, site.administrator.email)
    page.goto(portal.url + site.path)
    page.get_by_role("link", name="SIP-Passwort anzeigen").click()
    page.get_by_label("Ihr Passwort").fill("falsch")
    page.get_by_role("button", name="SIP-Passwort anzeigen").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Ihr Passwort").fill(PASSWORD)
    page.get_by_role("button", name="SIP-Passwort anzeigen").click()
    expect(page.locator(".code")).to_have_text(OLD)
    page.get_by_role("link", name="Zurück zum Dashboard").click()
    page.get_by_role("link", name="SIP-Passwort erneuern").click()
    expect(page.get_by_text("gilt gleich darauf nicht mehr")).to_be_visible()
    page.get_by_label("Ihr Passwort").fill(PASSWORD)
    page.get_by_role("button", name="SIP-Passwort erneuern").click()
    expect(page.get_by_role("heading", name="Das neue SIP-Passwort")).to_be_visible()
    shown = page.locator(".code").inner_text()
    assert re.fullmatch(r"\w{24}", shown) and shown != OLD
    with portal.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk)).one()
        assert Vault(SECRET).open(trunk.secret) == shown and trunk.due_at is not None
    # The secret does not stay in the browser.
    page.get_by_role("link", name="Zurück zum Dashboard").click()
    assert shown not in page.content()
    entries = page.get_by_role("listitem").filter(has_text="SIP-Passwort von t000000000001")
    expect(entries).to_have_count(2)


def test_a_local_member_sees_call_forwarding_and_nothing_else(page: Page, portal: Portal, site: Site) -> None:
    send_form(page, portal, PASSWORD, site.member.email)
    expect(page).to_have_url(portal.url + site.path + "/rufweiterleitung")
    menu = page.get_by_role("navigation", name="Hauptmenü")
    assert menu.get_by_role("link").all_inner_texts() == ["Rufweiterleitung"]
    for path in (site.path, "/anfragen", "/verknuepfungscode", f"/benutzer/{site.account.customer_number}"):
        answer = page.goto(portal.url + path)
        assert answer is not None and answer.status == 404
    page.get_by_role("link", name="Rufweiterleitung").click()
    expect(page).to_have_url(portal.url + site.path + "/rufweiterleitung")


def test_a_forwarding_with_a_schedule(page: Page, portal: Portal, site: Site) -> None:
    come_in(page, portal, site.member.email)
    page.get_by_role("link", name="Rufweiterleitung einrichten").click()
    page.get_by_label("Immer", exact=True).check()
    page.get_by_label("Weiterleiten an").fill("110")
    page.get_by_label("Nach einem Wochenplan").check()
    line = page.get_by_role("group", name="Zeile 1")
    for day in ("Montag", "Dienstag", "Mittwoch", "Donnerstag"):
        line.get_by_label(day).check()
    line.get_by_label("von").fill("08:00")
    line.get_by_label("bis").fill("10:00")
    page.get_by_role("button", name="Speichern").click()
    expect(page.get_by_role("alert")).to_contain_text("Notrufnummer")
    page.get_by_label("Weiterleiten an").fill("+49 (0)171 / 765 43-21")
    page.get_by_role("button", name="Speichern").click()
    expect(page.get_by_text("Sie gilt ab dem nächsten Anruf.")).to_be_visible()
    row = page.get_by_role("listitem").filter(has_text="Immer")
    expect(row).to_contain_text("0171 7654321")
    expect(row).to_contain_text("Mo–Do 08:00–10:00")
    # The clock of the test shows nine o'clock on a Monday in March.
    expect(row).to_contain_text("Gilt jetzt")
    expect(page.get_by_role("listitem").filter(has_text="Wenn besetzt ist")).to_contain_text("Gerade nicht")
    row.get_by_role("link", name="Ändern").click()
    expect(page.get_by_role("group", name="Zeile 1").get_by_label("Montag")).to_be_checked()
    page.get_by_label("Eingeschaltet").uncheck()
    page.get_by_role("button", name="Speichern").click()
    expect(row).to_contain_text("Ausgeschaltet")
    row.get_by_role("link", name="Entfernen").click()
    expect(page.get_by_role("heading", name="Rufweiterleitung entfernen?")).to_be_visible()
    page.get_by_role("button", name="Entfernen").click()
    expect(row).to_have_count(0)


def test_what_a_forwarding_takes_out_is_said_below_its_badge(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        give_numbers(session, site)
    come_in(page, portal, site.member.email)
    overview = page.url
    for condition, numbers in (("always", "all"), ("no_answer", "some")):
        page.goto(overview + "/neu")
        page.locator(f"[name=condition][value={condition}]").check()
        page.locator(f"[name=numbers][value={numbers}]").check()
        if numbers == "some":
            page.locator("[name=first]").fill("0221 700340")
            page.locator("[name=after_seconds]").fill("20")
        page.get_by_label("Weiterleiten an").fill("0171 1111111")
        page.get_by_role("button", name="Speichern").click()
        expect(page.get_by_text("Sie gilt ab dem nächsten Anruf.")).to_be_visible()
    row = page.get_by_role("listitem").filter(has=page.locator(".hint.is-warning"))
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 800})
        badge, said = row.locator(".badge").bounding_box(), row.locator(".hint.is-warning").bounding_box()
        assert badge is not None and said is not None
        assert badge["y"] + badge["height"] <= said["y"], width


def test_fields_appear_when_they_are_chosen_and_lines_when_they_are_wanted(
    page: Page, portal: Portal, site: Site
) -> None:
    with portal.database.transaction() as session:
        give_numbers(session, site)
    come_in(page, portal, site.member.email)
    page.get_by_role("link", name="Wenn niemand ans Telefon geht").click()
    seconds, first = page.get_by_label("Sekunden, nach denen"), page.get_by_label("Rufnummer oder erste Nummer")
    line = page.get_by_role("group", name=re.compile("^Zeile"))
    expect(seconds).to_have_value("20")
    for hidden in (first, line.first):
        expect(hidden).to_be_hidden()
    page.get_by_label("Immer", exact=True).check()
    expect(seconds).to_be_hidden()
    page.get_by_label("Eine Rufnummer oder ein Bereich").check()
    first.fill("0221 700345")
    page.get_by_label("Nach einem Wochenplan").check()
    expect(line).to_have_count(3)
    page.get_by_role("button", name="Weitere Zeile").click()
    expect(line).to_have_count(4)
    expect(line.last.get_by_label("Montag")).to_be_focused()
    line.last.get_by_label("Montag").check()
    for label, time in (("von", "00:00"), ("bis", "23:00")):
        line.last.get_by_label(label).fill(time)
    # Enter saves; it does not ask for another line.
    page.get_by_label("Weiterleiten an").fill("0171 7654321")
    page.get_by_label("Weiterleiten an").press("Enter")
    expect(page.get_by_role("heading", name="0221 700345")).to_be_visible()
    expect(page.get_by_text("Mo 00:00–23:00")).to_be_visible()


def test_what_the_phone_system_needs_is_copied(page: Page, portal: Portal, site: Site) -> None:
    sign_in_without_form(page, portal.app, portal.url, site.administrator.email)
    page.goto(portal.url + site.path)
    copy, said = page.get_by_role("button", name=re.compile("Kopieren.*SIP-Benutzer")), page.locator("[data-copied]")
    # A browser that refuses selects the text instead.
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('refused')); }")
    copy.click()
    expect(said).to_have_text("SIP-Benutzer ist markiert: Kopieren Sie es mit der Tastatur.")
    assert page.evaluate("getSelection().toString()") == "t000000000001"
    page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.taken = text; }; }")
    copy.click()
    expect(said).to_have_text("Kopiert: SIP-Benutzer.")
    assert page.evaluate("window.taken") == "t000000000001"
