"""Tests that the pages of the back office are accessible, and those of /dev/mail, which show caught mails."""

from __future__ import annotations

from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from flask import render_template
from playwright.sync_api import Page, Route

from models.jobs.findings import Finding
from models.jobs.jobs import Outcome, ask_for_run, begin_run
from models.people.users import User
from models.proofs.document_review import upload_document
from models.requests.requests import Request
from models.states import Status
from models.telephony.place_answers import ask
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tests.browser.accessibility.looks import look, look_after, look_as_it_is, look_wrong, shows, sign_in_as
from tests.browser.accessibility.test_orders_and_requests import becomes
from tests.browser.conftest import Portal
from tests.browser.test_proofs import waiting_order
from tests.factories import NOW, an_order, give_app, make_staff, submit_order
from tests.fakes import FakeClock


@shows("dev_mail.overview", "dev_mail.show")
def test_caught_mails(page: Page, portal: Portal) -> None:
    look(page, portal.url + "/dev/mail")
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "standorte@portal.example", "hanna@example.com", "Ihr Code"
    mail.set_content("Ihr Code: https://portal.example/" + "x" * 80)
    mail.add_alternative("<!doctype html><title>Ihr Code</title><p>Ihr Code</p>", subtype="html")
    (portal.mails / "20261124T120000-hanna@example.com.eml").write_bytes(mail.as_bytes())
    (portal.mails / "2846803.pdf").write_bytes(b"%PDF-1.7")
    for path in ("/dev/mail", "/dev/mail?an=nobody"):
        look(page, portal.url + path)
    page.goto(portal.url + "/dev/mail")
    look_after(page, page.get_by_role("link", name="Ihr Code"))


@shows(
    "office.todo",
    "office.request_page",
    "office.request_cancel",
    "office.request_document",
    "office.jobs",
    "office.removals",
    "office.search",
    "office.customer",
    "office.places",
    "office.place",
    "office.administrator",
    "office.reset_factors",
    "office.withdraw_reset",
)
def test_the_back_office(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, order = waiting_order(portal, clock)
    with portal.database.transaction() as session:
        found = session.get_one(Request, order.id)
        upload_document(session, portal.manager, found, "Auszug.pdf", "application/pdf", b"%PDF-1.7", NOW)
        main = session.merge(portal.main)
        stuck = [submit_order(session, portal.manager, main, an_order(), NOW) for _ in range(3)]
        for each, status in zip(stuck, (Status.HELD, Status.FAILED, Status.COMPLETED), strict=True):
            becomes(each, status)
        staff = make_staff(session)
    back.advance()
    with portal.database.transaction() as session:
        # The job repairs this: no worker has picked the request up.
        submit_order(session, portal.manager, session.merge(portal.main), an_order(), NOW)
    sign_in_as(page, portal, staff)
    office = f"{portal.url}/backoffice"
    look(page, f"{office}/abgleich")
    clock.advance(timedelta(days=1, minutes=1))
    run_job(back.runtime, JOBS["requests"])
    # A login of staff ends after twelve hours.
    sign_in_as(page, portal, staff)
    look(page, f"{office}/abgleich")
    page.locator("main summary").first.click()
    look_as_it_is(page)
    with portal.database.transaction() as session:
        ask_for_run(session, "registrar", clock.now)
        run = begin_run(session, "registrar", clock.now, dry=False)
        facts = {"sip_user": "t1", "domain": "sip.example", "what": ["numbers"]}
        session.add(Finding(run_id=run.id, kind="forgotten_here", subject="t1", facts=facts, repaired=False))
        run.end(Outcome.DONE, {}, {"forgotten_here": 60}, 60, None, clock.now)
    look(page, f"{office}/abgleich")
    look(page, f"{office}/abgleich/registrar/entfernen")
    for query in ("", f"?suche={portal.main.customer_number}", "?suche=nothing", "?art=link"):
        look(page, office + query)
    for query in ("", "?suche=st", "?suche=standort", "?suche=example.com", "?suche=nirgends", "?suche=03020000000"):
        look(page, f"{office}/suche{query}")
    for number in (portal.main.customer_number, order.customer_number):
        look(page, f"{office}/kunden/{number}")
    for id in (order.id, *(each.id for each in stuck)):
        look(page, f"{office}/anfragen/{id}")
    look(page, f"{office}/anfragen/{stuck[0].id}/stornieren")
    look(page, f"{office}/anfragen/{order.id}/dokument")
    look_wrong(page)
    page.get_by_label("Ablehnen").check()
    look_wrong(page)
    page.get_by_label("Warum wird es abgelehnt?").select_option("too_old")
    look_after(page, page.get_by_role("button", name="Entscheidung speichern"))
    look(page, f"{office}/anfragen/{order.id}")
    look(page, f"{office}/vorwahlen")
    with portal.database.transaction() as session:
        ask(session, "85221", "Dachau", "089", NOW)
    look(page, f"{office}/vorwahlen")
    look_after(page, page.get_by_role("link", name="Dachau, 85221"))
    look_wrong(page)
    page.get_by_label("Nein").check()
    look_after(page, page.get_by_role("button", name="Antwort speichern"))
    look_after(page, page.get_by_role("link", name="Dachau, 85221"))
    look(page, f"{office}/konten/{portal.main.customer_number}/administrator")
    look_wrong(page)
    reset = f"{office}/personen/{portal.manager.user_id}/zweiter-faktor"
    look(page, reset)
    with portal.database.transaction() as session:
        give_app(session, session.get_one(User, portal.manager.user_id))
    look(page, reset)
    look_wrong(page)
    page.get_by_label("Woher wissen Sie").fill("Zurückgerufen unter der bekannten Nummer")
    look_after(page, page.get_by_role("button", name="Zweiten Faktor in einem Tag zurücksetzen"))
    look_after(page, page.get_by_role("link", name="Zurücksetzen zurücknehmen"))
    look_after(page, page.get_by_role("button", name="Zurücksetzen zurücknehmen"))


@pytest.mark.parametrize("status", [400, 403, 405, 409, 413, 429, 500, 503])
def test_the_page_of_an_error(page: Page, portal: Portal, status: int) -> None:
    def answer(route: Route) -> None:
        with portal.app.test_request_context("/"):
            route.fulfill(status=status, content_type="text/html", body=render_template("page/error.html", **facts))

    facts: dict[str, Any] = {"status": status, "again_at": NOW}
    page.route(portal.url + "/broken", answer)
    look(page, portal.url + "/broken")
