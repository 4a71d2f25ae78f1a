"""Tests of docker-compose.yml and the Dockerfile: the rights, networks and environment variables of each container."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from shutil import copy
from typing import Any

import psycopg
import pytest
from ruamel.yaml import YAML

from models.db.roles import PORTAL_ROLES, REGISTRAR_ROLES, DatabaseRole
from tasks.settings import Settings
from web.settings import WebSettings
from workers.settings import WorkerSettings
from workers.stack.kamailio import CONFIGURATION
from workers.stack.postgres import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe", pure=True).load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
HBA = ROOT / "workers/containers/pg_hba.conf"

NOT_FOR_CONTAINERS = {
    *("FRONT_DATABASE_URL", "FRONT_REGISTRAR_URL", "OWNER_DATABASE_URL", "OWNER_REGISTRAR_URL"),
    *("DEV_LETTERS_DIR", "DEV_MAIL_DIR", "METRICS_HOST", "WEB_THREADS", "BATCH", "LEASE_SECONDS", "STOP_SECONDS"),
}
"""Settings that docker-compose.yml does not set.

They are for programs that share one environment, for development, or for tuning.
"""


def reaches(one: str, other: str) -> bool:
    """Return whether two services of docker-compose.yml, given by name, have a network in common."""
    return bool(set(SERVICES[one].get("networks", [])) & set(SERVICES[other].get("networks", [])))


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_root_writes_nothing_into_itself_and_is_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] not in ("root", "0", "0:0")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service["mem_limit"] and service["pids_limit"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    # A job ends by itself; everything else says whether it works.
    assert ("healthcheck" in service) == (service["restart"] != "no")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_each_container_reaches_only_what_it_needs() -> None:
    assert SERVICES["roles"]["network_mode"] == "none"
    databases = {name for name in SERVICES if name != "postgres" and reaches(name, "postgres")}
    assert databases == {"migrate", "seed", "web", "worker", "beat", "kamailio"}
    assert {name for name in SERVICES if reaches(name, "redis")} == {"redis", "seed", "web", "worker", "beat", "flower"}
    assert {name for name in SERVICES if reaches(name, "mail")} == {"mail", "worker", "beat"}
    # beat listens nowhere: it only makes the test call.
    assert {name for name in SERVICES if reaches(name, "kamailio")} == {"kamailio", "postgres", "beat"}
    assert all(COMPOSE["networks"][name]["internal"] for name in ("portal", "hints"))
    assert COMPOSE["networks"].keys() == {network for one in SERVICES.values() for network in one.get("networks", [])}


def test_every_image_has_a_digest() -> None:
    used = [service["image"] for service in SERVICES.values() if "build" not in service]
    used += re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.M)
    assert len(used) == 6
    assert all(re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", image) for image in used)
    # BuildKit would fetch a frontend, too.
    assert "syntax=" not in (ROOT / "Dockerfile").read_text()


def test_what_an_image_is_built_from_has_neither_tests_nor_history_nor_settings() -> None:
    first, *kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert first == "*"
    assert not {"!.git", "!tests", "!.env", "!.standorte"} & set(kept)


def test_no_password_and_no_key_has_a_default() -> None:
    secret = r"\$\{(\w*(?:PASSWORD|SECRET|KEY)\w*)(:?[-?])"
    assert set(re.findall(secret, TEXT)) == {
        (name, ":?")
        for name in (
            *("POSTGRES_PASSWORD", "OWNER_PASSWORD", "FRONT_PASSWORD", "WORKER_PASSWORD", "KAMAILIO_PASSWORD"),
            *("REDIS_PASSWORD", "FLOWER_PASSWORD", "SECRET_KEY"),
        )
        # Nobody connects as this role until it has a password.
    } | {("METRICS_PASSWORD", ":-")}
    assert "--requirepass" in SERVICES["redis"]["command"]
    assert SERVICES["flower"]["environment"]["FLOWER_BASIC_AUTH"].startswith("flower:${FLOWER_PASSWORD:?")


def test_passwords_stand_in_no_url_so_that_they_may_have_any_characters() -> None:
    urls = re.findall(r"\w+: (\S+://\S+)", TEXT)
    assert len(urls) > 8
    assert not [url for url in urls if "PASSWORD" in url]
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        if "psycopg://" in str(environment):
            assert environment["PGPASSWORD"].startswith("${"), name


def test_the_file_with_random_values_has_each_that_is_needed_and_keeps_what_is_there(tmp_path: Path) -> None:
    copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / ".env").write_text("REDIS_PASSWORD=kept\n")
    for _ in range(2):
        subprocess.run([ROOT / ".make/compose-env"], cwd=tmp_path, check=True)
    lines = (tmp_path / ".env").read_text().splitlines()
    values = dict(line.split("=") for line in lines)
    assert len(values) == len(lines)
    assert values.keys() == set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert values.pop("REDIS_PASSWORD") == "kept"
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in values.values())
    assert len(set(values.values())) == len(values)


def test_digests_are_looked_up_and_written_where_the_images_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Dockerfile", "docker-compose.yml"):
        copy(ROOT / name, tmp_path)
    docker = tmp_path / "docker"
    new = "sha256:" + "5" * 64
    docker.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "buildx imagetools inspect" ] && echo {new}\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    subprocess.run([ROOT / ".make/images"], cwd=tmp_path, check=True, stdout=subprocess.PIPE)
    for name, count in (("Dockerfile", 3), ("docker-compose.yml", 3)):
        before, after = (ROOT / name).read_text(), (tmp_path / name).read_text()
        assert after.count(new) == count
        assert after.replace(f"@{new}", "") == re.sub(r"@sha256:[0-9a-f]{64}", "", before)
    # A registry that does not answer leaves the file as it is.
    docker.write_text("#!/bin/sh\necho unreachable\n")
    assert subprocess.run([ROOT / ".make/images"], cwd=tmp_path, stderr=subprocess.PIPE).returncode == 1
    assert (tmp_path / "Dockerfile").read_text().count(new) == 3


@pytest.mark.parametrize(("name", "settings"), [("web", WebSettings), ("worker", WorkerSettings)])
def test_an_operator_sets_what_there_is_to_set(name: str, settings: type[Settings]) -> None:
    environment = SERVICES[name]["environment"]
    assert {field.upper() for field in settings.model_fields} - environment.keys() <= NOT_FOR_CONTAINERS
    assert {variable for variable, value in environment.items() if value == f"${{{variable}:-}}"} >= {
        "BROKER_URL",
        "NUMBERS_PER_CHANNEL",
    }


def test_the_container_of_kamailio_is_told_all_that_its_configuration_asks_for() -> None:
    asked = set(re.findall(r"^#!defenv (\w+)$", CONFIGURATION.read_text(), re.M))
    assert asked >= {"SIP_DOMAIN", "SIP_LISTEN"}
    assert SERVICES["kamailio"]["environment"].keys() >= asked | {"PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE"}
    # One network, so that eth0 is its interface there.
    assert len(SERVICES["kamailio"]["networks"]) == 1


def test_each_container_connects_as_its_own_role_and_only_one_knows_the_superuser() -> None:
    expected = {
        "web": {"standorte_front"},
        # In the settings of all programs, the workers' URLs stand beside the owner's.
        "migrate": {"standorte_owner", "standorte_worker"},
        "worker": {"standorte_worker"},
        "beat": {"standorte_worker"},
        "seed": {"standorte_worker"},
        "roles": {"standorte"},
    }
    for name, service in SERVICES.items():
        environment = str(service.get("environment"))
        assert set(re.findall(r"psycopg://(\w+)@", environment)) == expected.get(name, set()), name
        assert ("POSTGRES_PASSWORD" in environment) == (name in ("roles", "postgres"))
    assert SERVICES["kamailio"]["environment"]["PGUSER"] == "standorte_kamailio"
    assert SERVICES["roles"]["command"] == "roles create --hand-over"
    given = {
        name: value
        for name, value in SERVICES["roles"]["environment"].items()
        if name not in ("ADMIN_URL", "PGPASSWORD")
    }
    assert given.keys() == {f"{role.name}_PASSWORD" for role in DatabaseRole}


def test_the_superuser_connects_by_the_socket_only_and_each_role_to_its_databases_only(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", fsync=False)
    server.start()
    try:
        # Read by the server, but never in force: then the test could not connect without a password.
        (server.data_dir / "pg_hba.conf").write_text(HBA.read_text())
        with psycopg.connect(server.url("postgres", driver="")) as connection:
            read = "SELECT type, database, user_name, auth_method, error FROM pg_hba_file_rules ORDER BY rule_number"
            local, *over_network = connection.execute(read).fetchall()
    finally:
        server.stop()
    assert local == ("local", ["all"], ["standorte"], "scram-sha-256", None)
    owner = DatabaseRole.OWNER
    assert [(kind, bases, set(users), method, error) for kind, bases, users, method, error in over_network] == [
        ("host", ["standorte"], {owner, *PORTAL_ROLES}, "scram-sha-256", None),
        ("host", ["registrar"], {owner, *REGISTRAR_ROLES}, "scram-sha-256", None),
    ]
    postgres = SERVICES["postgres"]
    assert postgres["environment"]["POSTGRES_USER"] == "standorte"
    assert "hba_file=/etc/postgresql/pg_hba.conf" in postgres["command"]
    [target] = [config["target"] for config in postgres["configs"] if config["source"] == "pg_hba"]
    assert target == "/etc/postgresql/pg_hba.conf"
    assert ROOT / COMPOSE["configs"]["pg_hba"]["file"] == HBA
    assert {name for name, one in SERVICES.items() if "socket:/var/run/postgresql" in one.get("volumes", [])} == {
        "postgres",
        "roles",
    }
