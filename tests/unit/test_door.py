"""The door: a full house, who has left it, and who is turned away."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mozartd.coordinator.crowd import Crowd
from mozartd.coordinator.door import LOOK_SECONDS, PAUSE_SECONDS, Door

ROOM = 4


@pytest.fixture
def open_(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def crowded(open_: ExitStack, path: str) -> tuple[Door, list[socket.socket]]:
    """A door with so many waiting as may, and these: the others are inside."""
    crowd = Crowd()
    # Somebody else is there, so nobody may have everything.
    crowd.note(crowd.share(1))
    crowd.note(crowd.share(os.getpid()))
    listener = open_.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(path)
    listener.listen(100)
    door = Door(listener, asyncio.Protocol, crowd, lambda _: None, ROOM)
    open_.callback(door.close)
    clients: list[socket.socket] = []
    while f"{ROOM} waiting" not in repr(door):
        clients.append(await come(open_, path))
        assert len(clients) < 100
    return door, clients[-ROOM:]


async def come(open_: ExitStack, path: str) -> socket.socket:
    client = open_.enter_context(socket.socket(socket.AF_UNIX))
    client.setblocking(False)
    client.connect(path)
    # The listener is looked at once in each turn of the loop.
    await turns(3)
    return client


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def is_turned_away(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


async def test_who_has_hung_up_takes_no_place(open_: ExitStack, tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    door, waiting = await crowded(open_, path)
    for client in waiting[:2]:
        client.close()
    came = [await come(open_, path) for _ in range(3)]
    assert [is_turned_away(client) for client in came] == [False, False, True]
    assert f"{ROOM} waiting" in repr(door)
    assert not any(map(is_turned_away, waiting[2:]))


async def test_who_comes_back_at_once_is_kept_outside_for_a_moment(open_: ExitStack, tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    door, _ = await crowded(open_, path)
    while "resting" not in repr(door):
        # Meanwhile one of the others may have come in.
        await come(open_, path)
    begin = asyncio.get_running_loop().time()
    outside = await come(open_, path)
    assert not is_turned_away(outside)
    while "resting" in repr(door):
        await turns(1)
    assert PAUSE_SECONDS / 2 < asyncio.get_running_loop().time() - begin < LOOK_SECONDS
