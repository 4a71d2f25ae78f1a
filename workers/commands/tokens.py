"""`standorte tokens …`: create, list and revoke the bearer tokens of a company's own systems."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
import typer
from rich.table import Table
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.emails import stored_spellings
from models.people.api_tokens import ApiToken, create_token
from models.people.rights import Scope
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
) -> None:
    """Create an API token of an account and print nothing but the token, which cannot be shown again later."""
    if not name.strip():
        refuse("A token needs a name, to know it again.")
    with open_database() as database, database.transaction() as session:
        owner = known_account(session, account)
        if owner.state is AccountState.CLOSED:
            refuse(f"Account {account} is closed.")
        acts_for = _user(session, owner, user)
        token = create_token(session, owner, acts_for, name.strip(), frozenset(scope or Scope), database.now())
    # Printed without rich, which would wrap or colour a token that a script reads.
    typer.echo(token)


@app.command("list")
def list_tokens(
    account: Annotated[
        str | None, typer.Option("--account", help="Only this customer number's.", metavar="NUMBER")
    ] = None,
) -> None:
    """List the API tokens of all accounts, or of one, without the secret, which only a token's owner has."""
    table = Table("id", "account", "acts for", "name", "scopes", "created", "revoked", box=None)
    with open_database() as database, database.transaction() as session:
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
            table.add_row(*row, when(token.created_at), when(token.revoked_at), style=_style(token))
    out.print(table)


@app.command()
def revoke(token_id: Annotated[int, typer.Argument(metavar="ID", help="As `tokens list` shows it.")]) -> None:
    """Revoke the API token with this id, which stops working immediately. Safe to run twice."""
    with open_database() as database, database.transaction() as session:
        token = session.get(ApiToken, token_id)
        if token is None:
            refuse(f"There is no token {token_id}.")
        token.revoke(database.now())
        name = token.name
    out.print(f"Token {token_id} ({name}) is revoked.", highlight=False, markup=False)


def _user(session: Session, account: Account, email: str | None) -> User:
    number = account.customer_number
    if email is None:
        administrators = administrators_of(session, account.id)
        if not administrators:
            refuse(f"Account {number} has no administrator to act for; name somebody with --user.")
        return administrators[0]
    user = session.scalar(sa.select(User).where(User.email.in_(stored_spellings(email))))
    if user is None or session.get(Membership, (user.id, account.id)) is None:
        refuse(f"{email} has no role in account {number}, so a token for them could do nothing.")
    return user


def _style(token: ApiToken) -> str:
    return "dim" if token.revoked_at else ""
