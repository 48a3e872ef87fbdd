"""An API on loopback that allows so many calls in a window and answers 429 with a retry-after otherwise; and its caller.

    with LimitedApi(calls=40, seconds=8.0) as api:      # api.port, api.served[window], api.refused[window]
    python limited_api.py PORT                          # one call: exit 0, or 1 with the error on stderr as agents print it

Windows are counted from the first call. A call is served in `took` seconds; a refusal is immediate.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections import Counter


class LimitedApi:
    def __init__(self, calls: int, seconds: float, took: float = 0.1) -> None:
        self.calls, self.seconds, self.took = calls, seconds, took
        self.served: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self._began: float | None = None
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="limited API", daemon=True)

    def __enter__(self) -> LimitedApi:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def last_window(self) -> int:
        """The number of the window that time is in now; −1 before the first call."""
        return -1 if self._began is None else int((time.monotonic() - self._began) // self.seconds)

    def _serve(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._answer, sock=self._listener))
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(server.wait_closed())

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        wait = self._take(time.monotonic())
        if wait is None:
            await asyncio.sleep(self.took)
            writer.write(b"200 0\n")
        else:
            writer.write(b"429 %.3f\n" % wait)
        await writer.drain()
        writer.close()

    def _take(self, now: float) -> float | None:
        """None when the call is allowed, else seconds until the next window."""
        self._began = now if self._began is None else self._began
        window = int((now - self._began) // self.seconds)
        if self.served[window] < self.calls:
            self.served[window] += 1
            return None
        self.refused[window] += 1
        return self._began + (window + 1) * self.seconds - now


def call(port: int) -> tuple[int, float]:
    """(status, retry-after)."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"call\n")
        status, wait = peer.makefile().readline().split()
    return int(status), float(wait)


if __name__ == "__main__":
    status, wait = call(int(sys.argv[1]))
    if status != 200:
        print(f"error: HTTP {status} Too Many Requests, retry-after: {wait:.2f}", file=sys.stderr)
    sys.exit(status != 200)
