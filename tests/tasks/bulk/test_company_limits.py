"""Tests of a company's limits for bulk files: rows beyond a limit wait and are not refused.

They wait for the next day, or until open orders have ended. The back office gets a mail about them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.company_limits import DailyUse, Limit, Limits, set_own_limits
from models.bulk.bulk import Bulk, RowFate, waiting_bulks
from models.calendar_days import berlin_day
from models.contracts.catalogue import orderable_products, set_price
from models.orders.orders import cancel_and_release
from models.people.users import User, principal_of
from models.proofs.link_codes import create_link_code
from models.requests.requests import Request
from models.staff.sign_in_access import disable
from models.states import Reason, Status
from tests.factories import NOW, PLENTY, an_order, make_account, make_bulk, make_user, sites
from tests.tasks.bulk.test_place import bulk, rows, send, send_links, stock
from tests.tasks.conftest import Pipeline

OFFICE = "office@carrier.example"


def limit(pipeline: Pipeline, **limits: int) -> None:
    """Let the workers apply these limits to each company, and send the back office's mails to `OFFICE`.

    `limits` are fields of `Limits`, such as `blocks`; all others are so high that no test reaches them.
    """
    pipeline.runtime = replace(pipeline.runtime, limits=replace(PLENTY, **limits), office_email=OFFICE)


def placed(pipeline: Pipeline, found: Bulk) -> int:
    return sum(row.fate is RowFate.PLACED for row in rows(pipeline, found.id))


def told(pipeline: Pipeline) -> list[str]:
    """Send one batch of due mails; return the texts of all mails that the back office has got so far."""
    pipeline.send()
    return [mail.text for mail in pipeline.mailer.sent if mail.recipient_address == OFFICE]


def test_rows_that_wait_are_ordered_at_the_agreed_price_although_their_product_was_withdrawn(
    pipeline: Pipeline,
) -> None:
    stock(pipeline, 10)
    limit(pipeline, blocks=2)
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        found = make_bulk(session, pipeline.manager, pipeline.main, sites(3))
        found.send(now, [product.price_line for product in orderable_products(session, now)])
        tomorrow = berlin_day(now) + timedelta(days=1)
        for key in ("trunk-10", "block-10"):
            set_price(session, key, tomorrow, now, monthly_cents=1, one_off_cents=1, orderable=False)
    for expected in (2, 3):
        pipeline.advance()
        pipeline.advance()
        assert placed(pipeline, found) == expected
        pipeline.clock.advance(timedelta(days=1))
    with pipeline.runtime.database.transaction() as session:
        requests = session.scalars(sa.select(Request)).all()
        assert {request.status for request in requests} == {Status.COMPLETED}
        paid = [line["monthly_cents"] for request in requests for line in request.price_lines or []]
    assert paid == [2990, 290] * 3


def test_who_is_shut_out_orders_nothing_more_by_a_sent_file(pipeline: Pipeline) -> None:
    stock(pipeline, 10)
    limit(pipeline, blocks=2)
    id = send(pipeline, sites(7))
    for _ in range(2):
        pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        disable(session, session.get_one(User, pipeline.manager.user_id), pipeline.clock.now)
    pipeline.clock.advance(timedelta(days=1))
    pipeline.advance()
    # All at once: what is refused takes nothing from the company's limits.
    assert [row.refusal for row in rows(pipeline, id)] == [None] * 2 + ["forbidden"] * 5
    assert placed(pipeline, bulk(pipeline, id)) == 2


@pytest.mark.parametrize("what", [Limit.BLOCKS, Limit.LETTERS, Limit.CONTACTS])
def test_rows_of_a_file_wait_for_the_next_day(pipeline: Pipeline, what: Limit) -> None:
    stock(pipeline, 10)
    limit(pipeline, **{what: 2})
    orders = [
        replace(
            site,
            contact=replace(site.contact, email=f"site{number}@example.com"),
            location=replace(site.location, street=f"Brückenstr. {number + 20}"),
        )
        for number, site in enumerate(sites(5))
    ]
    id = send(pipeline, orders)
    for expected in (2, 4, 5):
        pipeline.advance()
        pipeline.advance()
        found = bulk(pipeline, id)
        assert placed(pipeline, found) == expected
        assert (found.waits_for is what) == (expected < 5)
        # Nothing more on this day, however often it is looked at.
        pipeline.advance()
        assert placed(pipeline, found) == expected
        pipeline.clock.advance(timedelta(days=1))
    assert {row.fate for row in rows(pipeline, id)} == {RowFate.PLACED}


def test_a_file_of_links_asks_so_many_a_day_and_keeps_the_codes_of_the_others(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        asked = [make_account(session, administrator=make_user(session)) for _ in range(3)]
        owner = make_user(session)
        coded = make_account(session, administrator=owner)
        code = pipeline.runtime.vault.code(*create_link_code(session, principal_of(session, owner), coded, NOW).words())
    limit(pipeline, consents=2)
    id = send_links(pipeline, [*((account.customer_number, "") for account in asked), (coded.customer_number, code)])
    pipeline.advance()
    found = bulk(pipeline, id)
    assert (placed(pipeline, found), found.waits_for) == (2, Limit.CONSENTS)
    # Cancelled ones make no room for others.
    with pipeline.runtime.database.transaction() as session:
        for request in session.scalars(sa.select(Request)):
            cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, pipeline.clock())
    pipeline.advance()
    assert placed(pipeline, bulk(pipeline, id)) == 2
    pipeline.clock.advance(timedelta(days=1))
    pipeline.advance()
    pipeline.advance()
    assert placed(pipeline, bulk(pipeline, id)) == 4
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Account, coded.id).main_id == pipeline.main.id


def test_rows_of_a_file_wait_for_open_orders_to_end(pipeline: Pipeline) -> None:
    stock(pipeline, 10)
    limit(pipeline, open_orders=2)
    id = send(pipeline, sites(5))
    pipeline.advance()
    assert placed(pipeline, bulk(pipeline, id)) == 2
    for expected in (4, 5):
        # The orders before are completed meanwhile.
        pipeline.advance()
        pipeline.clock.advance(timedelta(minutes=5))
        pipeline.advance()
        assert placed(pipeline, bulk(pipeline, id)) == expected


def test_a_raised_limit_lets_the_rows_go_on_at_once(pipeline: Pipeline) -> None:
    stock(pipeline, 10)
    limit(pipeline, blocks=2)
    id = send(pipeline, sites(5))
    pipeline.advance()
    assert placed(pipeline, bulk(pipeline, id)) == 2
    with pipeline.owner.transaction() as session:
        set_own_limits(session, pipeline.main.id, {Limit.BLOCKS: 100})
        [waiting] = waiting_bulks(session, pipeline.main.id)
        waiting.make_due(pipeline.clock())
    pipeline.advance()
    assert placed(pipeline, bulk(pipeline, id)) == 5


def test_two_files_at_once_share_one_limit(pipeline: Pipeline) -> None:
    stock(pipeline, 20)
    limit(pipeline, blocks=4)
    first, second = send(pipeline, sites(3)), send(pipeline, sites(9)[3:], "Andere.csv")
    for _ in range(6):
        pipeline.advance()
    assert placed(pipeline, bulk(pipeline, first)) + placed(pipeline, bulk(pipeline, second)) == 4


def test_the_office_is_told_once_of_a_file_that_waits(pipeline: Pipeline) -> None:
    stock(pipeline, 10)
    limit(pipeline, blocks=2)
    send(pipeline, sites(5))
    pipeline.advance()
    for _ in range(3):
        pipeline.run("office")
        pipeline.clock.advance(timedelta(minutes=5))
    [text] = told(pipeline)
    assert pipeline.main.customer_number in text
    assert "Rufnummernblöcke" in text
    assert "Ihre Zeilen folgen von selbst" in " ".join(text.split())
    assert "muss sich jemand kümmern" not in text


def test_the_office_is_told_once_of_an_order_that_is_held(pipeline: Pipeline) -> None:
    limit(pipeline)
    held = [pipeline.order(an_order(block_size=100)) for _ in range(3)]
    pipeline.advance()
    assert {pipeline.request(id).reason for id in held} == {Reason.NO_NUMBERS_AVAILABLE}
    assert told(pipeline) == []
    for _ in range(4):
        pipeline.clock.advance(timedelta(minutes=16))
        pipeline.advance()
        pipeline.run("office")
    [text] = told(pipeline)
    assert "3 ×" in text
    assert "(030, 100)" in text
    assert "/backoffice" in text
    assert "Um diese Aufträge muss sich jemand kümmern" in text and "Diese Dateien" not in text
    # Another reason is told anew.
    with pipeline.owner.transaction() as session:
        session.execute(sa.update(Request).values(reason=Reason.INTERNAL_ERROR, status=Status.HELD))
    pipeline.run("office")
    assert len(told(pipeline)) == 2


def test_without_an_address_nobody_is_told_and_nothing_is_forgotten(pipeline: Pipeline) -> None:
    pipeline.order(an_order(block_size=100))
    pipeline.advance()
    pipeline.clock.advance(timedelta(minutes=5))
    assert pipeline.run("office").counts["requests"] == 1
    limit(pipeline)
    pipeline.clock.advance(timedelta(minutes=5))
    pipeline.run("office")
    assert len(told(pipeline)) == 1


def test_counts_of_other_days_are_deleted(pipeline: Pipeline) -> None:
    stock(pipeline, 3)
    send(pipeline, sites(2))
    pipeline.advance()
    assert pipeline.run("leftovers").counts["daily_uses"] == 0
    pipeline.clock.advance(timedelta(days=1))
    assert pipeline.run("leftovers").counts["daily_uses"] > 0
    with pipeline.owner.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(DailyUse)) == 0


def test_usual_limits_are_what_the_settings_say() -> None:
    assert Limits().of(Limit.LETTERS) == Limits().letters
