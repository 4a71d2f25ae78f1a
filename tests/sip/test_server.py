"""The server itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.stack.errors import NotInstalled
from workers.stack.kamailio import EmbeddedKamailio


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
