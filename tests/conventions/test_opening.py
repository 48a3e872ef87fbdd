"""Who opens files: those that somebody else may have made are opened by `ipc.files` and by nobody else."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.conventions.tree import files, name, parsed

#: Where a file is opened otherwise: how often, and why nobody else can have made it, or why that does no harm.
OPENS = {
    "ipc/score/document.py": (
        3,
        "a score that a person names may be a pipe or stdin: held and looked at first, bounded, by descriptor",
    ),
    "mozartd/answers.py": (2, "our own FIFO, in a directory of our own: no link followed, never blocking"),
    "mozartd/bereft.py": (2, "/proc"),
    "mozartd/coordinator/admission.py": (4, "/proc"),
    "mozartd/coordinator/budget.py": (1, "the prices that are part of the program"),
    "mozartd/coordinator/archive.py": (1, "the archives' directory: no link followed"),
    "mozartd/coordinator/graves.py": (1, "/proc"),
    "mozartd/coordinator/main.py": (1, "the file of prices that a setting names"),
    "mozartd/coordinator/reading.py": (1, "logs, in a directory of our own: no link followed"),
    "mozartd/coordinator/requests/prompt.py": (1, "a prompt that our worker wrote, in a directory of our own"),
    "mozartd/coordinator/shelf.py": (7, "logs, in a directory of our own: no link followed"),
    "mozartd/daemon_log.py": (2, "our own log: no link followed"),
    "mozartd/daemonize.py": (1, "/dev/null"),
    "mozartd/entry.py": (2, "/dev/null, and descriptors that are open already"),
    "mozartd/handover.py": (1, "an inherited memory file"),
    "mozartd/launch.py": (1, "our own log: no link followed"),
    "mozartd/lock.py": (5, "our own pid file, checked; /proc"),
    "mozartd/places.py": (1, "a directory of our own, only held"),
    "mozartd/processes.py": (6, "/proc and /sys"),
    "mozartd/rehearsal.py": (2, "the files of the program itself"),
    "mozartd/settings.py": (1, "the settings, of the person who starts the daemon"),
    "mozartd/sockets.py": (3, "directories of our own: held and looked at, no link followed"),
    "workers/attempt.py": (2, "the prompt, in a directory of our own"),
    "workers/log.py": (1, "our own log"),
    "workers/match.py": (1, "a descriptor that is open already"),
    "workers/memory.py": (2, "/proc and /sys"),
    "workers/processes.py": (1, "/proc"),
    "workers/spawn.py": (1, "/dev/null"),
    "workers/spool.py": (2, "made by us a moment ago, and exclusively"),
    "workers/tags.py": (1, "/proc"),
    "workers/workspace.py": (1, "a descriptor that is open already"),
}


def opens(path: Path) -> Iterator[int]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("open", "os.open", "io.open") or called.endswith((".read_text", ".read_bytes")):
                yield node.lineno


def test_files_that_others_may_have_made_are_opened_in_one_way() -> None:
    found = Counter[str]()
    for path in files("workers", "ipc/score", "mozartd"):
        if "mozartd/store/" not in name(path):
            found.update(name(path) for _ in opens(path))
    assert dict(found) == {where: count for where, (count, _) in OPENS.items()}
