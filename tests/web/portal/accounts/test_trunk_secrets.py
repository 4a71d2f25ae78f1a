"""Tests of a trunk's SIP password: renewing it, and showing it.

It is shown only to a user who enters the login's password again, and the audit log records that.
"""

from __future__ import annotations

import re

import sqlalchemy as sa

from models.people.audit_log import AuditEvent
from models.telephony.trunks import SipTrunk
from models.vault import Vault
from tasks.registrar.trunks import write_due_trunks
from tests.fakes import FakeRegistrar
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import OLD, Site, come_in, deeds, enter, get, send


def test_a_secret_is_not_said_to_be_shown_only_once(front: Front, site: Site) -> None:
    come_in(front, site.administrator.email)
    for _ in range(2):
        status, page = enter(front, site.secret)
        assert status == 200 and OLD in page and "jederzeit wieder anzeigen" in page
    asked = get(front, site.secret) + get(front, site.renewal)
    assert "einmal angezeigt" not in asked and "dieses eine Mal" not in page


def test_a_secret_is_shown_for_the_password_and_logged(front: Front, site: Site) -> None:
    come_in(front, site.administrator.email)
    page = get(front, site.secret)
    assert OLD not in page
    status, page = enter(front, site.secret, "wrong")
    assert status == 422 and OLD not in page and "nicht Ihr" in page
    assert deeds(front) == []
    status, page = enter(front, site.secret)
    assert status == 200
    assert_valid(page)
    assert f'<p class="code" translate="no">{OLD}</p>' in page
    assert deeds(front) == [(AuditEvent.SECRET_SEEN, site.administrator.id, None)]
    with front.database.transaction() as session:
        assert OLD not in str(session.execute(sa.text("SELECT facts FROM audit_entries")).all())


def test_a_secret_is_not_guessed_for_long(front: Front, site: Site) -> None:
    come_in(front, site.administrator.email)
    answers = [enter(front, site.secret, "wrong")[0] for _ in range(11)]
    assert answers == [422] * 10 + [429]
    assert enter(front, site.secret)[0] == 429


def test_a_secret_that_cannot_be_read_can_be_renewed(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        session.get_one(SipTrunk, site.trunk).secret = Vault("another key").seal("x")
    come_in(front, site.administrator.email)
    status, page = enter(front, site.secret)
    assert status == 409 and site.renewal in page
    assert enter(front, site.renewal)[0] == 200


def test_a_renewed_secret_reaches_the_registrar_and_the_old_one_is_gone(front: Front, site: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    page = get(front, site.renewal)
    assert "gilt gleich darauf nicht mehr" in page and "Das bisherige" in page
    assert send(front, site.renewal, page, "wrong")[0] == 422
    status, shown = send(front, site.renewal, page)
    assert status == 200
    found = re.search(r'<p class="code" translate="no">(\w{24})</p>', shown)
    assert found is not None
    write_due_trunks(back.runtime, lambda: None)
    registrar = back.runtime.ports.registrar
    assert isinstance(registrar, FakeRegistrar)
    assert [record.secret for record in registrar.writes] == [found[1]]
    with front.database.transaction() as session:
        assert session.get_one(SipTrunk, site.trunk).due_at is None
    # Submitting the form again renews nothing.
    assert send(front, site.renewal, page)[0] == 409
    assert found[1] in enter(front, site.secret)[1]
    through = (front.manager.user_id, front.main.id)
    assert deeds(front) == [
        (AuditEvent.LOOKED_IN, *through), (AuditEvent.SECRET_RENEWED, *through), (AuditEvent.SECRET_SEEN, *through),
    ]  # fmt: skip
