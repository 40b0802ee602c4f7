"""A network that can be cut: TCP connections that go through a proxy of ours.

While it is cut, connections stay open and nothing moves in them, as behind a broken switch. What was on its
way arrives when the network is whole again.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["Network", "network"]

_BYTES = 1 << 16


class Network:
    """Forwards connections; made by `network`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._whole = asyncio.Event()
        self._whole.set()
        self.n_bytes = 0

    async def listen(self, port: int, listener: int) -> asyncio.Server:
        """Take connections on `listener` and forward them to `port`."""

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                await self._whole.wait()
                there, back = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

        return await asyncio.start_server(forward, "127.0.0.1", listener)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_BYTES):
                await self._whole.wait()
                writer.write(data)
                self.n_bytes += len(data)
                await writer.drain()
        writer.close()

    def cut(self, seconds: float) -> None:
        """Let nothing through for some time."""
        self._loop.call_soon_threadsafe(self._whole.clear)
        time.sleep(seconds)
        self._loop.call_soon_threadsafe(self._whole.set)


@contextmanager
def network(gates: Iterable[tuple[int, int]]) -> Iterator[Network]:
    """Forward each gate's second port to its first one, in a thread of its own."""
    loop = asyncio.new_event_loop()
    made = Network(loop)
    servers = [loop.run_until_complete(made.listen(*gate)) for gate in gates]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def end() -> None:
        for server in servers:
            server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
