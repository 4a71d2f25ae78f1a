"""Tests of the page on which users choose what the request URI of an incoming call names.

It is the contact that the phone has registered, or the dialled number.
"""

from __future__ import annotations

import pytest

from models.accounts.accounts import Account
from models.people.audit_log import AuditEvent
from models.telephony.trunks import RequestUri
from tasks.registrar.trunks import write_due_trunks
from tests.fakes import FakeRegistrar
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, deeds, get, make_site
from tests.web.portal.telephony.test_suspension import press


@pytest.fixture
def site(front: Front) -> Site:
    """Create a sub-account with a trunk and users under the client's main account."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id))


@pytest.mark.parametrize("who", ["manager", "administrator"])
def test_how_calls_arrive_is_changed_from_the_dashboard_and_back(
    front: Front, site: Site, back: Back, who: str
) -> None:
    registrar = back.runtime.ports.registrar
    assert isinstance(registrar, FakeRegistrar)
    come_in(front, front.manager.email if who == "manager" else site.administrator.email)
    trunk = f"{site.path}/sip/{site.trunk}"
    path, settings = f"{trunk}/anrufzustellung", f"{trunk}/telefonanlagen"
    for page in (site.path, settings):
        assert f'href="{path}"' in get(front, page)
    assert "Unter der gewählten Rufnummer" in get(front, site.path) and "Request URI" in get(front, settings)
    page = get(front, path)
    assert 'value="number" checked' in page
    assert_valid(page)
    wrong = press(front, path, page, request_uri="to")
    assert wrong.status_code == 422 and "Wählen Sie eines von beiden." in wrong.text
    for _ in range(2):
        answer = press(front, path, page, request_uri="contact")
        assert (answer.status_code, answer.location) == (303, settings)
    shown = get(front, settings)
    assert "gilt ab dem nächsten Anruf" in shown and "P-Called-Party-ID" in shown and "Request URI" not in shown
    assert "So, wie sich das Telefon angemeldet hat" in get(front, site.path)
    write_due_trunks(back.runtime, lambda: None)
    press(front, path, page, request_uri="number")
    write_due_trunks(back.runtime, lambda: None)
    assert [one.request_uri for one in registrar.writes] == [RequestUri.CONTACT, RequestUri.NUMBER]
    done = [deed[0] for deed in deeds(front) if deed[0] is not AuditEvent.LOOKED_IN]
    assert done == [AuditEvent.REQUEST_URI_CHANGED, AuditEvent.REQUEST_URI_CHANGED]
    if who == "manager":
        return
    log = get(front, site.path + "/protokoll")
    assert "ab jetzt so anrufen, wie er sich angemeldet hat" in log and "ab jetzt unter der gewählten" in log
