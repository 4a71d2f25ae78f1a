"""Run Kamailio, if it is installed, with the project's configuration and the registrar's database."""

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
from workers.stack.ports import LOOPBACK, free_port, free_sip_port
from workers.stack.unprivileged import SystemUser, name_for

CONFIGURATION = resources.files("workers.sip").joinpath("kamailio.cfg")
_INSTALL = "Debian: apt-get install kamailio kamailio-postgres-modules kamailio-tls-modules"
_CERTIFICATES = "tls"
_PASSED_ON = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
_PING = (
    "OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{own};rport;branch=z9hG4bK-ready\r\n"
    "From: <sip:ready@{host}>;tag=1\r\nTo: <sip:{host}>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\n"
    "Max-Forwards: 1\r\nContent-Length: 0\r\n\r\n"
)


def installed() -> str | None:
    """Return the path of the Kamailio program; None if it is not installed.

    Looks in /usr/sbin too, where Debian installs the program and which is on the PATH of root only.
    """
    return shutil.which("kamailio", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


class EmbeddedKamailio(EmbeddedServer):
    """A Kamailio server on the loopback address.

    `registrar_url` is the URL of the registrar's database, `domain` the SIP domain of the trunks. `interconnect` lists
    the addresses and networks from which calls of the telephone network come, separated by commas; these calls arrive
    at `interconnect_port`, phones at `port`. `network` is the host and port to which calls to the telephone network are
    sent, `emergency` the host and port for calls to 110 and 112. `media_relay` is where rtpengine takes commands, such
    as "udp:127.0.0.1:2223"; without it, media goes from phone to phone. `interconnect_tls` is the folder with
    `certificate.pem`, `key.pem` and `ca.pem` for calls of the telephone network over TLS; without it, they come over
    TCP. If `port` or `interconnect_port` is None, a free one is chosen. `user` is the user that the server runs as,
    None for this process's user.
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
        media_relay: str = "",
        interconnect_tls: Path | None = None,
        port: int | None = None,
        interconnect_port: int | None = None,
        user: SystemUser | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.port = free_sip_port() if port is None else port
        self.interconnect_port = free_port() if interconnect_port is None else interconnect_port
        self.domain = domain
        self.log = self.directory / "kamailio.log"
        self.user = user
        self._database = conninfo_to_dict(plain_url(registrar_url))
        self._settings = {
            "SIP_DOMAIN": domain,
            "SIP_INTERCONNECT": interconnect,
            "SIP_NETWORK": network,
            "SIP_EMERGENCY": emergency,
            "SIP_MEDIA_RELAY": media_relay,
        }
        self._interconnect_tls = interconnect_tls

    def move_to_free_ports(self) -> None:
        """Replace each of the server's ports that another program uses now by a free one. Call before the start."""
        self.port = free_sip_port(self.port)
        self.interconnect_port = free_port(self.interconnect_port)

    def check(self) -> None:
        """Raise `NotInstalled` if Kamailio is not installed, or does not accept the project's configuration.

        Creates the server's directory first.
        """
        command = [*self.command(), "-c"]
        self.prepare()
        checked = subprocess.run(command, cwd=self.directory, env=self.environment(), capture_output=True, text=True)
        if checked.returncode != 0:
            first = next((line for line in checked.stderr.splitlines() if "ERROR" in line or "CRITICAL" in line), "")
            raise NotInstalled(f"This kamailio cannot read our configuration. {_INSTALL}\n{first}")

    def command(self) -> list[str]:
        """Return the command line that runs Kamailio in the foreground.

        Raises `NotInstalled` if Kamailio is not installed.
        """
        program = installed()
        if program is None:
            raise NotInstalled(f"No kamailio on PATH. {_INSTALL}")
        directory = name_for(self.user, self.directory)
        in_foreground = ["-DD", "-E", "-m", "64", "-M", "4", "-w", str(directory)]
        return [
            os.path.abspath(program),
            *in_foreground,
            "-Y",
            str(directory),
            "-f",
            str(directory / CONFIGURATION.name),
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment variables for Kamailio's configuration and its connection to the database.

        The database password is passed as one of them, so that no command line contains it.
        """
        database = {
            name: str(value) for key, name in _PASSED_ON.items() if (value := self._database.get(key)) is not None
        }
        own = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "PGAPPNAME": "kamailio"}
        listen = {
            "SIP_LISTEN": f"{LOOPBACK}:{self.port}",
            "SIP_INTERCONNECT_LISTEN": f"{LOOPBACK}:{self.interconnect_port}",
        }
        if self._interconnect_tls is not None:
            # The configuration asks whether it is set.
            own["SIP_INTERCONNECT_TLS"] = str(name_for(self.user, self.directory) / _CERTIFICATES)
        return own | database | self._settings | listen

    def is_ready(self) -> bool:
        """Return whether the server answers an OPTIONS request with 200."""
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
        """Create the server's directory with copies of the configuration and the certificates. Safe to run twice.

        The files are copied because the server's user may be unable to read the originals.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / CONFIGURATION.name
        configuration.write_bytes(CONFIGURATION.read_bytes())
        configuration.chmod(0o644)
        if self._interconnect_tls is not None:
            self._copy_certificates(self._interconnect_tls)
        if self.user is not None:
            os.chown(self.directory, self.user.uid, self.user.gid)

    def _copy_certificates(self, source: Path) -> None:
        folder = self.directory / _CERTIFICATES
        folder.mkdir(mode=0o700, exist_ok=True)
        for name in ("certificate.pem", "key.pem", "ca.pem"):
            copy = folder / name
            copy.unlink(missing_ok=True)
            copy.touch(mode=0o600)
            copy.write_bytes((source / name).read_bytes())
            if self.user is not None:
                os.chown(copy, self.user.uid, self.user.gid)
        if self.user is not None:
            os.chown(folder, self.user.uid, self.user.gid)
