"""Tests of the pages on which administrators list, create and revoke an account's API tokens.

A new token is shown once. Tokens of other accounts get the same answer as missing ones.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.calendar_days import end_of_day
from models.people.api_tokens import ApiToken
from models.people.rights import Role
from models.states import Origin
from tests.factories import NOW, PASSWORD, join, make_account, make_user
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.people.forms import post


def pages(front: Front) -> str:
    """Sign the manager in, and return the path of the account's list of API tokens."""
    sign_in(front, front.manager.email)
    return f"/benutzer/{front.main.customer_number}/api-token"


FORM = {"name": "Warenwirtschaft", "scopes": "all", "days": "90", "password": PASSWORD}


def test_a_token_is_made_shown_once_used_and_revoked(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        session.execute(sa.delete(ApiToken))
        other = make_user(session)
        join(session, other, session.get_one(Account, front.main.id))
    tokens = pages(front)
    assert tokens in front.client.get(f"/benutzer/{front.main.customer_number}").text
    empty = front.client.get(tokens).text
    assert_valid(empty)
    assert "Es gibt noch kein Token." in empty
    assert_valid(front.client.get(tokens + "/neu").text)
    made = post(front.client, tokens + "/neu", **FORM)
    assert made.status_code == 201 and made.headers["Cache-Control"] == "no-store"
    assert_valid(made.text)
    found = re.search(r'translate="no">(sv_[\w-]+)<', made.text)
    assert found is not None
    front.token = found[1]
    assert front.get("/accounts").status_code == 200
    listed = front.client.get(tokens).text
    assert_valid(listed)
    assert found[1] not in listed
    rights = "lesen, bestellen, ändern, kündigen, verknüpfen und lösen"
    for shown in ("Warenwirtschaft", front.manager.name, rights, "127.0.0.1"):
        assert shown in listed
    with front.database.transaction() as session:
        [token] = session.scalars(sa.select(ApiToken))
    assert token.expires_at == end_of_day(NOW + timedelta(days=90))
    back.advance()
    [mail] = [mail for mail in back.mailer.sent if "API-Token" in mail.subject]
    assert mail.recipient_address == other.email
    assert found[1] not in mail.text and "Warenwirtschaft" in mail.text and tokens in mail.text
    ask = f"{tokens}/{token.id}/widerrufen"
    assert_valid(front.client.get(ask).text)
    assert front.get("/accounts").status_code == 200
    assert post(front.client, ask).location == tokens
    assert front.get("/accounts").status_code == 401
    assert front.client.get(ask).location == tokens
    after = front.client.get(tokens).text
    assert "ist widerrufen" in after and "Widerrufen am" in after
    log = front.client.get(f"/standortverwaltung/{front.main.customer_number}/protokoll").text
    assert "Hat das API-Token „Warenwirtschaft“ erstellt." in log
    assert "Hat das API-Token „Warenwirtschaft“ widerrufen." in log


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"password": "wrong"}, "Das ist nicht Ihr aktuelles Passwort."),
        ({"password": ""}, "Bitte geben Sie Ihr Passwort ein."),
        ({"name": " "}, "an dem Sie das Token wiedererkennen"),
        ({"name": "x" * 101}, "höchstens 100 Zeichen"),
        ({"name": "www.evil.example/login"}, "Internet- und E-Mail-Adressen"),
        ({"name": "test"}, "schon ein Token mit diesem Namen"),
        ({"scopes": "operate"}, "darf"),
        ({"days": "4000"}, "Gültig"),
    ],
)
def test_a_wrong_form_makes_no_token_and_keeps_what_was_typed(front: Front, wrong: dict[str, str], says: str) -> None:
    tokens = pages(front)
    answer = post(front.client, tokens + "/neu", **FORM | wrong)
    assert answer.status_code == 422 and says in answer.text
    assert_valid(answer.text)
    assert f'value="{(FORM | wrong)["name"]}"' in answer.text and PASSWORD not in answer.text
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(ApiToken)) == 1


def test_wrong_passwords_are_counted(front: Front) -> None:
    tokens = pages(front)
    answers = [post(front.client, tokens + "/neu", **FORM | {"password": "wrong"}).status_code for _ in range(11)]
    assert answers == [422] * 10 + [429]


def test_tokens_of_others_and_missing_ones_answer_alike(front: Front) -> None:
    with front.database.transaction() as session:
        stranger = make_user(session)
        foreign = make_account(session, administrator=stranger)
        sub = make_account(session)
        attach(session, front.main.id, sub.id, Origin.LINK, NOW)
        manager = make_user(session)
        join(session, manager, session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
        session.add(
            ApiToken(account_id=foreign.id, user_id=stranger.id, name="x", token_hash=b"x", scopes=[], created_at=NOW)
        )
    tokens = pages(front)
    with front.database.transaction() as session:
        mine, theirs = session.scalars(sa.select(ApiToken.id).order_by(ApiToken.id))
    form = {"csrf_token": csrf(front.client.get(tokens + "/neu").text)}
    for number in (foreign.customer_number, sub.customer_number, "9999999"):
        for rest in ("", "/neu", f"/{theirs}/widerrufen", f"/{mine}/widerrufen"):
            assert front.client.get(f"/benutzer/{number}/api-token{rest}").status_code == 404
            if rest:
                assert front.client.post(f"/benutzer/{number}/api-token{rest}", data=FORM | form).status_code == 404
    for id in (theirs, 999_999):
        assert front.client.get(f"{tokens}/{id}/widerrufen").status_code == 404
        assert front.client.post(f"{tokens}/{id}/widerrufen", data=form).status_code == 404
    front.client = front.client.application.test_client()
    sign_in(front, manager.email)
    assert front.client.get(tokens).status_code == 404
    with front.database.transaction() as session:
        assert session.scalars(sa.select(ApiToken.revoked_at)).all() == [None, None]


def test_a_token_without_an_end_says_so(front: Front) -> None:
    with front.database.transaction() as session:
        session.execute(sa.update(ApiToken).values(expires_at=None))
    tokens = pages(front)
    german = front.client.get(tokens).text
    assert "Ohne Ende: bitte ersetzen" in german
    front.client.post("/sprache/en", data={"csrf_token": csrf(german)})
    assert "No end: please replace it" in front.client.get(tokens).text
