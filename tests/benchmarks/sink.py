"""An SMTP server that accepts every mail and keeps none: `python -m tests.benchmarks.sink PORT [SECONDS]`.

It stands for a mail server on another machine, so it must use next to no processor time. With SECONDS it answers each
mail only after so many seconds.
"""

from __future__ import annotations

import asyncio
import sys


class Sink(asyncio.Protocol):
    """One SMTP connection. It understands only as much of the protocol (RFC 5321) as a correct client needs."""

    def __init__(self, pause: float = 0) -> None:
        self._pause = pause
        self._rest = b""
        self._in_data = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the SMTP greeting, 220."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer each complete command at once; answer each complete mail after SECONDS, the program's argument."""
        assert self._transport is not None
        self._rest += data
        while True:
            end = b"\r\n.\r\n" if self._in_data else b"\r\n"
            head, found, rest = self._rest.partition(end)
            if not found:
                return
            self._rest = rest
            taken, answer = self._in_data, self._answer(head[:4].upper())
            if taken and self._pause:
                asyncio.get_running_loop().call_later(self._pause, self._transport.write, answer)
            else:
                self._transport.write(answer)

    def _answer(self, verb: bytes) -> bytes:
        if self._in_data:
            self._in_data = False
            return b"250 taken\r\n"
        self._in_data = verb == b"DATA"
        return {b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"250 ok\r\n")


async def _serve(port: int, pause: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Sink(pause), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0))
