"""docker-compose.yml matches the programs that run in the containers."""

from __future__ import annotations

import re
from pathlib import Path

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
