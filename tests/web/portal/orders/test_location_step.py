"""Tests of the location step of an order: which towns and area codes are offered, and which field has the error."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from models.accounts.accounts import Account
from tests.factories import fill_pool
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.orders.ordering import NEW, begin, fill, fill_all, order, requests_in
from tests.web.portal.page.test_portal import sign_in


def test_a_town_without_an_ortsnetz_of_its_own_gets_those_nearby_offered(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    fill(front, draft, "standort", street="Bahnhofstr. 1", postal_code="85737", city="Ismaning")
    page = front.client.get(f"{draft}/rufnummern").text
    assert 'value="089"' in page and "Vorwahl für Ismaning: 089 (München), " in page
    assert_valid(page)
    for area_code, unsure in (("089", False), ("08122", True)):
        assert fill(front, draft, "rufnummern", area_code=area_code).headers["Location"] == f"{draft}/kontakt"
        fill(front, draft, "kontakt")
        summary = front.client.get(f"{draft}/zusammenfassung").text
        assert ("Ob Ismaning in diesem Ortsnetz liegt, prüfen wir nach der Bestellung" in summary) is unsure
    for words in ("110 und 112", "Leitstelle für 85737 Ismaning", "Maßgeblich ist die Anschlussadresse Bahnhofstr. 1"):
        assert words in summary
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    assert request.area_code == "08122"


def test_a_typing_error_in_the_town_is_named_on_its_step_and_mended_with_one_button(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    typo = fill(front, draft, "standort", city="Berlinn")
    assert typo.status_code == 422
    assert_valid(typo.text)
    said = "Wir kennen Berlinn mit der Postleitzahl 10179 nicht; sie gehört zu Berlin. Ist das ein Tippfehler?"
    assert f'<a href="#city">{said}' in typo.text and f'id="city-says">{said}' in typo.text
    assert 'value="Berlinn"' in typo.text and 'value="Brückenstr. 5"' in typo.text
    assert front.client.get(f"{draft}/rufnummern").headers["Location"].startswith(f"{draft}/standort")
    taken = fill(front, draft, "standort", city="Berlinn", go="town:Berlin")
    assert taken.headers["Location"] == f"{draft}/rufnummern"
    assert 'value="Berlin"' in front.client.get(f"{draft}/standort").text
    # Who insists is not asked again, until another town is typed.
    kept = fill(front, draft, "standort", city="Berlinn", go="keep-town")
    assert kept.headers["Location"] == f"{draft}/rufnummern"
    assert fill(front, draft, "standort", city="Berlinn", city_kept="10179 Berlinn").status_code == 303
    assert fill(front, draft, "standort", city="Berlinnn", city_kept="10179 Berlinn").status_code == 422
    assert fill(front, draft, "standort", city="Berlinn", go="town:Atlantis").status_code == 422


def test_what_is_wrong_with_the_address_is_named_on_its_field_with_what_fits(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    for changes, complaint in (
        ({"postal_code": "80331"}, "Diese Postleitzahl gehört zu München, nicht zu Berlin. Postleitzahlen von Berlin:"),
        ({"postal_code": "99999"}, "Diese Postleitzahl gibt es nicht. Postleitzahlen von Berlin: 10115"),
        ({"postal_code": "99999", "city": "Atlantis"}, "Diese Postleitzahl gibt es nicht."),
        ({"street": "Brückenstr."}, "Geben Sie die Hausnummer an."),
    ):
        answer = fill(front, draft, "standort", **changes)
        assert answer.status_code == 422 and answer.text.count(complaint) == 2, complaint
        assert_valid(answer.text)
    assert fill(front, draft, "standort", street="Brückenstr. ohne Hausnummer").status_code == 303
    answer = fill(front, draft, "rufnummern", area_code="089")
    complaint = "Diese Vorwahl passt nicht zur Adresse. Passende Vorwahlen: 030 (Berlin)"
    assert answer.status_code == 422 and answer.text.count(complaint) == 2
    # An address that is changed afterwards has to fit as well.
    assert fill(front, draft, "rufnummern").status_code == 303
    fill(front, draft, "kontakt")
    fill(front, draft, "standort", postal_code="80331", city="München")
    assert front.client.get(f"{draft}/zusammenfassung").headers["Location"] == f"{draft}/rufnummern?pruefen=1"


def test_a_town_is_ordered_in_the_spelling_of_the_directory(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    assert fill(front, draft, "standort", city="berlin").status_code == 303
    summary = fill_all(front, draft, "rufnummern", "kontakt")
    assert "10179 Berlin" in summary and "10179 berlin" not in summary
    order(front.client, draft, summary)
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Account.city).order_by(Account.id.desc())).first() == "Berlin"


def test_a_wrong_area_code_is_told_above_and_at_its_field_and_nowhere_else(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt", "standort")
    page = fill(front, draft, "rufnummern", area_code="089").text
    assert page.count("Passende Vorwahlen:") == 2 and "Vorwahl für Berlin" not in page


def test_hints_while_typing(front: Front) -> None:
    sign_in(front, front.manager.email)

    def hints(**typed: str) -> Any:
        return front.client.get(f"{NEW}/hinweise", query_string=typed).get_json()

    berlin = {"postal_code": "10179", "city": "Berlin"}
    found = hints(**berlin, area_code="030", block_size="10")
    assert (found["fits"], found["free_blocks"], found["free_numbers"]) == (True, 20, 200)
    assert found["suggestions"][0] == {"area_code": "030", "town": "Berlin"} and found["towns"] == ["Berlin"]
    assert found["free_text"] == "Unter 030 sind 20 Blöcke mit je 10 Rufnummern frei."
    assert found["area_text"] == "030 ist die Vorwahl von Berlin und passt zu Berlin."
    wrong = hints(**berlin, area_code="089", block_size="100")
    assert wrong["fits"] is False and wrong["free_blocks"] == 0 and "030 (Berlin)" in wrong["area_text"]
    elsewhere = hints(postal_code="80331", city="Berlin", area_code="030")
    assert (elsewhere["wrong"], elsewhere["fits"]) == (True, None) and "gehört zu München" in elsewhere["city_text"]
    assert hints(postal_code="80331")["city_text"] == "80331 gehört zu München."
    nothing = hints(city="", area_code="9", block_size="x")
    assert (nothing["fits"], nothing["free_blocks"], nothing["suggestions"]) == (None, None, [])
    assert hints(city="Berlin", area_code="030")["area_text"] == "030 ist die Vorwahl von Berlin."
    nowhere = hints(postal_code="10179", city="Atlantis", area_code="030")
    assert "Wir kennen Atlantis mit der Postleitzahl 10179 nicht; sie gehört zu Berlin." in nowhere["city_text"]
    assert nowhere["fits"] is True and "prüfen wir nach der Bestellung" in nowhere["area_text"]


def test_free_single_numbers_are_counted_in_their_words(front: Front) -> None:
    with front.database.transaction() as session:
        fill_pool(session, size=1, count=1, first="2900001")
    sign_in(front, front.manager.email)
    found = front.client.get(f"{NEW}/hinweise?postal_code=10179&city=Berlin&area_code=030&block_size=1").get_json()
    assert found["free_text"] == "Unter 030 ist 1 Einzelrufnummer frei."
