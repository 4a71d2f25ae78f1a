"""Tests of `standorte doctor`, which checks all parts of the system and names what does not work for customers."""

from __future__ import annotations

from contextlib import ExitStack, closing

import pytest
from pydantic import SecretStr

from models.db.privileges import READ_BEFORE, grant_privileges
from models.db.roles import DatabaseRole
from models.db.row_security import apply_row_security
from models.db.session import Database
from models.people.sign_in_log import begin_access_log
from tasks.settings import PUBLISHED_KEY
from tests.factories import ROW_SECURITY, make_account
from workers.commands.doctor import CHECKS, Incomplete
from workers.demo.carrier import DEMO_CARRIER
from workers.settings import WorkerSettings
from workers.stack.postgres import EmbeddedPostgres


def settings(**given: str) -> WorkerSettings:
    """Return a worker's settings: usual values, with the settings in `given` added or replaced."""
    needed = {
        "database_url": "postgresql+psycopg://127.0.0.1/standorte",
        "registrar_url": "postgresql+psycopg://127.0.0.1/registrar",
        "redis_url": "redis://127.0.0.1",
        "smtp_url": "smtp://127.0.0.1",
    }
    key = SecretStr(f"{PUBLISHED_KEY}: the key of the tests")
    return WorkerSettings(**{**needed, **given}, secret_key=key)  # type: ignore[arg-type]


def test_doctor_names_how_many_contract_holders_are_missing(database: Database, postgres: EmbeddedPostgres) -> None:
    ours = settings(database_url=postgres.url("standorte"))
    assert CHECKS["contract holders"](ours) == "all known"
    with database.transaction() as session:
        make_account(session)
    with pytest.raises(Incomplete, match=r"^missing for 1 accounts"):
        CHECKS["contract holders"](ours)


def test_doctor_names_what_is_not_set_of_the_carrier() -> None:
    carrier = {name.lower(): value for name, value in DEMO_CARRIER.items()}
    assert CHECKS["carrier"](settings(**carrier)) == "Beispiel Telefon GmbH, Musterstraße 1, 10115 Berlin"
    del carrier["carrier_terms"], carrier["carrier_imprint"]
    with pytest.raises(Incomplete, match=r": CARRIER_IMPRINT, CARRIER_TERMS$"):
        CHECKS["carrier"](settings(**carrier))


def test_doctor_names_the_role_of_each_part(database: Database, postgres: EmbeddedPostgres) -> None:
    portal, registrar = "standorte", "registrar"
    ours = settings(
        database_url=postgres.url(portal, DatabaseRole.WORKER),
        registrar_url=postgres.url(registrar, DatabaseRole.WORKER),
        front_database_url=postgres.url(portal, DatabaseRole.FRONT),
        front_registrar_url=postgres.url(registrar, DatabaseRole.FRONT),
    )
    # Beside them it names who is connected: fronts, workers and SIP servers of other tests.
    others = {
        "standorte front as standorte_front",
        "standorte worker as standorte_worker",
        "kamailio as standorte_kamailio",
    }
    assert set(CHECKS["roles"](ours).split(", ")) - others == {
        "front as standorte_front",
        "front at the registrar as standorte_front",
        "worker as standorte_worker",
        "worker at the registrar as standorte_worker",
    }


def test_doctor_says_which_part_is_a_superuser_or_the_owner(database: Database, postgres: EmbeddedPostgres) -> None:
    ours = settings(database_url=postgres.url("standorte"), registrar_url=postgres.url("registrar", DatabaseRole.OWNER))
    with pytest.raises(Incomplete) as found:
        CHECKS["roles"](ours)
    assert "worker as standorte (superuser), worker at the registrar as standorte_owner (owner)" in str(found.value)


def test_doctor_sees_who_is_connected_at_the_moment(database: Database, postgres: EmbeddedPostgres) -> None:
    ours = settings(
        database_url=postgres.url("standorte", DatabaseRole.WORKER),
        registrar_url=postgres.url("registrar", DatabaseRole.WORKER),
    )
    front = Database(postgres.url("standorte", DatabaseRole.OWNER), name="standorte front")
    kamailio = Database(postgres.url("registrar"), name="kamailio")
    right = Database(postgres.url("registrar", DatabaseRole.KAMAILIO), name="kamailio")
    with ExitStack() as stack:
        # One that is connected as it should be hides none that is not.
        for one in (front, kamailio, right):
            stack.enter_context(closing(one))
            stack.enter_context(one.engine.connect())
        with pytest.raises(Incomplete) as found:
            CHECKS["roles"](ours)
    assert ": kamailio as standorte (superuser), standorte front as standorte_owner (owner); see" in str(found.value)


def test_doctor_says_when_the_front_can_still_read_hashes(database: Database, postgres: EmbeddedPostgres) -> None:
    ours = settings(database_url=postgres.url("standorte", DatabaseRole.WORKER))
    with closing(Database(postgres.url("standorte", DatabaseRole.OWNER))) as owner:
        apply_row_security(owner, on=True)
        try:
            assert CHECKS["row security"](ours) == "on"
            with owner.engine.begin() as connection:
                for table, column in READ_BEFORE.items():
                    connection.exec_driver_sql(f"GRANT SELECT ({column}) ON {table} TO {DatabaseRole.FRONT}")
            with pytest.raises(Incomplete, match="hashes of logins"):
                CHECKS["row security"](ours)
            grant_privileges(owner, keep=False)
            begin_access_log(owner, begun=False)
            with pytest.raises(Incomplete, match="sign-ins are not in the audit log yet"):
                CHECKS["row security"](ours)
        finally:
            grant_privileges(owner, keep=False)
            begin_access_log(owner)
            apply_row_security(owner, on=ROW_SECURITY)
