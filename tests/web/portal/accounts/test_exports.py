"""Tests of the limits of exports: one at a time for each account, few at a time in all, each for a limited time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from limits.storage import MemoryStorage, Storage
from redis.exceptions import RedisError

from models.accounts.accounts import Account
from tests.factories import join, make_account, make_user
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import come_in, make_site
from tests.web.portal.page.test_portal import sign_in
from web.export_turns import ExportRefused, ExportTurns, Refusal, within_time
from web.resources import resources


@pytest.fixture
def turns(front: Front) -> Iterator[ExportTurns]:
    """Provide the web application's object that limits how many exports run at once."""
    with front.client.application.app_context():
        yield resources().exports


def exports(front: Front) -> dict[str, str]:
    """Return the paths of all exports of the client's main account, by name: overview, costs, numbers and log."""
    number = front.main.customer_number
    return {
        "overview": "/standortverwaltung/export.csv",
        "costs": "/standortverwaltung/kosten/export.csv",
        "numbers": "/standortverwaltung/rufnummern/export.csv",
        "log": f"/standortverwaltung/{number}/protokoll/export.csv",
    }


def test_of_two_exports_of_one_account_the_second_has_to_wait(front: Front, turns: ExportTurns) -> None:
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id))
    sign_in(front, front.manager.email)
    with turns.turn(front.main.id):
        for name, path in exports(front).items():
            answer = front.client.get(path)
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "10"), name
            assert_valid(answer.text)
            assert f'<a href="{path}">' in answer.text, name
        come_in(front, site.administrator.email)
        # Another account has a turn of its own.
        assert front.client.get(f"{site.path}/protokoll/export.csv").status_code == 200
    come_in(front, front.manager.email)
    for name, path in exports(front).items():
        assert front.client.get(path).status_code == 200, name
        # Also after an export has ended, and after one of another kind.
        assert front.client.get(path).status_code == 200, name


def test_an_export_in_another_process_counts_too(front: Front) -> None:
    shared = MemoryStorage()
    one, other = ExportTurns(shared, 8), ExportTurns(shared, 8)
    with one.turn(1):
        with pytest.raises(ExportRefused) as refused, other.turn(1):
            pass
        assert refused.value.refusal is Refusal.RUNNING
        with other.turn(2):
            pass
    with other.turn(1):
        pass


def test_a_quarter_of_the_threads_exports_at_once() -> None:
    turns = ExportTurns(MemoryStorage(), 8)
    with turns.turn(1), turns.turn(2):
        with pytest.raises(ExportRefused) as refused, turns.turn(3):
            pass
        assert refused.value.refusal is Refusal.BUSY
    # One that was refused, and one that has failed, have given their turns back.
    with pytest.raises(ZeroDivisionError), turns.turn(1):
        raise ZeroDivisionError
    with turns.turn(1), turns.turn(2):
        pass


class AwayStorage(MemoryStorage):
    """A storage of counters whose Redis does not answer."""

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Raise `RedisError`, as for a lost connection."""
        raise RedisError


def test_without_redis_a_process_knows_its_own() -> None:
    away: Storage = AwayStorage()
    turns = ExportTurns(away, 8)
    with turns.turn(1), pytest.raises(ExportRefused), turns.turn(1):
        pass
    with turns.turn(1):
        pass


def test_an_export_that_takes_too_long_is_refused(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(front, front.manager.email)
    with monkeypatch.context() as patched:
        patched.setattr("web.portal.page.downloads.within_time", lambda rows: within_time(rows, -1))
        for name, path in exports(front).items():
            answer = front.client.get(path)
            assert answer.status_code == 422, name
            assert_valid(answer.text)
            assert "Der Export ist zu groß" in answer.text
    assert front.client.get("/standortverwaltung/export.csv").status_code == 200


def test_a_person_with_two_accounts_exports_both(front: Front, turns: ExportTurns) -> None:
    with front.database.transaction() as session:
        person, account = make_user(session), make_account(session)
        join(session, person, account)
        join(session, person, session.get_one(Account, front.main.id))
    sign_in(front, person.email)
    with turns.turn(front.main.id):
        assert (
            front.client.get(f"/standortverwaltung/{account.customer_number}/protokoll/export.csv").status_code == 200
        )
