"""docker-compose.yml matches the programs that run in the containers."""

from __future__ import annotations

import re
from pathlib import Path

from models.db.roles import DatabaseRole
from workers.settings import PUBLISHED_PASSWORD
from workers.stack.kamailio import CONFIGURATION

ROOT = Path(__file__).parents[2]


def service(name: str) -> str:
    """Return the lines of a service in docker-compose.yml."""
    [found] = re.findall(rf"^  {name}:\n((?:    .*\n|\n)+)", (ROOT / "docker-compose.yml").read_text(), re.M)
    return str(found)


def test_the_container_of_kamailio_is_told_all_that_its_configuration_asks_for() -> None:
    asked = set(re.findall(r"^#!defenv (\w+)$", CONFIGURATION.read_text(), re.M))
    assert asked >= {"SIP_DOMAIN", "SIP_LISTEN"}
    told = set(re.findall(r"^      (\w+): \S", service("kamailio"), re.M))
    assert told >= asked | {"PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE"}


def test_each_container_connects_as_its_own_role_and_only_one_knows_the_superuser() -> None:
    roles = {
        "web": {"standorte_front"},
        "migrate": {"standorte_owner"},
        "kamailio": set(),
        "worker": set(),
        "beat": set(),
        "seed": set(),
    }
    for name, expected in roles.items():
        assert set(re.findall(r"psycopg://(\w+):", service(name))) == expected, name
        assert "POSTGRES_PASSWORD" not in service(name)
    # What worker, beat and seed take from the settings of all.
    shared = (ROOT / "docker-compose.yml").read_text().split("services:")[0]
    assert set(re.findall(r"psycopg://(\w+):", shared)) == {"standorte_worker"}
    assert "PGUSER: standorte_kamailio" in service("kamailio")


def test_the_roles_have_the_published_password_unless_they_are_told_another() -> None:
    defaults = set(re.findall(r"[A-Z]+_PASSWORD: \$\{([A-Z]+_PASSWORD):-(\w*)\}", service("roles")))
    given = {f"{role.name}_PASSWORD": PUBLISHED_PASSWORD for role in DatabaseRole}
    assert dict(defaults) == given | {"METRICS_PASSWORD": ""}
    assert "command: roles create --hand-over\n" in service("roles")
