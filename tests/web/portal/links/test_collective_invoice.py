"""Tests of the page on which a sub-account joins or leaves its main account's collective invoice.

Its administrators have to agree, if it has any. Each side can end the membership. While it lasts, the account cannot be
detached.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.links.collective_invoices import CollectiveInvoice, CollectiveInvoiceItem, put_on_invoice
from models.links.invoice_membership import InvoiceOffer
from models.messages.outbox import Message
from models.people.audit_log import AuditEvent
from models.people.users import Membership
from models.requests.requests import Request
from models.states import Kind, Origin
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tests.factories import NOW, PASSWORD, make_main
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, deeds, get, make_site
from tests.web.portal.changes.contract_changes import plain
from tests.web.portal.telephony.test_suspension import press

OVERVIEW = "/standortverwaltung"
BADGE = 'class="badge is-info">Sammelrechnung<'


@pytest.fixture(params=[Origin.LINK, Origin.ORDER])
def site(front: Front, request: pytest.FixtureRequest) -> Site:
    """Create a location with an administrator. Each test runs twice: for a linked location and for an ordered one."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id), request.param)


@pytest.fixture
def linked(front: Front) -> Site:
    """Create a linked location with an administrator."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id))


def path_of(site: Site) -> str:
    """Return the path of the page about the site's collective invoice."""
    return f"{site.path}/sammelrechnung"


def do(front: Front, site: Site, what: str, **typed: str) -> TestResponse:
    """Open the page about the site's collective invoice, and press a button with the fields `typed`; return the answer.

    `what` is the button's value: "join" or "leave". Fails unless the page is valid HTML and has this button.
    """
    page = get(front, path_of(site))
    assert_valid(page)
    assert f'value="{what}"' in page
    return press(front, path_of(site), page, what=what, **typed)


def billed(front: Front, site: Site) -> list[str]:
    """Return the numbers of the collective invoices that the site's account is on now."""
    with front.database.transaction() as session:
        query = sa.select(CollectiveInvoice.number).join(
            CollectiveInvoiceItem, CollectiveInvoiceItem.invoice_id == CollectiveInvoice.id
        )
        mine = CollectiveInvoiceItem.account_id == site.account.id, CollectiveInvoiceItem.left_at.is_(None)
        return list(session.scalars(query.where(*mine)))


def told(front: Front) -> set[tuple[str, str]]:
    """Return the pairs of template name and recipient's address of all messages about collective invoices."""
    with front.database.transaction() as session:
        query = sa.select(Message.template, Message.recipient_address).where(Message.template.like("invoice%"))
        return {(template, to) for template, to in session.execute(query)}


def of_job(back: Back) -> None:
    """Run the scheduled job `invoices`, and then the workers for the requests and messages that it has made."""
    assert run_job(back.runtime, JOBS["invoices"], dry=False, by_hand=True) is not None
    for _ in range(3):
        back.advance()


def now(front: Front, site: Site) -> tuple[int | None, Origin | None]:
    """Return the id of the site's main account, and the origin by which it is a sub-account.

    Both are None if it is not a sub-account.
    """
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        return account.main_id, account.origin


def test_the_login_of_an_administrator_of_the_account_puts_it_on_the_invoice(
    front: Front, site: Site, back: Back
) -> None:
    before = now(front, site)
    come_in(front, front.manager.email)
    assert BADGE not in get(front, OVERVIEW)
    for email, password in ((site.administrator.email, "wrong"), (site.member.email, PASSWORD)):
        refused = do(front, site, "join", email=email, password=password)
        assert refused.status_code == 422 and "Dieser Zugang stimmt nicht" in refused.text
        assert password not in refused.text
    assert do(front, site, "join").status_code == 422
    assert billed(front, site) == []
    assert do(front, site, "join", email=site.administrator.email, password=PASSWORD).status_code == 303
    number = f"SR-{front.main.customer_number}"
    assert billed(front, site) == [number]
    assert f"Auf der Sammelrechnung {number} des Hauptaccounts." in plain(get(front, site.path))
    assert BADGE in get(front, OVERVIEW)
    both = {front.manager.email, site.administrator.email}
    assert told(front) == {("invoice_joined", to) for to in both}
    assert AuditEvent.INVOICE_JOINED in [deed for deed, *_ in deeds(front)]
    # The job finds everything as it should be.
    of_job(back)
    assert now(front, site) == before


def test_while_it_is_billed_together_it_is_not_detached(front: Front, linked: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    do(front, linked, "join", email=linked.administrator.email, password=PASSWORD)
    page = get(front, f"{linked.path}/loesen")
    assert "Er löst sich, sobald er aus der Sammelrechnung genommen wird." in page
    press(front, f"{linked.path}/loesen", get(front, linked.path), customer_number=linked.account.customer_number)
    back.advance()
    assert now(front, linked)[0] == front.main.id


def test_without_an_administrator_of_its_own_the_main_account_decides_alone(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        session.execute(sa.delete(Membership).where(Membership.account_id == site.account.id))
    come_in(front, front.manager.email)
    assert 'name="password"' not in get(front, path_of(site))
    assert do(front, site, "join").status_code == 303
    assert len(billed(front, site)) == 1


def test_the_administrators_are_asked_and_agree(front: Front, site: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    assert do(front, site, "offer").status_code == 303
    assert told(front) == {("invoice_offered", site.administrator.email)}
    back.advance()
    [mail] = [mail for mail in back.mailer.sent if mail.recipient_address == site.administrator.email]
    assert path_of(site) in mail.text
    assert "Sie sind gefragt und können bis zum" in plain(get(front, path_of(site)))
    come_in(front, site.administrator.email)
    assert "Der Hauptaccount fragt, ob er die Verträge" in plain(get(front, site.path))
    assert do(front, site, "agree").status_code == 303
    assert billed(front, site) == [f"SR-{front.main.customer_number}"]
    again = press(front, path_of(site), what="agree")
    assert (again.status_code, len(billed(front, site))) == (303, 1)


def test_the_administrators_are_asked_and_decline(front: Front, linked: Site) -> None:
    come_in(front, front.manager.email)
    do(front, linked, "offer")
    come_in(front, linked.administrator.email)
    assert do(front, linked, "decline").status_code == 303
    assert billed(front, linked) == []
    assert ("invoice_declined", front.manager.email) in told(front)
    get(front, path_of(linked), 404)


@pytest.mark.parametrize("how", ["withdraw", "decline"])
def test_the_administrators_are_asked_once_a_day_however_it_ends(
    front: Front, linked: Site, back: Back, how: str
) -> None:
    for _ in range(3):
        come_in(front, front.manager.email)
        press(front, path_of(linked), get(front, linked.path), what="offer")
        come_in(front, front.manager.email if how == "withdraw" else linked.administrator.email)
        press(front, path_of(linked), get(front, linked.path), what=how)
    come_in(front, front.manager.email)
    assert do(front, linked, "offer").status_code == 303
    assert "oft genug gefragt" in plain(get(front, linked.path))
    asked = sa.select(sa.func.count()).where(Message.template == "invoice_offered")
    with front.database.transaction() as session:
        assert session.scalar(asked) == 1
    back.clock.now += timedelta(days=1)
    do(front, linked, "offer")
    with front.database.transaction() as session:
        assert session.scalar(asked) == 2


def test_an_offer_is_taken_back_and_lapses(front: Front, linked: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    do(front, linked, "offer")
    assert do(front, linked, "withdraw").status_code == 303
    back.clock.now += timedelta(days=1)
    do(front, linked, "offer")
    back.clock.now += timedelta(days=16)
    come_in(front, linked.administrator.email)
    get(front, path_of(linked), 404)
    come_in(front, front.manager.email)
    assert 'value="offer"' in get(front, path_of(linked))
    with front.database.transaction() as session:
        gone = session.scalars(sa.select(InvoiceOffer.account_id).where(InvoiceOffer.left_over(back.clock.now))).all()
    assert gone == [linked.account.id]


@pytest.mark.parametrize("who", ["main", "own"])
def test_either_side_leaves_and_chooses_whether_it_stays_linked(front: Front, site: Site, back: Back, who: str) -> None:
    origin = now(front, site)[1]
    person = front.manager.email if who == "main" else site.administrator.email
    for stays in ("yes", "no"):
        come_in(front, front.manager.email)
        do(front, site, "join", email=site.administrator.email, password=PASSWORD)
        come_in(front, person)
        assert do(front, site, "leave").status_code == 422
        assert do(front, site, "leave", stays=stays).status_code == 303
        assert billed(front, site) == []
        of_job(back)
        assert now(front, site) == ((front.main.id, origin) if stays == "yes" else (None, None))
    assert ("invoice_left", front.manager.email) in told(front)
    with front.database.transaction() as session:
        [detach] = session.scalars(sa.select(Request).where(Request.kind == Kind.DETACH))
        assert detach.requested_by is not None


def attached_by_invoice(front: Front, back: Back, site: Site) -> None:
    """Detach the site, and let the job `invoices` attach it again because of a collective invoice.

    The carrier has put the site on an invoice of its former main account.
    """
    with back.runtime.database.transaction() as session:
        detach(session, front.main.id, site.account.id)
        session.flush()
        main, account = session.get_one(Account, front.main.id), session.get_one(Account, site.account.id)
        put_on_invoice(session, "SR-7", main, account, NOW)
    of_job(back)
    assert now(front, site) == (front.main.id, Origin.COLLECTIVE_INVOICE)


def test_who_is_there_by_the_invoice_stays_only_if_its_own_people_want_that(
    front: Front, linked: Site, back: Back
) -> None:
    attached_by_invoice(front, back, linked)
    come_in(front, front.manager.email)
    page = get(front, path_of(linked))
    assert re.findall('name="stays" value="([a-z]*)"', page) == ["no"]
    assert press(front, path_of(linked), page, what="leave", stays="yes").status_code == 404
    assert billed(front, linked) == ["SR-7"]
    come_in(front, linked.administrator.email)
    do(front, linked, "leave", stays="yes")
    of_job(back)
    assert now(front, linked) == (front.main.id, Origin.LINK)
    of_job(back)
    assert now(front, linked) == (front.main.id, Origin.LINK)


def test_who_is_there_by_the_invoice_is_detached_when_the_main_account_ends_it(
    front: Front, linked: Site, back: Back
) -> None:
    attached_by_invoice(front, back, linked)
    come_in(front, front.manager.email)
    assert do(front, linked, "leave", stays="no").status_code == 303
    of_job(back)
    assert now(front, linked) == (None, None)


def test_an_account_that_is_to_be_detached_joins_nothing(front: Front, linked: Site) -> None:
    come_in(front, front.manager.email)
    press(front, f"{linked.path}/loesen", effective_on="1.4.2026", customer_number=linked.account.customer_number)
    answer = do(front, linked, "join", email=linked.administrator.email, password=PASSWORD)
    assert answer.status_code == 303 and billed(front, linked) == []
    assert "1. April 2026" in plain(get(front, linked.path))


def test_an_account_on_another_invoice_is_left_there(front: Front, linked: Site, back: Back) -> None:
    with back.runtime.database.transaction() as session:
        other, _ = make_main(session)
        put_on_invoice(session, "SR-9", other, session.get_one(Account, linked.account.id), NOW)
    come_in(front, front.manager.email)
    do(front, linked, "join", email=linked.administrator.email, password=PASSWORD)
    assert "auf einer anderen Sammelrechnung" in plain(get(front, linked.path))
    assert billed(front, linked) == ["SR-9"]


def test_a_member_and_an_outsider_see_nothing(front: Front, linked: Site) -> None:
    come_in(front, linked.member.email)
    get(front, path_of(linked), 404)
    come_in(front, linked.administrator.email)
    # Nothing is asked, and the account pays for itself: there is nothing to do.
    get(front, path_of(linked), 404)


def test_the_page_of_an_account_on_the_invoice_is_no_place_to_guess_passwords(front: Front, linked: Site) -> None:
    with front.database.transaction() as session:
        main, account = session.get_one(Account, front.main.id), session.get_one(Account, linked.account.id)
        put_on_invoice(session, "SR-1", main, account, NOW)
    come_in(front, front.manager.email)
    page = get(front, path_of(linked))
    answers = [
        press(front, path_of(linked), page, what="join", email=linked.administrator.email, password=password)
        for password in (PASSWORD, *(f"geraten-{n}" for n in range(12)))
    ]
    assert answers[0].status_code == answers[1].status_code == 303
    assert {answer.status_code for answer in answers} <= {303, 429}
