"""Tests of creating and revoking API tokens, which only administrators of the account itself may do.

Both are recorded in the account's log, and the other administrators get a mail. The number of usable tokens is limited,
and no two of them have the same name.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.db.session import Database
from models.errors import Forbidden, NotFound, TokenNameTaken, TooEarly, TooManyTokens
from models.messages.outbox import Message
from models.people import api_tokens
from models.people.api_tokens import MOST_TOKENS, ApiToken, issue_token, revoke_token, tokens_of, use_token
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Role, Scope
from models.people.users import principal_of
from models.states import Origin
from tests.factories import NOW, join, make_account, make_main, make_user

MONTH = timedelta(days=30)


def test_the_other_administrators_are_told_and_the_log_names_the_maker(database: Database) -> None:
    with database.transaction() as session:
        account, maker = make_main(session)
        other, manager = make_user(session), make_user(session)
        join(session, other, account)
        join(session, manager, account, Role.LOCATION_MANAGER)
        text = issue_token(session, maker, account, "ERP", [Scope.READ], MONTH, NOW)
    with database.transaction() as session:
        use = use_token(session, text, "192.0.2.1", NOW)
        assert use is not None and use.account.id == account.id
        assert (use.person.user_id, use.person.scopes) == (maker.user_id, frozenset({Scope.READ}))
        [mail] = session.scalars(sa.select(Message))
        assert (mail.template, mail.recipient_address) == ("api_token_created", other.email)
        assert text not in str(mail.facts)
        [entry] = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed != AuditEvent.TOKEN_USED))
        assert (entry.deed, entry.user_id, entry.facts) == (AuditEvent.TOKEN_CREATED, maker.user_id, {"name": "ERP"})


def test_a_token_is_revoked_once_and_logged_once(database: Database) -> None:
    with database.transaction() as session:
        account, maker = make_main(session)
        text = issue_token(session, maker, account, "ERP", Scope, MONTH, NOW)
        [(token, _)] = tokens_of(session, account)
        for _ in range(2):
            revoke_token(session, maker, account, token.id, NOW)
    with database.transaction() as session:
        assert use_token(session, text, "192.0.2.1", NOW) is None
        deeds = session.scalars(sa.select(AuditEntry.deed).order_by(AuditEntry.id)).all()
        assert deeds == [AuditEvent.TOKEN_CREATED, AuditEvent.TOKEN_REVOKED]


def test_only_an_administrator_of_the_account_itself_manages_its_tokens(database: Database) -> None:
    with database.transaction() as session:
        main, leader = make_main(session)
        local = make_user(session)
        sub = make_account(session, administrator=local)
        attach(session, main.id, sub.id, Origin.LINK, NOW)
        issue_token(session, principal_of(session, local), sub, "phones", Scope, MONTH, NOW)
        [(token, _)] = tokens_of(session, sub)
        manager, staff = make_user(session), make_user(session, is_staff=True)
        join(session, manager, sub, Role.LOCATION_MANAGER)
        with_token = replace(
            principal_of(session, local), token_id=token.id, token_account_id=sub.id, scopes=frozenset(Scope)
        )
        for person in (leader, principal_of(session, manager), principal_of(session, staff), with_token):
            with pytest.raises(Forbidden):
                issue_token(session, person, sub, "mine", Scope, MONTH, NOW)
            with pytest.raises(Forbidden):
                revoke_token(session, person, sub, token.id, NOW)
        with pytest.raises(NotFound):
            revoke_token(session, leader, main, token.id, NOW)
        assert session.get_one(ApiToken, token.id).revoked_at is None


def test_a_name_is_free_again_once_its_token_is_over(database: Database) -> None:
    with database.transaction() as session:
        account, maker = make_main(session)
        issue_token(session, maker, account, "ERP", Scope, MONTH, NOW)
        with pytest.raises(TokenNameTaken):
            issue_token(session, maker, account, "ERP", Scope, MONTH, NOW)
        issue_token(session, maker, account, "ERP", Scope, MONTH, NOW + timedelta(days=32))
        [(token, _), _] = tokens_of(session, account)
        revoke_token(session, maker, account, token.id, NOW)
        issue_token(session, maker, account, "ERP", Scope, MONTH, NOW + timedelta(days=32))


def test_an_account_has_a_limited_number_of_usable_tokens(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_tokens, "MOST_TOKENS", 2)
    with database.transaction() as session:
        account, maker = make_main(session)
        for name in "ab":
            issue_token(session, maker, account, name, Scope, MONTH, NOW)
        with pytest.raises(TooManyTokens):
            issue_token(session, maker, account, "c", Scope, MONTH, NOW)
        issue_token(session, maker, account, "c", Scope, MONTH, NOW + timedelta(days=32))


def test_what_was_read_before_the_role_ended_makes_no_token(database: Database) -> None:
    with database.transaction() as session:
        account, maker = make_main(session)
        session.execute(sa.text("DELETE FROM memberships"))
        with pytest.raises(Forbidden):
            issue_token(session, maker, session.get_one(Account, account.id), "ERP", Scope, MONTH, NOW)


def test_making_and_revoking_tokens_in_turn_ends_after_a_day_full_of_mails(database: Database) -> None:
    with database.transaction() as session:
        account, maker = make_main(session)
    for _ in range(MOST_TOKENS):
        with database.transaction() as session:
            issue_token(session, maker, session.get_one(Account, account.id), "ERP", [Scope.READ], MONTH, NOW)
        with database.transaction() as session:
            newest = session.scalars(sa.select(ApiToken.id).order_by(ApiToken.id.desc())).first()
            assert newest is not None
            revoke_token(session, maker, session.get_one(Account, account.id), newest, NOW)
    with database.transaction() as session, pytest.raises(TooEarly):
        issue_token(session, maker, session.get_one(Account, account.id), "ERP", [Scope.READ], MONTH, NOW)
    with database.transaction() as session:
        later = NOW + timedelta(days=1)
        issue_token(session, maker, session.get_one(Account, account.id), "ERP", [Scope.READ], MONTH, later)
