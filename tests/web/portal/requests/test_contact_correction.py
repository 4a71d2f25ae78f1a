"""Tests of correcting the e-mail address of an order's contact on the order's page."""

from __future__ import annotations

from models.people.rights import Role
from tasks.ports import GatewayRefused
from tests.factories import join, make_main, make_staff, make_user
from tests.web.api.calls import CONTACT, an_order
from tests.web.conftest import Back, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.proofs.answering import send, title

RIGHT = "hanna@example.com"


def bounced(front: Front, back: Back) -> str:
    """Place an order whose mail to the contact the mail server refuses for good, and sign in as its requester.

    Return the path of the order's page.
    """
    back.mailer.failures[CONTACT] = [GatewayRefused("550")]
    id = an_order(front, back)
    back.advance()
    sign_in(front, front.manager.email)
    return f"/anfragen/{id}"


def test_a_refused_address_is_shown_with_the_way_out_and_corrected(front: Front, back: Back) -> None:
    path = bounced(front, back)
    page = front.client.get(path).text
    assert_valid(page)
    for words in (
        "Jetzt sind Sie an der Reihe", "Der Mailserver nimmt diese Adresse nicht an.",
        "Bitte korrigieren Sie die Adresse", "Unsere E-Mail an Hanna Palmer kam zurück",
    ):  # fmt: skip
        assert words in page
    wrong = send(front, f"{path}/ansprechpartner", path, email="hanna")
    assert wrong.status_code == 422 and 'value="hanna"' in wrong.text and '<a href="#email">' in wrong.text
    assert_valid(wrong.text)
    same = send(front, f"{path}/ansprechpartner", path, email=CONTACT)
    assert same.status_code == 422 and "Diese Adresse haben wir schon." in same.text
    done = send(front, f"{path}/ansprechpartner", path, email=f" {RIGHT} ")
    assert (done.status_code, done.headers["Location"]) == (303, path)
    back.advance()
    after = front.client.get(path).text
    assert "Die Adresse ist korrigiert." in after and "Jetzt ist Hanna Palmer an der Reihe" in after
    assert f"hat die E-Mail-Adresse von Hanna Palmer korrigiert: Sie ist jetzt {RIGHT}." in after
    assert title(front.client.get(back.mail_to(RIGHT)[0])) == "E-Mail-Adresse bestätigen"


def test_the_link_to_the_old_address_leads_nowhere(front: Front, back: Back) -> None:
    id = an_order(front, back)
    old, _ = back.mail_to(CONTACT)
    sign_in(front, front.manager.email)
    send(front, f"/anfragen/{id}/ansprechpartner", f"/anfragen/{id}", email=RIGHT)
    back.advance()
    assert front.client.get(old).status_code == 404


def test_nobody_else_corrects_it(front: Front, back: Back) -> None:
    path = bounced(front, back)
    with front.database.transaction() as session:
        _, stranger = make_main(session)
        local = make_user(session)
        join(session, local, session.merge(front.main), Role.LOCAL_MEMBER)
        staff = make_staff(session)
    for email, seen in ((stranger.email, 404), (local.email, 404), (staff.email, 200)):
        front.client = front.client.application.test_client()
        sign_in(front, email)
        page = front.client.get(path)
        assert page.status_code == seen and "Adresse korrigieren und neu fragen" not in page.text
        token = form_token(front.client)
        answer = front.client.post(f"{path}/ansprechpartner", data={"csrf_token": token, "email": RIGHT})
        assert answer.status_code == 404
    back.advance()
    assert not [mail for mail in back.mailer.sent if mail.recipient_address == RIGHT]


def test_an_order_that_is_too_far_says_so(front: Front, back: Back) -> None:
    path = bounced(front, back)
    stale = csrf(front.client.get(path).text)
    front.client.post(f"{path}/stornieren", data={"csrf_token": stale})
    late = front.client.post(f"{path}/ansprechpartner", data={"csrf_token": stale, "email": RIGHT})
    assert late.status_code == 303
    assert "Darauf wartet die Anfrage nicht mehr." in front.client.get(path).text
