"""A daemon whose state or logs lie on a small disk of their own, in a mount namespace that ends with it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.process.daemon import Daemon


def require_mounts() -> None:
    """Skip where a test may not mount."""
    try:
        done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare(1)")
    if done.returncode:
        pytest.skip("mounting is not allowed here: run as root")


class SmallDisk:
    """`kilobytes` for `MOZART_HOME/NAME`; `inside` is that directory seen from here, while the daemon runs."""

    def __init__(
        self, home: Path, name: str, kilobytes: int, settings: Mapping[str, Any] | None = None, how: str = "rw"
    ) -> None:
        self.daemon = Daemon(home, settings)
        self._place = home / name
        self._place.mkdir(exist_ok=True)
        mount = shlex.join(
            ["mount", "-t", "tmpfs", "-o", f"{how},size={kilobytes}k,mode=700", "none", str(self._place)]
        )
        self.daemon.prefix = ("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")

    @property
    def inside(self) -> Path:
        assert self.daemon.process
        return Path(f"/proc/{self.daemon.process.pid}/root{self._place}")

    def fill(self) -> None:
        """To the last byte."""
        fd = os.open(self.inside / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        size = 65536
        try:
            while size:
                try:
                    os.write(fd, bytes(size))
                except OSError:
                    size //= 2
        finally:
            os.close(fd)

    def make_room(self) -> None:
        (self.inside / "ballast").unlink()

    def remount(self, how: str) -> None:
        """`ro` or `rw`."""
        assert self.daemon.process
        command = ["nsenter", "-m", "-t", str(self.daemon.process.pid), "mount", "-o", f"remount,{how}"]
        subprocess.run([*command, str(self._place)], check=True, capture_output=True)
