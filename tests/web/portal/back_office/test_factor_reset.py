"""Tests of resetting a person's lost second factors: staff request it, and it is done a day later.

The person gets a mail at once, and any use of a factor stops the reset.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.messages.outbox import Message
from models.people.audit_log import AuditEntry
from models.people.login_changes import Where
from models.people.login_sessions import Login
from models.people.second_factors import PROOF_LASTS, SecondFactor, prove, remove_factor, renew_recovery_codes
from models.people.users import User
from models.staff.factor_resets import FactorReset
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tests.factories import VAULT, give_app, join, make_staff, make_user
from tests.fakes import FakeClock
from tests.second_factor import enter_code
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.test_second_factor import enter_password, press

PROOF = "Zurückgerufen unter der Nummer aus dem Register; letzte Rechnung genannt"
DAY = timedelta(days=1)


@pytest.fixture
def desk(front: Front) -> Front:
    """Provide a client in which a member of staff is signed in. Also give the manager an authenticator app."""
    with front.database.transaction() as session:
        give_app(session, session.get_one(User, front.manager.user_id))
        staff = make_staff(session, name="Bo Backoffice")
    desk = replace(front, client=front.client.application.test_client())
    sign_in(desk, staff.email)
    return desk


def page_of(user_id: int) -> str:
    return f"/backoffice/personen/{user_id}/zweiter-faktor"


def job(back: Back) -> None:
    run = run_job(back.runtime, JOBS["factor_resets"], by_hand=True)
    assert run is not None and run.error is None


def count(front: Front, table: type[SecondFactor | FactorReset | Login]) -> int:
    """Return how many rows of the table belong to the manager."""
    with front.database.transaction() as session:
        return len(session.scalars(sa.select(table).where(table.user_id == front.manager.user_id)).all())


def told(front: Front) -> list[str]:
    with front.database.transaction() as session:
        mails = sa.select(Message.facts).where(
            Message.template == "login_changed", Message.recipient_address == front.manager.email
        )
        return [facts["what"] for facts in session.scalars(mails.order_by(Message.id))]


def test_a_lost_factor_is_removed_a_day_later_and_the_person_is_told_at_once(
    front: Front, desk: Front, back: Back, clock: FakeClock
) -> None:
    path = page_of(front.manager.user_id)
    sign_in(front, front.manager.email)
    search = desk.client.get(f"/backoffice/suche?suche={front.manager.email}").text
    assert f'href="{path}"' in search
    customer = f"/backoffice/kunden/{front.main.customer_number}"
    assert f'href="{path}"' in desk.client.get(customer).text
    page = desk.client.get(path).text
    assert_valid(page)
    missing = press(desk.client, path, page, proof="ja")
    assert missing.status_code == 422 and "20 bis 1.000 Zeichen" in missing.text
    assert_valid(missing.text)
    for _ in range(2):
        assert press(desk.client, path, page, proof=PROOF).location == path
    waiting = desk.client.get(path).text
    assert "werden am" in waiting and 'name="proof"' not in waiting
    assert_valid(waiting)
    assert told(front) == ["factor_reset_asked"]
    log = desk.client.get(customer).text
    assert "Unser Kundenservice · Bo Backoffice" in log and PROOF in log
    shown_to_customers = front.client.get(f"/standortverwaltung/{front.main.customer_number}/protokoll").text
    assert PROOF in shown_to_customers and "Bo Backoffice" not in shown_to_customers
    clock.advance(DAY - timedelta(minutes=1))
    job(back)
    assert count(front, SecondFactor) == 1
    clock.advance(timedelta(minutes=1))
    job(back)
    assert [count(front, table) for table in (SecondFactor, FactorReset, Login)] == [0, 0, 0]
    assert told(front) == ["factor_reset_asked", "factors_reset"]
    with front.database.transaction() as session:
        entry = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == "factors_reset")).one()
        assert entry.by_staff and entry.user_id is not None and entry.facts["proof"] == PROOF
    assert enter_password(front.client, front.manager.email).status_code == 302


def test_who_still_has_the_factor_stops_it(front: Front, desk: Front, back: Back, clock: FakeClock) -> None:
    path = page_of(front.manager.user_id)
    press(desk.client, path, proof=PROOF)
    clock.advance(timedelta(hours=23))
    sign_in(front, front.manager.email)
    clock.advance(timedelta(hours=2))
    job(back)
    assert [count(front, table) for table in (SecondFactor, FactorReset)] == [1, 0]
    # It does not come back later either.
    clock.advance(DAY)
    job(back)
    assert count(front, SecondFactor) == 1
    assert told(front) == ["factor_reset_asked"]


@pytest.mark.parametrize("last", ["renews the codes", "removes the factor"])
def test_a_use_stops_it_also_if_what_was_used_is_gone(
    front: Front, desk: Front, back: Back, clock: FakeClock, last: str
) -> None:
    where = Where("Firefox, Linux", "192.0.2.7")
    with front.database.transaction() as session:
        user = session.get_one(User, front.manager.user_id)
        give_app(session, user)
        second = session.scalars(sa.select(SecondFactor).where(SecondFactor.user_id == user.id)).first()
        assert second is not None
        code = renew_recovery_codes(session, user, clock.now, where)[0]
    clock.advance(timedelta(minutes=1))
    press(desk.client, page_of(front.manager.user_id), proof=PROOF)
    clock.advance(timedelta(minutes=1))
    with front.database.transaction() as session:
        user = session.get_one(User, front.manager.user_id)
        if last == "renews the codes":
            assert prove(session, VAULT, user, code, where, clock.now)
            renew_recovery_codes(session, user, clock.now, where)
        else:
            remove_factor(session, user.id, second.id, where, clock.now, is_required=False)
    job(back)
    clock.advance(DAY)
    job(back)
    assert [count(front, table) > 0 for table in (SecondFactor, FactorReset)] == [True, False]


def test_staff_withdraw_a_mistaken_reset_and_the_person_is_told(
    front: Front, desk: Front, back: Back, clock: FakeClock
) -> None:
    path = page_of(front.manager.user_id)
    withdrawal = f"{path}/zuruecknehmen"
    assert desk.client.get(withdrawal).location == path
    press(desk.client, path, proof=PROOF)
    assert f'href="{withdrawal}"' in desk.client.get(path).text
    with desk.database.transaction() as session:
        colleague = make_staff(session, name="Coco Colleague")
    other = replace(desk, client=desk.client.application.test_client())
    sign_in(other, colleague.email)
    page = other.client.get(withdrawal).text
    assert "bleiben" in page
    assert_valid(page)
    assert count(front, FactorReset) == 1
    assert press(other.client, withdrawal, page).location == path
    assert count(front, FactorReset) == 0
    assert press(other.client, withdrawal, page).location == path
    assert told(front) == ["factor_reset_asked", "factor_reset_withdrawn"]
    log = desk.client.get(f"/backoffice/kunden/{front.main.customer_number}").text
    assert "Unser Kundenservice · Coco Colleague" in log and "doch nicht entfernen zu lassen" in log
    clock.advance(DAY)
    job(back)
    assert count(front, SecondFactor) == 1
    # It can be asked for again.
    sign_in(other, colleague.email)
    press(other.client, path, proof=PROOF)
    assert count(front, FactorReset) == 1


def test_customers_withdraw_nothing(front: Front, desk: Front) -> None:
    path = page_of(front.manager.user_id)
    press(desk.client, path, proof=PROOF)
    page = desk.client.get(f"{path}/zuruecknehmen").text
    sign_in(front, front.manager.email)
    assert front.client.get(f"{path}/zuruecknehmen").status_code == 404
    assert press(front.client, f"{path}/zuruecknehmen", page).status_code in (400, 404)
    assert count(front, FactorReset) == 1


def test_it_ends_with_the_staff_s_own_place(
    front: Front, desk: Front, back: Back, clock: FakeClock, superuser: sa.Engine
) -> None:
    press(desk.client, page_of(front.manager.user_id), proof=PROOF)
    with superuser.begin() as connection:
        connection.execute(sa.update(User).where(User.name == "Bo Backoffice").values(is_staff=False))
    clock.advance(DAY)
    job(back)
    assert [count(front, table) for table in (SecondFactor, FactorReset)] == [1, 0]


def test_staff_reset_neither_their_own_factors_nor_those_of_colleagues(desk: Front) -> None:
    with desk.database.transaction() as session:
        colleague = make_staff(session)
        join(session, colleague, session.get_one(Account, desk.main.id))
        mine = session.scalars(sa.select(User.id).where(User.name == "Bo Backoffice")).one()
    page = desk.client.get(page_of(desk.manager.user_id)).text
    for id in (colleague.id, mine, 10**9):
        assert desk.client.get(page_of(id)).status_code == 404
        assert press(desk.client, page_of(id), page, proof=PROOF).status_code == 404
    assert page_of(colleague.id) not in desk.client.get(f"/backoffice/kunden/{desk.main.customer_number}").text
    with desk.database.transaction() as session:
        assert session.scalars(sa.select(FactorReset)).all() == []


def test_a_person_without_a_factor_has_none_to_reset(desk: Front) -> None:
    with desk.database.transaction() as session:
        bare = make_user(session).id
    page = desk.client.get(page_of(desk.manager.user_id)).text
    assert press(desk.client, page_of(bare), page, proof=PROOF).status_code == 409
    shown = desk.client.get(page_of(bare)).text
    assert "hat keinen zweiten Faktor" in shown and 'name="proof"' not in shown
    assert_valid(shown)


def test_customers_reset_nobody(front: Front, desk: Front) -> None:
    page = desk.client.get(page_of(front.manager.user_id)).text
    sign_in(front, front.manager.email)
    assert front.client.get(page_of(front.manager.user_id)).status_code == 404
    assert press(front.client, page_of(front.manager.user_id), page, proof=PROOF).status_code in (400, 404)
    assert count(front, FactorReset) == 0


def test_an_open_browser_of_staff_resets_nothing(desk: Front, clock: FakeClock) -> None:
    page = desk.client.get(page_of(desk.manager.user_id)).text
    clock.advance(PROOF_LASTS)
    asked = press(desk.client, page_of(desk.manager.user_id), page, proof=PROOF)
    assert asked.status_code == 401 and count(desk, FactorReset) == 0
    kept = enter_code(desk.client, asked)
    assert PROOF in kept.text
    assert press(desk.client, page_of(desk.manager.user_id), kept.text).status_code == 303
    assert count(desk, FactorReset) == 1
