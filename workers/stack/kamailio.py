"""Kamailio, if it is on PATH, with our configuration on the registrar's database."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from importlib import resources
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from workers.gateways.registrar import plain_url
from workers.stack.embedded import EmbeddedServer
from workers.stack.errors import NotInstalled
from workers.stack.ports import LOOPBACK, free_sip_port
from workers.stack.unprivileged import SystemUser, name_for

CONFIGURATION = resources.files("workers.sip").joinpath("kamailio.cfg")
_INSTALL = "Debian: apt-get install kamailio kamailio-postgres-modules"
_PASSED_ON = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
}
_PING = (
    "OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{own};rport;branch=z9hG4bK-ready\r\n"
    "From: <sip:ready@{host}>;tag=1\r\nTo: <sip:{host}>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\n"
    "Max-Forwards: 1\r\nContent-Length: 0\r\n\r\n"
)


def installed() -> str | None:
    """Where Kamailio is on this machine, if it is; Debian puts it where only root looks."""
    return shutil.which("kamailio", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


class EmbeddedKamailio(EmbeddedServer):
    """One server on the loopback.

    `interconnect` are the addresses and networks whose calls come in from the telephone network, with commas
    between; `network` is the host and port that take calls out to it, `emergency` those to 110 and 112. `user`: whom
    it runs as.
    """

    name = "Kamailio"
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        directory: Path,
        *,
        registrar_url: str,
        domain: str,
        interconnect: str,
        network: str,
        emergency: str,
        port: int | None = None,
        user: SystemUser | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.port = free_sip_port() if port is None else port
        self.domain = domain
        self.log = self.directory / "kamailio.log"
        self.user = user
        self._database = conninfo_to_dict(plain_url(registrar_url))
        self._settings = {
            "SIP_DOMAIN": domain,
            "SIP_LISTEN": f"{LOOPBACK}:{self.port}",
            "SIP_INTERCONNECT": interconnect,
            "SIP_NETWORK": network,
            "SIP_EMERGENCY": emergency,
        }

    def check(self) -> None:
        """Raise `NotInstalled` unless there is a Kamailio that can do what the configuration asks for."""
        command = [*self.command(), "-c"]
        self.prepare()
        checked = subprocess.run(command, cwd=self.directory, env=self.environment(), capture_output=True, text=True)
        if checked.returncode != 0:
            first = next((line for line in checked.stderr.splitlines() if "ERROR" in line or "CRITICAL" in line), "")
            raise NotInstalled(f"This kamailio cannot read our configuration. {_INSTALL}\n{first}")

    def command(self) -> list[str]:
        """The server, in the foreground. Raises `NotInstalled`."""
        program = installed()
        if program is None:
            raise NotInstalled(f"No kamailio on PATH. {_INSTALL}")
        directory = name_for(self.user, self.directory)
        in_foreground = ["-DD", "-E", "-m", "32", "-M", "4", "-w", str(directory)]
        return [
            os.path.abspath(program),
            *in_foreground,
            "-Y",
            str(directory),
            "-f",
            str(directory / CONFIGURATION.name),
        ]

    def environment(self) -> dict[str, str]:
        """What the configuration and libpq are told. The password, if there is one, is in no command line."""
        database = {
            name: str(value) for key, name in _PASSED_ON.items() if (value := self._database.get(key)) is not None
        }
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"} | database | self._settings

    def is_ready(self) -> bool:
        """Whether the server answers."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.bind((LOOPBACK, 0))
            asking.settimeout(0.3)
            own = asking.getsockname()[1]
            try:
                asking.connect((LOOPBACK, self.port))
                asking.send(_PING.format(host=LOOPBACK, port=self.port, own=own).encode())
                return asking.recv(4096).startswith(b"SIP/2.0 200")
            except OSError:
                return False

    def prepare(self) -> None:
        """Make its directory, with the configuration, which its user may be unable to read where it is installed."""
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / CONFIGURATION.name
        configuration.write_bytes(CONFIGURATION.read_bytes())
        configuration.chmod(0o644)
        if self.user is not None:
            os.chown(self.directory, self.user.uid, self.user.gid)
