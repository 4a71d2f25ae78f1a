"""Tests of the form in which a user adds or changes a call forwarding.

It accepts one number or a range of them, and shows an error beside a wrong number. A preset fills in the form. A button
adds a line of hours without saving. A field that the browser does not send causes no server error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.telephony.forwarding import CallForwarding
from models.telephony.weekly_hours import ALL_WEEK, Window, hours_of
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, get, give_numbers, make_site
from tests.web.portal.page.test_portal import csrf

FIRST = 49221700340
FORM: dict[str, object] = {"condition": "always", "target": "0171 7654321", "enabled": "y"}
SOME: dict[str, object] = {"numbers": "some", "first": "0221 700343"}


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location with the numbers 0221 700340 to 700349, and sign in as its local member."""
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id))
        give_numbers(session, site, FIRST)
    come_in(front, site.member.email)
    return site


def send(front: Front, site: Site, fields: Mapping[str, object], page: str = "neu") -> TestResponse:
    """Submit exactly these fields, with a CSRF token, to the form of a forwarding; return the answer.

    `page` is the last part of the form's path: "neu" or a forwarding's id. Fails unless the answer is a redirect or
    valid HTML.
    """
    path = f"{site.path}/rufweiterleitung/{page}"
    answer = front.client.post(path, data={"csrf_token": csrf(get(front, path)), **fields})
    if answer.status_code != 303:
        assert_valid(answer.text)
    return answer


def added(front: Front) -> CallForwarding:
    """Return the forwarding that was saved last."""
    with front.database.transaction() as session:
        return session.scalars(sa.select(CallForwarding).order_by(CallForwarding.id.desc()).limit(1)).one()


def value(page: str, name: str) -> str:
    """Return the value of the field `name` on the page (HTML)."""
    found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', page) or re.search(
        rf'value="([^"]*)"[^>]*name="{name}"', page
    )
    assert found is not None, name
    return unescape(found[1])


def chosen(page: str) -> set[str]:
    """Return the selected radio buttons of the page (HTML), each as NAME=VALUE."""
    return {f"{name}={one}" for name, one in re.findall(r'type="radio"[^>]*name="(\w+)" value="(\w+)" checked', page)}


def test_one_number_and_a_range_are_forwarded_and_shown_apart(front: Front, site: Site) -> None:
    assert send(front, site, FORM | SOME).status_code == 303
    assert added(front).numbers == (FIRST + 3, FIRST + 3)
    assert send(front, site, FORM | SOME | {"first": "0221 700340", "last": "4"}).status_code == 303
    assert added(front).numbers == (FIRST, FIRST + 4)
    page = get(front, site.path + "/rufweiterleitung")
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings == ["Alle Rufnummern", "0221 700340 bis 0221 700344", "0221 700343"]
    assert "Für jede Rufnummer gilt die genauere Weiterleitung" in page
    assert page.count("Gilt jetzt") == 3
    form = get(front, f"{site.path}/rufweiterleitung/{added(front).id}")
    assert (value(form, "first"), value(form, "last")) == ("0221 700340", "0221 700344")
    assert chosen(form) == {"condition=always", "numbers=some", "when=all"}
    come_in(front, site.administrator.email)
    assert "eingerichtet: 0221 700343: Immer → 0171 7654321 · Die ganze Woche." in get(front, site.path)
    assert "0221 700340 bis 0221 700344:" in get(front, site.path)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"first": ""}, "Geben Sie Rufnummern dieses Accounts"),
        ({"first": "0221 700350"}, "Geben Sie Rufnummern dieses Accounts"),
        ({"first": "0221 700345", "last": "1"}, "liegt vor der ersten"),
        ({"first": "0221 700343", "last": "9"}, "teilweise mit einem anderen: 0221 700342 bis 0221 700345."),
        ({"numbers": "x"}, "Bitte prüfen Sie Ihre Eingaben"),
    ],
)
def test_wrong_numbers_are_named_at_their_field(front: Front, site: Site, fields: dict[str, object], says: str) -> None:
    send(front, site, FORM | SOME | {"first": "0221 700342", "last": "0221 700345"})
    answer = send(front, site, {**FORM, **SOME, **fields, "condition": "busy"})
    assert answer.status_code == 422 and says in answer.text
    assert value(answer.text, "first") == fields.get("first", SOME["first"])


def test_what_a_browser_leaves_out_is_no_error(front: Front, site: Site) -> None:
    """Send the form without one of its fields, for each field, and without any.

    The answer is the form with an error, or the forwarding is saved; it is never an error 500.
    """
    full = {**FORM, **SOME, "last": "", "after_seconds": "30", "condition": "no_answer", "when": "some"}
    full |= {"windows-0-days": ["0"], "windows-0-start": "08:00", "windows-0-end": "10:00"}
    asked = {
        "condition": "Wählen Sie, wann",
        "target": "Geben Sie die Nummer ein",
        "first": "Rufnummern dieses Accounts",
    }
    asked |= {"windows-0-days": "Jede Zeile", "windows-0-start": "Jede Zeile", "windows-0-end": "Jede Zeile"}
    for name in full:
        with front.database.transaction() as session:
            session.execute(sa.delete(CallForwarding).where(CallForwarding.id != site.forwarding))
        answer = send(front, site, {other: given for other, given in full.items() if other != name})
        if name in asked:
            assert answer.status_code == 422 and asked[name] in answer.text, name
        else:
            assert answer.status_code == 303, name
        if name == "after_seconds":
            assert added(front).after_seconds == 20
    assert send(front, site, {}).status_code == 422
    odd = {"windows-0-days": ["7", "x", ""], "windows-0-start": "x" * 50, "windows-1-start": "08:00"}
    answer = send(front, site, FORM | {"when": "some"} | odd)
    assert answer.status_code == 422 and "Jede Zeile" in answer.text and "{" not in answer.text.partition("<main")[2]


def test_a_form_from_before_does_not_widen_a_number_to_the_account(front: Front, site: Site) -> None:
    send(front, site, FORM | SOME)
    id = added(front).id
    assert send(front, site, FORM | {"target": "0171 1111111"}, str(id)).status_code == 303
    assert (added(front).id, added(front).numbers, added(front).target) == (id, (FIRST + 3, FIRST + 3), "+491711111111")
    assert send(front, site, FORM | {"numbers": "all"}, str(id)).status_code == 303
    assert added(front).numbers is None


@pytest.mark.parametrize(
    ("preset", "chooses", "hours"),
    [
        (
            "ausserhalb",
            {"condition=always", "when=some", "numbers=all"},
            hours_of([Window((0, 1, 2, 3, 4, 5, 6), 1080, 480), Window((5, 6), 480, 1080)]),
        ),
        ("mobil", {"condition=always", "when=all", "numbers=all"}, ALL_WEEK),
        ("niemand-nimmt-ab", {"condition=no_answer", "when=all", "numbers=all"}, ALL_WEEK),
        ("unbekannt", {"when=all", "numbers=all"}, None),
    ],
)
def test_a_preset_fills_the_form(
    front: Front, site: Site, preset: str, chooses: set[str], hours: tuple[tuple[int, int], ...] | None
) -> None:
    address = f"{site.path}/rufweiterleitung/neu?vorlage={preset}"
    page = get(front, address)
    assert chosen(page) == chooses
    assert (f'href="{address}"' in get(front, site.path + "/rufweiterleitung")) == (hours is not None)
    if hours is None:
        return
    fields: dict[str, object] = {name: one for name, _, one in (found.partition("=") for found in chooses)}
    for line in range(len(re.findall('class="schedule-line"', page))):
        fields[f"windows-{line}-days"] = re.findall(rf'name="windows-{line}-days" value="(\d)" checked', page)
        fields |= {f"windows-{line}-{end}": value(page, f"windows-{line}-{end}") for end in ("start", "end")}
    assert send(front, site, FORM | fields).status_code == 303
    assert added(front).hours == hours


def test_another_line_keeps_what_was_typed_and_saves_nothing(front: Front, site: Site) -> None:
    typed = FORM | SOME | {"condition": "busy", "target": "noch nichts", "when": "some", "another_line": "y"}
    for line in range(30):
        typed |= {f"windows-{line}-days": ["0"], f"windows-{line}-start": "08:00", f"windows-{line}-end": "09:00"}
    answer = send(front, site, typed)
    assert answer.status_code == 200 and "Bitte prüfen" not in answer.text
    assert len(re.findall('class="schedule-line"', answer.text)) > 31 and answer.text.count(" autofocus") == 1
    assert (value(answer.text, "target"), value(answer.text, "first")) == ("noch nichts", "0221 700343")
    assert {"condition=busy", "numbers=some", "when=some"} == chosen(answer.text)
    assert value(answer.text, "windows-29-end") == "09:00"
    assert added(front).id == site.forwarding
    # As many lines as wanted, but no more than a week can need.
    del typed["another_line"]
    assert send(front, site, typed | {"target": "0171 7654321"}).status_code == 303
    for line in range(30, 101):
        typed |= {f"windows-{line}-days": ["0"], f"windows-{line}-start": "08:00", f"windows-{line}-end": "09:00"}
    answer = send(front, site, typed)
    assert answer.status_code == 422 and "höchstens 100 Zeilen" in answer.text


def test_enter_saves_and_asks_for_no_line(front: Front, site: Site) -> None:
    page = get(front, site.path + "/rufweiterleitung/neu")
    form = page[page.index('<form class="forwarding"') :]
    first = re.search("<button[^>]*>([^<]*)<", form)
    assert first is not None and "another_line" not in first[0] and first[1] == "Speichern"


def test_numbers_that_are_given_back_name_the_forwardings_that_go_with_them(front: Front, site: Site) -> None:
    send(front, site, FORM | SOME)
    come_in(front, site.administrator.email)
    with front.database.transaction() as session:
        block = session.scalar(sa.text("SELECT id FROM number_blocks WHERE first_number = 49221700340"))
    page = get(front, f"{site.path}/rufnummern/{block}/zurueckgeben")
    assert "Diese Rufweiterleitungen entfallen: 0221 700343: Immer → 0171 7654321 · Die ganze Woche." in page


def test_a_number_of_the_dashboard_leads_to_its_forwarding(front: Front, site: Site) -> None:
    page = get(front, site.path + f"/rufweiterleitung/neu?nummern={FIRST}-{FIRST + 9}")
    assert (value(page, "first"), value(page, "last")) == ("0221 700340", "0221 700349")
    # A preset is for the same phone numbers.
    [preset] = re.findall(r'href="([^"]+vorlage=mobil[^"]*)"', page)
    page = get(front, unescape(preset))
    assert (value(page, "first"), "condition=always" in chosen(page)) == ("0221 700340", True)
    page = get(front, site.path + f"/rufweiterleitung/neu?nummern={FIRST}-{FIRST}")
    assert (value(page, "first"), value(page, "last"), "numbers=some" in chosen(page)) == ("0221 700340", "", True)
    for odd in ("", "1", "x-y", f"{FIRST}", "٤٩٢٢١٧٠٠٣-٤٩٢٢١٧٠٠٣"):
        assert "numbers=all" in chosen(get(front, site.path + f"/rufweiterleitung/neu?nummern={odd}"))
