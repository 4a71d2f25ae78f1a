"""Tests that two web applications whose hosts' clocks differ by two minutes work as one portal.

A test's requests go to the two in turn: one shows a form, and the other gets its input.
"""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest
import time_machine

from models.people.users import User
from tests.factories import give_app
from tests.web.conftest import Back, Front
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.forms import NEW, link_to, post

TWO_MINUTES = timedelta(minutes=2)


@pytest.fixture(params=[-TWO_MINUTES, TWO_MINUTES], ids=["behind", "ahead"])
def fronts(request: pytest.FixtureRequest, front: Front, monkeypatch: pytest.MonkeyPatch) -> Front:
    """Provide a client whose requests are answered in turn with a wrong clock and with the right one.

    Each test runs twice: the wrong clock is two minutes behind, or two minutes ahead.
    """
    app, turns = front.client.application, cycle([True, False])
    right = app.wsgi_app

    def in_turn(environ: Any, start_response: Any) -> Any:
        with time_machine.travel(request.param) if next(turns) else nullcontext():
            return right(environ, start_response)

    monkeypatch.setattr(app, "wsgi_app", in_turn)
    return front


def test_who_signs_in_at_one_is_signed_in_at_the_other(fronts: Front) -> None:
    assert sign_in(fronts, fronts.manager.email)[0] == 302
    for _ in range(4):
        assert fronts.client.get("/standortverwaltung").status_code == 200


def test_a_second_factor_is_proved_at_both_and_asked_for_again_at_neither(fronts: Front) -> None:
    with fronts.database.transaction() as session:
        give_app(session, session.get_one(User, fronts.manager.user_id))
    assert sign_in(fronts, fronts.manager.email)[0] == 302
    # A page before which the factor is asked for again, unless it was proved in the last minutes.
    for _ in range(4):
        assert fronts.client.get("/anmeldung/app").status_code == 200


def test_a_mailed_link_and_its_form_are_good_at_both(fronts: Front, back: Back) -> None:
    assert post(fronts.client, "/passwort", email=fronts.manager.email).location == "/passwort/unterwegs"
    assert post(fronts.client, link_to(back, fronts.manager.email), password=NEW).location == "/anmelden"
    assert sign_in(fronts, fronts.manager.email, NEW)[0] == 302
