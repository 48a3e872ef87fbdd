"""One capture of real children, as a worker would have it: what they print, what is told of it, and what is in the log."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from backends.base import Ending, Event, Result, Verdict
from ipc import cri
from tests.process.daemon import PATIENCE
from workers.capture import Capture
from workers.mask import Mask
from workers.spool import open_spool

SECRET = "Tr0ub4dor&3-correct"


class Echo:
    """A parser that remembers; a line `result` is an event, a line `bad` is more than it can take."""

    def __init__(self, *wants: str) -> None:
        self.wants = frozenset(wants)
        self.lines: list[tuple[str, bytes]] = []

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        self.lines.append((stream, line))
        if line == b"bad":
            raise KeyError("no such event")
        return [Result(True)] if line == b"result" else []

    def verdict(self, ending: Ending) -> Verdict:
        raise NotImplementedError


class Attempt:
    """A capture, its children, and everything that it said."""

    def __init__(self, path: Path, parser: Echo | None = None, **more: Any) -> None:
        self.path = path
        self.loop = asyncio.get_running_loop()
        self.events: list[tuple[Event, int]] = []
        self.sizes: list[int] = []
        self.errors: list[OSError] = []
        self.parser = parser
        self._news = asyncio.Event()
        self.capture = Capture(
            self.loop,
            str(path),
            Mask((), [SECRET]),
            parser,
            self._on_event,
            self._on_grew,
            on_error=self._on_error,
            **more,
        )
        self.capture.watched = True
        self.children: list[subprocess.Popen[bytes]] = []

    def _on_event(self, event: Event) -> None:
        self.events.append((event, self.path.stat().st_size))

    def _on_grew(self, size: int) -> None:
        self.sizes.append(size)
        self._news.set()

    def _on_error(self, error: OSError) -> None:
        self.errors.append(error)
        self._news.set()

    def run(self, *command: str | Path) -> subprocess.Popen[bytes]:
        out, out_write = os.pipe2(os.O_CLOEXEC)
        err, err_write = os.pipe2(os.O_CLOEXEC)
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out_write, stderr=err_write, process_group=0)
        os.close(out_write)
        os.close(err_write)
        self.capture.attach("stdout", out)
        self.capture.attach("stderr", err)
        self.children.append(child)
        return child

    def spool(self, *command: str) -> subprocess.Popen[bytes]:
        path = f"{self.path}.spool"
        fd = open_spool(path)
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=fd, process_group=0)
        os.close(fd)
        self.capture.attach_spool("stdout", path)
        self.children.append(child)
        return child

    async def ended(self, child: subprocess.Popen[bytes]) -> None:
        """The child's exit, told by the kernel, then the end of the capture as the worker does it."""
        async with asyncio.timeout(PATIENCE):
            await exited(child)
        self.capture.drain()

    async def until(self, condition: Callable[[], object]) -> None:
        """Looks again whenever the log grew."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def turns_until(self, condition: Callable[[], object]) -> None:
        """Looks again after each turn of the loop."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  # what was read but not stored is told by nobody
                await asyncio.sleep(0)

    def content(self, stream: str = "stdout") -> bytes:
        return b"".join(
            record.content + (b"\n" if record.full else b"")
            for record in cri.records(self.path.read_bytes())
            if record.stream == stream.encode()
        )

    def close(self) -> None:
        self.capture.close()
        for child in self.children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()


async def exited(child: subprocess.Popen[bytes]) -> None:
    loop = asyncio.get_running_loop()
    pidfd = os.pidfd_open(child.pid)
    ended = loop.create_future()
    loop.add_reader(pidfd, lambda: ended.done() or ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    child.wait()


def python(program: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", f"import os, sys, time\nw = sys.stdout.buffer.write\n{program}"]
