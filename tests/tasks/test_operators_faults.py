"""Tests that requests survive an operator's mistakes in a database, and continue once these are corrected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

import psycopg
import sqlalchemy as sa

from models.bulk.bulk import Bulk, BulkRow, RowFate
from models.db.roles import DatabaseRole
from models.jobs.outages import ExternalSystem, current_outages
from models.states import Status
from tasks.bulk.place import place_due
from tests.factories import an_order, make_bulk
from tests.tasks.conftest import Pipeline
from workers.gateways.registrar import KamailioRegistrar, plain_url


@contextmanager
def without(url: str, privilege: str) -> Iterator[None]:
    """Revoke a privilege, such as "INSERT ON table", from the workers' role for the time of a `with` block.

    `url` connects as a superuser.
    """
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        connection.execute(f"REVOKE {privilege} FROM {DatabaseRole.WORKER}".encode())
        try:
            yield
        finally:
            connection.execute(f"GRANT {privilege} TO {DatabaseRole.WORKER}".encode())


def work_on(pipeline: Pipeline, minutes: int) -> None:
    """Run the workers once a minute, `minutes` times, by the test's clock."""
    for _ in range(minutes):
        pipeline.advance()
        pipeline.clock.advance(timedelta(minutes=1))


def test_an_order_waits_for_a_privilege_in_the_registrars_database(
    pipeline: Pipeline, worker_registrar_url: str, registrar_url: str
) -> None:
    with closing(KamailioRegistrar(worker_registrar_url)) as gateway:
        pipeline.runtime = replace(pipeline.runtime, ports=replace(pipeline.runtime.ports, registrar=gateway))
        with without(registrar_url, "INSERT, UPDATE ON subscriber"):
            orders = [pipeline.order(an_order()) for _ in range(2)]
            work_on(pipeline, 5)
            assert {pipeline.request(id).status for id in orders} == {Status.IN_PROGRESS}
            with pipeline.runtime.database.transaction() as session:
                assert [outage.system for outage in current_outages(session)] == [ExternalSystem.REGISTRAR]
        work_on(pipeline, 3)
        assert {pipeline.request(id).status for id in orders} == {Status.COMPLETED}
        with pipeline.runtime.database.transaction() as session:
            assert current_outages(session) == []


def test_an_order_waits_for_a_privilege_in_the_portals_database(pipeline: Pipeline, portal_url: str) -> None:
    with without(portal_url, "INSERT ON contracts"):
        id = pipeline.order(an_order())
        work_on(pipeline, 3)
        assert pipeline.request(id).status is Status.IN_PROGRESS
    work_on(pipeline, 3)
    assert pipeline.request(id).status is Status.COMPLETED


def test_the_rows_of_a_file_wait_for_a_privilege(pipeline: Pipeline, portal_url: str) -> None:
    with pipeline.runtime.database.transaction() as session:
        file = make_bulk(session, pipeline.manager, pipeline.main, [an_order(), an_order(channels=3)])
        file.send(pipeline.clock.now)
    with without(portal_url, "INSERT ON requests"):
        for _ in range(4):
            place_due(pipeline.runtime, lambda: None)
            pipeline.clock.advance(timedelta(minutes=1))
        with pipeline.runtime.database.transaction() as session:
            assert session.get_one(Bulk, file.id).attempts == 4
            assert set(session.scalars(sa.select(BulkRow.fate))) == {None}
    work_on(pipeline, 5)
    with pipeline.runtime.database.transaction() as session:
        assert set(session.scalars(sa.select(BulkRow.fate))) == {RowFate.PLACED}
