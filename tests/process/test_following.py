"""Following: before the job starts, after a lost connection, from the end, late, by many; every byte once and in order."""

from __future__ import annotations

import base64
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from ipc import cri
from ipc.client import Client
from ipc.errors import MozartError
from tests.bench.flood import flood
from tests.process.asking import ended, following, open_gate, play, reach, submit
from tests.process.daemon import Daemon, wait_until

Score = Callable[..., Path]
Key = tuple[int, int]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


class Taken:
    """What a follower has of each attempt's log; checks that no byte is missing, none comes twice, every chunk is whole."""

    def __init__(self) -> None:
        self.logs: dict[Key, bytes] = defaultdict(bytes)
        self.begins: dict[Key, int] = {}
        self.order: list[Key] = []
        self.end: dict[str, Any] | None = None

    def take(self, method: str, params: dict[str, Any]) -> None:
        if method == "logs.end":
            self.end = params
            return
        key = (params["sheet"], params["attempt"])
        data = base64.b64decode(params["base64"]) if "base64" in params else params["text"].encode()
        begin = self.begins.setdefault(key, params["offset"])
        assert params["offset"] == begin + len(self.logs[key]), "a gap, or a byte twice"
        assert params["end"] == params["offset"] + len(data)
        assert data.endswith(b"\n"), "half a record"
        self.logs[key] += data
        self.order.append(key)

    def output(self, sheet: int = 1, attempt: int = 1) -> bytes:
        """What the agent printed, as it printed it."""
        found = cri.records(self.logs[sheet, attempt])
        return b"".join(record.content + b"\n" * record.full for record in found)

    def cursors(self) -> dict[str, int]:
        """Where to go on, as the command line does after a lost connection."""
        return {f"{n}.{k}": self.begins[n, k] + len(log) for (n, k), log in self.logs.items()}


def read(client: Client, taken: Taken | None = None, until: Callable[[Taken], bool] | None = None) -> Taken:
    """Take what comes until the end, or until it is enough."""
    taken = taken or Taken()
    for method, params in client.notifications():
        taken.take(method, params)
        if taken.end is not None or (until is not None and until(taken)):
            return taken
    raise AssertionError("unreachable")


def read_all(daemon: Daemon, job: str, **params: Any) -> Taken:
    with following(daemon, job, **params) as client:
        return read(client)


# ---- from when to when --------------------------------------------------------------------------------------------


def test_from_before_the_job_starts_to_its_end(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    path = score("gate one\nsay first\nerr second\nexit 3", retry={"max_retries": 1})
    job = submit(shared_daemon, path, at=None)
    with following(shared_daemon, job) as client:
        open_gate(workspace / "one")
        taken = read(client)
    assert taken.end == {
        "subscription": 1, "job": job, "state": "failed", "reason": taken.end["reason"], "exit_code": 1,
    }  # fmt: skip
    assert [(record.stream, record.content) for record in cri.records(taken.logs[1, 1])] == [
        (b"stdout", b"first"), (b"stderr", b"second"),
    ]  # fmt: skip


def test_of_a_job_that_waits_for_another(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    first = submit(shared_daemon, score("gate one", name="first"))
    second = submit(shared_daemon, score("say begun", name="second"), after=first)
    with following(shared_daemon, second) as client:
        open_gate(workspace / "one")
        assert read(client).output() == b"begun\n"


def test_of_a_job_that_has_ended(shared_daemon: Daemon, score: Score) -> None:
    found = play(shared_daemon, score("attempt 1: say one\nattempt 1: exit 3\nsay two"))
    for follow in (True, False):
        taken = read_all(shared_daemon, found["id"], follow=follow)
        assert (taken.output(1, 1), taken.output(1, 2)) == (b"one\n", b"two\n")
        assert taken.order == [(1, 1), (1, 2)]
        assert taken.end is not None
        assert taken.end["exit_code"] == 0


def test_what_is_there_now_and_no_more(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    job = submit(shared_daemon, score("say early\ngate one\nsay late", "say next"))
    reach(workspace / "one")
    wait_until(lambda: read_all(shared_daemon, job, follow=False).output() == b"early\n")
    taken = read_all(shared_daemon, job, follow=False)
    assert taken.end is not None
    assert (taken.end["state"], taken.end["exit_code"]) == ("running", 0)
    open_gate(workspace / "one")
    ended(shared_daemon, job)


def test_what_is_there_of_an_agent_that_never_stops(shared_daemon: Daemon, score: Score) -> None:
    """It writes faster than anybody reads; who does not follow gets an end all the same."""
    job = submit(shared_daemon, score("flood 100000000000"))
    try:
        shared_daemon.wait_for(job, "attempt.started")
        wait_until(lambda: read_all(shared_daemon, job, follow=False).logs)
    finally:
        shared_daemon.request("cancel", job=job)
    assert ended(shared_daemon, job)["state"] == "cancelled"


# ---- across connections -------------------------------------------------------------------------------------------


def test_from_a_cursor_every_byte_comes_once(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    """Hang up again and again, go on where the last chunk ended."""
    job = submit(shared_daemon, score("flood 3000000\ngate one\nflood 3000000"))
    taken, sizes = Taken(), [0]
    while len(sizes) < 8:
        with following(shared_daemon, job, cursors=taken.cursors()) as client:
            read(client, taken, lambda taken: len(taken.logs[1, 1]) > sizes[-1])
        sizes.append(len(taken.logs[1, 1]))
    open_gate(workspace / "one")
    with following(shared_daemon, job, cursors=taken.cursors()) as client:
        read(client, taken)
    assert taken.output() == flood(3_000_000) * 2


def test_a_cursor_at_the_end_gets_only_the_end(shared_daemon: Daemon, score: Score) -> None:
    found = play(shared_daemon, score("say one"))
    first = read_all(shared_daemon, found["id"])
    again = read_all(shared_daemon, found["id"], cursors=first.cursors())
    assert not again.logs
    assert again.end is not None


def test_cursors_of_several_attempts(shared_daemon: Daemon, score: Score) -> None:
    found = play(shared_daemon, score("say a\nattempt 1: exit 3\nsay b", "say c"))
    whole = read_all(shared_daemon, found["id"])
    rest = read_all(shared_daemon, found["id"], cursors={**whole.cursors(), "1.2": 0})
    assert rest.logs == {(1, 2): whole.logs[1, 2]}
    beyond = read_all(shared_daemon, found["id"], cursors={"1.1": 10**15, "9.9": 5})
    assert set(beyond.logs) == {(1, 2), (2, 1)}


def test_across_a_coordinators_death(daemon: Daemon, score: Score, workspace: Path) -> None:
    job = submit(daemon, score("flood 2000000\ngate one\nflood 2000000\nsay end"))
    taken = Taken()
    with following(daemon, job) as client:
        read(client, taken, lambda taken: len(taken.logs[1, 1]) > 500_000)
        daemon.kill("coordinator")
        with contextlib.suppress(MozartError):
            read(client, taken)
    wait_until(daemon.is_listening)
    with following(daemon, job, cursors=taken.cursors()) as client:
        open_gate(workspace / "one")
        read(client, taken)
    assert taken.output() == flood(2_000_000) * 2 + b"end\n"


# ---- what is in it ------------------------------------------------------------------------------------------------


def test_bytes_that_are_no_text(shared_daemon: Daemon, score: Score) -> None:
    every = bytes(range(256)).replace(b"\n", b"") + b"\n"
    found = play(shared_daemon, score(f"say plain\nbytes {every.hex()}\nbytes c3\nbytes a4ff0a\nnonl end"))
    taken = read_all(shared_daemon, found["id"])
    assert taken.output() == b"plain\n" + every + "ä".encode() + b"\xff\nend"


def test_a_line_longer_than_any_window(shared_daemon: Daemon, score: Score) -> None:
    found = play(shared_daemon, score("endless 5000000\nsay\nsay short"))
    assert read_all(shared_daemon, found["id"]).output() == b"x" * 5_000_000 + b"\nshort\n"


# ---- parts of it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(0, b""), (1, b"last"), (2, b"three\nlast"), (4, b"one\ntwo\nthree\nlast"), (99, b"one\ntwo\nthree\nlast")],
)
def test_the_last_lines(shared_daemon: Daemon, score: Score, lines: int, expected: bytes) -> None:
    """Its last line has no end."""
    found = play(shared_daemon, score("say one\nsay two\nsay three\nnonl last"))
    assert read_all(shared_daemon, found["id"], tail=lines).output() == expected


def test_the_last_lines_and_what_follows(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    job = submit(shared_daemon, score("flood 1000000\nsay one\nsay two\ngate one\nsay three"))
    reach(workspace / "one")
    wait_until(lambda: read_all(shared_daemon, job, follow=False, tail=1).output() == b"two\n")
    with following(shared_daemon, job, tail=1) as client:
        taken = read(client, until=lambda taken: bool(taken.logs))
        open_gate(workspace / "one")
        assert read(client, taken).output() == b"two\nthree\n"


def test_one_sheet_or_one_attempt(shared_daemon: Daemon, score: Score) -> None:
    found = play(shared_daemon, score("say a\nattempt 1: exit 3\nsay b", "say c"))
    assert set(read_all(shared_daemon, found["id"], sheet=1).logs) == {(1, 1), (1, 2)}
    assert set(read_all(shared_daemon, found["id"], sheet=1, attempt=2).logs) == {(1, 2)}
    assert set(read_all(shared_daemon, found["id"], attempt=1).logs) == {(1, 1), (2, 1)}
    assert not read_all(shared_daemon, found["id"], sheet=2, attempt=7).logs


def test_several_sheets_in_one_stream(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    """Live ones are mixed as they come; each one's bytes are its own."""
    scripts = [f"say begun {n}\ngate go.{n}\nsay done {n}" for n in range(1, 5)]
    job = submit(shared_daemon, score(*scripts, parallel={"enabled": True, "max_concurrent": 4}))
    with following(shared_daemon, job) as client:
        taken = read(client, until=lambda taken: len(taken.logs) == 4)
        for n in (3, 1, 4, 2):
            open_gate(workspace / f"go.{n}")
            read(client, taken, lambda taken, n=n: b"done" in taken.logs[n, 1])
        read(client, taken)
    assert [taken.output(n) for n in range(1, 5)] == [b"begun %d\ndone %d\n" % (n, n) for n in range(1, 5)]


def test_the_command_prefixes_several_sheets(shared_daemon: Daemon, score: Score) -> None:
    found = play(shared_daemon, score("say one", "say two"))
    assert shared_daemon.mozart("logs", found["id"]).stdout == "[1] one\n[2] two\n"
    assert shared_daemon.mozart("logs", found["id"], "--sheet", "2").stdout == "two\n"
    lines = shared_daemon.mozart("logs", found["id"], "-f", "--json").stdout.splitlines()
    assert [orjson.loads(line).get("line") for line in lines] == ["one", "two", None]


# ---- many ---------------------------------------------------------------------------------------------------------


def test_who_joins_late_has_missed_nothing(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    job = submit(shared_daemon, score("flood 700000\ngate one\nsay middle\ngate two\nsay end"))

    def has_read(word: bytes) -> Callable[[Taken], bool]:
        return lambda taken: word in taken.logs[1, 1][-200:]

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(following(shared_daemon, job))]
        takens = [read(clients[0], until=lambda taken: len(taken.output()) == 700_000 // 180 * 180 + 180)]
        open_gate(workspace / "one")
        read(clients[0], takens[0], has_read(b"middle"))
        clients.append(stack.enter_context(following(shared_daemon, job)))
        takens.append(read(clients[1], until=has_read(b"middle")))
        clients.append(stack.enter_context(following(shared_daemon, job)))
        open_gate(workspace / "two")
        takens.append(Taken())
        for client, taken in zip(clients, takens, strict=True):
            read(client, taken)
    assert {taken.output() for taken in takens} == {flood(700_000) + b"middle\nend\n"}


def test_several_subscriptions_of_one_connection(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    first = submit(shared_daemon, score("gate one\nsay first", name="first"))
    second = submit(shared_daemon, score("say second", name="second"))
    with shared_daemon.client() as client:
        answers = [client.request("logs.follow", {"job": job, "follow": True}) for job in (first, second)]
        assert [answer["subscription"] for answer in answers] == [1, 2]
        takens: dict[int, Taken] = {1: Taken(), 2: Taken()}
        open_gate(workspace / "one")
        for method, params in until_ends(client, 2):
            takens[params["subscription"]].take(method, params)
    assert [takens[n].output() for n in (1, 2)] == [b"first\n", b"second\n"]


def until_ends(client: Client, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for method, params in client.notifications():
        yield method, params
        count -= method.endswith(".end")
        if not count:
            return


def test_a_follower_that_leaves_is_forgotten(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    job = submit(shared_daemon, score("gate one\nsay end"))
    wait_until(lambda: shared_daemon.status()["followers"] == 0)
    with following(shared_daemon, job), following(shared_daemon, job):
        assert shared_daemon.status()["followers"] == 2
    wait_until(lambda: shared_daemon.status()["followers"] == 0)
    with following(shared_daemon, job) as client:
        open_gate(workspace / "one")
        assert read(client).output() == b"end\n"
    wait_until(lambda: shared_daemon.status()["followers"] == 0)


# ---- events -------------------------------------------------------------------------------------------------------


def test_events_come_in_order_from_the_first_or_from_any(shared_daemon: Daemon, score: Score) -> None:
    found = play(shared_daemon, score("attempt 1: exit 3\nsay done", "say 2", sheet={"dependencies": {2: [1]}}))
    events = list(shared_daemon.events(found["id"]))
    assert [event["type"] for event in events] == [
        "job.queued", "job.running", "sheet.running", "attempt.started", "attempt.finished", "sheet.waiting",
        "sheet.pending", "sheet.running", "attempt.started", "attempt.finished", "sheet.completed", "sheet.running",
        "attempt.started", "attempt.finished", "sheet.completed", "job.completed",
    ]  # fmt: skip
    ids = [event["id"] for event in events]
    assert ids == sorted(set(ids))
    with shared_daemon.client() as client:
        client.request("events.follow", {"job": found["id"], "since": ids[4], "follow": False})
        rest = [params["id"] for method, params in until_ends(client, 1) if method == "events.event"]
    assert rest == ids[5:]


def test_events_of_many_jobs_at_once_miss_no_jobs_end(shared_daemon: Daemon, score: Score) -> None:
    """Each follower's last event is its job's, however the commits of all of them fall."""
    path = score("say one", "say two")
    jobs = [submit(shared_daemon, path) for _ in range(12)]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(shared_daemon.client()) for _ in jobs]
        for job, client in zip(jobs, clients, strict=True):
            client.request("events.follow", {"job": job, "since": 0, "follow": True})
        for client in clients:
            kinds = [params.get("type") for method, params in until_ends(client, 1) if method == "events.event"]
            assert kinds[-1] == "job.completed"
