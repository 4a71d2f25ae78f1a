"""Functions for the console commands that give a person a first login: check input, create login, send the link."""

from __future__ import annotations

from datetime import datetime

from rich.markup import escape
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.emails import BadEmail, typed_email
from models.errors import AlreadyUser, BeingErased, Forbidden, HasAdministrator, NotFound
from models.messages.outbox import Recipient
from models.name_rules import name_fault
from models.people.password_links import first_password_link
from models.people.users import User
from models.staff.sign_in_access import Access, add_first_administrator, create_staff, mail_access
from models.vault import Vault
from workers.accounts.user_import import LONGEST_NAME
from workers.commands.resources import refuse
from workers.settings import WorkerSettings


def typed_address(option: str, email: str) -> str:
    """Return a typed e-mail address in lower case; end the command with a message if it is no address.

    `option` is the name of the command's option, for the message.
    """
    try:
        return typed_email(email).lower()
    except BadEmail as error:
        umlauts = ": no umlauts before the @" if error.code == "not_ascii_before_at" else ""
        refuse(f"{option}: {escape(email)} is no address that mail can be sent to{umlauts}.")


def typed_name(option: str, name: str) -> str:
    """Return a typed name of a person without unneeded spaces; end the command with a message if it cannot be a name.

    `option` is the name of the command's option, for the message.
    """
    text = " ".join(name.split())
    if not 1 <= len(text) <= LONGEST_NAME or name_fault(text) is not None:
        refuse(f"{option} is a person's name of up to {LONGEST_NAME} characters, without an address: {escape(name)!r}")
    return text


def give_access(session: Session, to: Recipient, account: Account | None, now: datetime) -> Access:
    """Create a login for the person `to`: as first administrator of `account`, or as the carrier's staff if it is None.

    Return the login, and whether the login or its role is new. Safe to run twice. Ends the command with a message if
    the person cannot get the login, for example because the account has an administrator already.
    """
    try:
        if account is None:
            return create_staff(session, to, now)
        return add_first_administrator(session, account, to, now)
    except AlreadyUser:
        refuse(f"{to.address} is a customer's login. Staff need an address of their own.")
    except Forbidden:
        refuse(f"{to.address} belongs to the staff. An administrator of an account needs another address.")
    except BeingErased:
        refuse(f"{to.address} is being erased. Try again in a few minutes.")
    except HasAdministrator as error:
        refuse(
            f"The account has an administrator, {error.email}, who invites others in the portal. If they cannot be"
            " reached, staff name another one in the back office."
        )
    except NotFound:
        refuse("The account is not active: only an active one gets an administrator.")


def tell(session: Session, user: User, account: Account | None, now: datetime, *, print_link: bool) -> str | None:
    """Mail the person a link to set the first password and return None, or with `print_link` return the link.

    `account` is the account that the person now administers, None for staff. A person who has a password already gets a
    mail without a link. Ends the command with a message if the person is disabled, or if `print_link` is set and the
    person has a password already.
    """
    if user.disabled_at is not None:
        refuse(f"{user.email} is disabled. `standorte users enable {user.email}` lets the person in again.")
    if not print_link:
        mail_access(session, user, account, now)
        return None
    if user.password_hash is not None:
        refuse(f"{user.email} has a password already: there is no link to print. Leave --print-link out.")
    path, words = first_password_link(user, now)
    settings = WorkerSettings()
    return settings.base_url.rstrip("/") + path + Vault(*settings.secret_keys).token(*words)
