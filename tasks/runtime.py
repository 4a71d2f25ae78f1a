"""The resources of a worker process: database, gateways, secrets, clock and limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from models.accounts.company_limits import USUAL_LIMITS, Limits
from models.db.session import Database
from models.retention import Periods
from models.values import Clock
from models.vault import Vault
from tasks.ports import Ports
from tasks.retry import RetryPolicy
from tasks.settings import Carrier


@dataclass(frozen=True, slots=True)
class Runtime:
    """The resources and settings of a worker process, built once when it starts.

    `ports` are the external systems. `retry` says when failed work is tried again. `sip_domain` is the domain of new
    trunks, `base_url` the beginning of links in mails, `mail_domain` the domain of Message-IDs. `lease` is how long a
    claim on due rows lasts unless it is extended, `batch` how many due rows are claimed together. `carrier` is the
    sender of mails and letters. `limits` apply to companies without limits of their own. `office_email` is the address
    to which requests that need the back office are reported; None: no such mails. `periods` are the retention periods
    that the carrier chooses. `stopping` returns whether this worker was asked to stop; a long job then ends before its
    next transaction.
    """

    database: Database
    ports: Ports
    vault: Vault
    clock: Clock
    sip_domain: str
    base_url: str
    mail_domain: str
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    lease: timedelta = timedelta(seconds=90)
    batch: int = 32
    carrier: Carrier = field(default_factory=Carrier)
    limits: Limits = USUAL_LIMITS
    office_email: str | None = None
    periods: Periods = field(default_factory=Periods)
    stopping: Callable[[], bool] = lambda: False
