"""Tests that the portal's sentences about what a link allows a main account agree with the rights in the code.

Each right must have a sentence.
"""

from __future__ import annotations

import pytest

from models.accounts.accounts import Account
from models.people.rights import LEADS, RIGHTS, Action, Principal, Role, may
from models.states import AccountRole, AccountState, Origin
from models.values import LOCALES, Locale
from tasks.wording.link_rights import GIVEN, KEPT, link_rights

SUB = Account(id=2, main_id=1, role=AccountRole.SUB, state=AccountState.ACTIVE, origin=Origin.LINK)


def person(role: Role, account_id: int) -> Principal:
    """Return a person with this role in the account."""
    return Principal(1, "a@example.com", "A", "de", {account_id: role})


def test_every_right_that_reaches_over_a_link_has_its_sentence_and_no_other() -> None:
    reaching = {action for action in Action for role in LEADS if may(person(role, 1), action, SUB)}
    assert set(GIVEN) == reaching
    assert set(KEPT) == {action for action in Action if may(person(Role.ADMINISTRATOR, 2), action, SUB)} - reaching


@pytest.mark.parametrize("locale", LOCALES)
def test_what_only_administrators_get_says_so(locale: Locale) -> None:
    rights = link_rights(locale)
    restricted = [action for action in GIVEN if not may(person(Role.LOCATION_MANAGER, 1), action, SUB)]
    said = [line.endswith(("of the main account)", "des Hauptaccounts)")) for line in rights.may]
    assert said == [action in restricted for action in GIVEN]
    assert len(rights.may_not) == len(KEPT)


def test_the_way_back_names_those_who_have_it() -> None:
    able = {role for role in Role if Action.DETACH in RIGHTS[role]}
    assert able == {role for role in Role if may(person(role, 1), Action.DETACH, SUB)} == {*LEADS}
