"""`standorte doctor` names what customers miss."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from tasks.settings import PUBLISHED_KEY
from workers.commands.doctor import CHECKS, Incomplete
from workers.demo.carrier import DEMO_CARRIER
from workers.settings import WorkerSettings


def settings(**carrier: str) -> WorkerSettings:
    """Return the settings of a worker with these settings of the carrier."""
    return WorkerSettings(
        database_url="postgresql+psycopg://127.0.0.1/standorte",
        registrar_url="postgresql+psycopg://127.0.0.1/registrar",
        redis_url="redis://127.0.0.1",
        smtp_url="smtp://127.0.0.1",
        secret_key=SecretStr(f"{PUBLISHED_KEY}: the key of the tests"),
        **carrier,  # type: ignore[arg-type]
    )


def test_doctor_names_what_is_not_set_of_the_carrier() -> None:
    carrier = {name.lower(): value for name, value in DEMO_CARRIER.items()}
    assert CHECKS["carrier"](settings(**carrier)) == "Beispiel Telefon GmbH, Musterstraße 1, 10115 Berlin"
    del carrier["carrier_terms"], carrier["carrier_imprint"]
    with pytest.raises(Incomplete, match=r": CARRIER_IMPRINT, CARRIER_TERMS$"):
        CHECKS["carrier"](settings(**carrier))
