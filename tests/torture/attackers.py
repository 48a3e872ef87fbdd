"""Those who insult a socket, each as a process of its own: `python -m tests.torture.attackers NAME SOCKET`.

Prints a line when the attack is under way and goes on until it is killed. One selector holds all of its connections; whoever is
hung up on comes back at once. Used by the tests of the wire and by `make bench`.
"""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from subprocess import PIPE, Popen

from ipc.client import connect_unix
from ipc.connection import hello
from ipc.frames import MAX_FRAME, encode_frame
from tests import ROOT

GREETING = encode_frame(hello("client"))
ASKING = b"".join(
    encode_frame({"jsonrpc": "2.0", "id": n, "method": "status", "params": {"job": "song-1"}}) for n in range(500)
)
#: Cheap to send, dear to read: two million objects.
DEAR = b'{"a":[' + b"[]," * 2_000_000 + b"[]]}"
#: Bytes of a frame's beginning that a half frame brings.
HALF = 1_000_000

#: What to send on each connection, over and over; how many connections; whether their answers are read.
ATTACKS: dict[str, tuple[Callable[[], bytes], int, bool]] = {
    "idle connections": (lambda: b"", 1000, True),
    "half frames": (lambda: GREETING + MAX_FRAME.to_bytes(4, "big") + bytes(HALF), 100, True),
    "frames over the cap": (lambda: GREETING + (MAX_FRAME + 1).to_bytes(4, "big"), 20, True),
    "huge frames": (lambda: GREETING + len(DEAR).to_bytes(4, "big") + DEAR, 4, True),
    "noise": (lambda: b"\x00\x00\x01\x00" + b"noise" * 10_000, 20, True),
    "floods of requests": (lambda: GREETING + ASKING, 20, True),
    "slow readers": (lambda: GREETING + ASKING * 20, 20, False),
}
#: Attacks that send once and then sit there.
ONCE = {"idle connections", "half frames"}


class Attacker:
    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._make, count, self._reads = ATTACKS[name]
        self._once = name in ONCE
        self._selector = selectors.DefaultSelector()
        self._rest: dict[socket.socket, memoryview] = {}
        for _ in range(count):
            self._connect()

    def run(self) -> None:
        while True:
            for key, events in self._selector.select(1.0):
                peer = key.fileobj
                assert isinstance(peer, socket.socket)
                try:
                    if events & selectors.EVENT_READ and not peer.recv(1 << 18):
                        raise ConnectionResetError
                    if events & selectors.EVENT_WRITE:
                        self._send(peer)
                except BlockingIOError:
                    pass
                except OSError:
                    self._forget(peer)
                    self._connect()

    def _connect(self) -> None:
        with suppress(OSError):
            peer = connect_unix(self._path, 5.0)
            peer.setblocking(False)
            self._rest[peer] = memoryview(GREETING if self._make() == b"" else self._make())
            self._selector.register(peer, selectors.EVENT_WRITE | (selectors.EVENT_READ if self._reads else 0))

    def _send(self, peer: socket.socket) -> None:
        rest = self._rest[peer]
        rest = rest[peer.send(rest) :]
        if not rest and self._once:
            self._selector.modify(peer, selectors.EVENT_READ)
        # After the greeting the same again, without it.
        self._rest[peer] = rest or memoryview(self._make()[len(GREETING) :])

    def _forget(self, peer: socket.socket) -> None:
        self._selector.unregister(peer)
        del self._rest[peer]
        peer.close()


@contextmanager
def attacked(name: str, path: str) -> Iterator[None]:
    """By that attack, while this lasts."""
    with Popen([sys.executable, "-m", __name__, name, path], cwd=ROOT, stdout=PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline()
            yield
        finally:
            process.kill()


def main() -> None:
    name, path = sys.argv[1:]
    attacker = Attacker(path, name)
    print("here", flush=True)
    attacker.run()


if __name__ == "__main__":
    main()
