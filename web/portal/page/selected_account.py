"""Which of a person's own accounts the portal shows, where there are several; the choice stays with the session."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request, session
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.views import lists
from web.portal.page.session import principal


@dataclass(frozen=True, slots=True)
class SelectedAccount:
    """The account that is looked at, None if there is none to look at, and all that can be chosen from."""

    account: Account | None
    choices: list[Account]

    @property
    def konto(self) -> str | None:
        """For the address of a page that has to be about this account; None where there is no other."""
        return self.account.customer_number if self.account is not None and len(self.choices) > 1 else None


def selected_account(database: Session) -> SelectedAccount:
    """As asked for in the address (`konto=`), else as chosen before, else the first, main accounts before others.

    Sub-accounts can be chosen only where their main account cannot: there they are in its overview.
    """
    own = lists.accounts_of(database, principal())
    ids = {account.id for account in own}
    choices = {account.customer_number: account for account in own if account.main_id not in ids}
    asked = request.args.get("konto", "")
    if asked in choices and session.get("account") != asked:
        session["account"] = asked
    first = next(iter(choices.values()), None)
    chosen = choices.get(asked) or choices.get(session.get("account", "")) or first
    return SelectedAccount(chosen, list(choices.values()))
