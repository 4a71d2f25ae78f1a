"""Tests of certificates of need: customers upload them, and staff open, refuse and accept them."""

from __future__ import annotations

import io

import pytest

from tests.factories import fill_pool
from tests.web.api.calls import PDF
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, get
from tests.web.portal.back_office.desk import OFFICE, Desk, of
from tests.web.portal.changes.contract_changes import plain, send
from tests.web.portal.changes.test_more_numbers import make_koeln, path_of
from tests.web.portal.page.test_portal import csrf
from tests.web.portal.telephony.test_suspension import press


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location in Köln whose trunk has ten numbers."""
    return make_koeln(front)


@pytest.fixture
def waiting(front: Front, site: Site, back: Back) -> str:
    """Order 100 more numbers for the location's trunk, and run the workers. Return the path of the request's page.

    The request then waits for a certificate of need.
    """
    with front.database.transaction() as session:
        fill_pool(session, area_code="0221", size=100, first="5000000", count=1)
    come_in(front, front.manager.email)
    path = send(front, path_of(site), area_code="0221", block_size="100", effective_on="").location
    back.advance()
    return path


def hand_in(front: Front, path: str, page: str) -> None:
    """Upload a document on the page of the request at `path`; `page` is its HTML. Fails if it is not accepted."""
    data = {"csrf_token": csrf(page), "file": (io.BytesIO(PDF), "Plan.pdf")}
    assert front.client.post(path + "/dokument", data=data, content_type="multipart/form-data").status_code == 303


def test_a_certificate_is_handed_in_looked_at_and_refused_and_another_one_released(
    front: Front, site: Site, back: Back, waiting: str, desk: Desk
) -> None:
    page = get(front, waiting)
    assert_valid(page)
    text = plain(page)
    assert (
        "Jetzt sind Sie oder jemand am Standort an der Reihe" in text
        and "Bis 16. März 2026" in text
        and "Bedarfsnachweis einreichen" in text
    )
    assert "wofür 110 Rufnummern gebraucht werden" in text and "Bis zu 100 an diesem SIP-Trunk brauchen keinen" in text
    assert "Der Bedarfsnachweis fehlt" in plain(get(front, site.path))
    hand_in(front, waiting, page)
    back.advance()
    seen = plain(get(front, waiting))
    assert (
        "Jetzt sind wir an der Reihe" in seen and "Wir prüfen den Bedarfsnachweis" in seen and "Es ersetzt das" in seen
    )
    id = waiting.rsplit("/", 1)[1]
    assert "Dokument zu prüfen" in plain(desk.page(OFFICE))
    asked = desk.page(of(id, "/dokument"))
    assert_valid(asked)
    text = plain(asked)
    assert "110 Rufnummern am SIP-Trunk" in text and "für die wir bis zu 40 Rufnummern vorschlagen" in text
    assert "Er hat 10 Rufnummern; diese Anfrage bringt 100 weitere." in text
    assert 'value="no_need"' in asked and 'value="other_address"' not in asked
    assert (
        desk.client.get(of(id, "/dokument/datei"))
        .headers["Content-Disposition"]
        .startswith('attachment; filename="bedarfsnachweis-')
    )
    desk.press(of(id, "/dokument"), asked, decision="refuse", reason="no_need", note="")
    back.advance()
    text = plain(get(front, waiting))
    assert "Aus dem Dokument geht nicht hervor, dass so viele Rufnummern gebraucht werden." in text
    assert "Reicht nicht. Ein anderes Dokument genügt." in text and "Bedarfsnachweis einreichen" in text
    hand_in(front, waiting, get(front, waiting))
    back.advance()
    desk.press(of(id, "/dokument"), desk.page(of(id, "/dokument")), decision="release", reason="", note="")
    back.advance_to_the_network()
    text = plain(get(front, waiting))
    assert "Abgeschlossen" in text and "Der Bedarf an 110 Rufnummern ist nachgewiesen." in text
    deeds_text = plain(desk.page(of(id)))
    assert "Hat den Bedarfsnachweis" in deeds_text and "abgelehnt" in deeds_text and "freigegeben" in deeds_text


def test_a_request_that_came_to_nothing_leads_to_fewer_numbers(front: Front, site: Site, waiting: str) -> None:
    assert press(front, waiting + "/stornieren", get(front, waiting + "/stornieren")).status_code in (302, 303)
    page = get(front, waiting)
    assert_valid(page)
    assert f'href="{path_of(site)}">Rufnummern neu bestellen' in page
