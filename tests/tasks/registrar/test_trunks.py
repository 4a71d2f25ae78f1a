"""Tests that a renewed SIP password reaches the registrar, even if an older one is being written at that moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from models.accounts.accounts import Account
from models.db.session import Database
from models.jobs.outages import SHORTEST, ExternalSystem, Outage, begin_pause
from models.telephony.sip_secrets import issue_of, renew
from models.telephony.trunks import SipTrunk
from tasks.ports import GatewayError, Ports, TrunkRecord
from tasks.registrar.trunks import write_due_trunks
from tests.factories import NOW
from tests.fakes import FakeRegistrar
from tests.tasks.conftest import Pipeline
from tests.web.portal.accounts.sites import OLD, make_trunk


@dataclass
class SlowRegistrar(FakeRegistrar):
    """A fake registrar that calls the functions in `meanwhile` before it writes trunks, as if others acted then.

    Each function is called once, the last in the list first.
    """

    meanwhile: list[Callable[[], None]] = field(default_factory=list)

    def put_trunks(self, records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        while self.meanwhile:
            self.meanwhile.pop()()
        return super().put_trunks(records)


@pytest.fixture
def trunk(pipeline: Pipeline) -> int:
    """Create a trunk of the main account that is due to be written to the registrar; return its id."""
    with pipeline.runtime.database.transaction() as session:
        main = session.get_one(Account, pipeline.main.id)
        id = make_trunk(session, main)
        found = session.get_one(SipTrunk, id)
        found.secret = pipeline.runtime.vault.seal(OLD)
        found.make_due(NOW)
        return id


def renewed(pipeline: Pipeline, database: Database, trunk: int) -> str:
    """Renew the SIP password of the trunk with this id; return the new password."""
    with database.transaction() as session:
        found = session.get_one(SipTrunk, trunk)
        main = session.get_one(Account, pipeline.main.id)
        return renew(session, pipeline.runtime.vault, pipeline.manager, main, trunk, issue_of(found), NOW)


def test_of_two_writers_the_late_one_does_not_bring_the_old_secret_back(
    pipeline: Pipeline, database: Database, trunk: int
) -> None:
    registrar = SlowRegistrar()
    secrets: list[str] = []
    ports = Ports(registrar, pipeline.mailer, pipeline.printer, registrar, registrar)
    runtime = replace(pipeline.runtime, ports=ports)

    def another() -> None:
        secrets.append(renewed(pipeline, database, trunk))
        write_due_trunks(runtime, lambda: None)

    registrar.meanwhile.append(another)
    write_due_trunks(runtime, lambda: None)
    # The late one has written the old secret over the new one.
    assert [record.secret for record in registrar.writes] == [*secrets, OLD]
    write_due_trunks(runtime, lambda: None)
    assert registrar.trunks["t000000000001"].secret == secrets[0]
    with database.transaction() as session:
        found = session.get_one(SipTrunk, trunk)
        assert (found.due_at, found.lease) == (None, None)


def test_a_secret_that_cannot_be_read_says_nothing_about_the_registrar(
    pipeline: Pipeline, database: Database, trunk: int
) -> None:
    with database.transaction() as session:
        session.get_one(SipTrunk, trunk).secret = b"sealed with another key"
        begin_pause(session, ExternalSystem.REGISTRAR, 0, NOW)
    pipeline.clock.advance(SHORTEST)
    write_due_trunks(pipeline.runtime, lambda: None)
    with database.transaction() as session:
        assert session.get_one(SipTrunk, trunk).attempts == 1
        assert session.get_one(Outage, ExternalSystem.REGISTRAR).failures == 1
