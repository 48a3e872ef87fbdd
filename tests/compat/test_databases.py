"""Old data are tests: a daemon goes on with the database of every released schema, and refuses a newer one in a sentence.

The dumps were made by the daemons of their time (`make`): a job in each state, one of them in the middle of its work when
everything was killed.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mozartd.store.statements import load_migrations
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, processes_of

DUMPS = sorted(Path(__file__).parent.glob("version-*.sql"), key=lambda path: int(path.stem.partition("-")[2]))

#: What a dump may hold; `paused` and what waits for another job came with version 2.
STATES = {
    "etude-1": "completed",
    "fugue-2": "failed",
    "gavotte-3": "cancelled",
    "sonata-4": "running",
    "nocturne-5": "paused",
    "postlude-6": "queued",
}


@pytest.fixture
def old(home: Path, tmp_path: Path) -> Iterator[Callable[[Path], Daemon]]:
    """`old(dump)`: a daemon that has not started yet, over that database."""
    made: list[Daemon] = []

    def load(dump: Path) -> Daemon:
        # Whatever the year, these jobs are not too old to be kept.
        daemon = Daemon(home, {"history_days": 100_000})
        made.append(daemon)
        (home / "state").mkdir(mode=0o700)
        with closing(sqlite3.connect(home / "state" / "mozart.db")) as database:
            database.executescript(dump.read_text().replace("@PLACE@", str(tmp_path)))
        return daemon

    yield load
    for daemon in made:
        check_end(daemon)


def set_version(daemon: Daemon, version: int) -> None:
    with closing(sqlite3.connect(daemon.home / "state" / "mozart.db")) as database:
        database.execute(f"PRAGMA user_version = {version}")


def test_there_is_a_database_of_every_released_schema() -> None:
    missing = set(range(1, len(load_migrations()) + 1)) - {int(path.stem.partition("-")[2]) for path in DUMPS}
    assert not missing, "python -m tests.compat.make"


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
def test_it_is_read_and_what_was_interrupted_ends(old: Callable[[Path], Daemon], dump: Path, tmp_path: Path) -> None:
    daemon = old(dump).start()
    listed = json.loads(daemon.mozart("list", "--all", "--json").stdout)["jobs"]
    found = {job["id"]: job["state"] for job in listed}
    assert set(found) >= {"etude-1", "fugue-2", "gavotte-3", "sonata-4"}
    assert found == {job: state for job, state in STATES.items() if job in found}
    assert re.search("exited with 3", daemon.mozart("status", "fugue-2").stdout)
    assert daemon.request("limits")["holds"][0]["scope"]["backend"] == "claude_cli"
    (tmp_path / "sonata" / "open").parent.mkdir(exist_ok=True)
    (tmp_path / "sonata" / "open").touch()
    for job in [job for job in found if job.startswith(("sonata", "postlude"))]:
        assert daemon.wait(job)["state"] == "completed"
    sheets = daemon.job("sonata-4")["sheets"]
    assert [len(sheet["attempts"]) for sheet in sheets] == [1, 2, 1], "the interrupted one ran again, no other did"
    assert sheets[1]["attempts"][0]["verdict"] == "interrupted"
    if "nocturne-5" in found:
        assert daemon.job("nocturne-5")["job"]["state"] == "paused", "a job that its user paused stays paused"
        assert daemon.request("cancel", job="nocturne-5")
    assert daemon.request("retry", job="fugue-2")
    assert daemon.wait("fugue-2")["state"] == "failed", "retried, with the score of then"


def test_a_newer_one_is_refused_and_left_as_it_is(old: Callable[[Path], Daemon]) -> None:
    daemon, known = old(DUMPS[-1]), len(load_migrations())
    set_version(daemon, known + 1)
    done = daemon.mozartd("start")
    assert done.returncode == 1
    assert f"it has version {known + 1}, this Mozart knows {known}" in done.stderr
    assert not processes_of(daemon.home)
    done = daemon.mozart("list", "--json")
    assert done.returncode == 4, "nobody answers"
    set_version(daemon, known)
    assert daemon.start().job("sonata-4")["job"]["state"] == "running", "nothing was touched"
