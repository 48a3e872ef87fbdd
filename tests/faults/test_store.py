"""What is kept, and what is removed: archives, logs, the database."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

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
