"""Tests of an account's page in the Standortverwaltung, and of detaching the account there."""

from __future__ import annotations

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.people.rights import Role
from models.requests.requests import Request
from models.states import Kind, Origin, Status
from models.telephony.numbers import NumberBlock
from tests.factories import join, make_account, make_main, make_user
from tests.web.conftest import ORDER, Front, form_token
from tests.web.portal.accounts.test_overview import OVERVIEW, get, signed_in, sub
from tests.web.portal.page.test_portal import csrf, sign_in


def test_the_page_of_an_account(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        user = make_user(session)
        number = sub(session, main, administrator=user, name="Filiale Köln", contact_name="Hanna Palmer", city="Köln")
        account = session.scalars(sa.select(Account).where(Account.customer_number == number)).one()
        block = session.scalars(sa.select(NumberBlock).limit(1)).one()
        block.account_id = account.id
        shown = block.display
    page = get(signed_in(front), f"{OVERVIEW}/{number}")
    assert f"Sie sehen den Nebenaccount {number} (Filiale Köln)" in page
    for words in ("Hanna Palmer", "33602 Köln", "2. März 2026", "Bestehendes Konto verknüpft", shown, "Aktiv"):
        assert words in page
    assert f'href="{OVERVIEW}/{number}/loesen"' in page
    assert "Sie sehen den" not in get(front, f"{OVERVIEW}/{front.main.customer_number}")
    with front.database.transaction() as session:
        stranger = make_account(session).customer_number
    get(front, f"{OVERVIEW}/{stranger}", 404)
    get(front, f"{OVERVIEW}/{stranger}/loesen", 404)
    get(front, f"{OVERVIEW}/1000000", 404)


def test_the_page_of_an_ordered_account_and_of_others_requests(front: Front) -> None:
    number = front.post("/orders", ORDER).get_json()["customer_number"]
    page = get(signed_in(front), f"{OVERVIEW}/{number}")
    assert "Bestellt" in page and "Wir haben den Auftrag erhalten" in page and "Noch keine Rufnummern." in page
    with front.database.transaction() as session:
        _, stranger = make_main(session)
        member = make_user(session)
        join(session, member, session.get_one(Account, front.main.id), Role.LOCAL_MEMBER)
    for person in (stranger.email, member.email):
        front.client.post("/abmelden", data={"csrf_token": form_token(front.client)})
        sign_in(front, person)
        get(front, f"{OVERVIEW}/{number}", 404)


def detach(front: Front, number: str, typed: str) -> tuple[int, str]:
    """Submit the page that detaches the account with the customer number `number`.

    The user types `typed` as the customer number that confirms it. Return status and HTML of the answer.
    """
    path = f"{OVERVIEW}/{number}/loesen"
    answer = front.client.post(path, data={"csrf_token": csrf(get(front, path)), "customer_number": typed})
    return answer.status_code, answer.text


def test_detaching_needs_the_customer_number_and_shows_the_request(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        number = sub(session, main, administrator=make_user(session))
    page = get(signed_in(front), f"{OVERVIEW}/{number}/loesen")
    for words in ("Die Zugänge des Teams vor Ort", "Anschlussadresse und", "können sein Dashboard nicht mehr öffnen"):
        assert words in page
    token = csrf(page)
    for typed in ("", "1234567", number[:-1]):
        status, page = detach(front, number, typed)
        assert status == 422 and f"Geben Sie {number} ein" in page
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Request)) == 0
    assert detach(front, number, f" {number[:3]} {number[3:]} ")[0] == 303
    page = get(front)
    assert f"Der Account {number} wird gelöst. Danach bekommen die Administratoren beider Seiten" in page
    assert "Eingegangen" in page and "Wir lösen den Account." in page and 'data-poll="3000"' in page
    with front.database.transaction() as session:
        [found] = session.scalars(sa.select(Request))
        assert (found.kind, found.status, found.customer_number) == (Kind.DETACH, Status.ACKNOWLEDGED, number)
    again = front.client.post(
        f"{OVERVIEW}/{number}/loesen", data={"csrf_token": token, "customer_number": number}, follow_redirects=True
    )
    assert "wird bereits gelöst" in again.text
    assert "wird bereits gelöst" in get(front, f"{OVERVIEW}/{number}/loesen")


def test_what_is_billed_together_stays(front: Front) -> None:
    with front.database.transaction() as session:
        number = sub(session, session.get_one(Account, front.main.id), Origin.COLLECTIVE_INVOICE)
    page = get(signed_in(front), f"{OVERVIEW}/{number}")
    assert "Er löst sich, sobald er aus der Sammelrechnung genommen wird." in page
    assert f"{number}/loesen" not in page
    data = {"csrf_token": csrf(page), "customer_number": number}
    answer = front.client.post(f"{OVERVIEW}/{number}/loesen", data=data, follow_redirects=True)
    assert 'class="notice is-warning"' in answer.text and "Sammelrechnung" in answer.text
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Request)) == 0
