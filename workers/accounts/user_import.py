"""Import a file of people and their roles in accounts that were imported before."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from models.accounts.accounts import account_by_number
from models.db.session import Database
from models.emails import BadEmail, typed_email
from models.errors import InvalidField
from models.messages.outbox import Recipient
from models.name_rules import name_fault
from models.people.rights import Role
from models.staff.sign_in_access import enter_user, tell_first_login
from models.values import Locale
from workers.accounts.customer_import import Finding
from workers.accounts.row_import import Outcome, RowImport

LONGEST_NAME = 200
_LANGUAGES: Mapping[str, Locale] = {"": "de", "de": "de", "en": "en"}
_REASONS = {
    "no_account": "there is no such account: `standorte accounts import` comes first",
    "account_closed": "the account is closed, or still on order",
    "not_a_role": f"is not one of {', '.join(Role)}",
    "not_a_language": "is neither de nor en",
    "other_role": "the person has another role in this account, which its administrators change in the portal",
    "staff": "belongs to the carrier's staff: a customer needs an address of their own",
    "being_erased": "is being erased: try again in a few minutes",
    "disabled": "is disabled: `standorte users enable` lets the person in again",
}


class UserImport(RowImport):
    """An import of people, one row for each role of a person in an account.

    The e-mail address identifies the person: if there is a login with this address, it gets the role. Safe to run
    twice: a role that a person already has is left unchanged. With `tell`, each person without a password gets one mail
    with a link to set it, also if the person was imported before.
    """

    required = ("customer_number", "email", "name", "role")
    optional = ("language",)
    reasons = _REASONS

    def __init__(
        self,
        database: Database,
        report: Callable[[Finding], None],
        progress: Callable[[int], None],
        *,
        dry: bool = False,
        tell: bool = False,
    ) -> None:
        super().__init__(database, report, progress, dry=dry)
        self._tell = tell

    def _take(self, session: Session, cells: Mapping[str, str]) -> Outcome:
        to, role = _recipient(cells), _role(cells["role"])
        account = account_by_number(session, cells["customer_number"])
        if account is None:
            raise InvalidField("customer_number", "no_account")
        now = self._database.now()
        access = enter_user(session, account, to, role, now)
        return Outcome(access.is_added, self._tell and tell_first_login(session, access.user, account, role, now))


def _role(typed: str) -> Role:
    if typed not in tuple(Role):
        raise InvalidField("role", "not_a_role")
    return Role(typed)


def _recipient(cells: Mapping[str, str]) -> Recipient:
    """Return the person whom a row describes; `cells` are its texts by column.

    Raises `InvalidField` for an invalid e-mail address, name or language.
    """
    try:
        email = typed_email(cells["email"]).lower()
    except BadEmail as error:
        raise InvalidField("email", error.code) from error
    name = cells["name"]
    if not name:
        raise InvalidField("name", "missing")
    if len(name) > LONGEST_NAME:
        raise InvalidField("name", "too_long")
    if (fault := name_fault(name)) is not None:
        raise InvalidField("name", fault.code)
    if cells["language"] not in _LANGUAGES:
        raise InvalidField("language", "not_a_language")
    return Recipient(name, email, _LANGUAGES[cells["language"]])
