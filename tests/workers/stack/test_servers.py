"""Tests of the embedded PostgreSQL, Redis, Kamailio and mail catcher, each run as a real program."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import psycopg
import pytest
import redis

from workers.stack.errors import OtherPostgresVersion, StackError
from workers.stack.kamailio import EmbeddedKamailio
from workers.stack.ports import LOOPBACK, accepts_connections, free_port, free_sip_port
from workers.stack.postgres import EmbeddedPostgres
from workers.stack.processes import wait_for
from workers.stack.redis import EmbeddedRedis


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "postgres", fsync=False)
    yield server
    server.stop()


def remember(server: EmbeddedPostgres, word: str) -> None:
    with psycopg.connect(server.url("standorte", driver="")) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", [word])


def remembered(server: EmbeddedPostgres) -> list[str]:
    with psycopg.connect(server.url("standorte", driver="")) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word")]


def test_data_is_there_after_a_second_start(postgres: EmbeddedPostgres) -> None:
    postgres.start(("standorte",))
    remember(postgres, "Brückenstraße")
    postgres.stop()
    postgres.start(("standorte",))
    assert remembered(postgres) == ["Brückenstraße"]


def test_data_is_there_after_the_server_was_killed(postgres: EmbeddedPostgres) -> None:
    postgres.start(("standorte",))
    remember(postgres, "one")
    os.kill(int((postgres.data_dir / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    postgres.stop()
    # The kernel reuses process numbers some day; here the test's own process has the number.
    stale = postgres.data_dir / "postmaster.pid"
    lines = stale.read_text().splitlines()
    stale.write_text("\n".join([str(os.getpid()), lines[1], "1000000000", *lines[3:]]) + "\n")

    # Children of the killed server may need a moment to end.
    assert wait_for(lambda: starts(postgres), patience=10)
    assert remembered(postgres) == ["one"]


def starts(server: EmbeddedPostgres) -> bool:
    try:
        server.start(("standorte",))
    except StackError:
        return False
    return True


def test_an_interrupted_first_start_is_begun_again(postgres: EmbeddedPostgres) -> None:
    half = postgres.data_dir.with_name("postgres.new")
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    postgres.start(("standorte",))
    assert remembered_databases(postgres) >= {"standorte"}


def remembered_databases(server: EmbeddedPostgres) -> set[str]:
    with psycopg.connect(server.url("postgres", driver="")) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def test_data_of_another_version_is_left_alone_and_two_ways_on_are_named(postgres: EmbeddedPostgres) -> None:
    postgres.data_dir.mkdir()
    (postgres.data_dir / "PG_VERSION").write_text("16\n")
    with pytest.raises(OtherPostgresVersion) as caught:
        postgres.start()
    assert "written by PostgreSQL 16" in str(caught.value)
    assert f"mv {postgres.data_dir} {postgres.data_dir}-16" in str(caught.value)
    assert "pg_dump" in str(caught.value)
    assert [path.name for path in postgres.data_dir.iterdir()] == ["PG_VERSION"]


def test_a_server_that_runs_on_the_same_data_is_not_disturbed(postgres: EmbeddedPostgres) -> None:
    postgres.start(("standorte",))
    with pytest.raises(StackError, match=r"A PostgreSQL server \(process \d+\) is running"):
        EmbeddedPostgres(postgres.data_dir, fsync=False).start()
    remember(postgres, "still here")


def test_a_path_too_long_for_a_socket_and_a_directory_that_only_its_owner_may_enter(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / "it's deep"
    deep.mkdir(parents=True)
    tmp_path.chmod(0o700)
    server = EmbeddedPostgres(deep / "postgres", fsync=False)
    server.start(("standorte",))
    try:
        remember(server, "deep")
        assert remembered(server) == ["deep"]
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()
    assert not server.socket_dir.exists()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_databases_are_copied_from_a_template(postgres: EmbeddedPostgres) -> None:
    postgres.start(("standorte",))
    remember(postgres, "copied")
    postgres.create_database("copy", template="standorte")
    with psycopg.connect(postgres.url("copy", driver="")) as connection:
        assert connection.execute("SELECT word FROM words").fetchall() == [("copied",)]
    postgres.drop_database("copy")
    assert "copy" not in remembered_databases(postgres)


def test_redis_answers_who_knows_its_password_and_forgets(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    for _ in range(2):
        server.start()
        try:
            with redis.from_url(server.url()) as client:
                assert client.dbsize() == 0
                client.set("key", "value")
            with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.dbsize()
        finally:
            server.stop()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".rdb"] == []
    assert (tmp_path / "redis.conf").stat().st_mode & 0o777 == 0o600


def test_kamailio_leaves_a_port_that_was_taken_before_it_starts(tmp_path: Path) -> None:
    phones, taken = free_sip_port(), free_port()
    server = EmbeddedKamailio(
        tmp_path,
        registrar_url="postgresql+psycopg://kamailio@127.0.0.1/registrar",
        domain="sip.example.com",
        interconnect="127.0.0.2",
        network="127.0.0.2:5060",
        emergency="127.0.0.2:5112",
        port=phones,
        interconnect_port=taken,
    )
    with socket.create_server((LOOPBACK, taken)):
        server.move_to_free_ports()
        other = server.interconnect_port
    assert (server.port, other != taken) == (phones, True)
    assert server.environment()["SIP_INTERCONNECT_LISTEN"] == f"{LOOPBACK}:{other}"


@pytest.fixture
def catcher(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "workers.stack.mailcatcher", str(port), str(tmp_path / "mail")]
    with subprocess.Popen(command) as process:
        assert wait_for(lambda: accepts_connections(port), patience=20)
        yield port
        process.terminate()


def mail(message_id: str, text: str, *recipients: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "portal@example.com", ", ".join(recipients)
    message["Subject"], message["Message-ID"] = "Ihr Standort in Köln", message_id
    message.set_content(text)
    return message


def test_a_mail_sent_twice_is_one_file_and_each_recipient_has_one(catcher: int, tmp_path: Path) -> None:
    with smtplib.SMTP("127.0.0.1", catcher) as server:
        server.send_message(mail("<1@x>", "Grüße", "hanna@example.com", "ömer@example.com"))
        server.send_message(mail("<1@x>", "Grüße, noch einmal", "hanna@example.com"))
        server.send_message(mail("<2@x>", "Etwas anderes", "hanna@example.com"))
    files = sorted((tmp_path / "mail").iterdir())
    assert sorted(path.name.split("@")[0] for path in files) == ["_mer", "hanna", "hanna"]
    assert sum(b"noch einmal" in path.read_bytes() for path in files) == 1


def test_a_recipient_cannot_name_a_file_elsewhere(catcher: int, tmp_path: Path) -> None:
    with smtplib.SMTP("127.0.0.1", catcher) as server:
        server.sendmail("a@example.com", '"../../etc/x"@example.com', b"Subject: x\r\n\r\ny\r\n")
    assert len(list((tmp_path / "mail").iterdir())) == 1
