"""A proxy that takes TLS connections in front of a server without TLS, as stunnel does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

LOOPBACK = "127.0.0.1"


@contextmanager
def tls_in_front_of(port: int, certificate: Path) -> Iterator[int]:
    """Take TLS connections with the certificate for the server at `port`, for the time of the block.

    Yields the port of the proxy. `certificate` is a file with a certificate and its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()

    async def take(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(LOOPBACK, port)
        await asyncio.gather(_pass_on(client, to_server), _pass_on(server, to_client))

    listening = loop.run_until_complete(asyncio.start_server(take, LOOPBACK, 0, ssl=context))
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(_end, loop, listening)
        thread.join(10)
        loop.close()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()


def _end(loop: asyncio.AbstractEventLoop, listening: asyncio.Server) -> None:
    listening.close()
    under_way = asyncio.all_tasks(loop)
    for task in under_way:
        task.cancel()

    async def ended() -> None:
        await asyncio.gather(*under_way, return_exceptions=True)
        loop.stop()

    loop.create_task(ended())
