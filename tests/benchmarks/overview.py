"""Measures the overview of a main account with many sub-accounts, against the overview of one with few."""

from __future__ import annotations

import logging
import re
import statistics
import time
from contextlib import closing
from dataclasses import dataclass

import psycopg
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from models.db.session import Database
from models.people.rights import Principal
from tests.benchmarks.system import System, vacuum
from tests.factories import PASSWORD, make_main, prepare
from web.app import create_app
from web.resources import resources
from web.settings import WebSettings
from workers.gateways.registrar import plain_url

FEW, MANY = 10, 10_000
SUBS = """
WITH issued AS (
    INSERT INTO customer_numbers (number)
    SELECT (%(first)s + n)::text FROM generate_series(1, %(count)s) AS n
    RETURNING number
)
INSERT INTO accounts (customer_number, role, main_id, origin, attached_at, state, name, street, postal_code, city,
    contact_name, contact_email, created_at)
SELECT number, 'sub', %(main)s, 'link', now() - number::int * interval '1 second', 'active', 'Filiale ' || number,
    'Marktstr. ' || number, '10115', 'Ort ' || number::int %% 100, 'Kim Beispiel', 'kim@example.com', now()
FROM issued
"""
"""SQL that inserts `count` sub-accounts of the account with the id `main`; their customer numbers follow `first`."""
_PATH = "/standortverwaltung"


@dataclass(frozen=True, slots=True)
class Served:
    """Median seconds to serve the overview's first page: of an account with many sub-accounts, and of one with few."""

    many: float
    few: float


def measure(system: System, rounds: int) -> Served:
    """Time the overviews of two main accounts in turns: one has many sub-accounts, the other few.

    Each is requested by its own administrator and timed `rounds` times, after five requests that are not counted.
    """
    with system.fresh("overview", prepare) as url:
        settings = WebSettings(
            database_url=url,
            redis_url=system.redis.url(0),
            secret_key=SecretStr(system.environment["SECRET_KEY"]),
        )
        app = create_app(settings)
        # A line for every page would drown the table.
        logging.disable(logging.INFO)
        with app.app_context():
            database = resources().database
        with closing(database):
            few, many = (signed_in_at(app, _customer(url, database, subs)) for subs in (FEW, MANY))
            vacuum(url)
            times = [(_seconds(few), _seconds(many)) for _ in range(rounds + 5)][5:]
        system.flush()
        logging.disable(logging.NOTSET)
    return Served(*(statistics.median(side) for side in reversed(list(zip(*times, strict=True)))))


def _customer(url: str, database: Database, subs: int) -> Principal:
    with database.transaction() as session:
        # One that exists makes it a main account.
        main, manager = make_main(session, subs=1)
    first = 2_000_000 if subs == FEW else 3_000_000
    with psycopg.connect(plain_url(url)) as connection:
        connection.execute(SUBS, {"first": first, "count": subs - 1, "main": main.id})
    return manager


def signed_in_at(app: Flask, person: Principal) -> FlaskClient:
    """Return a test client of the application in which the person is signed in."""
    client = app.test_client()
    token = re.search('name="csrf_token" value="([^"]+)"', client.get("/anmelden").text)
    assert token is not None
    form = {"csrf_token": token[1], "email": person.email, "password": PASSWORD}
    assert client.post("/anmelden", data=form).status_code == 302
    return client


def _seconds(client: FlaskClient) -> float:
    began = time.perf_counter()
    answer = client.get(_PATH)
    took = time.perf_counter() - began
    assert answer.status_code == 200 and "Nebenaccount" in answer.text
    return took
