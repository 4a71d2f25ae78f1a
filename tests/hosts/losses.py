"""For each kind of host: what an operator does when the host loses its network, and how to tell that it works again."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.session import Database
from models.db.several_hosts import in_one_form
from tests.fakes import wait_until
from tests.hosts.network import Cut
from tests.hosts.plant import Plant

NOTICED = 4.0
"""Seconds after the loss of a database server until the operator, or a program such as Patroni, acts."""
WAITS = 60.0
"""The most seconds to wait until sentinels act, and until a host works again."""


@dataclass
class Loss:
    """What is done when the host with the name `host` loses its network, and when it gets the network back.

    Each kind of host has a subclass. `make hosts` calls the methods in their order here.
    """

    host: str
    what: str
    """What the host does in the system, for the table."""

    def prepare(self, plant: Plant) -> None:
        """Set up what the test needs before the host is cut off. By default, do nothing."""

    def act(self, plant: Plant) -> str:
        """Do what an operator has to do while the host is cut off.

        Return what was done, for the table; "" if nothing.
        """
        return ""

    def prepare_return(self, plant: Plant) -> None:
        """Do what has to be done before the host is connected again. By default, do nothing."""

    def complete_return(self, plant: Plant) -> None:
        """Do what has to be done after the host was connected again. By default, do nothing."""

    def is_back(self, plant: Plant) -> bool:
        """Return whether the host does its part of the work again after its return."""
        raise NotImplementedError


class FrontLoss(Loss):
    """The loss of a web front end. An operator does nothing: the balancer stops using it, and uses it again later."""

    def complete_return(self, plant: Plant) -> None:
        plant.balancer.forget()

    def is_back(self, plant: Plant) -> bool:
        return plant.balancer.serves(self.host, plant.hosts[self.host].address)


@dataclass
class WorkerLoss(Loss):
    """The loss of a host with a worker and a beat: the other worker continues the work that this one had begun.

    The host is lost in the middle of a transaction that has locked a customer's account.
    """

    _written: int = field(default=0, init=False)
    _open: ExitStack = field(default_factory=ExitStack, init=False)

    def prepare(self, plant: Plant) -> None:
        with plant.hosts[self.host].inside():
            database = self._open.enter_context(closing(Database(in_one_form(plant.environment["DATABASE_URL"]))))
            connection = database.engine.connect()
            self._open.callback(connection.invalidate)
            locking = sa.select(Account.id).where(Account.id == plant.customers[0].main.id).with_for_update()
            connection.execute(locking)

    def complete_return(self, plant: Plant) -> None:
        self._open.close()
        self._written = plant.program(f"{self.host} worker").log.stat().st_size

    def is_back(self, plant: Plant) -> bool:
        with plant.program(f"{self.host} worker").log.open("rb") as log:
            log.seek(self._written)
            return b'"step.done"' in log.read()


class BrokerLoss(Loss):
    """The loss of one of the two Redis servers: if it is the master, the sentinels promote the other one."""

    def act(self, plant: Plant) -> str:
        lost = plant.hosts[self.host]
        witness = plant.hosts["balancer"]
        if plant.broker.master(witness).host is not lost:
            return ""
        began = time.monotonic()
        wait_until(lambda: plant.broker.master(witness).host is not lost, seconds=WAITS, what="the sentinels")
        return f"promoted by sentinels after {time.monotonic() - began:.0f} s"

    def is_back(self, plant: Plant) -> bool:
        return plant.broker.is_whole()


class DatabaseLoss(Loss):
    """The loss of one of the two PostgreSQL servers: the other one continues as the master, without a standby."""

    def act(self, plant: Plant) -> str:
        time.sleep(NOTICED)
        if plant.databases.master.host is plant.hosts[self.host]:
            plant.databases.promote()
            return f"standby promoted after {NOTICED:.0f} s"
        plant.databases.go_on_alone()
        return f"released from it after {NOTICED:.0f} s"

    def prepare_return(self, plant: Plant) -> None:
        # A server that comes back as a second master would take orders that the other one knows nothing of.
        plant.databases.standby.stop()

    def complete_return(self, plant: Plant) -> None:
        plant.databases.connect()

    def is_back(self, plant: Plant) -> bool:
        return plant.databases.is_whole()


SHORT = [
    FrontLoss("front1", "one of two fronts"),
    WorkerLoss("worker1", "one of two workers and beats"),
    BrokerLoss("broker1", "the broker's master"),
    DatabaseLoss("database1", "the databases' master"),
]
"""The losses of a short run, in their order."""
LONG = [
    *SHORT,
    FrontLoss("front2", "the other front"),
    WorkerLoss("worker2", "the other worker and beat"),
    BrokerLoss("broker1", "the broker's replica, once master"),
    BrokerLoss("broker2", "the broker's new master"),
    DatabaseLoss("database1", "the standby, once master"),
    DatabaseLoss("database2", "the databases' new master"),
]
"""The losses of a long run, in their order; each happens once with each kind of `Cut`."""
CUTS = tuple(Cut)
