"""The load balancer in front of the web front ends, configured by an example of docs/ with only file paths changed."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from tests.hosts.network import Host, NotPossible

_DOCS = Path(__file__).parents[2] / "docs"
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
_NGINX = """
daemon off; error_log {directory}/nginx.log; pid {directory}/nginx.pid; worker_processes 1;
events {{}}
http {{ log_format where "$upstream_addr $status"; access_log {log} where; include {configuration}; }}
"""


class Balancer(ABC):
    """A load balancer on a host, configured by an example of docs/: the file with the name `program` and `suffix`.

    The constructor raises `NotPossible` if the program is not installed.
    """

    program: ClassVar[str]
    suffix: ClassVar[str]
    certificate: ClassVar[str]
    """The path of the certificate in the example, which is replaced by that of the test's certificate."""

    def __init__(self, host: Host, directory: Path, certificate: Path) -> None:
        if shutil.which(self.program, path=_PATH) is None:
            raise NotPossible(f"there is no {self.program} on PATH (Debian: apt-get install {self.program})")
        self._host, self._directory = host, directory
        self._log = directory / f"{self.program}.log"
        self._paths = {self.certificate: str(certificate)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Write the configuration and start the balancer.

        Raises `AssertionError` if the example lacks a path that has to be replaced.
        """
        text = (_DOCS / f"{self.program}{self.suffix}").read_text()
        for path, ours in self._paths.items():
            if path not in text:
                raise AssertionError(f"the example of {self.program} no longer has {path}")
            text = text.replace(path, ours)
        configuration = self._directory / f"{self.program}{self.suffix}"
        configuration.write_text(text)
        self._process = self._host.start(self.command(configuration), log=self._log)

    def stop(self) -> None:
        """Stop the balancer, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()

    @abstractmethod
    def command(self, configuration: Path) -> list[str]:
        """Return the command line that runs the balancer in the foreground with this configuration file."""

    @abstractmethod
    def serves(self, front: str, address: str) -> bool:
        """Return whether the balancer forwards calls to the web front end with this name and address now."""

    @abstractmethod
    def forget(self) -> None:
        """Make `serves` ignore the calls forwarded until now, if it judges by a log of calls."""


class HAProxy(Balancer):
    """HAProxy, configured by docs/haproxy.cfg. Its admin socket tells whether a web front end is up."""

    program, suffix, certificate = "haproxy", ".cfg", "/etc/haproxy/portal.pem"
    _SOCKET = "/run/haproxy/admin.sock"

    def __init__(self, host: Host, directory: Path, certificate: Path) -> None:
        super().__init__(host, directory, certificate)
        self._paths[self._SOCKET] = str(directory / "admin.sock")

    def command(self, configuration: Path) -> list[str]:
        return ["haproxy", "-db", "-f", str(configuration)]

    def serves(self, front: str, address: str) -> bool:
        said = b""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            asking.connect(self._paths[self._SOCKET])
            asking.sendall(b"show stat\n")
            while data := asking.recv(65536):
                said += data
        rows = csv.DictReader(said.decode().removeprefix("# ").splitlines())
        return any(row["svname"] == front and row["status"].startswith("UP") for row in rows)

    def forget(self) -> None:
        """Do nothing, because `serves` asks HAProxy for the present state."""


class Nginx(Balancer):
    """nginx, configured by docs/nginx.conf. Its access log tells to which web front ends it has forwarded calls."""

    program, suffix, certificate = "nginx", ".conf", "/etc/nginx/portal.pem"
    _read = 0

    def command(self, configuration: Path) -> list[str]:
        main = self._directory / "main.conf"
        log = self._directory / "access.log"
        main.write_text(_NGINX.format(directory=self._directory, log=log, configuration=configuration))
        return ["nginx", "-c", str(main)]

    def serves(self, front: str, address: str) -> bool:
        with (self._directory / "access.log").open() as log:
            log.seek(self._read)
            return any(line.startswith(address) and line.split()[-1][0] in "234" for line in log)

    def forget(self) -> None:
        """Make `serves` ignore the lines that the access log has now."""
        self._read = (self._directory / "access.log").stat().st_size


BALANCERS: dict[str, type[Balancer]] = {one.program: one for one in (HAProxy, Nginx)}
