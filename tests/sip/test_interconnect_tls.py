"""Tests of calls to and from the telephone network over TLS: both sides must show a certificate."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from models.db.roles import DatabaseRole
from models.telephony.forwarding import Condition
from tests.sip.conftest import DOMAIN, Sites, run_kamailio
from tests.sip.phones import NETWORK, Phone, answer, call_in
from tests.sip.sipp import Line
from tests.sip.test_forwarding import MOBILE
from tests.sip.test_interconnect import invite
from tests.sip.tls import client_context, connect, make_certificates, server_context, tunnel_in, tunnel_out
from workers.stack.kamailio import EmbeddedKamailio
from workers.stack.ports import LOOPBACK, free_sip_port
from workers.stack.postgres import EmbeddedPostgres
from workers.stack.unprivileged import name_for

_SENDER = "<sip:+441632960961@carrier.example>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_certificates(tmp_path / "ours")


@pytest.fixture
def out_port() -> int:
    return free_sip_port(host=NETWORK)


@pytest.fixture
def encrypted(
    postgres: EmbeddedPostgres,
    kamailio: EmbeddedKamailio,
    folder: Path,
    psap_port: int,
    out_port: int,
    tmp_path: Path,
) -> Iterator[Line]:
    """Provide a `Line`, which runs sipp, for a Kamailio whose port for the telephone network accepts only TLS."""
    with run_kamailio(postgres, tmp_path / "tls", psap_port, out_port, interconnect_tls=folder) as server:
        line = Line(tmp_path, server.port, server.domain, interconnect=server.interconnect_port)
        yield line
        line.end()


@pytest.fixture
def site(sites: Sites, encrypted: Line) -> Phone:
    """Return a phone system that is registered at the Kamailio of the fixture `encrypted`."""
    phone = replace(sites.order(), line=encrypted)
    phone.register()
    return phone


def test_with_its_certificate_the_telephone_network_calls(encrypted: Line, site: Phone, folder: Path) -> None:
    taking = site.answer()
    with tunnel_in(encrypted.interconnect, client_context(folder, folder)) as port:
        call_in(replace(encrypted, interconnect=port), site.numbers[0], sender=_SENDER)
    taking.finish()
    assert "From: <sip:+441632960961@sip.example>" in taking.heard("INVITE")


def is_refused(encrypted: Line, call: bytes, context: ssl.SSLContext) -> bool:
    """Return whether Kamailio closes a connection with this TLS context instead of answering `call`, a SIP message."""
    try:
        with connect(encrypted.interconnect, context) as line:
            # By TLS 1.3 a client hears of the refusal after its first message.
            line.sendall(call)
            return line.recv(65536) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def test_without_a_certificate_of_the_authority_nobody_gets_in(
    encrypted: Line, site: Phone, folder: Path, tmp_path: Path
) -> None:
    call = invite(site.numbers[0], encrypted.domain, f"{NETWORK}:5061", "TLS", _SENDER)
    foreign = make_certificates(tmp_path / "foreign")
    assert is_refused(encrypted, call, client_context(None, folder))
    assert is_refused(encrypted, call, client_context(foreign, folder))
    assert not is_refused(encrypted, call, client_context(folder, folder))


def test_without_tls_nobody_gets_in(encrypted: Line, site: Phone) -> None:
    entrance = (LOOPBACK, encrypted.interconnect)
    with socket.create_connection(entrance, timeout=20, source_address=(NETWORK, 0)) as line:
        line.sendall(invite(site.numbers[0], encrypted.domain, f"{NETWORK}:5060", "TCP", _SENDER))
        with suppress(ConnectionError):
            assert not line.recv(65536).startswith(b"SIP/2.0")


def test_a_certificate_from_another_address_opens_nothing(encrypted: Line, site: Phone, folder: Path) -> None:
    with connect(encrypted.interconnect, client_context(folder, folder), "127.0.0.4") as line:
        line.sendall(invite(site.numbers[0], encrypted.domain, "127.0.0.4:5061", "TLS", _SENDER))
        assert line.recv(65536).startswith(b"SIP/2.0 403 ")


@pytest.mark.parametrize("is_known", [True, False])
def test_calls_to_the_telephone_network_go_to_its_certificate_alone(
    sites: Sites, encrypted: Line, site: Phone, folder: Path, out_port: int, tmp_path: Path, is_known: bool
) -> None:
    shown = server_context(folder if is_known else make_certificates(tmp_path / "other"))
    sites.forward(site, Condition.ALWAYS, MOBILE)
    to = free_sip_port(host=NETWORK)
    taking = answer(replace(encrypted, tcp=True), to, NETWORK)
    with (
        tunnel_in(encrypted.interconnect, client_context(folder, folder)) as port,
        tunnel_out(NETWORK, out_port, shown, to),
    ):
        line = replace(encrypted, interconnect=port)
        if is_known:
            call_in(line, site.numbers[0], sender=_SENDER)
            assert taking.finish().heard("INVITE").startswith(f"INVITE sip:{MOBILE}@{NETWORK}:{out_port};transport=tls")
        else:
            call_in(line, site.numbers[0], sender=_SENDER, gets=408)
            assert taking.heard("INVITE") == ""


class ContainedKamailio(EmbeddedKamailio):
    """A Kamailio that is started as in its container, with `SIP_INTERCONNECT_TLS` empty as in docker-compose.yml."""

    def command(self) -> list[str]:
        """Return the command line of the Dockerfile, with the test's folders in place of the container's."""
        [start] = re.findall(r"^ENTRYPOINT (\[.*kamailio.*)$", Path("Dockerfile").read_text(), re.M)
        folder = str(name_for(self.user, self.directory))
        ours = ["-m", "64", "-M", "4", "-w", folder, "-Y", folder, "-f", f"{folder}/kamailio.cfg"]
        program, *arguments = json.loads(start)
        return [str(shutil.which(program)), *arguments, *ours]

    def environment(self) -> dict[str, str]:
        """Return the environment of Kamailio with `SIP_INTERCONNECT_TLS` empty."""
        return {**super().environment(), "SIP_INTERCONNECT_TLS": "", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def test_an_empty_setting_is_none_in_the_container(
    postgres: EmbeddedPostgres, kamailio: EmbeddedKamailio, tmp_path: Path
) -> None:
    server = ContainedKamailio(
        tmp_path / "contained",
        registrar_url=postgres.url("registrar", DatabaseRole.KAMAILIO),
        domain=DOMAIN,
        interconnect=NETWORK,
        network=f"{NETWORK}:5060",
        emergency=f"{LOOPBACK}:5112",
        user=postgres.user,
    )
    server.start()
    try:
        entrance = (LOOPBACK, server.interconnect_port)
        with socket.create_connection(entrance, timeout=20, source_address=(NETWORK, 0)) as line:
            line.sendall(invite("+4930000000", server.domain, f"{NETWORK}:5060", "TCP", _SENDER))
            assert line.recv(65536).startswith(b"SIP/2.0 ")
    finally:
        server.stop()
