"""Tests of offers for an order: what the PDF says, and until when its prices are guaranteed."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from pypdf import PdfReader

from models.contracts.catalogue import Product
from tests.fakes import FakeClock
from tests.web.conftest import Front
from tests.web.portal.orders.ordering import begin, fill, fill_all, order, plain, requests_in


def test_the_offer_says_everything_and_leads_back(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft)
    fill(front, draft, "kontakt", contact_name="Łukasz Żółć-Ștefan")
    answer = front.client.get(f"{draft}/angebot.pdf")
    assert answer.mimetype == "application/pdf" and "Angebot-" in answer.headers["Content-Disposition"]
    reader = PdfReader(io.BytesIO(answer.data))
    assert len(reader.pages) == 1
    text = plain(reader.pages[0].extract_text())
    for words in (
        "Angebot ", front.main.customer_number, "SIP-Trunk mit 10 Kanälen", "Rufnummernblock mit 10 Nummern",
        "Notfall-Umleitung auf Mobilfunk", "37,70 €", "44,86 €", "46,29 €", "Gültig bis", "16. März 2026",
        "Preise netto in Euro, gültig bis 16. März 2026; der Umsatzsteuersatz beträgt heute 19 %.", "Filiale Berlin",
        "Brückenstr. 5", "10179 Berlin", "Łukasz Żółć-Ștefan", "hanna.palmer@example.com", "Noch ist nichts bestellt.",
        "Vertragslaufzeit: Keine Mindestlaufzeit.",
        "Vertragsinhaber: Noch nicht eingetragen.", "Notfall-Umleitung auf Mobilfunk: 01512 3456789",
        "Anmeldung für den Standort: Łukasz Żółć-Ștefan, hanna.palmer@example.com",
    ):  # fmt: skip
        assert words in text, words
    links = [note.get_object()["/A"]["/URI"] for note in reader.pages[0].annotations or ()]
    assert links == [f"http://localhost:8000{draft}"]
    assert front.client.get(draft).headers["Location"] == f"{draft}/zusammenfassung"


@pytest.mark.usefixtures("changing_products")
def test_the_prices_of_an_offer_hold_until_the_end_of_its_day(front: Front, clock: FakeClock) -> None:
    draft = begin(front)
    fill_all(front, draft)
    front.client.get(f"{draft}/angebot.pdf")
    set_prices(front, 2)
    clock.now = datetime(2026, 3, 16, 22, 59, tzinfo=UTC)
    summary = front.client.get(f"{draft}/zusammenfassung").text
    assert "37,70\xa0€" in summary and "Zu den Preisen Ihres Angebots, das bis 16. März 2026 gilt." in summary
    # Downloading it again is no new offer.
    again = plain(PdfReader(io.BytesIO(front.client.get(f"{draft}/angebot.pdf").data)).pages[0].extract_text())
    assert "37,70 €" in again and "16. März 2026" in again
    clock.now = datetime(2026, 3, 16, 23, 0, tzinfo=UTC)
    late = front.client.get(f"{draft}/zusammenfassung").text
    assert "75,40\xa0€" in late and "Ihres Angebots" not in late
    order(front.client, draft, summary)
    assert requests_in(front.database) == []
    clock.now = datetime(2026, 3, 16, 22, 59, tzinfo=UTC)
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    assert request.price_lines is not None
    prices = {line["product_key"]: (line["monthly_cents"], line["one_off_cents"]) for line in request.price_lines}
    assert prices == {"trunk-10": (2990, 2900), "block-10": (290, 990), "mobile-backup": (490, 0)}


def set_prices(front: Front, factor: int) -> None:
    """Multiply all prices in the table of products by `factor`."""
    with front.database.transaction() as session:
        prices = {"monthly_cents": Product.monthly_cents * factor, "one_off_cents": Product.one_off_cents * factor}
        session.execute(sa.update(Product).values(**prices))


@pytest.mark.usefixtures("changing_products")
def test_an_offer_promises_what_it_named_and_nothing_else(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft)
    front.client.get(f"{draft}/angebot.pdf")
    set_prices(front, 2)
    # A product that the offer did not name has today's price, in a second offer too.
    fill(front, draft, "produkt", product="trunk-50", channels="12", options=["mobile-backup"])
    other = front.client.get(f"{draft}/zusammenfassung").text
    assert "199,80\xa0€" in other and "Ihres Angebots" not in other
    front.client.get(f"{draft}/angebot.pdf")
    set_prices(front, 2)
    fill(front, draft, "produkt", product="trunk-10", channels="5", options=["mobile-backup"])
    back = front.client.get(f"{draft}/zusammenfassung").text
    assert "37,70\xa0€" in back and "Ihres Angebots" in back
    fill(front, draft, "produkt", product="trunk-50", channels="12", options=["mobile-backup"])
    assert "199,80\xa0€" in front.client.get(f"{draft}/zusammenfassung").text


@pytest.mark.usefixtures("changing_products")
def test_an_offer_makes_nothing_dearer(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft)
    front.client.get(f"{draft}/angebot.pdf")
    with front.database.transaction() as session:
        session.execute(sa.update(Product).where(Product.key == "trunk-10").values(monthly_cents=2000))
    summary = front.client.get(f"{draft}/zusammenfassung").text
    assert "27,80\xa0€" in summary
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    assert request.price_lines is not None and request.price_lines[0]["monthly_cents"] == 2000


def test_an_offer_needs_everything(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    assert front.client.get(f"{draft}/angebot.pdf").headers["Location"] == f"{draft}/standort?pruefen=1"
