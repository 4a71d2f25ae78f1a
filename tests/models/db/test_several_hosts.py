"""Tests of database URLs with several hosts: each library reads the same hosts, and connects to the writable server."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa

from models.db.several_hosts import in_one_form
from workers.gateways.registrar import plain_url

PORTAL = "postgresql+psycopg://front"


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        (f"{PORTAL}:p%2Fq@one:5432,two:5433/portal", "one,two", "5432,5433"),
        (f"{PORTAL}:p%2Fq@one,two:5433/portal", "one,two", "5432,5433"),
        (f"{PORTAL}:p%2Fq@one,two/portal", "one,two", "5432,5432"),
        (f"{PORTAL}:p%2Fq@/portal?host=one,two", "one,two", "5432,5432"),
        (f"{PORTAL}:p%2Fq@/portal?host=one,two&port=5432,5433", "one,two", "5432,5433"),
        (
            f"{PORTAL}:p%2Fq@[2001:db8::1]:5432,[2001:db8::2]/portal?sslmode=require",
            "2001:db8::1,2001:db8::2",
            "5432,5432",
        ),
    ],
)
def test_every_library_reads_the_same_hosts(url: str, hosts: str, ports: str) -> None:
    one = in_one_form(url)
    expected = {"host": hosts, "port": ports, "user": "front", "password": "p/q", "dbname": "portal"}
    expected["target_session_attrs"] = "read-write"
    if "sslmode" in url:
        expected["sslmode"] = "require"
    _, parameters = sa.create_engine(one).dialect.create_connect_args(sa.make_url(one))
    assert {name: value for name, value in parameters.items() if name != "context"} == expected
    assert psycopg.conninfo.conninfo_to_dict(plain_url(one)) == expected
    assert in_one_form(one) == one


@pytest.mark.parametrize(
    "url",
    [
        f"{PORTAL}@one:5432/portal",
        f"{PORTAL}@/portal?host=/run/postgresql",
        f"{PORTAL}@[2001:db8::1]/portal?pgbouncer=true",
        f"{PORTAL}@one,two/portal?target_session_attrs=any",
    ],
)
def test_what_the_operator_says_stays(url: str) -> None:
    one = in_one_form(url)
    if "," in url:
        assert "target_session_attrs=any" in one and "read-write" not in one
    else:
        assert one == url


@pytest.mark.parametrize("hosts", ["one:5432,", "one:x,two", "one,two:1:2"])
def test_hosts_that_cannot_be_read_are_refused(hosts: str) -> None:
    with pytest.raises(ValueError, match="host:port,host:port"):
        in_one_form(f"{PORTAL}@{hosts}/portal")


def test_hosts_are_named_once() -> None:
    with pytest.raises(ValueError, match="once"):
        in_one_form(f"{PORTAL}@one,two/portal?host=three")
