"""Tests of the page on which administrators choose which destinations may be called from a trunk."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.messages.outbox import Message
from models.people.audit_log import AuditEvent
from models.telephony.country_prefixes import EEA, rules_of
from models.telephony.forwarding import CallForwarding
from models.telephony.high_risk import high_risk_prefixes
from models.telephony.trunks import SipTrunk
from tasks.registrar.trunks import write_due_trunks
from tests.fakes import FakeRegistrar
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, deeds, get, make_site
from tests.web.portal.telephony.test_suspension import press


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location whose trunk may call all destinations, as trunks from earlier versions may."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id))


def test_destinations_are_limited_and_high_risk_ones_allowed_from_the_dashboard(
    front: Front, site: Site, back: Back
) -> None:
    registrar = back.runtime.ports.registrar
    assert isinstance(registrar, FakeRegistrar)
    come_in(front, site.administrator.email)
    path = f"{site.path}/sip/{site.trunk}/ziele"
    dashboard = get(front, site.path)
    assert f'href="{path}"' in dashboard and "Alle Länder" in dashboard and "Hochrisiko-Ziele sind erlaubt" in dashboard
    page = get(front, path)
    assert 'value="all" checked' in page
    assert_valid(page)
    assert press(front, path, page, limit="x").status_code == 422
    unknown = press(front, path, page, limit="own", countries="AT, Atlantis").text
    assert "Diese Länder kennen wir nicht: Atlantis" in unknown and 'value="AT, Atlantis"' in unknown
    assert "mindestens ein Land" in press(front, path, page, limit="own", countries=" ").text
    answer = press(front, path, page, limit="own", countries="Österreich, ch; +44\nfrance, 00870")
    assert (answer.status_code, answer.location) == (303, site.path)
    assert "Schweiz" in get(front, path) and "+870" in get(front, path)
    write_due_trunks(back.runtime, lambda: None)
    with front.database.transaction() as session:
        countries = ["870", "AT", "CH", "DE", "FR", "GB"]
        assert session.get_one(SipTrunk, site.trunk).countries == countries
        assert registrar.writes[-1].rules == rules_of(countries, high_risk_prefixes(session))
    assert press(front, path, page, limit="eea").status_code == 303
    assert "EU und EWR" in get(front, site.path) and "Hochrisiko-Ziele sind gesperrt" in get(front, site.path)
    asked = press(front, path, page, limit="all", high_risk="y")
    assert asked.status_code == 422 and "mehrere Euro" in asked.text and 'name="confirmed"' in asked.text
    assert_valid(asked.text)
    for _ in range(2):
        assert press(front, path, page, limit="all", high_risk="y", confirmed="y").status_code == 303
    write_due_trunks(back.runtime, lambda: None)
    assert "allow.0" not in registrar.writes[-1].preferences and "deny.0" not in registrar.writes[-1].preferences
    assert [deed[0] for deed in deeds(front)] == [AuditEvent.DESTINATIONS_CHANGED] * 3
    log = get(front, site.path + "/protokoll")
    assert "darf anrufen: Alle Länder; auch Hochrisiko-Ziele." in log and "EU und EWR; keine" in log
    with front.database.transaction() as session:
        told = session.scalars(sa.select(Message).where(Message.template == "high_risk_allowed")).all()
        assert [one.recipient_address for one in told] == [front.manager.email] and "sip_user" in told[0].facts


def test_a_limit_names_the_forwardings_that_it_would_cut_off(front: Front, site: Site) -> None:
    come_in(front, site.administrator.email)
    path = f"{site.path}/sip/{site.trunk}/ziele"
    with front.database.transaction() as session:
        session.get_one(CallForwarding, site.forwarding).target = "+43158858"
    refused = press(front, path, get(front, path), limit="germany", high_risk="y")
    assert refused.status_code == 422 and "Rufweiterleitungen führen woanders hin: +43 1 58858" in refused.text
    assert press(front, path, refused.text, limit="eea", high_risk="y").status_code == 303
    with front.database.transaction() as session:
        assert session.get_one(SipTrunk, site.trunk).countries == sorted(EEA)
