"""What must be true of a daemon whatever happened to it. Each function gives sentences about what is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ipc.states import JOB_ENDED, SHEET_ENDED
from tests.process.daemon import Daemon
from tests.process.logfiles import attempts, read_log
from tests.torture.load import Submitted
from tests.torture.watch import Watcher

#: Looks at a job before what is odd about it is believed: sheets and attempts are read one after the other.
LOOKS = 5


def lasting(daemon: Daemon, job: str) -> list[str]:
    """What is impossible about the job however often one looks."""
    found = list(impossible(daemon.job(job)))
    for _ in range(LOOKS):
        if found:
            found = [sentence for sentence in impossible(daemon.job(job)) if sentence in found]
    return found


def impossible(shown: dict[str, Any]) -> Iterator[str]:
    """States of one job's sheets that cannot be true together with its attempts."""
    job = shown["job"]
    for sheet in shown["sheets"]:
        where = f"{job['id']} sheet {sheet['n']} ({sheet['state']})"
        attempts = sheet["attempts"]
        if [attempt["k"] for attempt in attempts] != list(range(1, len(attempts) + 1)):
            yield f"{where}: attempts {[attempt['k'] for attempt in attempts]}"
        open_ = [attempt["k"] for attempt in attempts if attempt["state"] != "ended"]
        if open_ != ([len(attempts)] if sheet["state"] == "running" else []):
            yield f"{where}: attempts {open_} of {len(attempts)} have not ended"
        if sheet["state"] == "completed" and (not attempts or attempts[-1]["verdict"] != "ok"):
            yield f"{where}: its last attempt is {attempts[-1]['verdict'] if attempts else 'missing'}"
        if job["state"] in JOB_ENDED and sheet["state"] not in SHEET_ENDED:
            yield f"{where}: its job is {job['state']}"


def unlike_its_log(daemon: Daemon, watcher: Watcher, job: str, *, whole: bool) -> Iterator[str]:
    """What this follower saw against the files: each byte there, and, when `whole`, none missing."""
    seen = watcher.seen.get(job, {})
    for (n, k), data in list(seen.items()):
        taken = bytes(data)
        kept = read_log(logs_of(daemon, job), n, k)
        if kept[: len(taken)] != taken:
            yield f"{job} sheet {n}.{k}: what was sent is not in its log"
        elif whole and len(kept) != len(taken):
            yield f"{job} sheet {n}.{k}: {len(taken)} bytes sent of {len(kept)}"
    if whole:
        for n, k in attempts(logs_of(daemon, job)) - set(seen):
            if size := len(read_log(logs_of(daemon, job), n, k)):
                yield f"{job} sheet {n}.{k}: nothing sent of {size} bytes"


def logs_of(daemon: Daemon, job: str) -> Path:
    return daemon.home / "logs" / job


def run_twice(submitted: Iterable[Submitted]) -> Iterator[str]:
    for one in submitted:
        for held in one.workspace.glob("*.held"):
            yield f"{one.job}: {held.name}: {held.read_text().strip()}"


def broken_database(home: Path) -> Iterator[str]:
    """Called when nobody writes any more."""
    database = sqlite3.connect(home / "state" / "mozart.db")
    try:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        dangling = database.execute("PRAGMA foreign_key_check").fetchall()
    finally:
        database.close()
    if verdict != "ok" or dangling:
        yield f"mozart.db: {verdict}, {len(dangling)} dangling rows"


def leaked_credit(daemon: Daemon, slots: int) -> Iterator[str]:
    """Of a daemon with nothing to do."""
    for worker in daemon.status()["workers"]:
        if worker["running"] or worker["credit"] != slots:
            yield f"worker {worker['pid']}: credit {worker['credit']} of {slots}, running {worker['running']}"
