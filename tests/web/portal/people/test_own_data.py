"""Tests of the file that a person can download with all data that is stored about that person.

It must be complete, and contain no secrets.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

import models.schema
from models.accounts.accounts import Account
from models.db.base import Base
from models.people.users import User
from models.values import LOCALES
from models.views import person_data as view
from tasks.wording.person_data import KEYS
from tasks.wording.translate import translate
from tests.factories import PASSWORD, make_account, make_user
from tests.web.conftest import ORDER, Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in

PAGE = "/anmeldung/daten"


def download(front: Front, password: str = PASSWORD) -> Any:
    page = front.client.get(PAGE).text
    assert_valid(page)
    return front.client.post(PAGE, data={"csrf_token": csrf(page), "password": password})


def test_a_person_gets_all_of_their_data_for_their_password(front: Front, back: Back) -> None:
    own = {**ORDER, "contact": {**ORDER["contact"], "email": front.manager.email}}
    assert front.post("/orders", own).status_code == 202
    back.advance()
    sign_in(front, front.manager.email)
    assert PAGE in front.client.get("/anmeldung").text
    assert download(front, "not-the-password").status_code == 422
    answer = download(front)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="meine-daten.json"'
    data = json.loads(answer.text)
    assert next(iter(data)) == "Zu dieser Datei" and "DSGVO" in data["Zu dieser Datei"]
    assert data["Sie"]["E-Mail-Adresse"] == front.manager.email
    assert data["Ihre Rollen"] == [{"Kundennummer": front.main.customer_number, "Rolle": "administrator"}]
    assert len(data["Wo Sie angemeldet sind"]) == 1 and len(data["API-Token, die Sie erstellt haben"]) == 1
    assert len(data["Ihre Bestellungen und Verknüpfungsanfragen"]) == 1
    contact_of = data["Standorte, deren Ansprechperson Sie sind"]
    assert [found["Name der Ansprechperson"] for found in contact_of] == ["Hanna Palmer"]
    assert "order_receipt" in {mail["Art der E-Mail"] for mail in data["E-Mails an Sie"]}


def test_the_file_has_no_secret_and_nothing_of_others(front: Front) -> None:
    with front.database.transaction() as session:
        other = make_user(session, name="Somebody Else")
        foreign = make_account(session, administrator=other, name="Foreign Company")
        assert isinstance(foreign, Account)
    front.post("/orders", ORDER)
    sign_in(front, front.manager.email)
    text = download(front).text
    for word in ("Somebody Else", "Foreign Company", "argon2", "hash", front.token, "/standortverwaltung", "salt"):
        assert word not in text


def test_the_page_is_for_people_who_are_signed_in(front: Front) -> None:
    assert front.client.get(PAGE).status_code == 302


def test_every_part_and_field_has_a_name_of_its_own_in_each_language() -> None:
    queries = view.queries(1, sa.literal("a@example.com"))
    person = ["id", "name", "email", "email_confirmed_at", "language", "is_staff", "created_at"]
    for locale in LOCALES:
        for keys in (["person", *queries], person, *(query.selected_columns.keys() for query in queries.values())):
            names = [translate(locale, KEYS[key]) for key in keys]
            assert len(set(names)) == len(names), names


def test_no_table_that_refers_to_people_is_forgotten() -> None:
    refers = {
        (table.name, column.name)
        for table in models.schema.metadata.tables.values()
        for column in table.columns
        for key in column.foreign_keys
        if key.column.table.name == "users"
    }
    asked = set()
    for query in view.queries(1, sa.literal("a@example.com")).values():
        assert query.whereclause is not None
        asked |= {
            (column.table.name, column.name)
            for column in sa.sql.visitors.iterate(query.whereclause)
            if isinstance(column, sa.Column)
        }
    assert refers - asked == set()
    assert issubclass(User, Base)
