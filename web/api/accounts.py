"""The API endpoints that list and show accounts."""

from __future__ import annotations

from flask import Response

from models.accounts.accounts import account_by_number
from models.errors import NotFound
from models.links.tags import set_tags
from models.people.rights import Action, may
from models.views import request_lists
from models.views.locations import LocationFilter, Order, page_of
from web.api import schemas
from web.api.access import caller, get_visible_account, now, viewable_token_account
from web.api.blueprint import api, json_response
from web.api.call_transaction import call_transaction
from web.api.paging import known_cursor
from web.api.response_bodies import account_body
from web.request_bodies import TagsBody


@api.get("/accounts", responses={200: schemas.AccountPage})
def list_accounts(query: schemas.AccountsQuery) -> Response:
    """List one page of accounts: the account of the API token, then its sub-accounts by customer number.

    Sub-accounts that are still on order are listed, too. With `tag` only the sub-accounts that have this tag are
    listed; capitals matter.
    """
    with call_transaction() as session:
        account = viewable_token_account(session)
        with known_cursor():
            # A customer number never changes, so paging neither skips nor repeats an account.
            wanted = LocationFilter(order=Order.NUMBER, tag=query.tag or "")
            page = page_of(session, account, wanted, after=query.cursor, limit=query.limit)
        items = [account_body(listed.account, listed.request) for listed in page.items]
        if query.cursor is None and query.tag is None:
            items.insert(0, account_body(account, request_lists.running_request(session, account, account)))
    return json_response({"items": items, "next_cursor": page.after})


@api.get("/accounts/<customer_number>", responses={200: schemas.AccountBody, 404: schemas.Problem})
def show_account(path: schemas.AccountPath) -> Response:
    """Show one account, with the id of its running request if there is one.

    An account that is still on order is shown, too. Answers 404 if the caller may not view the account, and 403 if the
    token may not read.
    """
    with call_transaction() as session:
        main, account = viewable_token_account(session), account_by_number(session, path.customer_number)
        running = request_lists.running_request(session, main, account) if account is not None else None
        if account is None or not may(caller(), Action.VIEW, main if running is not None else account):
            raise NotFound
        return json_response(account_body(account, running))


@api.put(
    "/accounts/<customer_number>/tags",
    responses={
        200: schemas.SavedTags,
        403: schemas.Problem,
        404: schemas.Problem,
        422: schemas.Problem,
        429: schemas.Problem,
    },
)
def put_tags(path: schemas.AccountPath, body: TagsBody) -> Response:
    """Give a sub-account these tags instead of those that it has, and return them as they are saved.

    Each is returned once, in the spelling that the company has for it already, in alphabetical order. A call that is
    repeated changes nothing more. Answers 404 if the token's account is not the sub-account's main account, 403 if the
    token may not write, and 429 after 50 changes of the account's tags within a day.
    """
    with call_transaction() as session:
        account = get_visible_account(session, path.customer_number, Action.TAG)
        set_tags(session, caller(), account, body.tags, now())
        return json_response({"tags": account.tags or []})
