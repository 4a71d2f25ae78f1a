"""Tests of sending through a slow mail server: one mail after the other, each once, without delaying orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event, Thread, Timer
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models.db.work_queue import WorkKind
from models.jobs.outages import ExternalSystem, Outage
from models.messages.outbox import Message, MessageState, Recipient, queue_message
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.states import Status
from tasks.outbox import send
from tasks.ports import GatewayError, GatewayUnavailable, Mail, RecipientUnavailable
from tests.factories import an_order, make_bulk
from tests.fakes import FakeClock, FakeMailer, wait_until
from tests.tasks.conftest import Pipeline

ONE_MAIL = timedelta(seconds=4)


@dataclass
class SlowMailer(FakeMailer):
    """A fake of a mail server that needs 4 seconds (`ONE_MAIL`) for each mail: it advances `clock` by that time.

    After each mail it calls `beside`, if that is set: something that happens while mails are sent.
    """

    clock: FakeClock | None = None
    beside: Callable[[], object] | None = None

    def send(self, mail: Mail) -> None:
        super().send(mail)
        assert self.clock is not None
        self.clock.advance(ONE_MAIL)
        beside, self.beside = self.beside, None
        if beside is not None:
            beside()
            self.beside = beside


@pytest.fixture
def mailer(pipeline: Pipeline) -> SlowMailer:
    """Provide the slow fake of a mail server, to which the workers' code sends."""
    mailer = SlowMailer(clock=pipeline.clock)
    pipeline.runtime = replace(pipeline.runtime, ports=replace(pipeline.runtime.ports, mailer=mailer))
    return mailer


def queue(pipeline: Pipeline, *names: str, bulk_id: UUID | None = None) -> None:
    """Queue a mail to NAME@example.com for each of `names`.

    `bulk_id` is the bulk file to which the mails belong (None: to none).
    """
    with pipeline.runtime.database.transaction() as session:
        for name in names:
            to = Recipient(name, f"{name}@example.com", "de")
            facts = {"path": "/", "email": to.address}
            queue_message(session, None, "password_reset", to, facts, pipeline.clock.now, bulk_id=bulk_id)


def queued(pipeline: Pipeline) -> list[Message]:
    """Return the messages that have not been sent yet, the oldest first."""
    with pipeline.runtime.database.transaction() as session:
        waiting = sa.select(Message).where(Message.state == MessageState.QUEUED).order_by(Message.id)
        return list(session.scalars(waiting))


def test_with_80_mails_waiting_none_leaves_twice_and_orders_go_on(pipeline: Pipeline, mailer: SlowMailer) -> None:
    queue(pipeline, *(f"person{number}" for number in range(80)))
    orders: list[UUID] = []

    def beside() -> None:
        if len(orders) < 10:
            orders.append(pipeline.order(an_order()))
        pipeline.send()

    mailer.beside = beside
    for _ in range(200):
        pipeline.advance()
        if not queued(pipeline):
            break
    # Nothing is sent again later, when every lease has ended.
    pipeline.clock.advance(pipeline.runtime.lease)
    pipeline.advance()
    assert not queued(pipeline)
    # Of each order its requester hears twice, its contact once.
    assert set(Counter(mail.message_id for mail in mailer.sent).values()) == {1} and len(mailer.sent) == 80 + 3 * 10
    for order in map(pipeline.request, orders):
        assert order.status is Status.COMPLETED
        assert order.updated_at - order.created_at <= 2 * ONE_MAIL


def test_a_slow_answer_ends_a_pause_too(pipeline: Pipeline, mailer: SlowMailer) -> None:
    queue(pipeline, "anna", "bert", "cleo")
    mailer.failures["anna@example.com"] = [GatewayUnavailable("down")]
    pipeline.send()
    pipeline.clock.advance(timedelta(minutes=1))
    # Its success is recorded before the batch is over.
    pipeline.send()
    assert len(mailer.sent) == 1
    with pipeline.runtime.database.transaction() as session:
        assert session.get(Outage, ExternalSystem.MAIL) is None


def test_mails_that_were_not_begun_keep_their_place(pipeline: Pipeline, mailer: SlowMailer) -> None:
    queue(pipeline, "anna")
    pipeline.clock.advance(timedelta(seconds=1))
    queue(pipeline, "bert", "cleo")
    queued_at = pipeline.clock.now
    pipeline.send()
    assert [(row.due_at, row.lease, row.attempts) for row in queued(pipeline)] == [(queued_at, None, 0)] * 2
    assert pipeline.told[-1] is WorkKind.MESSAGES
    told = len(pipeline.told)
    queue(pipeline, "dora")
    for _ in range(3):
        pipeline.send()
    assert [mail.recipient_name for mail in mailer.sent] == ["anna", "bert", "cleo", "dora"]
    # The last one left nothing behind.
    assert pipeline.told[told:] == [WorkKind.MESSAGES] * 3


def test_mails_of_a_bulk_come_after_the_others(pipeline: Pipeline, mailer: SlowMailer) -> None:
    with pipeline.runtime.database.transaction() as session:
        bulk = make_bulk(session, pipeline.manager, pipeline.main, [an_order()])
        session.flush()
        bulk_id = bulk.id
    queue(pipeline, "first of many", "second of many", bulk_id=bulk_id)
    pipeline.clock.advance(timedelta(seconds=1))
    queue(pipeline, "alone")
    for _ in range(3):
        pipeline.send()
    assert [mail.recipient_name for mail in mailer.sent] == ["alone", "first of many", "second of many"]


def test_a_recipient_who_is_put_off_holds_up_nobody_else(pipeline: Pipeline) -> None:
    queue(pipeline, "anna", "bert", "cleo")
    pipeline.mailer.failures["anna@example.com"] = [RecipientUnavailable("450")]
    pipeline.send()
    assert [mail.recipient_name for mail in pipeline.mailer.sent] == ["bert", "cleo"]
    [anna] = queued(pipeline)
    assert (anna.attempts, anna.lease) == (1, None)
    assert anna.due_at is not None and anna.due_at > pipeline.clock.now


def test_a_server_that_is_away_puts_off_every_mail_but_no_letter(pipeline: Pipeline) -> None:
    queue(pipeline, "anna", "bert")
    pipeline.mailer.failures["anna@example.com"] = [GatewayUnavailable("OSError")]
    pipeline.send()
    assert pipeline.mailer.sent == []
    assert [message.attempts for message in queued(pipeline)] == [1, 0]


def test_each_slow_mail_is_recorded_before_the_next_one_begins(pipeline: Pipeline, mailer: SlowMailer) -> None:
    waiting: list[list[str]] = []
    queue(pipeline, "anna", "bert", "cleo")
    mailer.beside = lambda: waiting.append([message.recipient_name for message in queued(pipeline)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(send, "SENDING_TIME", 3 * ONE_MAIL)
        pipeline.send()
    assert waiting == [["anna", "bert", "cleo"], ["bert", "cleo"], ["cleo"]]


@pytest.mark.parametrize("failure", [None, RecipientUnavailable("450")])
def test_what_was_done_under_a_lost_lease_counts(
    pipeline: Pipeline, failure: GatewayError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(pipeline, "anna")
    claimed_by_another = uuid4()

    def send_slowly(_: Mail) -> None:
        # Our lease has ended, and another worker has claimed the mail.
        with pipeline.runtime.database.transaction() as session:
            session.execute(sa.update(Message).values(lease=claimed_by_another))
        if failure is not None:
            raise failure

    monkeypatch.setattr(pipeline.mailer, "send", send_slowly)
    pipeline.send()
    with pipeline.runtime.database.transaction() as session:
        anna = session.scalars(sa.select(Message)).one()
        if failure is None:
            assert (anna.state, anna.lease) == (MessageState.SENT, None)
        else:
            assert (anna.state, anna.attempts, anna.lease) == (MessageState.QUEUED, 1, claimed_by_another)


def test_a_sent_mail_stands_in_the_timeline_after_what_its_record_waited_for(pipeline: Pipeline) -> None:
    order = pipeline.order(an_order())
    with pipeline.runtime.database.transaction() as session:
        to = Recipient("anna", "anna@example.com", "de")
        facts = {"path": "/", "email": to.address}
        queue_message(session, order, "password_reset", to, facts, pipeline.clock.now, announced=True)
    locked = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with ThreadPoolExecutor(1) as pool:
        with pipeline.runtime.database.transaction() as session:
            request = session.get_one(Request, order, with_for_update={"key_share": True})
            sending = pool.submit(pipeline.send)

            def waiting() -> bool:
                with pipeline.runtime.database.transaction() as other:
                    return bool(other.scalar(locked))

            wait_until(waiting, what="the record to wait")
            pipeline.clock.advance(timedelta(seconds=1))
            request.note(pipeline.clock.now, "confirmed", name="bert")
        sending.result()
    with pipeline.runtime.database.transaction() as session:
        told = session.scalars(sa.select(TimelineEntry).order_by(TimelineEntry.id)).all()
    assert [entry.facts.get("name") for entry in told[-2:]] == ["bert", "anna"]
    assert [entry.at for entry in told] == sorted(entry.at for entry in told)


def impatient(connection: sa.Connection) -> None:
    """Let the connection's transaction wait only 100 ms for a lock, less than in a worker, so that the test is fast."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")


def test_a_mail_whose_row_is_locked_when_it_has_left_is_recorded_later_and_not_sent_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(pipeline, "anna", "bert")
    monkeypatch.setattr(send, "TRY_TO_RECORD_AGAIN", 0.05)
    held, free = Event(), Event()

    def hold() -> None:
        with pipeline.runtime.database.transaction() as session:
            session.execute(sa.select(Message).where(Message.recipient_name == "anna").with_for_update())
            held.set()
            free.wait(10)

    holder = Thread(target=hold)
    real = pipeline.mailer.send

    def send_and_lock(mail: Mail) -> None:
        if not held.is_set():
            holder.start()
            held.wait(10)
            Timer(0.3, free.set).start()
        real(mail)

    monkeypatch.setattr(pipeline.mailer, "send", send_and_lock)
    engine = pipeline.runtime.database.engine
    sa.event.listen(engine, "begin", impatient)
    try:
        pipeline.send()
    finally:
        sa.event.remove(engine, "begin", impatient)
        holder.join()
    assert queued(pipeline) == []
    pipeline.clock.advance(pipeline.runtime.lease)
    pipeline.send()
    assert [mail.recipient_name for mail in pipeline.mailer.sent] == ["anna", "bert"]
