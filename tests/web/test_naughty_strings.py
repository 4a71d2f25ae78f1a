"""Tests that naughty strings in all forms are refused with the field's name, or shown afterwards as typed.

Forms and fields are found on the pages. With `NAUGHTY_STRINGS=all` in the environment each string is tried in each
field, also in those that nobody types into; otherwise each field gets one of the strings in turn. Each form is also
sent without one of its fields, as programs can do: that must not end in an error 500.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from html import unescape
from itertools import cycle
from urllib.parse import quote, urlencode

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse
from wtforms import Form, HiddenField, PasswordField, StringField

from models.invisible_characters import typed_text
from models.printable_text import unprintable
from models.text_direction import END_ISOLATE, ISOLATE
from tests.factories import PASSWORD
from tests.kept_rows import KeptRows, kept_rows
from tests.naughty_strings import NAUGHTY
from tests.web.conftest import Back, Front, forget_attempts
from tests.web.html_forms import HtmlForm, forms_of
from tests.web.whole_portal import WholePortal, whole_portal
from web.text_input import PASSWORDS

ALL = os.environ.get("NAUGHTY_STRINGS") == "all"

USUAL = {
    "name": "Kim Beispiel",
    "email": "kim.beispiel@example.com",
    "proof": "Registerauszug vom Montag, per Post gekommen",
    "holder_name": "Muster Logistik GmbH",
    "holder_register_number": "HRB 4711, Amtsgericht Bielefeld",
    "holder_born_on": "31.12.1980",
    "holder_street": "Kontor 7",
    "holder_postal_code": "33603",
    "holder_city": "Bielefeld",
    "target": "030 901820",
    "first": "0221 700340",
    "last": "0221 700341",
}
"""The text by field name that is typed into the other fields of a form if they are empty."""

_FORWARDING = {
    "condition": "no_answer", "after_seconds": "20", "numbers": "some", "when": "some",
    **{f"windows-{line}-{name}": value for line in range(3)
       for name, value in {"days": str(line), "start": "08:00", "end": "17:00"}.items()},
}  # fmt: skip
CHOSEN: dict[str, dict[str, str]] = {
    "forwardings.add": _FORWARDING,
    "forwardings.edit": _FORWARDING,
    "locations.destinations": {"limit": "own"},
    "locations.move_account": {"street": "Marienplatz 8", "postal_code": "80331", "city": "München"},
    "office.request_document": {"decision": "refuse", "reason": "other"},
    "approvals.decide": {"decision": "refuse"},
    "approvals.decide_file_orders": {"decision": "refuse"},
    "logins.change": {"password": "ein neues langes Wort 77"},
    "office.place": {"answer": "yes"},
    "letters.confirm": {"customer_number": "1234567"},
}
"""Fields by endpoint that a form also needs, such as radio buttons; without them it would ignore the tested field."""
CHOSEN_FOR = {"holder_born_on": {"holder_form": "person"}, "holder_register_number": {"holder_form": "company"}}
"""Fields by name of the tested field that a form also needs; without them it would ignore the tested field."""
NAMED_TOGETHER = {
    # Without the right code nothing is set up, whatever the name.
    ("logins.set_up_app", "name"): "code",
    ("logins.set_up_app", "password"): "code",
    ("answers.enter_credentials", "password"): "email",
    ("links.send", "password"): "email",
    ("locations.collective_invoice", "password"): "email",
    ("letters.confirm", "customer_number"): "code",
    ("people.sign_in", "password"): "email",
    # A range, and a weekly schedule, are wrong as a whole.
    **{(endpoint, name): group for endpoint in ("forwardings.add", "forwardings.edit") for name, group in
       {"last": "first", **{f"windows-{line}-{end}": "when" for line in range(3) for end in ("start", "end")}}.items()},
}  # fmt: skip
"""Fields, as pairs of endpoint and name, whose error stands at another field: the value is that field's name.

A stranger must not learn which of the two is wrong, or both belong together.
"""
SHOWN_AT = {
    # The log of an account, where staff look.
    "office.administrator": (r"konten/([0-9]+)/administrator", r"kunden/\1"),
    "office.request_document": ("/dokument", ""),
    "office.reset_factors": ("^.*$", "/backoffice/kunden/{site}"),
    "orders.place": ("^.*$", "/standortverwaltung/{main}/vertragsinhaber"),
}
"""By endpoint: where an accepted text is shown, if not on the page that follows.

The value is a regular expression for the path of the form's page, and the replacement that makes the other path.
"""

ONLY_BUTTONS = {
    "answers.resend", "answers.retry", "bulks.send", "locations.resume", "logins.end",
    "logins.remove_own_factor", "logins.erase", "office.removals", "office.request_retry", "office.withdraw_reset",
    "users.company_factor",
}  # fmt: skip
"""Endpoints of forms that have no text field, and that no page of this portal shows."""
ASKED_LATER = {"city_kept", "confirmed"}
"""Text fields that a page shows only after a first answer."""
AS_ANOTHER = {"orders.autosave": "orders.save_step"}
"""Endpoints to which a script sends another endpoint's form: that endpoint is the value."""

NO_NAMES = {NAUGHTY[kind] for kind in ("spreadsheet error", "german spreadsheet error", "web address")} | {
    # Not where a typeface for it is installed.
    text
    for text in [NAUGHTY["chinese"]]
    if unprintable(text)
}
"""Strings that no form may accept as the name of a person or a place (`models.name_rules.name_fault`)."""

NOT_SHOWN = {
    # Checked, never stored.
    ("people.sign_in", "email"), ("links.send", "code"), ("links.send", "email"), ("logins.forgotten", "email"),
    # On the pages of the file's orders, which are many.
    ("approvals.decide_file_orders", "note"),
}  # fmt: skip
"""Fields, as pairs of endpoint and name, whose text is accepted and not shown afterwards. The reason stands above
each."""


@pytest.fixture
def portal(front: Front, back: Back) -> WholePortal:
    """Create a portal in which every page has something to show, with a signed-in browser for each kind of visitor."""
    return whole_portal(front, back)


def found_forms(portal: WholePortal) -> dict[tuple[str, tuple[str, ...]], tuple[str, HtmlForm]]:
    """Open all pages; return each different form, with the name of the first visitor who has seen it.

    The keys are pairs of the endpoint to which the form is sent, and the sorted names of its text fields.
    """
    found: dict[tuple[str, tuple[str, ...]], tuple[str, HtmlForm]] = {}
    for visitor, path in portal.paths():
        answer = portal.visitors[visitor].get(path)
        assert answer.status_code < 500, path
        if answer.status_code != 200 or answer.mimetype != "text/html":
            continue
        for form in forms_of(path, answer.text):
            endpoint = portal.endpoint_of(form.action, form.method.upper())
            assert endpoint is not None, (path, form.action)
            found.setdefault((endpoint, tuple(sorted(set(form.texts)))), (visitor, form))
    return found


def check_that_none_is_forgotten(portal: WholePortal, found: Collection[tuple[str, tuple[str, ...]]]) -> None:
    """Fail if the application has a form or a text field that was not found on any page.

    `found` are the forms that were found, as pairs of endpoint and names of text fields.
    """
    rules = portal.front.client.application.url_map.iter_rules()
    sent = {rule.endpoint for rule in rules if "POST" in (rule.methods or ()) and not rule.rule.startswith("/api/")}
    reached = {endpoint for endpoint, _ in found}
    assert sent - reached - ONLY_BUTTONS - AS_ANOTHER.keys() == set()
    assert (ONLY_BUTTONS | AS_ANOTHER.keys()) & reached == set()
    shown = {re.sub("^windows-[0-9]+-", "", name) for _, texts in found for name in texts}
    typed = {name for form in _classes(Form) for name in _text_fields(form)}
    assert typed - shown == ASKED_LATER


def _classes(base: type[Form]) -> Iterator[type[Form]]:
    for made in base.__subclasses__():
        yield from _classes(made)
        if made.__module__.startswith("web."):
            yield made


def _text_fields(form: type[Form]) -> Iterator[str]:
    for name in dir(form):
        kind = getattr(getattr(form, name), "field_class", None)
        if kind is not None and issubclass(kind, StringField | PasswordField) and not issubclass(kind, HiddenField):
            yield name


def test_every_form_answers_strange_strings_and_missing_fields(
    portal: WholePortal, superuser: sa.Engine, subtests: pytest.Subtests
) -> None:
    # Together, because finding the forms takes longer than either.
    found = found_forms(portal)
    check_that_none_is_forgotten(portal, found)
    tried, wrong = Counter[str](), list[str]()
    left_out, broken = 0, list[tuple[str, str]]()
    strings = cycle(NAUGHTY)
    with kept_rows(superuser) as rows:
        for (endpoint, _), (visitor, form) in sorted(found.items()):
            if endpoint == "people.sign_out":
                continue
            trial = Trial(portal, rows, visitor, form, endpoint)
            # Fields that nobody types into need only not to break anything.
            for name in dict.fromkeys(form.texts + form.others if ALL else form.texts):
                in_turn = [next(strings), "spreadsheet error"] if is_a_name(name) else [next(strings)]
                for kind in NAUGHTY if ALL else in_turn:
                    fault = trial.of(name, NAUGHTY[kind])
                    tried[trial.outcome] += 1
                    if fault:
                        wrong.append(f"{endpoint} {name}: {kind}: {fault}")
            if trial.has_changed:
                trial.begin_again()
            for name in dict.fromkeys(name for name, _ in form.values if name != "csrf_token"):
                left_out += 1
                if trial.without(name) >= 500:
                    broken.append((endpoint, name))
            trial.begin_again()
    with subtests.test("naughty strings"):
        assert not wrong, "\n".join(wrong)
        assert tried["shown"] > 20 and tried["refused"] > 40, tried
    with subtests.test("fields left out"):
        assert (broken, left_out > 200) == ([], True)


class Trial:
    """Sends one form again and again, each time with a naughty string in one of its fields.

    `outcome` says what happened to the last string: "refused" or "shown" (that is, accepted). `has_changed` says
    whether any string was accepted.
    """

    def __init__(self, portal: WholePortal, rows: KeptRows, visitor: str, form: HtmlForm, endpoint: str) -> None:
        self._portal, self._rows, self._form, self._endpoint = portal, rows, form, endpoint
        self._client = portal.visitors[visitor]
        self._cookies = {name: self._client.get_cookie(name) for name in ("session", "geraet")}
        self.outcome, self.has_changed = "", False
        usual = USUAL | ({"password": PASSWORD, "current": PASSWORD} if visitor != "nobody" else {})
        chosen = CHOSEN.get(endpoint, {})
        form.values = [(name, value or usual.get(name, "")) for name, value in form.values if name not in chosen]
        form.values += chosen.items()

    def of(self, name: str, text: str) -> str:
        """Send the form with `text` in the field `name`; return what is wrong with the answer, "" if nothing is.

        If something is wrong, restore the database's rows and send the form once more, because earlier input may be the
        cause. After an error 500 it is not sent again.
        """
        for _ in range(2):
            answer = self._send(name, text)
            fault = self._fault(answer, name, text)
            if not fault or answer.status_code >= 500:
                break
            # What was sent before may stand in the way, such as an invitation that is open already.
            self.begin_again()
        return fault

    def without(self, name: str) -> int:
        """Send the form without the field `name`, as a program can; return the status of the answer."""
        return self._answer([pair for pair in self._form.values if pair[0] != name]).status_code

    def begin_again(self) -> None:
        """Restore the database's rows and the browser's cookies to what they were before the first string."""
        self._rows.restore()
        for name, cookie in self._cookies.items():
            if cookie is not None:
                self._client.set_cookie(name, cookie.value)

    def _send(self, name: str, text: str) -> TestResponse:
        chosen = CHOSEN_FOR.get(name, {})
        return self._answer([(key, chosen.get(key, value)) for key, value in self._form.filled(name, text)])

    def _answer(self, values: list[tuple[str, str]]) -> TestResponse:
        forget_attempts(self._portal.front.client.application)
        # Surrogates, too, as bytes that a program, though no browser, can send.
        sent = urlencode(values, errors="surrogatepass")
        if self._form.method == "get":
            return self._client.get(self._form.action, query_string=sent)
        return self._client.post(self._form.action, data=sent, content_type="application/x-www-form-urlencoded")

    def _fault(self, answer: TestResponse, name: str, text: str) -> str:
        self.outcome = "refused"
        if answer.status_code >= 500:
            return f"answer {answer.status_code}"
        if (
            "<script>alert" in answer.text
            or "<img src=x" in answer.text
            or "7*7 }}" in answer.text.replace("{{ 7*7 }}", "")
        ):
            return "not escaped"
        # A number, a time, a country by its code: shown in their usual form.
        if name not in self._form.texts or (text == NAUGHTY["number"] and re.search("seconds|windows|countries", name)):
            return ""
        if answer.status_code >= 400:
            named = NAMED_TOGETHER.get((self._endpoint, name), name)
            is_right = answer.status_code in (422, 429) and (
                is_named(answer.text, name) or is_named(answer.text, named)
            )
            return "" if is_right else f"{answer.status_code} without name"
        return self._fault_of_accepted(answer, name, text)

    def _fault_of_accepted(self, answer: TestResponse, name: str, text: str) -> str:
        self.outcome, self.has_changed = "shown", True
        if is_a_name(name) and text in NO_NAMES:
            return "accepted as a name"
        if name in PASSWORDS or (self._endpoint, name) in NOT_SHOWN:
            return ""
        pages = [answer.text]
        if answer.status_code in (302, 303):
            paths = [answer.location, self._form.page]
            if self._endpoint in SHOWN_AT:
                path = re.sub(*SHOWN_AT[self._endpoint], self._form.page)
                place = self._portal.site.account
                paths.append(path.format(main=self._portal.front.main.customer_number, site=place.customer_number))
            pages = [self._client.get(path).text for path in paths]
        wanted = as_shown(text[:100] if self._form.method == "get" else text)
        if name == "holder_postal_code":
            wanted = wanted.upper()
        return (
            "" if any(wanted in as_shown(unescape(page)) for page in pages) else f"accepted, but not shown: {wanted!r}"
        )


def is_a_name(name: str) -> bool:
    """Return whether the field `name` is for a name or a part of an address. False for cells of bulk files."""
    return re.fullmatch("(?!cell-).*(name|street|city|register_number)", name) is not None


def is_named(page: str, name: str) -> bool:
    """Return whether the page marks the field `name` as invalid, links to it from an error, or quotes its name."""
    tag = re.search(rf'<(?:input|textarea|select)\b[^>]*\bname="{re.escape(name)}"[^>]*>', page)
    return (
        (tag is not None and "aria-invalid" in tag[0])
        or f'href="#{name}"' in page
        or f'href="#{name}-0"' in page
        or f"„{name}“" in page
    )


def as_shown(text: str) -> str:
    """Return the text as pages show it: without invisible characters, each run of white space as one space."""
    # Werkzeug leaves bytes that are no UTF-8 as they were quoted.
    text = re.sub("[\ud800-\udfff]", lambda found: quote(found[0], errors="surrogatepass"), text)
    return " ".join(typed_text(text).replace(ISOLATE, "").replace(END_ISOLATE, "").split())
