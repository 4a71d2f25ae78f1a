"""Tests that this Kamailio reads the configuration, that missing modules are noticed, and of the health check."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.workers.test_containers import SERVICES
from workers.stack.errors import NotInstalled
from workers.stack.kamailio import EmbeddedKamailio
from workers.stack.ports import LOOPBACK


def test_its_configuration_is_what_this_kamailio_can_read(kamailio: EmbeddedKamailio) -> None:
    kamailio.check()


def test_a_kamailio_without_its_modules_is_said_to_be_none(
    kamailio: EmbeddedKamailio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "kamailio"
    program.write_text("#!/bin/sh\necho 'ERROR: could not find module <db_postgres.so>' >&2\nexit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(NotInstalled, match="apt-get install kamailio kamailio-postgres-modules") as caught:
        kamailio.check()
    assert "db_postgres.so" in str(caught.value)


def test_the_container_is_healthy_as_long_as_the_server_answers(kamailio: EmbeddedKamailio) -> None:
    *_, text = SERVICES["kamailio"]["healthcheck"]["test"]
    script = text.replace("$$", "$").replace("5060", str(kamailio.port))
    before = len(kamailio.log.read_text())
    for host, healthy in ((LOOPBACK, True), ("127.0.0.2", False)):
        done = subprocess.run(["bash", "-c", script], env={"HOSTNAME": host}, capture_output=True, text=True)
        assert (done.returncode == 0) is healthy, done.stderr
    assert kamailio.log.read_text()[before:] == ""
