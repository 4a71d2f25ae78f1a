"""Tests of passwords: the same one typed on any device is accepted, and easily guessed ones are refused.

Hashes made by an older rule are renewed.
"""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from models.db.session import Database
from models.errors import PasswordGuessable
from models.people.passwords import authenticate, ensure_hard_to_guess, hash_password
from models.people.users import User
from tests.factories import make_user

# One word as three devices send it: composed, with combining marks, and with a ligature.
TYPED = ("Brücken am fließenden Fluss", "Bru\u0308cken am fließenden Fluss", "Brücken am \ufb02ießenden Fluss")


def _stored(database: Database, hashed: str) -> int:
    with database.transaction() as session:
        return make_user(session, email="maxi@example.com", password_hash=hashed).id


def _signs_in(database: Database, password: str) -> bool:
    with database.transaction() as session:
        return authenticate(session, "maxi@example.com", password) is not None


@pytest.mark.parametrize("first", TYPED)
def test_a_password_is_right_however_the_device_types_it(database: Database, first: str) -> None:
    _stored(database, hash_password(first))
    assert all(_signs_in(database, typed) for typed in TYPED)
    assert not _signs_in(database, "Brucken am fließenden Fluss")


def test_an_older_hash_of_what_was_typed_still_fits_and_is_renewed(database: Database) -> None:
    id = _stored(database, PasswordHasher().hash(TYPED[1]))
    assert not _signs_in(database, TYPED[0])
    assert _signs_in(database, TYPED[1])
    assert _signs_in(database, TYPED[0])
    with database.transaction() as session:
        renewed = session.get_one(User, id).password_hash
    assert renewed is not None
    PasswordHasher().verify(renewed, TYPED[0])


def test_a_hash_with_other_parameters_is_renewed_at_sign_in(database: Database) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=1024).hash(TYPED[0])
    id = _stored(database, weak)
    assert not _signs_in(database, "something else")
    assert _signs_in(database, TYPED[0])
    with database.transaction() as session:
        renewed = session.get_one(User, id).password_hash
    assert renewed is not None and _cost(renewed) == _cost(hash_password("any")) != _cost(weak)


def _cost(hashed: str) -> str:
    return hashed.split("$")[3]


@pytest.mark.parametrize(
    "password",
    [
        *(
            "123456789012",
            "qwertzuiop123",
            "passwort1234",
            "geheimgeheim",
            "maxi@mustermensch.example",
            "Mustermensch2026",
        ),
        # Words of the portal.
        *("Standortverwaltung1", "Nebenaccount-2026", "SIP-Trunk-Telefonie", "Kundenportal!!"),
    ],
)
def test_what_is_common_a_pattern_or_one_s_own_name_is_refused(password: str) -> None:
    with pytest.raises(PasswordGuessable):
        ensure_hard_to_guess(password, "maxi@mustermensch.example", "Maxi Mustermensch")


@pytest.mark.parametrize("password", [*TYPED, "x8#kQ2mZ9pLw", "vier Wörter die bleiben", "中文密码很长而且没有人知道"])
def test_words_that_mean_nothing_and_random_letters_are_taken(password: str) -> None:
    ensure_hard_to_guess(password, "maxi@mustermensch.example", "Maxi Mustermensch")


@pytest.mark.parametrize("stored", ["info@müller.example", "info@xn--mller-kva.example"])
def test_a_person_signs_in_with_either_spelling_of_the_domain(database: Database, stored: str) -> None:
    with database.transaction() as session:
        make_user(session, email=stored, password_hash=hash_password(TYPED[0]))
    for typed in ("info@müller.example", "Info@xn--mller-kva.example", " INFO@MÜLLER.EXAMPLE "):
        with database.transaction() as session:
            assert authenticate(session, typed, TYPED[0]) is not None, typed
            assert authenticate(session, typed, "wrong") is None


def test_symbols_that_can_be_read_in_many_ways_are_judged_at_once() -> None:
    # zxcvbn tries every reading of 4@8({ and takes seconds for all 72 characters.
    ensure_hard_to_guess("4@8({[<369&#!1/|0$5+7%2" * 3 + "abc")


def test_a_long_password_with_a_simple_beginning_is_taken() -> None:
    ensure_hard_to_guess("maxi@mustermensch.example und vier Wörter dahinter", "maxi@mustermensch.example")
