"""Makes the database of one released schema: plays a few jobs with the daemon of that time, kills it, and dumps what it left.

    python -m tests.compat.make [CHECKOUT]     writes tests/compat/version-<n>.sql; CHECKOUT: of the commit to make it with

Run it once, without argument, for the schema version that a migration makes, and check in what it writes; never again
for an older one, whose dump is evidence. In the dump `@PLACE@` stands for the directory of the scores. What a version had
tables for but no command that fills them is inserted here.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.process.daemon import Daemon, wait_until

#: Before everything else on the path, also before a checkout that is installed.
SCRIPT = "#!{python}\nimport sys\nsys.path.insert(0, {root!r})\nfrom mozartd.entry import {name}\nsys.exit({name}())\n"

#: The second of three sheets waits until the test opens the way.
UNFINISHED = 'test "$MOZART_SHEET" != 2 || until test -e "$MOZART_WORKSPACE/open"; do sleep 0.1; done; echo played'


def score(place: Path, name: str, script: str, sheets: int = 1) -> Path:
    path = place / f"{name}.yaml"
    document: dict[str, Any] = {
        "name": name,
        "workspace": str(place / name),
        "backend": {"type": "command", "command": ["sh", "-c", script]},
        "sheet": {"size": 1, "total_items": sheets},
        "prompt": {"template": "Play sheet {{ sheet_num }}."},
        "retry": {"max_retries": 1},
        "pause_between_sheets_seconds": 0,
    }
    path.write_text(json.dumps(document, indent=1))
    return path


def play(daemon: Daemon, place: Path) -> None:
    """One job in each state that this version has; at the end sheet 2 of `sonata` runs."""
    offered = daemon.mozart("--help").stdout
    daemon.wait(daemon.run(score(place, "etude", "echo played", 2)))
    daemon.wait(daemon.run(score(place, "fugue", "echo wrong >&2; exit 3")))
    cancelled = daemon.run(score(place, "gavotte", "sleep 1000"))
    daemon.wait_for(cancelled, "attempt.started")
    assert daemon.mozart("cancel", cancelled).returncode == 0
    daemon.wait(cancelled)
    sonata = daemon.run(score(place, "sonata", UNFINISHED, 3))
    if re.search(r"^\W+pause ", offered, re.MULTILINE):
        assert daemon.mozart("group", "set", "loud", "--parallel", "2").returncode == 0
        paused = daemon.run(score(place, "nocturne", "sleep 1000"), "--group", "loud")
        daemon.wait_for(paused, "attempt.started")
        assert daemon.mozart("pause", paused, "--now").returncode == 0
        daemon.run(score(place, "postlude", "echo played"), "--after", sonata)
    daemon.wait_for(sonata, "attempt.started", 2)
    wait_until(lambda: daemon.job(sonata)["sheets"][1]["state"] == "running")


def fill(database: sqlite3.Connection) -> None:
    """A hold that ends in the year 2100, and what a budget counted: no agent of these jobs meets a limit."""
    hold = ("claude_cli/default/*", 1763856000.0, 4102444800.0, "fugue-2:1:1 hit a limit", "resets at 00:00")
    database.execute("INSERT INTO holds (scope, since, until, reason, evidence) VALUES (?, ?, ?, ?, ?)", hold)
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if "spending" in tables:
        database.execute("INSERT INTO spending (scope, day, usd, tokens) VALUES ('*', '2025-11-23', 1.25, 123456)")
    database.commit()
    empty = [name for name in tables if not database.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0]]
    assert not empty, f"nothing in {empty}"


def dump(database: sqlite3.Connection, place: Path) -> str:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    lines = [*database.iterdump(), f"PRAGMA user_version = {version};"]
    return "\n".join(lines).replace(str(place), "@PLACE@") + "\n"


def make(checkout: Path) -> Path:
    with tempfile.TemporaryDirectory(prefix="mz") as home, tempfile.TemporaryDirectory(prefix="mz") as scores:
        daemon, place = Daemon(Path(home)), Path(scores)
        daemon.environment["PATH"] = "/usr/local/bin:/usr/bin:/bin"
        for name in ("mozart", "mozartd"):
            (daemon.scripts / name).write_text(SCRIPT.format(python=sys.executable, root=str(checkout), name=name))
        try:
            play(daemon.start(), place)
        finally:
            daemon.kill_everything()
        database = sqlite3.connect(os.path.join(home, "state", "mozart.db"))
        fill(database)
        (version,) = database.execute("PRAGMA user_version").fetchone()
        target = Path(__file__).with_name(f"version-{version}.sql")
        target.write_text(dump(database, place))
        database.close()
    return target


if __name__ == "__main__":
    print(make(Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT))
