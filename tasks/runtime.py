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
    """The resources of a worker process, built once by `workers`.

    `ports` are the external systems, `retry` says when failed work is tried again. `sip_domain` is the domain of new
    trunks, `base_url` the beginning of links in mails, and `mail_domain` the domain of Message-IDs. `lease` is how
    long a claim on due rows lasts: longer than the slowest calls of a batch, yet short enough to wait out when a
    worker dies. `batch` is how many due rows are claimed together. Mails name `carrier`. `limits` are those of
    companies that have none of their own. The back office is told at `office_email` of requests that it has to look
    at; None: it only has its list. `periods` are how long rows are kept where the carrier chooses. `stopping` returns
    whether this worker was asked to stop, so that a long job ends at its next transaction.
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
