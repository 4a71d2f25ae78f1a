"""Tests in the browser of linking an existing account, as the specification describes.

There is a test for each kind of proof, and for each outcome of a request for consent.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from models.calendar_days import end_of_day
from models.people.users import User
from models.proofs.deadlines import VALID_FOR
from tests.browser.visit import EVERYWHERE, ONCE_EACH, Visit
from tests.browser.working import code_in, link_in
from tests.factories import NOW, PASSWORD, join, make_account, make_user

DONE = "Der Account steht jetzt in Ihrer Übersicht. Für sein eigenes Team hat sich nichts geändert."
DECLINED = "Ein Administrator des Accounts hat die Verknüpfung abgelehnt."


def location_of_another(visit: Visit) -> tuple[str, Visit]:
    """Create an account of another company; return its customer number and a visit of its administrator."""
    with visit.database.transaction() as session:
        owner = make_user(session, name="Hanna Palmer", locale=visit.device.language)
        number = make_account(session, administrator=owner, contact_name="Hanna Palmer").customer_number
    return number, visit.of(owner)


def choose(visit: Visit, number: str, way: str) -> None:
    """Enter the customer number of the account to link, and follow the link with the German text `way`.

    `way` names a kind of proof. Expect the page to explain what stays as it is and what changes.
    """
    visit.add_account("Bestehendes Konto hinzufügen")
    visit.sees("Bestehendes Konto hinzufügen")
    visit.field("Kundennummer").fill(number)
    visit.button("Weiter").click()
    visit.link(way).click()
    visit.sees("Was bleibt, wie es ist")
    visit.sees("Was sich ändert")


def ask_for_consent(visit: Visit, owner: Visit, number: str) -> str:
    """Request consent to link the account with this customer number, and run the workers.

    `owner` is the visit of that account's administrator. Return the mail that the administrator gets.
    """
    choose(visit, number, "Mit Zustimmung per E-Mail")
    visit.button("Um Zustimmung bitten").click()
    visit.sees("Verlauf")
    visit.workers.work()
    visit.waits_for("Wartet auf Antwort")
    mail = visit.workers.mail_to(owner.person.email)
    for words in (number, visit.main.customer_number, visit.person.name):
        assert words in mail
    return mail


def expect_the_account(visit: Visit, number: str) -> None:
    """Run the workers, and expect that the account with this customer number is linked.

    The request's page, a mail and the overview must say so, and the account's dashboard must open.
    """
    visit.sees("Verlauf")
    visit.workers.work()
    visit.waits_for(DONE)
    assert number in visit.workers.mail_to(visit.person.email)
    visit.link("Zurück zur Standortverwaltung").click()
    visit.sees("Unternehmensstandorte")
    expect(visit.card(number)).to_contain_text(visit.say("Nebenaccount"))
    expect(visit.card(number).get_by_text(visit.say("Neu"), exact=True)).to_have_count(0)
    visit.link("Dashboard anzeigen {}", number).click()
    visit.sees(f"Standort {number}")


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_an_account_that_one_administers_too(visit: Visit) -> None:
    with visit.database.transaction() as session:
        account = make_account(session)
        join(session, session.get_one(User, visit.person.id), account)
        number = account.customer_number
    visit.add_account("Bestehendes Konto hinzufügen")
    visit.sees("Was bleibt, wie es ist")
    visit.button("{} als Nebenaccount hinzufügen", number).click()
    expect_the_account(visit, number)


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_with_the_other_accounts_login(visit: Visit) -> None:
    number, owner = location_of_another(visit)
    choose(visit, number, "Mit den Zugangsdaten des anderen Accounts")
    visit.field("E-Mail-Adresse des anderen Zugangs").fill(owner.person.email)
    visit.field("Passwort des anderen Zugangs").fill(PASSWORD)
    visit.button("Account hinzufügen").click()
    expect_the_account(visit, number)
    assert number in visit.workers.mail_to(owner.person.email)


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_with_a_link_code(visit: Visit) -> None:
    number, owner = location_of_another(visit)
    owner.open_portal()
    owner.open_menu("Verknüpfungscode")
    owner.button("Verknüpfungscode erstellen {}", number).click()
    code = owner.page.locator(".code").inner_text()
    choose(visit, number, "Mit einem Verknüpfungscode")
    visit.field("Code").fill(code)
    visit.button("Account hinzufügen").click()
    expect_the_account(visit, number)


@pytest.mark.parametrize("visit", EVERYWHERE, indirect=True, ids=str)
def test_with_consent_by_mail(visit: Visit) -> None:
    number, owner = location_of_another(visit)
    mail = ask_for_consent(visit, owner, number)
    owner.page.goto(link_in(mail))
    owner.sees("Darf Ihr Account {} zugeordnet werden?", number)
    owner.field("Ich stimme zu").check()
    owner.field("Code").fill(code_in(mail))
    owner.button("Antwort absenden").click()
    owner.sees("Die Zustimmung ist erteilt")
    expect_the_account(visit, number)
    # Users of the account sign in as before and see their own account.
    owner.open_portal(by_form=True)
    owner.sees("Zuordnung")
    expect(owner.page.locator("main .kind")).to_contain_text(number)


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_consent_is_declined_and_asked_for_again(visit: Visit) -> None:
    number, owner = location_of_another(visit)
    ask_for_consent(visit, owner, number)
    # A signed-in administrator needs no code.
    owner.open_portal()
    owner.open_menu("Zustimmungen {} offen", "1")
    owner.link("Ansehen und entscheiden {}", number).click()
    owner.sees("Darf Ihr Account {} zugeordnet werden?", number)
    owner.field("Ich lehne ab").check()
    owner.button("Antwort absenden").click()
    owner.sees("Die Anfrage ist abgelehnt")
    visit.workers.work()
    visit.waits_for("Abgelehnt")
    expect(visit.text("Ein Administrator des Accounts hat die Verknüpfung abgelehnt.")).to_be_visible()
    assert visit.say("Ein Administrator des Accounts hat die Verknüpfung abgelehnt.") in visit.workers.mail_to(
        visit.person.email
    )
    visit.link("Neue Anfrage stellen").click()
    expect(visit.link("Mit Zustimmung per E-Mail")).to_be_visible()


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_consent_that_nobody_gives_lapses(visit: Visit) -> None:
    number, owner = location_of_another(visit)
    mail = ask_for_consent(visit, owner, number)
    visit.workers.work(after=VALID_FOR / 2)
    reminder = visit.workers.mail_to(owner.person.email)
    assert code_in(reminder) == code_in(mail) and reminder != mail
    visit.workers.work_at(end_of_day(NOW + VALID_FOR))
    visit.waits_for("Die Frist ist abgelaufen.")
    expect(visit.link("Neue Anfrage stellen")).to_be_visible()
    owner.page.goto(link_in(mail))
    owner.sees("Die Frist für eine Antwort ist abgelaufen")


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_the_request_is_cancelled(visit: Visit) -> None:
    number, owner = location_of_another(visit)
    mail = ask_for_consent(visit, owner, number)
    visit.link("Anfrage stornieren").click()
    visit.button("Anfrage stornieren").click()
    expect(visit.text("Storniert")).to_be_visible()
    owner.page.goto(link_in(mail))
    owner.sees("Die Anfrage wurde zurückgezogen")
    visit.link("Zurück zur Standortverwaltung").click()
    visit.sees("Unternehmensstandorte")
    expect(visit.page.get_by_text(number)).to_have_count(0)
