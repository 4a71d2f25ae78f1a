"""`standorte tokens …`: create, list and revoke the bearer tokens of a company's own systems."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.table import Table
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.emails import stored_spellings
from models.people.api_tokens import LONGEST_LIFE, LONGEST_NAME, ApiToken, issue_token_for_carrier
from models.people.audit_log import AuditEvent, record_of_carrier
from models.people.rights import Scope, may_use_tokens
from models.people.users import Membership, User, administrators_of
from models.states import AccountState
from workers.commands.resources import known_account, open_database, out, refuse, when

app = typer.Typer(no_args_is_help=True, help="API tokens.")

AccountOption = Annotated[str, typer.Option("--account", help="Customer number.", metavar="NUMBER")]


@app.command()
def create(
    account: AccountOption,
    name: Annotated[str, typer.Option(help="What it is for, to know it again.")],
    user: Annotated[
        str | None,
        typer.Option(help="Whom it acts for; the account's first administrator without it.", metavar="EMAIL"),
    ] = None,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may be used for; may be given twice. Both without it.")
    ] = None,
    days: Annotated[
        int, typer.Option(help="For how many days it is valid.", min=1, max=LONGEST_LIFE.days)
    ] = LONGEST_LIFE.days,
) -> None:
    """Create an API token of an account and print only the token, which cannot be shown again later.

    The account's administrators are notified by mail.
    """
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        refuse(f"A token needs a name of up to {LONGEST_NAME} characters, to know it again.")
    with open_database() as database, database.transaction() as session:
        owner = known_account(session, account)
        if owner.state is AccountState.CLOSED:
            refuse(f"Account {account} is closed.")
        acts_for = _user(session, owner, user)
        scopes, valid_for = frozenset(scope or Scope), timedelta(days=days)
        token = issue_token_for_carrier(session, owner, acts_for, name, scopes, valid_for, database.now())
    # Printed without rich, which would wrap or colour a token that a script reads.
    typer.echo(token)


@app.command("list")
def list_tokens(
    account: Annotated[
        str | None, typer.Option("--account", help="Only this customer number's.", metavar="NUMBER")
    ] = None,
) -> None:
    """List the API tokens of all accounts, or of one. The secret tokens themselves are not shown."""
    table = Table(
        "id", "account", "acts for", "name", "scopes", "created", "last use", "from", "expires", "revoked", box=None
    )
    with open_database() as database, database.transaction() as session:
        now = database.now()
        query = (
            sa.select(ApiToken, Account.customer_number, User.email)
            .join(Account, Account.id == ApiToken.account_id)
            .join(User, User.id == ApiToken.user_id)
            .order_by(ApiToken.id)
        )
        if account is not None:
            query = query.where(ApiToken.account_id == known_account(session, account).id)
        for token, customer_number, email in session.execute(query):
            scopes = ", ".join(token.scopes)
            row = (str(token.id), customer_number, email, token.name, scopes)
            used = (when(token.last_used_at), token.last_used_address or "")
            ends = (when(token.expires_at) or "never", when(token.revoked_at))
            over = token.revoked_at is not None or token.has_expired(now)
            table.add_row(*row, when(token.created_at), *used, *ends, style="dim" if over else "")
    out.print(table)


@app.command()
def revoke(token_id: Annotated[int, typer.Argument(metavar="ID", help="As `tokens list` shows it.")]) -> None:
    """Revoke the API token with this id, which stops working immediately. Safe to run twice."""
    with open_database() as database, database.transaction() as session:
        token = session.get(ApiToken, token_id)
        if token is None:
            refuse(f"There is no token {token_id}.")
        name = token.name
        if token.revoked_at is None:
            token.revoke(database.now())
            account = session.get_one(Account, token.account_id)
            record_of_carrier(session, account, AuditEvent.TOKEN_REVOKED, database.now(), {"name": name})
    out.print(f"Token {token_id} ({name}) is revoked.", highlight=False, markup=False)


def _user(session: Session, account: Account, email: str | None) -> User:
    number = account.customer_number
    if email is None:
        administrators = administrators_of(session, account.id)
        if not administrators:
            refuse(f"Account {number} has no administrator to act for; name somebody with --user.")
        return administrators[0]
    user = session.scalar(sa.select(User).where(User.email.in_(stored_spellings(email))))
    membership = session.get(Membership, (user.id, account.id)) if user is not None else None
    if user is None or membership is None or not may_use_tokens(membership.role):
        refuse(f"{email} has no role in account {number} that a token could use, so it could do nothing.")
    if user.disabled_at is not None:
        refuse(f"{email} is disabled, so a token could do nothing.")
    return user
