"""Certificates for TLS, and tunnels that carry sipp's TCP connections over TLS, because Debian's sipp has no TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

from tests.sip.phones import NETWORK
from workers.stack.ports import LOOPBACK


def make_certificates(folder: Path) -> Path:
    """Create a certification authority, and a certificate that it has issued, in the new folder; return the folder.

    The files have the names that Kamailio reads.
    """
    folder.mkdir(parents=True)
    common = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"]
    authority = ["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"]
    issued = ["-CA", "ca.pem", "-CAkey", "ca.key", "-subj", f"/CN={folder.name}"]
    for what in (authority, [*issued, "-keyout", "key.pem", "-out", "certificate.pem"]):
        subprocess.run(["openssl", "req", *common, *what], cwd=folder, check=True, capture_output=True)
    return folder


def client_context(folder: Path | None, trusted: Path) -> ssl.SSLContext:
    """Return a client's TLS context with the certificate in `folder` (None: without a certificate).

    It trusts the authority in the folder `trusted`, and does not check host names.
    """
    context = ssl.create_default_context(cafile=trusted / "ca.pem")
    # It is reached by its address.
    context.check_hostname = False
    if folder is not None:
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def server_context(folder: Path) -> ssl.SSLContext:
    """Return a server's TLS context with the certificate in `folder`.

    Clients need a certificate of the same authority.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def connect(port: int, context: ssl.SSLContext, source: str = NETWORK) -> ssl.SSLSocket:
    """Connect over TLS from the IP address `source` to Kamailio's `port` for calls from the telephone network."""
    plain = socket.create_connection((LOOPBACK, port), timeout=20, source_address=(source, 0))
    return context.wrap_socket(plain)


@contextmanager
def tunnel_in(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Yield a TCP port whose first connection is carried over TLS to Kamailio's `port` for the telephone network."""
    with socket.create_server((LOOPBACK, 0)) as taking, ExitStack() as ends:

        def serve() -> None:
            near = ends.enter_context(taking.accept()[0])
            _join(near, ends.enter_context(connect(port, context)))

        Thread(target=serve, daemon=True).start()
        yield taking.getsockname()[1]


@contextmanager
def tunnel_out(host: str, port: int, context: ssl.SSLContext, to: int) -> Iterator[None]:
    """During the `with` block, accept one TLS connection at host and port, and carry it over TCP to `to`.

    `to` is another port of the same host.
    """
    with socket.create_server((host, port)) as taking, ExitStack() as ends:

        def serve() -> None:
            far = taking.accept()[0]
            # The server does not know this certificate.
            with suppress(ssl.SSLError):
                far = ends.enter_context(context.wrap_socket(far, server_side=True))
                _join(far, ends.enter_context(socket.create_connection((host, to), timeout=20)))

        Thread(target=serve, daemon=True).start()
        yield


def _join(one: socket.socket, other: socket.socket) -> None:
    for side in (one, other):
        side.settimeout(None)
    Thread(target=_pump, args=(one, other), daemon=True).start()
    Thread(target=_pump, args=(other, one), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        # The test has ended.
        return
