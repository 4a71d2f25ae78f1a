"""Tests that idempotency keys of different accounts and users are separate, which the API's tests cannot show."""

from __future__ import annotations

import pytest

from models.db.session import Database
from models.errors import IdempotencyConflict
from models.requests.idempotency import known_key, reserve_key
from tests.factories import NOW, make_account, make_user


def test_nobody_gets_the_answer_to_somebody_elses_key(database: Database) -> None:
    with database.transaction() as session:
        mine, theirs = make_account(session).id, make_account(session).id
        me, them = make_user(session).id, make_user(session).id
        reserve_key(session, mine, me, "one", [b"body"], NOW).answer = {"id": "mine"}
    with database.transaction() as session:
        assert reserve_key(session, theirs, me, "one", [b"body"], NOW).answer is None
        assert reserve_key(session, mine, them, "one", [b"another body"], NOW).answer is None
        assert reserve_key(session, mine, me, "two", [b"body"], NOW).answer is None
        assert reserve_key(session, mine, me, "one", [b"body"], NOW).answer == {"id": "mine"}
    with pytest.raises(IdempotencyConflict), database.transaction() as session:
        reserve_key(session, mine, me, "one", [b"another body"], NOW)


def test_a_repeated_call_is_recognised_after_the_key_of_fingerprints_was_changed(database: Database) -> None:
    with database.transaction() as session:
        mine, me = make_account(session).id, make_user(session).id
        reserve_key(session, mine, me, "by the old key", [b"old"], NOW).answer = {"id": "mine"}
    with database.transaction() as session:
        keys = ["by the new key", "by the old key"]
        assert known_key(session, mine, me, keys) == "by the old key"
        assert known_key(session, make_account(session).id, me, keys) == "by the new key"
        assert reserve_key(session, mine, me, "by the old key", [b"new", b"old"], NOW).answer == {"id": "mine"}
