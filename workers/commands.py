"""One command of the score's author beside the agent: a validation, a `skip_when_command`.

In a session of its own, with a time limit and the end of its output kept; whatever it leaves running is swept. Called
by `attempt` and `validate`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from ipc.score.shell import Composed
from workers import stop
from workers.halt import INTERRUPTED, Halt
from workers.mask import Mask, MaskStream
from workers.spawn import Children, explain, spawn
from workers.stop import Traces

#: Bytes of output kept, from its end.
TAIL_BYTES = 16 * 1024
PIPE_BYTES = 64 * 1024
_STOP = ((signal.SIGTERM, 2.0),)


class Ended(NamedTuple):
    exit_code: int | None
    signal: int | None
    timed_out: bool
    tail: str
    """The last of stdout and stderr together."""


@dataclass(slots=True)
class Shell:
    """Where and as whom the commands of one attempt run."""

    children: Children
    traces: Traces
    running: Collection[Traces]
    environment: Mapping[str, str]
    halt: Halt
    mask: Mask

    async def script(self, command: Composed, directory: str, timeout: float) -> Ended:
        """A command of the score, with the values that it refers to."""
        return await self.run(("/bin/sh", "-c", command.text), directory, timeout, more=command.environment)

    async def run(
        self,
        argv: Sequence[str],
        directory: str,
        timeout: float,
        stdin: int | None = None,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Ended:
        """Raises MozartError when it cannot be started. Stopped at the time limit, or when the attempt is. `more`: in its
        environment."""
        try:
            tail = Tail(self.children.loop, self.mask.stream())
        except OSError as error:
            raise explain(error, argv[0], directory) from None
        try:
            child = spawn(
                self.children, argv, directory=directory, environment={**self.environment, **more}, stdin=stdin,
                stdout=tail.writing, stderr=tail.writing, tag=self.traces.tag,
            )  # fmt: skip
        except BaseException:
            tail.close()
            raise
        finally:
            os.close(tail.writing)
        self.traces.sessions.add(child.pid)
        await self.children.wait([child.ended, self.halt.requested], timeout)
        timed_out = not child.ended.done() and not self.halt.requested.done()
        if not child.ended.done():
            await stop.stop(self.children, child, _STOP, self.traces)
        elif await self.children.died_with_us(child):
            self.halt.request(INTERRUPTED, "the daemon was stopped")
        await stop.sweep(self.children, self.traces, self.running)
        return Ended(child.exit_code, child.signal, timed_out, tail.close())


class Tail:
    """The read end of a pipe, of which the last bytes are kept. Masked first: what is cut off a secret leaves no secret."""

    def __init__(self, loop: asyncio.AbstractEventLoop, mask: MaskStream) -> None:
        self._loop = loop
        self._mask = mask
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._kept = bytearray()
        loop.add_reader(self._reading, self._read)

    def close(self) -> str:
        """What is there, without waiting for whoever still holds the other end."""
        self._read()
        self._loop.remove_reader(self._reading)
        os.close(self._reading)
        self._keep(self._mask.finish())
        return self._kept.decode("utf-8", "replace")

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            # As much as a pipe holds: one call empties it.
            data = os.read(self._reading, PIPE_BYTES)
            if not data:
                self._loop.remove_reader(self._reading)
            self._keep(self._mask.feed(data))

    def _keep(self, data: bytes) -> None:
        self._kept += data
        del self._kept[:-TAIL_BYTES]
