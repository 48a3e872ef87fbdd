"""Finding a daemon whose lock or pid file somebody removed: by what it holds open and took, which only its end can change.

The kernel says of every descriptor what it is called, also after its name is gone, and who took a lock on it. Costs a look at
every process, so it is asked when the files do not answer. Called by `lock`.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from ipc.paths import Paths
from mozartd.processes import Process, all_processes


def holders(path: str) -> list[Process]:
    """Who has a lock open that was removed from there: a supervisor and its children, or what is left of them."""
    return [process for process in all_processes() if process.pid != os.getpid() and _descriptor(process.pid, path)]


def supervisor(paths: Paths) -> Process | None:
    """Who took the lock, whether its name is gone or not."""
    for process in all_processes():
        descriptor = "" if process.is_zombie or process.pid == os.getpid() else _descriptor(process.pid, paths.lock, "")
        if descriptor and process.pid in _took(process.pid, descriptor):
            return process
    return None


def config_of(process: Process, paths: Paths) -> str:
    """The settings file that a supervisor was told to read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            request = json.loads(file.read().split(b"\0")[-2])
        return str(request["paths"]["config"])
    return paths.config


def _descriptor(pid: int, path: str, *more: str) -> str:
    """The number under which it has the lock of that name open: the removed one; with `more`, also the one that is there."""
    with suppress(OSError):
        owner = os.stat(f"/proc/{pid}").st_uid
        for name in os.listdir(f"/proc/{pid}/fd") if owner == os.geteuid() or os.geteuid() == 0 else ():
            with suppress(OSError):
                link = f"/proc/{pid}/fd/{name}"
                if os.readlink(link) in (f"{path} (deleted)", *(path + each for each in more)):
                    found = os.stat(link)
                    if found.st_uid == owner and (more or not found.st_nlink):
                        return name
    return ""


def _took(pid: int, descriptor: str) -> set[int]:
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as file:
        return {int(line.split()[5]) for line in file if line.startswith(b"lock:") and b" FLOCK " in line}
    return set()
