"""The account that the portal shows for a user with several accounts; the choice is kept in the session."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request, session
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.views import own_accounts
from web.portal.page.login_session import principal


@dataclass(frozen=True, slots=True)
class SelectedAccount:
    """The account that the portal shows to the user, and all accounts that the user can select (`choices`).

    `account` is None if the user has no account.
    """

    account: Account | None
    choices: list[Account]

    @property
    def konto(self) -> str | None:
        """Return the account's customer number, for the query parameter `konto` in links to other pages.

        None if the user can select no other account: then links need no such parameter.
        """
        return self.account.customer_number if self.account is not None and len(self.choices) > 1 else None


def selected_account(database: Session) -> SelectedAccount:
    """Return the selected account and the accounts that the user can select, main accounts first.

    The first of these is selected: the account whose customer number is in the URL (`konto=`), which is then kept in
    the session; the one kept in the session; the first in the list. In the result, `account` is None if the user has no
    account. A customer number that the user cannot select is ignored. A sub-account can be selected only if the user
    cannot select its main account.
    """
    own = own_accounts.accounts_of(database, principal())
    ids = {account.id for account in own}
    choices = {account.customer_number: account for account in own if account.main_id not in ids}
    asked = request.args.get("konto", "")
    if asked in choices and session.get("account") != asked:
        session["account"] = asked
    first = next(iter(choices.values()), None)
    chosen = choices.get(asked) or choices.get(session.get("account", "")) or first
    return SelectedAccount(chosen, list(choices.values()))
