"""Tests that orders, links and invitations beyond a company's limits are refused, by API, portal and bulk file.

The answer names the limit.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.company_limits import Limit, set_own_limits
from models.accounts.hierarchy import attach
from models.db.session import Database
from models.orders.orders import cancel_and_release
from models.people.api_tokens import create_token
from models.people.invitations import Invitation
from models.people.rights import Role, Scope
from models.requests.requests import Request
from models.states import Origin, Reason
from tests.factories import NOW, PLENTY, join, make_account, make_staff, make_user, prove_contact
from tests.fakes import FakeClock
from tests.web.conftest import ORDER, Back, Front, FrontOf
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import make_site
from tests.web.portal.bulk.uploading import HEAD, as_csv, opened, orders, press, row, work
from tests.web.portal.changes.contract_changes import send
from tests.web.portal.changes.test_more_numbers import make_koeln, path_of
from tests.web.portal.links.test_link_wizard import add
from tests.web.portal.orders.ordering import fill_all, fresh, order
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.people.forms import invite, post


def an_order_of(number: int) -> dict[str, Any]:
    """Return the JSON body of an order; each `number` gives another contact address and another connection address."""
    place = {**ORDER["location"], "street": f"Brückenstr. {number + 20}"}
    return {**ORDER, "location": place, "contact": {**ORDER["contact"], "email": f"site{number}@example.com"}}


def with_limits(front: Front, usual_with: FrontOf, **limits: int) -> Front:
    """Give `front` a client of a web application with these limits for each company; return `front`.

    `limits` are settings without the prefix `limit_`, such as `blocks_per_day`.
    """
    front.client = usual_with(**{f"limit_{name}": most for name, most in limits.items()})
    return front


def placed(database: Database) -> int:
    with database.transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Request)) or 0


@pytest.mark.parametrize(
    ("limit", "setting"),
    [
        (Limit.OPEN_ORDERS, "open_orders"),
        (Limit.BLOCKS, "blocks_per_day"),
        (Limit.LETTERS, "letters_per_day"),
        (Limit.CONTACTS, "contacts_per_day"),
    ],
)
def test_one_token_cannot_go_on_for_ever(
    front: Front, usual_with: FrontOf, clock: FakeClock, limit: Limit, setting: str
) -> None:
    with_limits(front, usual_with, **{setting: 3})
    answers = [front.post("/orders", an_order_of(number)) for number in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 3 + [429] * 3
    problem = answers[-1].get_json()
    assert problem["type"] == "/problems/limit_reached"
    assert (problem["limit"], problem["allowed"]) == (limit, 3)
    assert "Kundenservice" in problem["detail"]
    if limit is Limit.OPEN_ORDERS:
        assert "free_at" not in problem
        assert "Retry-After" not in answers[-1].headers
    else:
        clock.advance(timedelta(seconds=int(answers[-1].headers["Retry-After"]) - 1))
        assert front.post("/orders", an_order_of(6)).status_code == 429
        clock.advance(timedelta(seconds=1))
        assert front.post("/orders", an_order_of(6)).status_code == 202
    assert placed(front.database) == 3 + (limit is not Limit.OPEN_ORDERS)


def test_what_is_called_off_is_counted_all_the_same(front: Front, usual_with: FrontOf, clock: FakeClock) -> None:
    with_limits(front, usual_with, blocks_per_day=2)
    for number in range(2):
        assert front.post("/orders", an_order_of(number)).status_code == 202
    with front.database.transaction() as session:
        for request in session.scalars(sa.select(Request)):
            cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, clock())
    assert front.post("/orders", an_order_of(3)).get_json()["limit"] == Limit.BLOCKS


def test_an_order_that_has_ended_makes_room(front: Front, usual_with: FrontOf, clock: FakeClock) -> None:
    with_limits(front, usual_with, open_orders=1)
    assert front.post("/orders", ORDER).status_code == 202
    assert front.post("/orders", ORDER).status_code == 429
    with front.database.transaction() as session:
        cancel_and_release(session.scalars(sa.select(Request)).one(), Reason.CANCELLED_BY_REQUESTER, clock())
    assert front.post("/orders", ORDER).status_code == 202


def test_calls_at_once_do_not_pass_the_limit_together(front: Front, usual_with: FrontOf) -> None:
    with_limits(front, usual_with, letters_per_day=3)
    app = front.client.application

    def order(number: int) -> int:
        head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": f"key {number}"}
        return app.test_client().post("/api/v1/orders", json=an_order_of(number), headers=head).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(order, range(16)))
    assert statuses == [202] * 3 + [429] * 13
    assert placed(front.database) == 3


def test_known_contacts_and_addresses_are_not_counted(front: Front, usual_with: FrontOf, back: Back) -> None:
    with_limits(front, usual_with, letters_per_day=1, contacts_per_day=1)
    assert front.post("/orders", ORDER).status_code == 202
    back.advance()
    assert front.post("/orders", ORDER).status_code == 202
    assert front.post("/orders", an_order_of(1)).status_code == 429


def test_more_numbers_are_counted_as_blocks_also_when_they_are_taken_back(front: Front, usual_with: FrontOf) -> None:
    with_limits(front, usual_with, blocks_per_day=2)
    with front.database.transaction() as session:
        site = make_site(
            session, session.get_one(Account, front.main.id), Origin.ORDER, postal_code="10179", city="Berlin"
        )
        # Its token reaches the sub-account alone, though the person has a role in the main account, too.
        join(session, site.administrator, session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
        token = create_token(session, site.account, site.administrator, "local", list(Scope), NOW)
    body = {"customer_number": site.account.customer_number, "numbers": {"area_code": "030", "block_size": 1}}
    for _ in range(2):
        asked = front.post("/numbers", body)
        assert asked.status_code == 202, asked.text
        assert front.post(f"/requests/{asked.get_json()['id']}/cancel").status_code == 200
    answer = front.post("/numbers", body)
    assert (answer.status_code, answer.get_json()["limit"]) == (429, Limit.BLOCKS)
    assert front.post("/orders", an_order_of(1)).get_json()["limit"] == Limit.BLOCKS
    # What the local team asks for is counted apart.
    head = {"Authorization": f"Bearer {token}"}
    local = [
        front.client.post("/api/v1/numbers", json=body, headers={**head, "Idempotency-Key": str(number)}).status_code
        for number in range(3)
    ]
    assert local == [202, 202, 429]


def test_in_the_portal_too_more_numbers_are_limited(front: Front, usual_with: FrontOf) -> None:
    with_limits(front, usual_with, blocks_per_day=1)
    site = make_koeln(front)
    sign_in(front, front.manager.email)
    typed = {"area_code": "0221", "block_size": "1"}
    assert send(front, path_of(site), **typed).status_code == 303
    refused = send(front, path_of(site), **typed)
    assert refused.status_code == 422
    assert "Ihr Unternehmen kann 1 Rufnummernblöcke am Tag bestellen" in refused.text
    assert_valid(refused.text)


def test_an_order_that_is_refused_counts_nothing(front: Front, usual_with: FrontOf) -> None:
    with_limits(front, usual_with, blocks_per_day=1)
    assert front.post("/orders", {**ORDER, "product": "no-such"}).status_code == 422
    assert front.post("/orders", ORDER).status_code == 202


def test_the_limit_is_the_company_s(front: Front, usual_with: FrontOf, owner_database: Database) -> None:
    with_limits(front, usual_with, blocks_per_day=1)
    with owner_database.transaction() as session:
        set_own_limits(session, front.main.id, {Limit.BLOCKS: 3})
    statuses = [front.post("/orders", an_order_of(number)).status_code for number in range(4)]
    assert statuses == [202] * 3 + [429]


def test_another_letter_counts(front: Front, usual_with: FrontOf, back: Back, clock: FakeClock) -> None:
    with_limits(front, usual_with, letters_per_day=1)
    id = front.post("/orders", ORDER).get_json()["id"]
    back.advance()
    clock.advance(timedelta(days=4))
    assert front.post("/orders", an_order_of(1)).status_code == 202
    answer = front.post(f"/requests/{id}/resend", {"what": "letter"})
    assert (answer.status_code, answer.get_json()["limit"]) == (429, Limit.LETTERS)
    # The code of the letter before has stayed.
    assert front.post(f"/requests/{id}/proofs", {"kind": "letter_code", "code": back.letter_code()}).status_code == 200


def test_a_corrected_contact_counts(front: Front, usual_with: FrontOf, back: Back) -> None:
    with_limits(front, usual_with, contacts_per_day=1)
    id = front.post("/orders", ORDER).get_json()["id"]
    back.advance()
    answer = front.post(f"/requests/{id}/contact", {"email": "another@example.com"})
    assert (answer.status_code, answer.get_json()["limit"]) == (429, Limit.CONTACTS)


@pytest.mark.parametrize("taken_back", [True, False])
def test_invitations_are_counted_when_they_are_sent(
    front: Front, usual_with: FrontOf, back: Back, clock: FakeClock, taken_back: bool
) -> None:
    with_limits(front, usual_with, invitations_per_day=3)
    sign_in(front, front.manager.email)
    page = f"/benutzer/{front.main.customer_number}"
    for number in range(3):
        assert invite(front, f"stranger{number if taken_back else 0}@example.com").status_code == 303
        if taken_back:
            with front.database.transaction() as session:
                id = session.scalars(sa.select(Invitation.id)).one()
            post(front.client, f"{page}/einladungen/{id}/zurueckziehen", page)
    answer = invite(front, "stranger3@example.com")
    assert answer.status_code == 422
    assert "Ihr Unternehmen kann 3 Einladungen am Tag verschicken" in answer.text
    assert_valid(answer.text)
    back.advance()
    assert sum(mail.recipient_address.startswith("stranger") for mail in back.mailer.sent) == 3
    clock.advance(timedelta(days=1))
    assert invite(front, "stranger3@example.com").status_code == 303


def test_an_invitation_that_is_sent_again_counts(front: Front, usual_with: FrontOf, back: Back) -> None:
    with_limits(front, usual_with, invitations_per_day=2)
    sign_in(front, front.manager.email)
    page = f"/benutzer/{front.main.customer_number}"
    invite(front, "stranger@example.com")
    with front.database.transaction() as session:
        id = session.scalars(sa.select(Invitation.id)).one()
    for _ in range(3):
        post(front.client, f"{page}/einladungen/{id}/neu", page)
    assert "Ihr Unternehmen kann 2 Einladungen am Tag verschicken" in front.client.get(page).text
    back.advance()
    assert sum(mail.recipient_address == "stranger@example.com" for mail in back.mailer.sent) == 2


def test_a_local_team_uses_up_its_own_invitations(front: Front, usual_with: FrontOf) -> None:
    with front.database.transaction() as session:
        local = make_user(session)
        sites = [make_account(session, administrator=local) for _ in range(2)]
        for site in sites:
            attach(session, front.main.id, site.id, Origin.LINK, NOW)
    with_limits(front, usual_with, invitations_per_day=1)
    sign_in(front, front.manager.email)

    def asks(team: Front, number: str, email: str) -> int:
        form = {"name": "Hanna Palmer", "email": email, "role": Role.LOCAL_MEMBER}
        return post(team.client, f"/benutzer/{number}/einladen", **form).status_code

    # The main account has one count for all its sites.
    one, other = (site.customer_number for site in sites)
    assert [asks(front, one, "a@example.com"), asks(front, other, "b@example.com")] == [303, 422]
    team = replace(front, client=front.client.application.test_client())
    sign_in(team, local.email)
    assert [asks(team, one, "c@example.com"), asks(team, one, "d@example.com")] == [303, 422]


def a_question(number: int) -> dict[str, Any]:
    """Return the JSON body of a request to link the account with the customer number 76543NN by consent.

    NN is `number`, which must have two digits.
    """
    return {"customer_number": f"76543{number}", "proof": {"method": "consent"}}


def test_questions_for_consent_are_counted_when_they_are_asked(
    front: Front, usual_with: FrontOf, clock: FakeClock
) -> None:
    with_limits(front, usual_with, consents_per_day=3)
    for number in range(10, 13):
        id = front.post("/link-requests", a_question(number)).get_json()["id"]
        assert front.post(f"/requests/{id}/cancel").status_code == 200
    answer = front.post("/link-requests", a_question(13))
    assert (answer.status_code, answer.get_json()["limit"]) == (429, Limit.CONSENTS)
    # What asks nobody is not counted.
    code = {"customer_number": "7654314", "proof": {"method": "link_code", "code": "AAAAAAAAAA"}}
    assert front.post("/link-requests", code).status_code == 202
    clock.advance(timedelta(days=1))
    assert front.post("/link-requests", a_question(13)).status_code == 202


def test_in_the_portal_too_so_many_are_asked_for_consent(front: Front, usual_with: FrontOf) -> None:
    with_limits(front, usual_with, consents_per_day=1)
    sign_in(front, front.manager.email)
    for number in (10, 11):
        answer = add(front, f"76543{number}", "zustimmung")
        assert answer.status_code == 303
    assert answer.location == "/standortverwaltung/hinzufuegen/7654311"
    assert "Ihr Unternehmen kann 1 Accounts am Tag um Zustimmung bitten" in front.client.get(answer.location).text
    assert placed(front.database) == 1


@pytest.fixture
def narrow(front: Front, usual_with: FrontOf) -> Front:
    """Provide a client in which the manager is signed in; the company may order two number blocks a day."""
    with_limits(front, usual_with, blocks_per_day=2)
    with front.database.transaction() as session:
        prove_contact(session, front.main)
    sign_in(front, front.manager.email)
    return front


def test_an_order_in_the_portal_is_kept_until_there_is_room(narrow: Front, clock: FakeClock) -> None:
    for number in range(2):
        assert narrow.post("/orders", an_order_of(number)).status_code == 202
    draft = fresh(narrow)
    refused = order(narrow.client, draft, fill_all(narrow, draft))
    assert refused.status_code == 429
    assert "Ihr Unternehmen kann 2 Rufnummernblöcke am Tag bestellen" in refused.text
    assert "Ihre Bestellung ist gespeichert" in refused.text
    assert_valid(refused.text)
    clock.advance(timedelta(days=1))
    page = narrow.client.get(f"{draft}/zusammenfassung").text
    assert order(narrow.client, draft, page).status_code == 303
    assert orders(narrow) == 3


def test_a_reached_limit_is_said_from_the_first_step_on(narrow: Front, clock: FakeClock) -> None:
    draft = fresh(narrow)
    told = "Ihr Unternehmen kann 2 Rufnummernblöcke am Tag bestellen"
    assert told not in narrow.client.get(f"{draft}/produkt").text
    for number in range(2):
        assert narrow.post("/orders", an_order_of(number)).status_code == 202
    page = narrow.client.get(f"{draft}/produkt").text
    assert told in page and "Sie können die Bestellung trotzdem eingeben" in page
    assert_valid(page)
    assert told in fill_all(narrow, draft)
    clock.advance(timedelta(days=1))
    assert told not in narrow.client.get(f"{draft}/produkt").text


def test_a_limit_of_letters_is_said_when_the_address_is_known(front: Front, usual_with: FrontOf) -> None:
    with_limits(front, usual_with, letters_per_day=1)
    assert front.post("/orders", an_order_of(0)).status_code == 202
    sign_in(front, front.manager.email)
    draft, told = fresh(front), "verschicken wir 1 Briefe mit Codes am Tag"
    assert told not in front.client.get(f"{draft}/produkt").text
    assert told in fill_all(front, draft)
    assert told in front.client.get(f"{draft}/kontakt").text


def test_a_letter_asked_for_in_the_portal_counts(
    front: Front, usual_with: FrontOf, back: Back, clock: FakeClock
) -> None:
    with_limits(front, usual_with, letters_per_day=1)
    id = front.post("/orders", ORDER).get_json()["id"]
    back.advance()
    clock.advance(timedelta(days=4))
    assert front.post("/orders", an_order_of(1)).status_code == 202
    sign_in(front, front.manager.email)
    path = f"/anfragen/{id}"
    form = {"csrf_token": csrf(front.client.get(path).text), "what": "letter"}
    answer = front.client.post(f"{path}/erneut-senden", data=form)
    assert answer.status_code == 303
    assert "verschicken wir 1 Briefe mit Codes am Tag" in front.client.get(path).text


def test_the_preview_of_a_file_says_what_will_wait(narrow: Front, back: Back, clock: FakeClock) -> None:
    place = opened(narrow, as_csv([HEAD, *(row(number) for number in range(5))]))
    page = narrow.client.get(place).text
    assert "Ihr Unternehmen kann 2 Rufnummernblöcke am Tag bestellen" in page
    days = [" ".join(line.split()) for line in re.findall("<li>((?:heute|am ).*?)</li>", page)]
    assert days == ["heute 2 Standorte", "am 3. März 2026 2 Standorte", "am 4. März 2026 1 Standort"]
    assert "5 Standorte zahlungspflichtig bestellen" in page
    assert press(narrow, place).status_code == 303
    back.runtime = replace(back.runtime, limits=replace(PLENTY, blocks=2))
    work(narrow, back)
    assert orders(narrow) == 2
    waits = "Die übrigen Zeilen warten und folgen von selbst"
    assert waits in narrow.client.get(place).text
    clock.advance(timedelta(days=1))
    work(narrow, back)
    clock.advance(timedelta(days=1))
    work(narrow, back)
    assert orders(narrow) == 5
    assert waits not in narrow.client.get(place).text


def test_a_file_within_the_limits_says_nothing_of_them(narrow: Front) -> None:
    page = narrow.client.get(opened(narrow, as_csv([HEAD, row(1), row(2)]))).text
    assert "2 Standorte zahlungspflichtig bestellen" in page
    assert "am Tag bestellen" not in page


def test_staff_see_the_files_that_wait(narrow: Front, back: Back) -> None:
    press(narrow, opened(narrow, as_csv([HEAD, *(row(number) for number in range(3))])))
    back.runtime = replace(back.runtime, limits=replace(PLENTY, blocks=2))
    work(narrow, back)
    with narrow.database.transaction() as session:
        bo = make_staff(session).email
    desk = replace(narrow, client=narrow.client.application.test_client())
    sign_in(desk, bo)
    page = desk.client.get("/backoffice").text
    assert "Dateien, die an einer Grenze warten" in page
    assert f"standorte accounts limits {narrow.main.customer_number} --blocks N" in page
    assert "Nichts zu erledigen" not in page and "Keine Anfrage wartet auf uns" in page
