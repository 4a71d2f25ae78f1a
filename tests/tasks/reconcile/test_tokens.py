"""Tests of the scheduled job `tokens`: one reminder before an API token expires, none for a token without effect."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.people.api_tokens import ApiToken, create_token, revoke_tokens_of_user
from models.people.rights import Role, Scope
from models.people.users import User
from tests.factories import join, make_user
from tests.tasks.conftest import Pipeline

DAY = timedelta(days=1)


def make_token(pipeline: Pipeline, user_id: int, days: int = 30) -> None:
    with pipeline.owner.transaction() as session:
        account, user = session.get_one(Account, pipeline.main.id), session.get_one(User, user_id)
        create_token(session, account, user, "Warenwirtschaft", [Scope.READ], pipeline.clock(), days * DAY)


def reminded(pipeline: Pipeline) -> list[str]:
    """Run the scheduled job `tokens` and send due mails; return the recipients of all mails so far."""
    pipeline.run("tokens")
    pipeline.send()
    return sorted(mail.recipient_address for mail in pipeline.mailer.sent)


def test_the_person_and_the_administrators_are_reminded_once(pipeline: Pipeline) -> None:
    with pipeline.owner.transaction() as session:
        account = session.get_one(Account, pipeline.main.id)
        user, other = make_user(session), make_user(session)
        join(session, user, account, Role.LOCATION_MANAGER)
        join(session, other, account, Role.LOCATION_MANAGER)
        person, address = user.id, user.email
    make_token(pipeline, person)
    # The token ends with the end of its last day.
    pipeline.clock.advance(15 * DAY)
    assert reminded(pipeline) == []
    pipeline.clock.advance(2 * DAY)
    assert reminded(pipeline) == sorted([address, pipeline.manager.email])
    mail = pipeline.mailer.sent[0]
    assert "läuft bald ab" in mail.subject and "Warenwirtschaft" in mail.text
    assert f"/benutzer/{pipeline.main.customer_number}/api-token" in mail.text
    for _ in range(15):
        pipeline.clock.advance(DAY)
        assert len(reminded(pipeline)) == 2


def test_nobody_is_reminded_of_a_token_that_does_nothing(pipeline: Pipeline) -> None:
    manager = pipeline.manager.user_id
    make_token(pipeline, manager, days=10)
    with pipeline.owner.transaction() as session:
        stranger = make_user(session).id
        revoke_tokens_of_user(session, manager, pipeline.main.id, pipeline.clock())
    make_token(pipeline, stranger, days=10)
    # From before tokens had an expiry.
    make_token(pipeline, manager, days=10)
    with pipeline.owner.transaction() as session:
        newest = sa.select(sa.func.max(ApiToken.id)).scalar_subquery()
        session.execute(sa.update(ApiToken).where(ApiToken.id == newest).values(expires_at=None))
    assert reminded(pipeline) == []
    pipeline.clock.advance(20 * DAY)
    assert reminded(pipeline) == []
