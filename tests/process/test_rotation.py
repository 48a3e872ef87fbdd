"""Logs in segments: followers cross them, also over deaths; compressed they read the same; what is gone is said; `gc`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ipc import marks
from ipc.errors import MozartError
from ipc.segments import GONE, LOG, PACKED
from mozartd.coordinator.retention import LEAST_PACKED
from tests.bench.flood import flood
from tests.process.asking import following, submit
from tests.process.daemon import Daemon, wait_until
from tests.process.logfiles import read_log, segments
from tests.process.test_following import Taken, open_gate, read, read_all

SEGMENT = 64 * 1024
SETTINGS = {"log_segment_bytes": SEGMENT}
BIG = 3_000_000

Start = Callable[..., Daemon]


def logs_of(daemon: Daemon, job: str) -> Path:
    return daemon.home / "logs" / job


def kinds(daemon: Daemon, job: str, k: int = 1) -> dict[str, int]:
    return {kind: len(segments(logs_of(daemon, job), k=k, kinds=(kind,))) for kind in (LOG, PACKED, GONE)}


def test_followers_cross_segments_and_deaths(start_daemon: Start, score: Callable[..., Path], workspace: Path) -> None:
    """One from the start, over a lost connection; one from a cursor in the middle; one after all: every byte once."""
    daemon = start_daemon(SETTINGS, workers=1)
    job = submit(daemon, score(f"flood {BIG}\ngate one\nflood {BIG}\nsay end"))
    first, second = Taken(), Taken()
    with following(daemon, job) as client:
        read(client, first, lambda taken: len(taken.logs[1, 1]) > 1_000_000)
    middle = first.cursors()["1.1"]
    with following(daemon, job, cursors={"1.1": middle}) as client:
        read(client, second, lambda taken: len(taken.logs[1, 1]) > 500_000)
        daemon.kill("coordinator")
        with contextlib.suppress(MozartError):
            read(client, second)
    wait_until(daemon.is_listening)
    with (
        following(daemon, job, cursors=first.cursors()) as one,
        following(daemon, job, cursors=second.cursors()) as two,
    ):
        open_gate(workspace / "one")
        read(one, first)
        read(two, second)
    assert first.output() == flood(BIG) * 2 + b"end\n"
    whole = first.logs[1, 1]
    assert second.logs[1, 1] == whole[middle:]
    assert read_log(logs_of(daemon, job)) == whole
    assert len(segments(logs_of(daemon, job))) > 5
    # Some of the segments are compressed by now, or are not: nobody can tell.
    assert read_all(daemon, job).logs[1, 1] == whole


def test_compressed_logs_read_the_same(start_daemon: Start, score: Callable[..., Path]) -> None:
    daemon = start_daemon(SETTINGS, workers=1)
    job = daemon.run(score(f"flood {BIG}", "say small"))
    daemon.wait(job)
    plain = read_all(daemon, job)
    before = read_all(daemon, job, sheet=1, tail=4321)
    daemon.request("gc")
    plain_still = segments(logs_of(daemon, job), kinds=(LOG,)).values()
    assert all(path.stat().st_size < LEAST_PACKED for path in plain_still), "the last segment is compressed, too"
    assert read_log(logs_of(daemon, job)) == plain.logs[1, 1]
    assert read_all(daemon, job).logs == plain.logs
    assert read_all(daemon, job, sheet=1, tail=4321).logs == before.logs
    assert (logs_of(daemon, job) / "2.1.log").exists(), "a small one stays as it is"
    begin = len(plain.logs[1, 1]) // 440 * 220
    with following(daemon, job, cursors={"1.1": begin}) as client:
        assert read(client).logs[1, 1] == plain.logs[1, 1][begin:]


def test_a_cap_keeps_the_end_and_who_asks_for_the_rest_is_told(
    start_daemon: Start, score: Callable[..., Path], workspace: Path
) -> None:
    daemon = start_daemon({**SETTINGS, "log_attempt_bytes": 4 * SEGMENT, "log_compress_hours": None}, workers=1)
    job = submit(daemon, score(f"flood {BIG}\ngate one\nsay end"))
    wait_until(lambda: kinds(daemon, job)[GONE] and kinds(daemon, job)[LOG] <= 6)
    open_gate(workspace / "one")
    daemon.wait(job)
    daemon.request("gc")
    kept = read_log(logs_of(daemon, job))
    begin = min(segments(logs_of(daemon, job)))
    # Three ways to ask: the lines on stderr, JSON, and a cursor that lies in what is gone.
    shown = daemon.mozart("logs", job, "--raw")
    assert shown.stdout.endswith("end\n")
    sentence = f"of its log ({begin} bytes from 0) are gone: log_attempt_bytes"
    assert sentence in shown.stderr
    assert shown.stderr.startswith("mozart: sheet 1: ")
    gone, *_ = [json.loads(line) for line in daemon.mozart("logs", job, "--json").stdout.splitlines()]
    assert gone == {
        "type": "gone", "job": job, "sheet": 1, "attempt": 1, "offset": 0, "end": begin, "why": "log_attempt_bytes",
    }  # fmt: skip
    with daemon.client() as client:
        client.request("logs.follow", {"job": job, "follow": True, "cursors": {"1.1": 1000}})
        said = [(method, params) for method, params in until_end(client)]
    assert [(said[0][0], said[0][1]["offset"], said[0][1]["end"])] == [("logs.gone", 1000, begin)]
    assert said[1][1]["offset"] == begin
    assert begin + len(kept) == said[-2][1]["end"]


def until_end(client: Any) -> Any:
    for method, params in client.notifications():
        yield method, params
        if method == "logs.end":
            return


def test_gc_does_what_it_said(start_daemon: Start, score: Callable[..., Path]) -> None:
    """Retention by bytes takes the oldest logs; a dry run changes nothing."""
    plain = {**SETTINGS, "log_compress_hours": None}
    daemon = start_daemon(plain, workers=1)
    jobs = [daemon.run(score("flood 500000", name=name)) for name in ("old", "young")]
    for job in jobs:
        daemon.wait(job)
    whole = read_all(daemon, jobs[1]).logs[1, 1]
    daemon.stop()
    for age, job in ((7200, jobs[0]), (3600, jobs[1])):
        for path in logs_of(daemon, job).iterdir():
            os.utime(path, (path.stat().st_mtime - age,) * 2)
    leftover = logs_of(daemon, jobs[1]) / "1.1.log.gz.tmp"
    leftover.write_bytes(b"half")
    marks.make_log_directory(str(daemon.home / "logs" / "nobody-7"))
    (daemon.home / "logs" / "nobody-7" / "1.1.log").write_bytes(b"of a job that is not known")
    (daemon.home / "config.yaml").write_text(json.dumps({**plain, "log_total_bytes": 12 * SEGMENT}))
    before = {str(path): path.stat().st_size for path in (daemon.home / "logs").rglob("*") if path.is_file()}
    daemon.start()
    wait_until(lambda: not leftover.exists())
    wait_until(lambda: kinds(daemon, jobs[0])[GONE] == 1)
    assert kinds(daemon, jobs[1])[GONE] == 0
    assert read_all(daemon, jobs[1]).logs[1, 1] == whole
    asked = daemon.request("gc", dry_run=True)
    assert (daemon.home / "logs" / "nobody-7").exists()
    assert asked["actions"] == [
        {"action": "remove", "job": "nobody-7", "why": "no such job", "bytes": 26, "files": 1},
    ]
    told = daemon.mozart("gc")
    assert told.stdout.splitlines()[1].split() == ["remove", "nobody-7", "1", "26", "B", "no", "such", "job"]
    assert told.stdout.splitlines()[-1].startswith("removed 26 B of ")
    assert not (daemon.home / "logs" / "nobody-7").exists()
    assert daemon.request("gc", dry_run=True)["actions"] == []
    assert sum(before.values()) > 12 * SEGMENT


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"
