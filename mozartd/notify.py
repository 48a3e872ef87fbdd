"""sd_notify: tells systemd that the daemon is ready, reloading, stopping or alive. Silent where systemd did not ask.

The variables are removed from the environment, so that no agent can speak to systemd in the daemon's name.
"""

from __future__ import annotations

import os
import socket
import time

#: How long systemd waits for the next image of an upgrade.
EXEC_SECONDS = 120.0


class Notifier:
    def __init__(self) -> None:
        names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        #: What was removed, for whom we become.
        self.environment = {name: os.environ.pop(name) for name in names if name in os.environ}
        self._address = self.environment.get("NOTIFY_SOCKET", "")
        interval = float(self.environment.get("WATCHDOG_USEC", "0")) / 1_000_000
        mine = self.environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        #: Seconds between two signs of life, half of what systemd tolerates; None when it does not watch.
        self.watchdog_seconds = interval / 2 if interval > 0 and mine else None

    def send(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
            try:
                peer.sendto("\n".join(lines).encode(), address)
            except OSError:
                # systemd may itself be restarting; a daemon does not stop because nobody listens to how it feels.
                return

    def ready(self, status: str) -> None:
        self.send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        self.send(f"STATUS={status}")

    def reloading(self, status: str = "reloading") -> None:
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", f"STATUS={status}")

    def upgrading(self) -> None:
        """From here until the next image is there, nobody gives a sign of life: its imports may take a while."""
        self.reloading("upgrading")
        self._watch(EXEC_SECONDS)

    def upgraded(self) -> None:
        """Or not: signs of life come again."""
        if self.watchdog_seconds is not None:
            self._watch(2 * self.watchdog_seconds)

    def _watch(self, seconds: float) -> None:
        if self.watchdog_seconds is not None:
            self.send(f"WATCHDOG_USEC={int(seconds * 1_000_000)}", "WATCHDOG=1")

    def stopping(self, status: str) -> None:
        self.send("STOPPING=1", f"STATUS={status}")

    def alive(self) -> None:
        self.send("WATCHDOG=1")
