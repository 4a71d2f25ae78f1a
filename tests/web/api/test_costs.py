"""Tests of reading through the API what a company's contracts cost in a month.

The sums of all pages are the total. A token reads no costs of other companies.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.contracts.contracts import ContractItem
from models.people.rights import Scope
from models.people.users import User
from models.states import Origin
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, make_account, make_main
from tests.web.api.calls import token_of
from tests.web.conftest import Front
from tests.web.portal.accounts.sites import Site, make_site, make_trunk


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location whose contract began on 2 March 2026 with a tariff and, until 10 March, a number block."""
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id), Origin.ORDER)
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        ended = NOW + timedelta(days=9)
        for key, cents, once, at in (("trunk-10", 3100, 2900, None), ("block-10", 290, 0, ended)):
            prices: dict[str, Any] = {"monthly_cents": cents, "one_off_cents": once, "ended_at": at}
            session.add(ContractItem(contract_id=contract, product_key=key, **prices))
    return site


def test_a_month_has_its_lines_changes_and_sums(front: Front, site: Site) -> None:
    body = front.get("/costs?month=2026-03").get_json()
    assert front.get("/costs").get_json() == body
    assert body == {
        "month": "2026-03",
        "total": {"net_cents": 5985, "vat_cents": 1137, "gross_cents": 7122},
        "items": [
            {
                "customer_number": site.account.customer_number,
                "name": "Filiale Köln",
                "city": "Bielefeld",
                "net_cents": 5985,
                "lines": [
                    {
                        "product": "trunk-10", "first_day": "2026-03-02", "last_day": "2026-03-31", "days": 30,
                        "monthly_cents": 3100, "share_cents": 3000, "one_off_cents": 2900,
                    },
                    {
                        "product": "block-10", "first_day": "2026-03-02", "last_day": "2026-03-10", "days": 9,
                        "monthly_cents": 290, "share_cents": 85, "one_off_cents": 0,
                    },
                ],
                "changes": [
                    {"day": "2026-03-02", "product": "trunk-10", "change": "begins", "planned": False},
                    {"day": "2026-03-02", "product": "block-10", "change": "begins", "planned": False},
                    {"day": "2026-03-11", "product": "block-10", "change": "ends", "planned": True},
                ],
            }
        ],
        "next_cursor": None,
    }  # fmt: skip
    change = {"customer_number": site.account.customer_number, "product": "trunk-50", "channels": 50}
    assert front.post("/changes", {**change, "effective_on": "2026-04-01"}).status_code == 202
    [item] = front.get("/costs?month=2026-04").get_json()["items"]
    assert [(line["product"], line["days"]) for line in item["lines"]] == [("trunk-10", 0), ("trunk-50", 30)]
    assert item["lines"][0]["first_day"] is None
    assert item["net_cents"] == 9990 + 9900
    assert [(one["day"], one["change"], one["planned"]) for one in item["changes"]] == [
        ("2026-04-01", "ends", True),
        ("2026-04-01", "begins", True),
    ]


def test_pages_add_up_to_the_total_of_each(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        for place in range(4):
            account = make_account(session)
            attach(session, front.main.id, account.id, Origin.ORDER, NOW)
            contract = session.get_one(SipTrunk, make_trunk(session, account, f"t9{place:011}")).contract_id
            item = {"product_key": "trunk-2", "monthly_cents": 991, "one_off_cents": 0}
            session.add(ContractItem(contract_id=contract, **item))
    items: list[Any] = []
    totals: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        body = front.get(f"/costs?month=2026-03&limit=2{cursor and '&cursor=' + cursor}").get_json()
        items += body["items"]
        totals.append(body["total"]["net_cents"])
        cursor = body["next_cursor"]
    assert len(totals) == 3 and len({item["customer_number"] for item in items}) == 5
    assert set(totals) == {sum(item["net_cents"] for item in items)}
    assert all(
        item["net_cents"] == sum(line["share_cents"] + line["one_off_cents"] for line in item["lines"])
        for item in items
    )


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("month=2026-13", "month", "string_pattern_mismatch"),
        ("month=2026-3", "month", "string_pattern_mismatch"),
        ("month=", "month", "string_pattern_mismatch"),
        ("month=2027-04", "month", "unknown_month"),
        ("month=2026-03&cursor=x", "cursor", "cursor"),
        ("month=2026-03&limit=0", "limit", "greater_than_equal"),
        ("monat=2026-03", "monat", "extra_forbidden"),
    ],
)
def test_what_is_wrong_is_named(front: Front, query: str, field: str, code: str) -> None:
    answer = front.get(f"/costs?{query}")
    assert answer.status_code == 422
    [error] = answer.get_json()["errors"]
    assert (error["field"], error["code"]) == (field, code)
    assert error["detail"]


def test_a_token_reads_the_costs_of_its_account_alone(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        stranger, foreign = make_main(session)
        make_trunk(session, session.get_one(Account, stranger.id), "t900000000002")
        owner = session.get_one(User, foreign.user_id)
    numbers = {}
    for name, account, user in (("sub", site.account, site.administrator), ("stranger", stranger, owner)):
        front.token = token_of(front, account, user)
        numbers[name] = [item["customer_number"] for item in front.get("/costs?month=2026-03").get_json()["items"]]
    assert numbers == {"sub": [site.account.customer_number], "stranger": [stranger.customer_number]}
    front.token = front.token_with(Scope.WRITE)
    assert front.get("/costs").status_code == 403
