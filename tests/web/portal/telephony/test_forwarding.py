"""Tests of the pages of call forwarding, for users of the main account and for local members.

They add, change and remove forwardings, which reach the registrar. A wrong entry is explained beside its field. Each
change is recorded in the account's log.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.accounts.locks import lock_account
from models.contracts.catalogue import MOBILE_BACKUP
from models.contracts.contracts import Contract, ContractItem
from models.people.audit_log import AuditEvent
from models.telephony.forwarding import CallForwarding
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tasks.registrar.trunks import write_due_trunks
from tasks.wording.formats import number_text
from tests.audit_entries import entries_of_deeds
from tests.fakes import FakeRegistrar
from tests.web.conftest import Back, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, get, give_numbers, make_site
from tests.web.portal.page.test_portal import csrf

BUSY = {"condition": "busy", "target": "0171 7654321", "after_seconds": "20", "when": "all", "enabled": "y"}
WORKDAYS = ["0", "1", "2", "3", "4"]
NIGHTS = {
    "when": "some",
    "windows-0-days": WORKDAYS,
    "windows-0-start": "18:00",
    "windows-0-end": "08:00",
    "windows-1-days": ["5", "6"],
    "windows-1-start": "0",
    "windows-1-end": "24:00",
    "windows-2-start": "",
    "windows-2-end": "",
}


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location under the client's main account, with one forwarding when busy."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id))


def send(front: Front, path: str, **fields: object) -> TestResponse:
    """Submit the form at `path` with the usual fields of a forwarding when busy; return the answer.

    `fields` are fields with other values; None leaves a field out.
    """
    data = {"csrf_token": csrf(get(front, path)), **BUSY, **fields}
    answer = front.client.post(path, data={name: value for name, value in data.items() if value is not None})
    if answer.status_code == 422:
        assert_valid(answer.text)
    return answer


def shown(front: Front, site: Site) -> list[str]:
    """Return the text of each forwarding that the page of the site's forwardings lists."""
    page = get(front, site.path + "/rufweiterleitung")
    rows = re.findall(r'<li class="row">.*?</p>\s*<p>.*?</p>', page, re.DOTALL)
    return [" ".join(re.sub("<[^>]+>", " ", row).split()) for row in rows]


def test_a_member_adds_changes_and_removes(front: Front, site: Site) -> None:
    come_in(front, site.member.email)
    path = site.path + "/rufweiterleitung"
    assert send(front, path + "/neu", condition="no_answer", after_seconds="15").status_code == 303
    assert "Sie gilt ab dem nächsten Anruf." in get(front, path)
    assert shown(front, site) == [
        "Wenn besetzt ist → 0171 1234567 Die ganze Woche Gilt jetzt",
        "Wenn nach 15 Sekunden niemand abnimmt → 0171 7654321 Die ganze Woche Gilt jetzt",
    ]
    one = f"{path}/{site.forwarding}"
    assert 'value="0171 1234567"' in get(front, one)
    assert send(front, one, target="+43 1 58858", enabled=None).status_code == 303
    assert shown(front, site)[0] == "Wenn besetzt ist → +43 1 58858 Die ganze Woche Ausgeschaltet"
    asked = get(front, one + "/loeschen")
    assert "+43 1 58858" in asked and len(shown(front, site)) == 2
    front.client.post(one + "/loeschen", data={"csrf_token": csrf(asked)})
    assert len(shown(front, site)) == 1
    assert front.client.post(one + "/loeschen", data={"csrf_token": csrf(asked)}).status_code == 404
    with front.database.transaction() as session:
        entries = list(entries_of_deeds(session))
    assert [entry.deed for entry in entries] == [
        AuditEvent.FORWARDING_ADDED, AuditEvent.FORWARDING_CHANGED, AuditEvent.FORWARDING_REMOVED,
    ]  # fmt: skip
    assert {entry.user_id for entry in entries} == {site.member.id}


def test_removing_the_paid_fallback_says_that_it_is_still_billed(front: Front, site: Site) -> None:
    warning = "Die Notfall-Umleitung auf Mobilfunk bleibt im Vertrag und wird weiter berechnet"
    come_in(front, site.member.email)
    path = site.path + "/rufweiterleitung"
    send(front, path + "/neu", condition="not_registered")
    with front.database.transaction() as session:
        fallback = session.scalars(sa.select(CallForwarding.id).order_by(CallForwarding.id.desc())).first()
    assert warning not in get(front, f"{path}/{fallback}/loeschen")
    with front.database.transaction() as session:
        contract = session.scalars(sa.select(Contract.id).where(Contract.account_id == site.account.id)).one()
        session.add(ContractItem(contract_id=contract, product_key=MOBILE_BACKUP, monthly_cents=490, one_off_cents=0))
    assert warning in get(front, f"{path}/{fallback}/loeschen")
    assert warning not in get(front, f"{path}/{site.forwarding}/loeschen")


def test_a_weekly_schedule_is_kept_as_it_was_typed(front: Front, site: Site) -> None:
    come_in(front, site.administrator.email)
    path = site.path + "/rufweiterleitung"
    assert send(front, path + "/neu", condition="always", **NIGHTS).status_code == 303
    [always, _] = shown(front, site)
    # One window from Friday evening to Monday, shown day by day.
    assert always == ("Immer → 0171 7654321 Mo–Do 18:00–08:00, Fr 18:00–24:00, Sa–So 00:00–24:00 Gerade nicht")
    hint = get(front, path + "/neu")
    assert "Zurzeit werden alle" not in hint
    assert "Zu diesen Zeiten werden alle Anrufe an 0171 7654321 weitergeleitet: Mo–Do 18:00–08:00, Fr" in hint
    with front.database.transaction() as session:
        [found] = session.scalars(sa.select(CallForwarding).where(CallForwarding.condition == "always"))
    page = get(front, f"{path}/{found.id}")
    assert 'value="some" checked' in page and page.count("checked") > 8
    before = found.hours
    fields: dict[str, object] = {"condition": "always", "when": "some"}
    for line in range(5):
        fields[f"windows-{line}-days"] = re.findall(rf'name="windows-{line}-days" value="(\d)" checked', page)
        for end in ("start", "end"):
            said = re.search(rf'name="windows-{line}-{end}" type="time" value="([^"]*)"', page)
            assert said is not None
            fields[f"windows-{line}-{end}"] = said[1]
    assert send(front, f"{path}/{found.id}", **fields).status_code == 303
    with front.database.transaction() as session:
        assert session.get_one(CallForwarding, found.id).hours == before


def test_without_seconds_the_usual_ones_count(front: Front, site: Site) -> None:
    come_in(front, site.member.email)
    path = site.path + "/rufweiterleitung"
    assert send(front, path + "/neu", condition="no_answer", after_seconds=None).status_code == 303
    assert any("Wenn nach 20 Sekunden niemand abnimmt" in row for row in shown(front, site))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"target": "112"}, "Notrufnummer"),
        ({"target": "0900 1234567"}, "Sonderrufnummern"),
        ({"target": "123456"}, "mit Vorwahl"),
        ({"target": "030 901820 App. 12"}, "eine einzige Rufnummer"),
        ({"target": "0171"}, "kann nicht angerufen werden"),
        ({"target": ""}, "Geben Sie die Nummer ein"),
        ({"target": "030 2000-0005"}, "im Kreis"),
        ({"condition": ""}, "Wählen Sie, wann"),
        ({"condition": "no_answer", "after_seconds": "4"}, "5 bis 120 Sekunden an"),
        ({"condition": "no_answer", "after_seconds": "zehn"}, "5 bis 120 Sekunden an"),
        ({}, "schon an 0171 1234567"),
        ({"condition": "always", "when": "some"}, "mindestens eine Zeile"),
        ({"condition": "always", "when": "some", "windows-0-days": ["1"]}, "Jede Zeile"),
        ({"condition": "always", "when": "some", "windows-0-start": "8", "windows-0-end": "9"}, "Jede Zeile"),
        ({"condition": "always", **NIGHTS, "windows-1-end": "25:00"}, "Jede Zeile"),
    ],
)  # fmt: skip
def test_what_is_refused_is_said_and_what_was_typed_stays(
    front: Front, site: Site, fields: dict[str, object], says: str
) -> None:
    with front.database.transaction() as session:
        first = sa.select(NumberBlock).order_by(NumberBlock.first_number).limit(1)
        session.scalars(first).one().account_id = site.account.id
    come_in(front, site.member.email)
    answer = send(front, site.path + "/rufweiterleitung/neu", **fields)
    assert answer.status_code == 422
    assert says in answer.text and "Bitte prüfen Sie Ihre Eingaben" in answer.text
    typed = fields.get("target", BUSY["target"])
    assert f'value="{typed}"' in answer.text
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(CallForwarding)) == 1


def test_the_main_account_forwards_too_and_the_local_team_sees_it(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    path = site.path + "/rufweiterleitung"
    assert "über seinen Hauptaccount" in get(front, path)
    assert send(front, path + "/neu", condition="not_registered").status_code == 303
    come_in(front, site.administrator.email)
    page = get(front, site.path)
    assert "eingerichtet: Wenn die Telefonanlage nicht angemeldet ist → 0171 7654321 · Die ganze Woche." in page
    assert f"über Hauptaccount {front.main.customer_number}" in page
    assert "über seinen Hauptaccount" not in get(front, path)


@pytest.mark.parametrize("page", ["neu", "{id}", "{id}/loeschen"])
def test_an_account_that_is_detached_at_this_instant_is_not_found(
    front: Front, site: Site, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    come_in(front, front.manager.email)
    path = f"{site.path}/rufweiterleitung/{page.format(id=site.forwarding)}"
    get(front, path)

    def too_late(session: Session, account: Account) -> None:
        with front.database.transaction() as other:
            detach(other, front.main.id, site.account.id)
        lock_account(session, account)

    monkeypatch.setattr("models.telephony.forwarding_changes.lock_active_account", too_late)
    assert send(front, path, condition="always").status_code == 404
    with front.database.transaction() as session:
        [found] = session.scalars(sa.select(CallForwarding))
        assert (found.id, found.condition) == (site.forwarding, "busy")


def test_a_change_of_the_hours_alone_can_be_read_in_the_log(front: Front, site: Site) -> None:
    come_in(front, site.administrator.email)
    hours = {"when": "some", "windows-0-days": WORKDAYS, "windows-0-start": "08:00", "windows-0-end": "18:00"}
    send(front, f"{site.path}/rufweiterleitung/{site.forwarding}", target="0171 1234567", **hours)
    new, old = (f"Wenn besetzt ist → 0171 1234567 · {said}" for said in ("Mo–Fr 08:00–18:00", "Die ganze Woche"))
    assert f"{new}; vorher: {old}." in get(front, site.path)


def test_the_registrar_is_told_and_nothing_else_changes_there(front: Front, site: Site, back: Back) -> None:
    with front.database.transaction() as session:
        session.get_one(SipTrunk, site.trunk).make_due(back.clock())
    write_due_trunks(back.runtime, lambda: None)
    come_in(front, site.member.email)
    send(front, site.path + "/rufweiterleitung/neu", condition="always")
    write_due_trunks(back.runtime, lambda: None)
    registrar = back.runtime.ports.registrar
    assert isinstance(registrar, FakeRegistrar)
    [before, after] = registrar.writes
    assert [one.condition for one in after.forwardings] == ["busy", "always"]
    assert replace(after, forwardings=before.forwardings) == before
    with front.database.transaction() as session:
        trunk = session.get_one(SipTrunk, site.trunk)
        assert (trunk.due_at, trunk.lease, trunk.attempts) == (None, None, 0)


def test_the_pages_in_english(front: Front, site: Site) -> None:
    come_in(front, site.member.email)
    front.client.post("/sprache/en", data={"csrf_token": form_token(front.client)})
    page = get(front, site.path + "/rufweiterleitung")
    assert "When busy → 0171 1234567" in page and "In force now" in page and "All week" in page
    page = get(front, site.path + "/rufweiterleitung/neu")
    assert "Monday" in page and "By a weekly schedule" in page


def test_a_high_risk_destination_is_confirmed_on_its_form_by_an_administrator(
    front: Front, back: Back, site: Site
) -> None:
    path, satellite = site.path + "/rufweiterleitung/neu", "00881 612345678"
    come_in(front, site.member.email)
    refused = send(front, path, condition="always", target=satellite)
    assert refused.status_code == 422 and "Nur ein Administrator dieses Accounts" in refused.text
    assert 'name="confirmed"' not in refused.text and f'value="{satellite}"' in refused.text
    come_in(front, site.administrator.email)
    asked = send(front, path, condition="always", target=satellite)
    assert asked.status_code == 422 and "mehrere Euro" in asked.text and f'value="{satellite}"' in asked.text
    assert 'name="confirmed" value="+881612345678"' in asked.text
    said = number_text("+881612345678")
    for words in (f"Anrufe sollen an {said} gehen", "Iridium, Globalstar) (+881)", "eine Obergrenze gibt es nicht"):
        assert words in asked.text, words
    # What was confirmed for one number does not hold for another.
    other = send(front, path, condition="always", target="+252 61 2345678", confirmed="+881612345678")
    assert other.status_code == 422 and 'name="confirmed" value="+252612345678"' in other.text
    assert "Somalia (+252)" in other.text
    assert send(front, path, condition="always", target=satellite, confirmed="+881612345678").status_code == 303
    assert said in get(front, site.path + "/protokoll")
    for page in (site.path + "/rufweiterleitung", site.path):
        marked = re.search(rf'→ {re.escape(said)} <span class="badge is-warning">([^<]+)</span>', get(front, page))
        assert marked is not None and marked[1] == "Hochrisiko-Ziel", page
    back.advance()
    told = [mail for mail in back.mailer.sent if "Hochrisiko" in mail.subject]
    assert told and all(
        f"{said}, Satellitennetz (Iridium, Globalstar) (+881)" in " ".join(mail.text.split()) for mail in told
    )


def test_a_rule_for_one_number_says_that_it_takes_it_out_of_always(front: Front, site: Site) -> None:
    come_in(front, site.member.email)
    path = site.path + "/rufweiterleitung"
    with front.database.transaction() as session:
        give_numbers(session, site)
    first = number_text("+49221700340")
    assert "nimmt sie davon aus" not in get(front, path + "/neu")
    saved = send(front, path + "/neu", condition="always", target="0171 1111111")
    assert saved.status_code == 303
    # Before it is saved, on the form, and afterwards, once and for as long as it is so.
    hint = get(front, path + "/neu")
    assert "Zurzeit werden alle Anrufe an 0171 1111111 weitergeleitet" in hint and "nimmt sie davon aus" in hint
    assert send(front, path + "/neu", numbers="some", first=first).status_code == 303
    said = f"„Immer → 0171 1111111“ gilt nicht für {first}: Dort gilt eine eigene Rufweiterleitung"
    assert get(front, path).count(said) == 2 and get(front, path).count(said) == 1
    # The other way round, and no word of it where it does not matter.
    assert f"{first}: Dort gilt eine eigene Rufweiterleitung" in get(front, path + "/neu")
    assert (
        send(front, path + "/neu", numbers="some", first=first, condition="always", target="0171 2").status_code == 422
    )
    answer = send(front, path + "/neu", numbers="some", first=first, condition="always", target="0171 2222222")
    assert answer.status_code == 303 and said not in get(front, path)


def test_a_forwarding_outside_the_limit_of_its_trunk_is_refused_on_its_field(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        session.get_one(SipTrunk, site.trunk).countries = ["DE"]
    come_in(front, site.administrator.email)
    refused = send(front, site.path + "/rufweiterleitung/neu", condition="always", target="+43 1 58858")
    assert refused.status_code == 422 and "darf diese Nummer nicht anrufen" in refused.text
