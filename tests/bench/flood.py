"""What `flood` of tests/fakes/agent writes, and readers that check many copies of it at once, byte by byte, cheaply."""

from __future__ import annotations

import os
import selectors
from typing import IO


def flood(total: int, length: int = 180) -> bytes:
    """The bytes of the agent's `flood TOTAL LENGTH`."""
    rest = b" " + b"x" * (length - 12) + b"\n"
    return b"".join(b"%010d" % n + rest for n in range(-(-total // length)))


class WrongBytesError(Exception):
    """A follower got something else than was written."""


def check_all(streams: list[IO[bytes]], expected: bytes) -> None:
    """Read every stream to the last expected byte, comparing as it comes."""
    view = memoryview(expected)
    done = dict.fromkeys((stream.fileno() for stream in streams), 0)
    with selectors.DefaultSelector() as selector:
        for fd in done:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                done[key.fd] += check_next(key.fd, view[done[key.fd] :])
                if done[key.fd] == len(expected):
                    selector.unregister(key.fd)


def check_next(fd: int, expected: memoryview) -> int:
    data = os.read(fd, min(len(expected), 1 << 20))
    if not data:
        raise WrongBytesError(f"ended {len(expected)} bytes early")
    if expected[: len(data)] != data:
        raise WrongBytesError(f"differs in the {len(data)} bytes before the last {len(expected) - len(data)}")
    return len(data)
