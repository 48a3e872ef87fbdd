"""What is kept, and what is removed: archives, logs, the database."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ipc import marks
from ipc.errors import MozartError
from ipc.segments import Link, path_of
from mozartd.coordinator import shelf
from mozartd.coordinator.followers import Cursor
from mozartd.coordinator.retention import Action, Bounds, Drop
from mozartd.coordinator.rounds import Rounds
from mozartd.store.store import Store, check_version
from tests import ROOT
from tests.bench.flood import flood
from tests.process.daemon import Daemon, wait_until, write_score

Start = Callable[..., Daemon]
Score = Callable[..., Path]


def files(directory: Path) -> set[str]:
    """But for Mozart's own marks."""
    paths = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".mozart")]
    return {str(path.relative_to(directory)) for path in paths}


@contextmanager
def database(daemon: Daemon) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(daemon.home / "state" / "mozart.db")) as opened:
        yield opened


# ---- A15 ------------------------------------------------------------------------------------------------------------


def test_A15_fresh_removes_no_folder_that_it_did_not_make(shared_daemon: Daemon, tmp_path: Path) -> None:
    """Whatever they are called, and a copy or another name of an archive is the user's, too."""
    life = {"archive_on_fresh": True, "archive_dir": "photos", "max_archives": 1}
    path = write_score(tmp_path, "write made.txt x", name="pictures", workspace_lifecycle=life)
    photos = tmp_path / "workspace" / "photos"
    mine = ("2019", "2020", "99", "20260101T000000Z")
    for name in mine:
        (photos / name).mkdir(parents=True)
        (photos / name / "sea.jpg").touch()
    for n in range(4):
        shared_daemon.wait(shared_daemon.run(path, "--fresh"))
        if n == 1:
            shutil.copytree(photos / "2021", photos / "7")
    kept = {f"{name}/sea.jpg" for name in mine} | {"7/made.txt"}
    assert files(photos) == {*kept, "2023/made.txt"}, "of our own one archive is kept"


def test_A15_gc_removes_nothing_that_is_not_marked_as_ours(shared_daemon: Daemon, tmp_path: Path) -> None:
    logs = shared_daemon.home / "logs"
    job = shared_daemon.run(write_score(tmp_path, "say hello"))
    shared_daemon.wait(job)
    life = {"archive_on_fresh": True, "archive_dir": "old"}
    other = write_score(tmp_path, "say hello", name="other", workspace_lifecycle=life)
    shared_daemon.wait(shared_daemon.run(other))
    (tmp_path / "workspace" / "old" / "3").mkdir(parents=True)
    saved, copied = logs / "saved-notes", logs / "copy-of-a-job"
    saved.mkdir()
    (saved / "1.1.log").write_text("mine")
    shutil.copytree(logs / job, copied)
    try:
        said = shared_daemon.mozart("gc", "--dry-run").stdout
        for path in (saved, copied, tmp_path / "workspace" / "old" / "3"):
            assert f"not ours for certain, left alone: {path}" in said
        assert shared_daemon.mozart("gc").returncode == 0
        assert (saved / "1.1.log").read_text() == "mine"
        assert files(copied) == files(logs / job) > set()
    finally:
        shutil.rmtree(saved)
        shutil.rmtree(copied)


def test_A15_a_forgotten_job_leaves_what_others_put_beside_its_logs(start_daemon: Start, score: Score) -> None:
    daemon = start_daemon({"history_jobs": 1}, workers=1)
    first = daemon.run(score("say one"))
    daemon.wait(first)
    directory = daemon.home / "logs" / first
    (directory / "notes.txt").write_text("mine")
    daemon.wait(daemon.run(score("say two")))
    wait_until(lambda: files(directory) == {"notes.txt"})


# ---- B8 -------------------------------------------------------------------------------------------------------------


def test_B08_a_new_database_goes_on_with_the_numbers_and_touches_no_old_log(home: Path, tmp_path: Path) -> None:
    path = write_score(tmp_path, "say first")
    daemon = Daemon(home, workers=1)
    try:
        daemon.start()
        old = daemon.run(path)
        daemon.wait(old)
        (home / "logs" / "errand-41").mkdir()
        kept = {log: log.read_bytes() for log in (home / "logs" / old).iterdir()}
        for name in ("moved away", "emptied"):
            daemon.stop()
            for file in (home / "state").glob("mozart.db*"):
                file.unlink()
            if name == "emptied":
                (home / "state" / "mozart.db").touch()
            daemon.start()
            job = daemon.run(write_score(tmp_path, "say second"))
            daemon.wait(job)
            assert int(job.rpartition("-")[2]) > 41
            assert daemon.mozart("logs", job).stdout == "second\n"
        assert {log: log.read_bytes() for log in kept} == kept
    finally:
        daemon.stop()
        daemon.remove()


# ---- a copy before each migration -----------------------------------------------------------------------------------


def test_B08_a_database_is_kept_before_it_is_changed_for_a_newer_version(home: Path) -> None:
    path = home / "mozart.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript((ROOT / "tests" / "compat" / "version-4.sql").read_text())
        dumped = list(old.iterdump())
    asyncio.run(open_and_close(str(path)))
    kept = home / "mozart.db.version-4"
    assert kept.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(kept)) as copy:
        assert list(copy.iterdump()) == dumped
        assert copy.execute("PRAGMA user_version").fetchone() == (4,)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(MozartError, match="it has version 99") as refused:
        check_version(str(path))
    assert f"cp {kept} {path}" in refused.value.hint
    # What the hint says works, also beside what a newer Mozart has left.
    Path(f"{path}-wal").write_bytes(b"not of this file")
    subprocess.run(["sh", "-ec", refused.value.hint.rpartition(": ")[2]], check=True)
    check_version(str(path))


async def open_and_close(path: str) -> None:
    await (await Store.open(path)).close()


# ---- C10 ------------------------------------------------------------------------------------------------------------


def test_C10_one_damaged_row_is_said_and_costs_nothing_else(start_daemon: Start, score: Score) -> None:
    daemon = start_daemon(workers=1)
    job = daemon.run(score("say hello"))
    daemon.wait(job)
    with database(daemon) as opened:
        ((damaged,),) = opened.execute("SELECT id FROM events WHERE type = 'sheet.completed'").fetchall()
        opened.execute("UPDATE events SET data = '{' WHERE id = ?", (damaged,))
        opened.execute("UPDATE jobs SET counts = '[' WHERE id = ?", (job,))
        opened.commit()
    daemon.kill("coordinator")
    wait_until(daemon.is_listening)
    shown = daemon.mozart("events", "--json")
    assert shown.returncode == 0, shown.stderr
    events = {event["id"]: event for event in map(json.loads, shown.stdout.splitlines())}
    assert "a row of it is damaged" in events[damaged]["data"]["damaged"]
    assert len(events) > 6
    refused = daemon.mozart("status", job)
    assert refused.returncode == 1
    assert "a row of it is damaged" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "a row of it is damaged" in json.dumps(daemon.status())
    other = daemon.run(score("say still there", name="other"))
    assert daemon.wait(other)["state"] == "completed"


def test_C10_a_database_that_cannot_be_read_ends_who_asks(start_daemon: Start, score: Score) -> None:
    daemon = start_daemon(workers=1)
    job = daemon.run(score("say hello"))
    daemon.wait(job)
    daemon.stop()
    with database(daemon) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ((page,),) = opened.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events_by_job'").fetchall()
        ((size,),) = opened.execute("PRAGMA page_size").fetchall()
    with open(daemon.home / "state" / "mozart.db", "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    # It is degraded from the beginning: nothing that happens can be saved.
    daemon.is_ready = daemon.is_listening  # type: ignore[method-assign]
    daemon.start()
    for asked in (("events", job), ("events", job, "-f")):
        told = daemon.mozart(*asked, timeout=15)
        assert told.returncode == 1, told
        assert "mozart.db" in told.stderr
        assert "malformed" in told.stderr
    assert "malformed" in json.dumps(daemon.status())
    assert daemon.mozart("status", job).returncode == 0


# ---- B11, F6 --------------------------------------------------------------------------------------------------------

SEGMENT, BIG = 64 * 1024, 2_500_000


def begin_of(segment: Path) -> int:
    return int(segment.name.split(".")[2].replace("log", "0"))


def rotated(daemon: Daemon, directory: Path) -> tuple[str, Path, list[Path]]:
    """A job whose first sheet's log has several segments; its logs' directory, and the segments in order."""
    job = daemon.run(write_score(directory, f"flood {BIG}", "say hello", parallel={"enabled": True}))
    daemon.wait(job)
    logs = daemon.home / "logs" / job
    segments = sorted(logs.glob("1.1*.log"), key=begin_of)
    assert len(segments) > 3
    return job, logs, segments


def put_nothing(path: Path) -> None:
    path.unlink()


def put_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def put_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_garbage(path: Path) -> None:
    path.unlink()
    path.with_suffix(".log.gz").write_bytes(b"garbage" * 100)


def put_empty_gz(path: Path) -> None:
    path.unlink()
    path.with_suffix(".log.gz").touch()


def put_bad_gone(path: Path) -> None:
    path.unlink()
    path.with_suffix(".gone").write_text("{")


def put_empty_gone(path: Path) -> None:
    path.unlink()
    path.with_suffix(".gone").touch()


def put_less(path: Path) -> None:
    os.truncate(path, 1000)


DAMAGE = [
    put_nothing, put_link, put_fifo, put_directory, put_garbage, put_empty_gz, put_bad_gone, put_empty_gone, put_less,
]  # fmt: skip


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("harm", DAMAGE)
def test_F06_what_lies_behind_any_damage_is_read(tmp_path: Path, harm: Callable[[Path], None], place: int) -> None:
    log = str(tmp_path / "1.1.log")
    records = [b"2026-11-23T02:15:06.123456789Z stdout F %d %s\n" % (n, b"x" * 2000) for n in range(4)]
    begins = [sum(map(len, records[:n])) for n in range(5)]
    for begin, record in zip(begins, records, strict=False):
        Path(path_of(log, begin)).write_bytes(record)
    damaged = Path(path_of(log, begins[place]))
    harm(damaged)
    cursor = Cursor(1, 1, log, "command", ended=True)
    cursor.written = begins[4]
    taken, lost = b"", []
    while found := cursor.read():
        if isinstance(found, Link):
            lost.append(found)
        taken += b"" if isinstance(found, Link) else found
        cursor.offset = found.end if isinstance(found, Link) else cursor.offset + len(found)
    assert taken == b"".join(records[:place] + records[place + 1 :])
    assert [(link.start, link.end, link.is_lost) for link in lost] == [(begins[place], begins[place + 1], True)]


def test_F06_a_damaged_segment_is_said_and_the_rest_is_shown(start_daemon: Start, tmp_path: Path) -> None:
    """The first, one in the middle, the last; followed or not. The other sheet's log is whole."""
    daemon = start_daemon({"log_segment_bytes": SEGMENT, "log_compress_hours": None}, workers=1)
    whole = flood(BIG).decode().splitlines()
    for number, harm in enumerate((put_link, put_garbage, put_nothing)):
        directory = tmp_path / harm.__name__
        directory.mkdir()
        job, _, segments = rotated(daemon, directory)
        place = (0, 1, -1)[number % 3]
        harm(segments[place])
        for options in ((), ("--tail", "3") if place < 0 else ("-f",)):
            told = daemon.mozart("logs", job, "--raw", *options, timeout=20)
            assert told.returncode == 1, (harm.__name__, options, told.stderr)
            assert "sheet 1's log is " in told.stderr, harm.__name__
            assert "hello\n" in told.stdout
            assert "root:" not in told.stdout
            shown = [line for line in told.stdout.splitlines() if line != "hello"]
            assert set(shown) <= set(whole)
            if not options:
                where = begin_of(segments[place])
                assert f"from byte {where}" in told.stderr
                assert len(shown) > len(whole) / 3, "the rest"
    assert "Traceback" not in daemon.printed()


def test_B11_a_log_that_somebody_removed_is_said_and_troubles_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    job = daemon.run(write_score(tmp_path, "say hello", "say world"))
    daemon.wait(job)
    (daemon.home / "logs" / job / "1.1.log").unlink()
    told = daemon.mozart("logs", job)
    assert (told.returncode, told.stdout) == (1, "[2] world\n")
    assert "sheet 1's log is missing from byte 0" in told.stderr
    assert f"the log of sheet 1 of {job} is missing" in json.dumps(daemon.status())
    shutil.rmtree(daemon.home / "logs" / job)
    assert daemon.mozart("logs", job).returncode == 1
    assert daemon.mozart("logs", job, "-f").returncode == 1


def test_B11_what_the_settings_removed_is_no_fault(start_daemon: Start, tmp_path: Path) -> None:
    daemon = start_daemon({"log_segment_bytes": SEGMENT, "log_attempt_bytes": 2 * SEGMENT}, workers=1)
    job = daemon.run(write_score(tmp_path, "flood 2500000\nsay end"))
    daemon.wait(job)
    assert daemon.mozart("gc").returncode == 0
    told = daemon.mozart("logs", job)
    assert told.returncode == 0
    assert "are gone: log_attempt_bytes" in told.stderr
    assert told.stdout.endswith("end\n")


# ---- B2 -------------------------------------------------------------------------------------------------------------


def test_B02_who_uses_a_workspace_is_said_waited_for_or_refused(calm_daemon: Daemon, tmp_path: Path) -> None:
    def ask(name: str, script: str, **fields: Any) -> subprocess.CompletedProcess[str]:
        return calm_daemon.mozart("run", write_score(tmp_path, script, name=name, **fields), "--detach")

    slow = ask("slow", "gate go")
    first = slow.stdout.strip()
    assert "in use" not in slow.stderr
    wait_until((tmp_path / "workspace" / "go").exists)
    # By another name, the same.
    (tmp_path / "link").symlink_to(tmp_path / "workspace")
    warned = ask("second", "say beside", workspace=str(tmp_path / "link"))
    assert f"is in use by {first}" in warned.stderr
    assert calm_daemon.wait(warned.stdout.strip())["state"] == "completed"
    refused = ask("third", "say never", workspace_lock="refuse")
    assert refused.returncode == 1
    assert f"is in use by {first}" in refused.stderr
    shared = ask("fourth", "say beside", workspace_lock="share")
    assert "in use" not in shared.stderr
    calm_daemon.wait(shared.stdout.strip())
    waiting = [
        ask(name, "append order.txt begin\nsleep 0.2\nappend order.txt end", workspace_lock="wait") for name in "xyz"
    ]
    jobs = [each.stdout.strip() for each in waiting]
    assert f"is in use by {first}" in waiting[0].stderr
    shown = calm_daemon.job(jobs[0])
    assert shown["job"]["state"] == "queued"
    assert f"in use by {first}" in json.dumps(shown)
    # Paused it has begun all the same; ended it has not.
    assert calm_daemon.mozart("pause", first).returncode == 0
    assert calm_daemon.job(jobs[0])["job"]["state"] == "queued"
    assert calm_daemon.mozart("cancel", first).returncode == 0
    for job in jobs:
        assert calm_daemon.wait(job)["state"] == "completed"
    assert (tmp_path / "workspace" / "order.txt").read_text() == "begin\nend\n" * 3


def test_B02_the_setting_is_for_scores_that_say_nothing(start_daemon: Start, tmp_path: Path) -> None:
    daemon = start_daemon({"workspace_lock": "refuse"}, workers=1)
    daemon.run(write_score(tmp_path, "gate go", name="slow"))
    refused = daemon.mozart("run", write_score(tmp_path, "say never", name="other"), "--detach")
    assert (refused.returncode, "is in use by slow-1" in refused.stderr) == (1, True)
    told = daemon.mozart("run", write_score(tmp_path, "say x", name="third", workspace_lock="warn"), "--detach")
    assert told.returncode == 0


# ---- D12, D16 -------------------------------------------------------------------------------------------------------


def test_D12_events_are_the_newest_first_and_bounded(start_daemon: Start, tmp_path: Path) -> None:
    daemon = start_daemon(workers=1)
    job = daemon.run(write_score(tmp_path, "say hello"))
    daemon.wait(job)
    with database(daemon) as opened:
        opened.executemany(
            "INSERT INTO events (id, at, type, job, data) VALUES (?, ?, 'old.one', NULL, '{}')",
            [(10_000 + n, 1.7e9 + n) for n in range(300)],
        )
        opened.commit()
    daemon.kill("coordinator")
    wait_until(daemon.is_listening)

    def ids(*options: str) -> list[int]:
        done = daemon.mozart("events", "--json", *options)
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["id"] for line in done.stdout.splitlines()]

    newest = ids()
    assert newest == sorted(newest, reverse=True)
    assert len(newest) == 100
    assert ids("--tail", "3") == newest[:3]
    assert ids("--since", "10297")[-2:] == [10299, 10298]
    assert set(ids("--since", "2023-11-14T22:13:20+00:00")) >= {10000, 10299}
    assert 10_299 not in ids("--since", "1h")
    assert len(ids("--since", "0")) > 300
    told = ids(job)
    assert told == sorted(told)
    assert ids(job, "--tail", "2") == told[-2:]
    assert "--tail 1000" in daemon.mozart("events").stderr
    for wrong in ("", "soon", "2026-13-01"):
        refused = daemon.mozart("events", "--since", wrong)
        assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)


def test_D16_events_of_no_job_and_what_scopes_used_are_bounded(start_daemon: Start, tmp_path: Path) -> None:
    daemon = start_daemon({"history_jobs": 1}, workers=1)
    daemon.stop()
    with database(daemon) as opened:
        opened.execute("DELETE FROM events")
        opened.executemany(
            "INSERT INTO events (id, at, type, job, data) VALUES (?, ?, 'old.one', NULL, '{}')",
            [(1000 + n, 1.7e9) for n in range(5000)],
        )
        opened.execute("INSERT INTO holds (scope, since, until, reason, evidence) VALUES ('a/b/c', 1.0, 2.0, '', '')")
        opened.execute("INSERT INTO spending (scope, day, usd, tokens) VALUES ('a/b/c', '2020-01-01', 1, 1)")
        opened.commit()
    daemon.start()

    def counts() -> list[int]:
        queries = ("events WHERE type = 'old.one'", "holds", "spending")
        with database(daemon) as opened:
            return [opened.execute(f"SELECT COUNT(*) FROM {query}").fetchone()[0] for query in queries]

    wait_until(lambda: counts() == [0, 0, 0])


def test_D16_an_ended_attempts_event_says_what_it_ran_on_and_used(shared_daemon: Daemon, tmp_path: Path) -> None:
    job = shared_daemon.run(write_score(tmp_path, "say hello"))
    shared_daemon.wait(job)
    (event,) = [each for each in shared_daemon.events(job) if each["type"] == "attempt.finished"]
    assert event["data"]["backend"] == "command"
    assert event["data"].keys() >= {"model", "tokens", "cost_usd"}


# ---- C2, C24 --------------------------------------------------------------------------------------------------------


def test_C02_gc_lists_fifty_counts_all_and_a_lowered_setting_acts_at_reload(
    start_daemon: Start, tmp_path: Path
) -> None:
    daemon = start_daemon(workers=1)
    jobs = [daemon.run(write_score(tmp_path, "say hello")) for _ in range(3)]
    for job in jobs:
        daemon.wait(job)
    logs = daemon.home / "logs"
    for n in range(80):
        marks.make_log_directory(str(logs / f"stray-{n}"))
        (logs / f"stray-{n}" / "1.1.log").write_bytes(b"x" * 10)
        (logs / f"stray-{n}" / "1.1.prompt").write_bytes(b"x" * 1000)
    shown = daemon.mozart("gc", "--dry-run").stdout.splitlines()
    assert len(shown) == 53, "a head, 50 lines, the rest counted, the sums"
    assert shown[51] == "… and 30 more: 60 files, 30 KiB"
    asked = daemon.request("gc", dry_run=True)
    assert asked["removed_bytes"] == 80 * 1010
    assert asked["log_bytes"] > 80 * 1010
    (daemon.home / "config.yaml").write_text(json.dumps({"history_jobs": 1, "stop_grace_seconds": 0.5}))
    assert daemon.mozartd("reload").returncode == 0
    wait_until(lambda: daemon.status()["jobs"] == {"completed": 1})
    wait_until(lambda: not (logs / jobs[0]).exists())
    assert daemon.mozart("gc").returncode == 0
    assert sorted(path.name for path in logs.iterdir()) == [jobs[2]]


def test_C02_the_database_gives_back_what_it_does_not_need(start_daemon: Start, tmp_path: Path) -> None:
    """Also one of before, which was not made for it."""
    daemon = start_daemon({"history_jobs": 1}, workers=1)
    daemon.stop()
    with database(daemon) as opened:
        opened.execute("PRAGMA auto_vacuum = 0")
        opened.execute("PRAGMA journal_mode = DELETE")
        opened.execute("VACUUM")
        opened.executemany(
            "INSERT INTO answers (key, at, answer) VALUES (?, 1.0, ?)", [(str(n), "x" * 4000) for n in range(1000)]
        )
        opened.execute("DELETE FROM answers")
        opened.commit()
    size = (daemon.home / "state" / "mozart.db").stat().st_size
    daemon.start()
    assert daemon.mozart("gc").returncode == 0
    assert (daemon.home / "state" / "mozart.db").stat().st_size < size / 4
    with database(daemon) as opened:
        assert opened.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_C24_a_round_looks_at_what_changed_in_parts_and_remembers_little(tmp_path: Path) -> None:
    for job in ("a-1", "b-2"):
        (tmp_path / job).mkdir()
        for n in range(1, 100):
            (tmp_path / job / f"{n}.1.log").write_bytes(b"x" * 10)
            (tmp_path / job / f"{n}.1.prompt").write_bytes(b"x" * 5)
    assert sorted(log.sheet for log in shelf.scan(str(tmp_path), "a-1", 10)) == [*range(1, 100)]
    rounds, done = Rounds(str(tmp_path), tuple), list[Action]()
    wide = Bounds(1 << 30, 1 << 30, None)
    for _ in rounds.play(None, wide, 0.0, done.append):
        pass
    assert (rounds.bytes, done) == (2 * 99 * 15, [])
    for job in ("a-1", "b-2"):
        (tmp_path / job / "100.1.log").write_bytes(b"x" * 10)
    for _ in rounds.play(["a-1"], wide, 0.0, done.append):
        pass
    assert rounds.bytes == 2 * 99 * 15 + 10, "nobody said anything of the other"
    for _ in rounds.play([], Bounds(1 << 30, rounds.bytes - 100, None), 0.0, done.append):
        pass
    assert sum(action.bytes for action in done if isinstance(action, Drop)) == 105, "with each log its prompt"
