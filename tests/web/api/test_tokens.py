"""Tests of API tokens: they expire after a year at most, and end with their owner's role in the account.

The last use of a token is stored, at most every five minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.calendar_days import end_of_day
from models.links.account_closing import close_account
from models.people.api_tokens import LONGEST_LIFE, ApiToken, create_token
from models.people.members import change_role, remove_user
from models.people.rights import Principal, Role, Scope
from models.people.users import Membership, User, principal_of
from tests.factories import NOW, join, make_user
from tests.fakes import FakeClock
from tests.web.api.calls import owned, token_of
from tests.web.conftest import Front


def the_token(front: Front) -> ApiToken:
    """Return the only API token in the database."""
    with front.database.transaction() as session:
        return session.scalars(sa.select(ApiToken)).one()


def test_a_token_expires_with_the_end_of_its_last_day(front: Front, clock: FakeClock) -> None:
    ends = end_of_day(NOW + LONGEST_LIFE)
    assert the_token(front).expires_at == ends
    clock.now = ends - timedelta(seconds=1)
    assert front.get("/requests").status_code == 200
    clock.now = ends
    answer = front.get("/requests", **{"Accept-Language": "en"})
    body = answer.get_json()
    assert (answer.status_code, body["type"], answer.headers["WWW-Authenticate"]) == (
        401,
        "/problems/token_expired",
        "Bearer",
    )
    assert body["expired_at"] == ends.isoformat()
    assert body["detail"].startswith("This token expired at")
    german = front.get("/requests").get_json()
    assert german["title"] == "API-Token abgelaufen"


def test_no_token_is_made_for_longer_than_a_year(front: Front) -> None:
    with front.database.transaction() as session:
        account, user = session.get_one(Account, front.main.id), session.get_one(User, front.manager.user_id)
        create_token(session, account, user, "long", Scope, NOW, timedelta(days=4000))
        create_token(session, account, user, "short", Scope, NOW, timedelta(days=30))
        found = {token.name: token.expires_at for token in session.scalars(sa.select(ApiToken))}
    assert found["long"] == end_of_day(NOW + LONGEST_LIFE)
    assert found["short"] == end_of_day(NOW + timedelta(days=30))


def test_a_token_from_before_there_was_an_expiry_goes_on(front: Front, clock: FakeClock) -> None:
    with front.database.transaction() as session:
        session.execute(sa.update(ApiToken).values(expires_at=None))
    clock.now = NOW + timedelta(days=4000)
    assert front.get("/requests").status_code == 200


def test_the_last_use_is_written_at_most_every_five_minutes(front: Front, clock: FakeClock) -> None:
    assert the_token(front).last_used_at is None
    assert front.client.get("/api/v1/requests", headers={"Authorization": "Bearer sv_wrong"}).status_code == 401
    assert the_token(front).last_used_at is None

    def use(address: str, after: timedelta) -> tuple[object, object]:
        clock.now = NOW + after
        front.client.environ_base["REMOTE_ADDR"] = address
        assert front.get("/requests").status_code == 200
        used = the_token(front)
        return used.last_used_at, used.last_used_address

    assert use("192.0.2.1", timedelta()) == (NOW, "192.0.2.1")
    assert use("192.0.2.2", timedelta(minutes=4, seconds=59)) == (NOW, "192.0.2.1")
    later = timedelta(minutes=5)
    assert use("192.0.2.2", later) == (NOW + later, "192.0.2.2")


def _remove(session: Session, colleague: Principal, account: Account, user: User) -> None:
    remove_user(session, colleague, account, user.id, NOW)


def _demote(session: Session, colleague: Principal, account: Account, user: User) -> None:
    change_role(session, colleague, account, user.id, Role.LOCAL_MEMBER, NOW)


def _close(session: Session, colleague: Principal, account: Account, user: User) -> None:
    assert close_account(session, account, NOW)


def _delete_row(session: Session, colleague: Principal, account: Account, user: User) -> None:
    # Such as by hand in the database, or by the program before this one.
    session.execute(sa.delete(Membership).where(Membership.user_id == user.id))


@pytest.mark.parametrize("end", [_remove, _demote, _close, _delete_row])
def test_a_token_dies_with_its_persons_role(
    front: Front, end: Callable[[Session, Principal, Account, User], None]
) -> None:
    account, owner = owned(front)
    front.token = token_of(front, account, owner)
    assert front.get("/requests").status_code == 200
    unknown = front.client.get("/api/v1/requests", headers={"Authorization": "Bearer sv_wrong"})
    with front.database.transaction() as session:
        colleague = make_user(session)
        join(session, colleague, account)
        acting = principal_of(session, colleague)
        end(session, acting, session.get_one(Account, account.id), session.get_one(User, owner.id))
    refused = front.get("/requests")
    assert (refused.status_code, refused.data) == (401, unknown.data)
    assert front.post(f"/accounts/{account.customer_number}/link-code").status_code == 401


@pytest.mark.parametrize("end", [_remove, _demote])
def test_a_token_stays_dead_when_its_person_comes_back(
    front: Front, end: Callable[[Session, Principal, Account, User], None]
) -> None:
    account, owner = owned(front)
    front.token = token_of(front, account, owner)
    with front.database.transaction() as session:
        colleague = make_user(session)
        join(session, colleague, account)
        end(session, principal_of(session, colleague), session.get_one(Account, account.id), owner)
    with front.database.transaction() as session:
        session.merge(Membership(user_id=owner.id, account_id=account.id, role=Role.ADMINISTRATOR))
    assert front.get("/requests").status_code == 401


def test_a_token_keeps_what_a_lower_role_still_gives(front: Front) -> None:
    account, owner = owned(front)
    front.token = token_of(front, account, owner)
    with front.database.transaction() as session:
        colleague = make_user(session)
        join(session, colleague, account)
        acting = principal_of(session, colleague)
        change_role(session, acting, session.get_one(Account, account.id), owner.id, Role.LOCATION_MANAGER, NOW)
    assert front.get("/requests").status_code == 200
    assert front.post(f"/accounts/{account.customer_number}/link-code").status_code == 403
