"""Tests of the back office's list of offers of a collective invoice that no administrator can answer."""

from __future__ import annotations

from models.accounts.accounts import Account
from models.links.invoice_membership import InvoiceOffer, offer_invoice
from models.messages.outbox import Message
from tests.factories import NOW
from tests.web.conftest import Front
from tests.web.portal.accounts.sites import make_site
from tests.web.portal.back_office.desk import OFFICE, Desk
from tests.web.portal.changes.contract_changes import plain


def test_staff_see_an_offer_that_reaches_nobody_and_name_an_administrator(front: Front, desk: Desk) -> None:
    assert "Angebote einer Sammelrechnung" not in desk.page(OFFICE)
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id))
        offer_invoice(session, front.manager, session.get_one(Account, site.account.id), NOW)
        session.get_one(InvoiceOffer, site.account.id).unreached_since = NOW
        for mail in session.query(Message).filter_by(template="invoice_offered"):
            mail.refuse(NOW)
    page = desk.page(OFFICE)
    text = plain(page)
    assert "Angebote einer Sammelrechnung, die niemanden erreichen" in text and "Keine Anfrage wartet auf uns" in text
    assert f"Hauptaccount: {front.main.customer_number}" in text and "bis zum 16. März 2026 im Portal" in text
    assert f"Administrator benennen · Kundennummer: {site.account.customer_number}" in text
    assert "jede Frage erreicht jemanden" not in text
