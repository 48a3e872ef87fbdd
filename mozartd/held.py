"""What the supervisor keeps open for its whole life, over every upgrade: the lock, the lifeline, both listening sockets.

`open_held` makes it for a new daemon, `handover` passes it on to the next image of a running one. Children get from it
what `births` gives them.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from ipc.paths import Paths
from mozartd.sockets import listen_unix


@dataclass(slots=True)
class Held:
    lock: int
    lifeline: int
    """Read end of a pipe; children see its end when the supervisor dies."""
    lifeline_write: int
    """Held open by the supervisor alone."""
    client_listener: socket.socket
    worker_listener: socket.socket


def open_held(paths: Paths, lock: int) -> Held:
    lifeline, lifeline_write = os.pipe()
    return Held(lock, lifeline, lifeline_write, listen_unix(paths.client_socket), listen_unix(paths.worker_socket))
