"""Tests of bulk files: each row becomes one request, and the sender gets one mail when all of them have ended.

Requests that belong to no bulk file are worked on first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.bulk.bulk import Bulk, BulkRow, RowFate
from models.bulk.progress import progress_of
from models.bulk.uploads import CheckedRow, fingerprints_of, keep_file
from models.contracts.catalogue import Product
from models.orders import orders
from models.orders.orders import OrderDraft, cancel_and_release
from models.people.rights import Role
from models.people.users import Membership, principal_of
from models.proofs.deadlines import MOST_ISSUES
from models.proofs.link_codes import create_link_code
from models.requests.requests import Request
from models.states import Kind, ProofMethod, Reason, Status
from tasks.bulk import place
from tasks.engine.advance import BULK_BATCHES
from tasks.ports import GatewayRefused
from tests.factories import NOW, a_link, an_order, fill_pool, join, make_account, make_bulk, make_user, sites
from tests.tasks.conftest import Pipeline

CONTACT = "hanna.palmer@example.com"


def send(pipeline: Pipeline, wanted: Sequence[OrderDraft], name: str = "Filialen.csv") -> UUID:
    """Save a bulk file of these orders and submit it; return its id."""
    with pipeline.runtime.database.transaction() as session:
        found = make_bulk(session, pipeline.manager, pipeline.main, wanted, name=name)
        found.send(pipeline.clock())
        return found.id


def ended(pipeline: Pipeline, completed: int, of: int) -> str:
    """Return the expected subject of the mail about the end of a bulk file of `of` orders.

    `completed` of them were completed.
    """
    return f"Sammelbestellung für {pipeline.main.customer_number} abgeschlossen: {completed} von {of}"


def bulk(pipeline: Pipeline, id: UUID) -> Bulk:
    with pipeline.runtime.database.transaction() as session:
        return session.get_one(Bulk, id)


def rows(pipeline: Pipeline, id: UUID) -> list[BulkRow]:
    with pipeline.runtime.database.transaction() as session:
        return list(session.scalars(sa.select(BulkRow).where(BulkRow.bulk_id == id).order_by(BulkRow.line)))


def statuses(pipeline: Pipeline, id: UUID) -> dict[Status, int]:
    with pipeline.runtime.database.transaction() as session:
        return dict(progress_of(session, session.get_one(Bulk, id)).by_status)


def run_to_the_end(pipeline: Pipeline, id: UUID) -> int:
    """Run the workers every two seconds, by the test's clock, until the bulk has ended.

    Return how often they ran. Fails after 100 times.
    """
    hints = 0
    while bulk(pipeline, id).ended_at is None:
        pipeline.advance()
        pipeline.clock.advance(timedelta(seconds=2))
        hints += 1
        assert hints < 100
    return hints


def stock(pipeline: Pipeline, count: int) -> None:
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, count=count, first="30000000")


def test_every_row_becomes_one_order_and_its_sender_gets_one_mail(pipeline: Pipeline) -> None:
    stock(pipeline, 40)
    id = send(pipeline, sites(40))
    assert statuses(pipeline, id) == {}
    run_to_the_end(pipeline, id)
    assert statuses(pipeline, id) == {Status.COMPLETED: 40}
    assert {row.fate for row in rows(pipeline, id)} == {RowFate.PLACED}
    assert len(pipeline.registrar.trunks) == 40
    pipeline.advance()
    to_sender = [mail for mail in pipeline.mailer.but_receipts if mail.recipient_address == pipeline.manager.email]
    assert [mail.subject for mail in to_sender] == [ended(pipeline, 40, 40)]
    assert f"/standortverwaltung/sammelauftrag/{id}" in to_sender[0].text
    to_contact = [mail for mail in pipeline.mailer.but_receipts if mail.recipient_address == CONTACT]
    assert len({mail.text for mail in to_contact}) == 40


def test_a_sender_who_is_the_contact_gets_one_mail(pipeline: Pipeline) -> None:
    own = [replace(site, contact=replace(site.contact, email=pipeline.manager.email)) for site in sites(3)]
    id = send(pipeline, own)
    run_to_the_end(pipeline, id)
    pipeline.advance()
    assert [mail.subject for mail in pipeline.mailer.but_receipts] == [ended(pipeline, 3, 3)]


def test_a_single_order_does_not_wait_for_a_bulk(pipeline: Pipeline) -> None:
    stock(pipeline, 500)
    id = send(pipeline, sites(500))
    for _ in range(5):
        place.place_due(pipeline.runtime, lambda: None)
    pipeline.advance()
    batch = pipeline.runtime.batch * BULK_BATCHES
    assert statuses(pipeline, id) == {Status.COMPLETED: batch, Status.ACKNOWLEDGED: 500 - batch}
    single = pipeline.order(an_order())
    # The very next batch, although hundreds of others have been due for longer; and so with its mails.
    pipeline.advance()
    assert pipeline.request(single).status is Status.COMPLETED
    assert [mail.recipient_address for mail in pipeline.mailer.but_receipts].count(pipeline.manager.email) == 1
    # And only as many of the bulk beside it as there are in a usual batch.
    done = batch + pipeline.runtime.batch - 1
    assert statuses(pipeline, id) == {Status.COMPLETED: done, Status.ACKNOWLEDGED: 500 - done}


def test_two_bulks_of_the_same_rows_order_once(pipeline: Pipeline) -> None:
    first = send(pipeline, sites(3))
    second = send(pipeline, sites(5), "Andere.csv")
    run_to_the_end(pipeline, first)
    run_to_the_end(pipeline, second)
    # Which one comes first is the workers' matter.
    fates = Counter(row.fate for id in (first, second) for row in rows(pipeline, id))
    assert fates == {RowFate.PLACED: 5, RowFate.REPEATED: 3}
    assert len(pipeline.registrar.trunks) == 5


def test_what_was_called_off_can_be_ordered_again_by_another_file(pipeline: Pipeline) -> None:
    first = send(pipeline, sites(2))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        one = sa.select(Request).where(Request.bulk_id == first).order_by(Request.id).limit(1)
        cancel_and_release(session.scalars(one).one(), Reason.CANCELLED_BY_REQUESTER, pipeline.clock())
    second = send(pipeline, sites(3), "Noch einmal.csv")
    run_to_the_end(pipeline, second)
    assert [row.fate for row in rows(pipeline, second)] == [RowFate.PLACED, RowFate.REPEATED, RowFate.PLACED]
    third = send(pipeline, sites(4), "Und noch einmal.csv")
    run_to_the_end(pipeline, third)
    assert [row.fate for row in rows(pipeline, third)] == [RowFate.REPEATED] * 3 + [RowFate.PLACED]


def test_one_that_is_retried_after_the_bulks_end_is_told_by_itself(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayRefused("no")]
    id = send(pipeline, sites(1))
    run_to_the_end(pipeline, id)
    assert statuses(pipeline, id) == {Status.FAILED: 1}
    with pipeline.runtime.database.transaction() as session:
        session.scalars(sa.select(Request).where(Request.bulk_id == id)).one().retry(pipeline.clock())
    pipeline.advance()
    pipeline.advance()
    assert statuses(pipeline, id) == {Status.COMPLETED: 1}
    to_sender = [
        mail.subject for mail in pipeline.mailer.but_receipts if mail.recipient_address == pipeline.manager.email
    ]
    # Several mails leave at once, in no order.
    assert len(to_sender) == 2 and ended(pipeline, 0, 1) in to_sender
    assert any("eingerichtet" in subject for subject in to_sender)


def test_the_same_row_twice_in_one_file_orders_once(pipeline: Pipeline) -> None:
    id = send(pipeline, [*sites(1), *sites(1)])
    run_to_the_end(pipeline, id)
    assert [row.fate for row in rows(pipeline, id)] == [RowFate.PLACED, RowFate.REPEATED]


def test_a_bulk_waits_for_the_proofs_and_each_is_asked_for_once(pipeline: Pipeline) -> None:
    new = [replace(site, contact=replace(site.contact, email="neu@example.com")) for site in sites(5)]
    id = send(pipeline, new)
    for _ in range(3):
        pipeline.advance()
    assert statuses(pipeline, id) == {Status.PENDING: 5}
    assert [mail.recipient_address for mail in pipeline.mailer.but_receipts] == ["neu@example.com"]
    assert bulk(pipeline, id).ended_at is None


@pytest.mark.usefixtures("changing_products")
def test_what_was_withdrawn_meanwhile_is_refused_and_takes_no_other_down(pipeline: Pipeline) -> None:
    wanted = sites(3)
    wanted[1] = replace(wanted[1], product_key="trunk-2", channels=2)
    id = send(pipeline, wanted)
    with pipeline.owner.transaction() as session:
        session.execute(sa.update(Product).where(Product.key == "trunk-2").values(orderable=False))
    run_to_the_end(pipeline, id)
    assert [row.fate for row in rows(pipeline, id)] == [RowFate.PLACED, RowFate.REFUSED, RowFate.PLACED]
    assert rows(pipeline, id)[1].refusal == "unknown_product"
    pipeline.advance()
    assert pipeline.mailer.but_receipts[-1].subject == ended(pipeline, 2, 3)


def test_who_has_left_orders_nothing_and_the_administrators_are_told(pipeline: Pipeline) -> None:
    id = send(pipeline, sites(2))
    with pipeline.runtime.database.transaction() as session:
        other = make_user(session)
        join(session, other, session.get_one(Account, pipeline.main.id), Role.ADMINISTRATOR)
        session.execute(sa.delete(Membership).where(Membership.user_id == pipeline.manager.user_id))
    run_to_the_end(pipeline, id)
    assert {(row.fate, row.refusal) for row in rows(pipeline, id)} == {(RowFate.REFUSED, "forbidden")}
    pipeline.advance()
    ends = [mail.recipient_address for mail in pipeline.mailer.sent if mail.subject == ended(pipeline, 0, 2)]
    assert ends == [other.email]


def test_a_row_that_breaks_takes_no_other_down(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = orders.submit_orders

    def breaks(
        session: object, principal: object, main: object, drafts: Sequence[OrderDraft], *rest: object, **more: object
    ) -> object:
        if any(draft.location.name == "Filiale 2" for draft in drafts):
            raise ZeroDivisionError
        return submit(session, principal, main, drafts, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(place, "submit_orders", breaks)
    id = send(pipeline, sites(4))
    for _ in range(6):
        pipeline.advance()
        pipeline.clock.advance(timedelta(minutes=30))
    monkeypatch.undo()
    run_to_the_end(pipeline, id)
    fates = {row.draft["location"]["name"]: row.fate for row in rows(pipeline, id) if row.draft}
    assert fates.pop("Filiale 2") is RowFate.REFUSED
    assert set(fates.values()) == {RowFate.PLACED}


def test_links_by_code_and_by_consent(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        owner, stranger = make_user(session), make_user(session)
        coded, asked = make_account(session, administrator=owner), make_account(session, administrator=stranger)
        own = make_account(session)
        session.add(Membership(user_id=pipeline.manager.user_id, account_id=own.id, role="administrator"))
        vault = pipeline.runtime.vault
        session.flush()
        code = vault.code(*create_link_code(session, principal_of(session, owner), coded, NOW).words())
    lines = [(coded.customer_number, code), (asked.customer_number, ""), (own.customer_number, "")]
    id = send_links(pipeline, [*lines, (pipeline.main.customer_number, "")])
    for _ in range(3):
        pipeline.advance()
    listed = rows(pipeline, id)
    assert [row.refusal for row in listed] == [None, None, None, "own_account"]
    ends = [pipeline.request(row.request_id) for row in listed if row.request_id is not None]
    assert [(end.status, end.reason) for end in ends] == [
        (Status.COMPLETED, None),
        (Status.PENDING, Reason.CONSENT_AWAITED),
        (Status.COMPLETED, None),
    ]
    # The code has done what it was for.
    assert listed[0].cells["code"] == "" and listed[0].draft is not None and listed[0].draft["code"] == ""
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Account, coded.id).main_id == pipeline.main.id


def send_links(pipeline: Pipeline, wanted: Sequence[tuple[str, str]]) -> UUID:
    """Save a bulk file of link requests and submit it; return its id.

    `wanted` are pairs of customer number and link code ("": without a link code).
    """
    with pipeline.runtime.database.transaction() as session:
        seal = pipeline.runtime.vault.seal
        lines = [{"customer_number": number, "code": seal(code).hex() if code else ""} for number, code in wanted]
        checked = [CheckedRow(line, cells, None, cells) for line, cells in enumerate(lines, 2)]
        digest = fingerprints_of(pipeline.runtime.vault, Kind.LINK, lines)
        found = keep_file(session, pipeline.manager, pipeline.main, Kind.LINK, "x.csv", digest, checked, NOW)
        found.send(NOW)
        return found.id


def test_a_file_tries_so_many_wrong_codes_and_no_more(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "MOST_WRONG_CODES", 2)
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        coded = make_account(session, administrator=owner)
        code = pipeline.runtime.vault.code(*create_link_code(session, principal_of(session, owner), coded, NOW).words())
    id = send_links(
        pipeline, [(coded.customer_number, code), *((f"900000{n}", "AAAAAAAAAA") for n in range(4)), ("9000009", "")]
    )
    pipeline.advance()
    assert [row.refusal for row in rows(pipeline, id)] == [None, None, None, *["too_many_wrong_codes"] * 2, None]


def test_somebody_asked_too_often_is_refused_and_takes_no_other_down(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        asked, other = (make_account(session, administrator=make_user(session)) for _ in range(2))
    for _ in range(MOST_ISSUES):
        asking = pipeline.link(a_link(asked, method=ProofMethod.CONSENT))
        with pipeline.runtime.database.transaction() as session:
            cancel_and_release(session.get_one(Request, asking), Reason.CANCELLED_BY_REQUESTER, pipeline.clock())
    id = send_links(pipeline, [(asked.customer_number, ""), (other.customer_number, "")])
    pipeline.advance()
    assert [row.refusal for row in rows(pipeline, id)] == ["asked_too_often", None]


def test_a_file_asks_so_many_at_once_and_goes_on_when_they_have_answered(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "MOST_OPEN_QUESTIONS", 2)
    monkeypatch.setattr(place, "CHUNK", 2)
    with pipeline.runtime.database.transaction() as session:
        asked = [make_account(session, administrator=make_user(session)) for _ in range(3)]
    id = send_links(pipeline, [(account.customer_number, "") for account in asked])
    for _ in range(5):
        pipeline.advance()
        pipeline.clock.advance(timedelta(minutes=11))
    placed = [row for row in rows(pipeline, id) if row.fate is RowFate.PLACED]
    assert len(placed) == 2
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(
            session.get_one(Request, placed[0].request_id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock()
        )
    pipeline.clock.advance(timedelta(minutes=11))
    pipeline.advance()
    assert {row.fate for row in rows(pipeline, id)} == {RowFate.PLACED}


def test_the_same_content_is_one_bulk(pipeline: Pipeline) -> None:
    first = send(pipeline, sites(2))
    assert send(pipeline, sites(2), "umbenannt.xlsx") == first
    with pipeline.runtime.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(BulkRow)) == 2
        assert session.scalar(sa.select(sa.func.count()).select_from(Request)) == 0
