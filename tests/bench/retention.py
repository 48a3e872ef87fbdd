"""20,000 finished jobs with 100,000 logs: what looking at them, `mozart gc`, and forgetting most of them cost the others.

The jobs are put into the database, and their logs into the file system, before the daemon starts. While it looks, says what it
would do, and does it, somebody asks for `daemon.status` one time after the other, and the coordinator's loop is sampled.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ipc import marks
from ipc.score.schema import Score
from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState
from mozartd.coordinator.model import Attempt
from mozartd.coordinator.requests.submit import make_job, rows_of
from mozartd.store.store import Store
from tests.bench import MB, Row, at_most, quantile, sampled, take_samples
from tests.bench.memory import pss
from tests.process.daemon import Daemon, wait_until

JOBS, SHEETS, KEPT = 20_000, 5, 1000
#: Directories of jobs that are in no database.
STRAYS = 2000
#: Of each log and each prompt.
BYTES = 300
SHORT = {"JOBS": 40, "KEPT": 10, "STRAYS": 60}


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="mzb", ignore_cleanup_errors=True) as directory:
        daemon = sampled(Daemon(Path(directory), {"history_jobs": JOBS}, workers=1))
        (daemon.home / "state").mkdir(mode=0o700)
        asyncio.run(fill(str(daemon.home / "state" / "mozart.db")))
        make_logs(daemon.home / "logs")
        try:
            return [*play(daemon.start())]
        finally:
            try:
                daemon.stop()
                take_samples(daemon)
            finally:
                daemon.remove()


def play(daemon: Daemon) -> Iterator[Row]:
    database = daemon.home / "state" / "mozart.db"
    before, most = database.stat().st_size, [0]
    waits: list[float] = []
    with asking(daemon, waits, most):
        begin = time.monotonic()
        dry = gc(daemon, "--dry-run")
        looked = time.monotonic() - begin
        (daemon.home / "config.yaml").write_text(json.dumps({"history_jobs": KEPT}))
        begin = time.monotonic()
        assert daemon.mozartd("reload", timeout=120).returncode == 0
        # A lowered setting acts by itself.
        wait_until(lambda: daemon.status()["jobs"] == {"completed": KEPT}, 600)
        forgot = time.monotonic() - begin
        told = gc(daemon)
        wait_until(lambda: len(list((daemon.home / "logs").iterdir())) == KEPT, 600)
    jobs = f"{JOBS:,} jobs, {JOBS * SHEETS:,} logs"
    yield at_most(f"gc --dry-run of {jobs}", looked, "s", 30)
    yield at_most("lines that it prints", max(len(dry), len(told)), "lines", 60)
    yield at_most(f"forgetting {JOBS - KEPT:,} jobs after a reload", forgot, "s", 240)
    yield at_most("daemon.status meanwhile, p99", 1000 * quantile(waits, 0.99), "ms", 100)
    yield at_most("coordinator meanwhile, PSS at most", most[0] / MB, "MB", 150)
    yield at_most("mozart.db afterwards", database.stat().st_size / before, "× before", 0.5)


def gc(daemon: Daemon, *options: str) -> list[str]:
    done = daemon.mozart("gc", *options, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextmanager
def asking(daemon: Daemon, waits: list[float], most: list[int]) -> Iterator[None]:
    """Ask for the daemon's status, again and again."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            begin = time.monotonic()
            try:
                status = daemon.status()
            except Exception:
                continue
            waits.append(time.monotonic() - begin)
            if len(waits) % 20 == 0:
                most[0] = max(most[0], memory(status["coordinator"]["pid"]))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def memory(pid: int) -> int:
    try:
        return pss(pid)
    except OSError:
        return 0


async def fill(database: str) -> None:
    store = await Store.open(database)
    try:
        score = Score.model_validate({
            "name": "done", "workspace": "/tmp", "backend": {"type": "command", "command": ["true"]},
            "sheet": {"size": 1, "total_items": SHEETS}, "prompt": {"template": "Do nothing."},
        })  # fmt: skip
        now = time.time()
        for seq in range(1, JOBS + 1):
            job = make_job(score, "/tmp/done.yaml", now)
            job.seq, job.id, job.state, job.started_at, job.ended_at = seq, f"done-{seq}", JobState.COMPLETED, now, now
            for sheet in job.sheets.values():
                sheet.state, sheet.k = SheetState.COMPLETED, 1
            job.take(job.sheets.values())
            attempts = [Attempt(seq, job.id, n, 1, "normal", "w", now).row("ended") for n in job.sheets]
            done = store.write([*rows_of(job, score, "", {}), *(("put_attempt", row) for row in attempts)])
            if seq % 500 == 0:
                await done
        await done
    finally:
        await store.close()


def make_logs(logs: Path) -> None:
    text = b"2026-11-23T02:15:06.123456789Z stdout F " + b"x" * (BYTES - 42) + b"\n"
    for seq in range(1, JOBS + STRAYS + 1):
        directory = logs / f"done-{seq}"
        marks.make_log_directory(str(directory))
        for n in range(1, SHEETS + 1):
            (directory / f"{n}.1.log").write_bytes(text)
        (directory / "1.1.prompt").write_bytes(text)
