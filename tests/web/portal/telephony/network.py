"""Writes registrations, refused logins and calls to Kamailio's database, for tests of the pages that show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from models.calendar_days import BERLIN

USER = "t000000000001"
PHONE = "sip:t1@203.0.113.7:5060;line=1"


@dataclass
class Network:
    """Writes registrations, refused logins and calls to Kamailio's database, as Kamailio does, over `connection`."""

    connection: psycopg.Connection

    def register(
        self, address: str = PHONE, *, user: str = USER, minutes: int = 10, device: str = "Snom 715 <10>"
    ) -> datetime:
        """Add a registration that ends in `minutes` minutes; return when it began, in German time.

        `address` is its Contact, `user` its SIP user, `device` its User-Agent.
        """
        row = self.connection.execute(
            "INSERT INTO location (ruid, username, domain, contact, user_agent, expires)"
            " VALUES (%s, %s, 'sip.example', %s, %s, now() AT TIME ZONE 'UTC' + make_interval(mins => %s))"
            " RETURNING registered_at",
            (address + user, user, address, device, minutes),
        ).fetchone()
        assert row is not None
        return datetime.fromisoformat(str(row[0])).astimezone(BERLIN)

    def refuse(self, reason: str = "wrong_secret", tries: int = 3) -> None:
        """Record that the registrar has refused the login of the SIP user `USER` `tries` times in a row.

        `reason` is the code that Kamailio writes, such as "wrong_secret".
        """
        at = datetime(2026, 3, 2, 8, 15, tzinfo=UTC)
        self.connection.execute(
            "INSERT INTO refusals VALUES (%s, 'sip.example', %s, '198.51.100.9', %s, %s, %s)",
            (USER, reason, tries, at - timedelta(minutes=5), at),
        )

    def call(self, result: str, direction: str = "in", status: int = 486, *, user: str = USER, **facts: str) -> None:
        """Record a call of the trunk with this result, one of the codes in kamailio.cfg.

        `direction` is "in" or "out", `status` the SIP status, `user` the trunk's SIP user. `facts` are columns:
        own_number, other_number, forwarded_to and forwarded_because.
        """
        told = {"own_number": "+4922134200", "other_number": "+4940123456xxx", **facts}
        self.connection.execute(
            "INSERT INTO calls (username, domain, direction, own_number, other_number, status, result, forwarded_to,"
            " forwarded_because) VALUES (%s, 'sip.example', %s, %s, %s, %s, %s, %s, %s)",
            (user, direction, told["own_number"], told["other_number"], status, result,
             told.get("forwarded_to", ""), told.get("forwarded_because", "")),
        )  # fmt: skip
