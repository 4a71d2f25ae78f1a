"""A proxy that accepts TLS connections for a server without TLS, as stunnel does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

LOOPBACK = "127.0.0.1"


@contextmanager
def tls_in_front_of(port: int, certificate: Path) -> Iterator[int]:
    """Run a proxy that accepts TLS connections and forwards them to the server at `port`; yield the proxy's port.

    It runs for the time of a `with` block. `certificate` is a file with its certificate and private key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    opened = set[asyncio.StreamWriter]()

    async def take(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(LOOPBACK, port)
        opened.update((to_client, to_server))
        await asyncio.gather(_pass_on(client, to_server), _pass_on(server, to_client))

    async def serve() -> None:
        server = await asyncio.start_server(take, LOOPBACK, 0, ssl=context)
        ends = asyncio.Event()
        listening.set_result((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), ends))
        await ends.wait()
        server.close()
        for writer in opened:
            writer.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, *(writer.wait_closed() for writer in opened), return_exceptions=True)

    # A loop of its own in a thread of its own: the thread of a test may have a loop that runs.
    thread = Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    own_port, loop, ends = listening.result(10)
    try:
        yield own_port
    finally:
        loop.call_soon_threadsafe(ends.set)
        thread.join(10)


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()
