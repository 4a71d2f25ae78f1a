"""Tests that the entries of a request's timeline are never earlier than the entry before."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from models.db.session import Database
from models.requests.timeline import TimelineEntry
from tests.factories import NOW, an_order, make_main, submit_order


def test_an_entry_whose_time_was_read_before_it_waited_is_as_late_as_the_one_before(database: Database) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        request = submit_order(session, manager, main, an_order(), NOW)
        session.flush()
        request.note(NOW + timedelta(seconds=2), "confirmed", name="Hanna Palmer")
    with database.transaction() as session:
        session.add(request)
        request.note(NOW + timedelta(seconds=1), "confirmed", name="Petra Vogt")
        request.note(NOW + timedelta(seconds=3), "confirmed", name="Max Weber")
    with database.transaction() as session:
        times = session.scalars(sa.select(TimelineEntry.at).order_by(TimelineEntry.id)).all()
    assert times == [NOW, *(NOW + timedelta(seconds=late) for late in (2, 2, 3))]
