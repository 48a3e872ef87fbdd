"""What clients may ask and how they are answered: over the wire, with right and wrong requests, many and few."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipc.client import Client, Disconnected, connect_unix
from ipc.connection import hello
from ipc.errors import EXIT_USAGE, MozartError
from ipc.frames import MAX_FRAME, Frame, FrameDecoder, encode_frame
from ipc.messages import METHODS
from tests.process.asking import ended, following, open_gate, outcome, play, reach, states, submission, submit
from tests.process.daemon import Daemon, wait_until

Score = Callable[..., Path]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


def refusal(daemon: Daemon, method: str, **params: Any) -> MozartError:
    with pytest.raises(MozartError) as caught:
        daemon.request(method, **params)
    return caught.value


# ---- finding a job ------------------------------------------------------------------------------------------------


def test_a_job_is_found_by_id_by_prefix_and_by_its_name_for_the_newest(shared_daemon: Daemon, score: Score) -> None:
    path = score("say 1", name="Found Thing")
    first, second = play(shared_daemon, path)["id"], play(shared_daemon, path)["id"]
    assert first.startswith("found-thing-")
    for typed, expected in [(first, first), ("Found Thing", second), (second, second)]:
        assert shared_daemon.job(typed)["job"]["id"] == expected
    assert shared_daemon.mozart("status", "Found Thing", "--json").returncode == 0


def test_an_ambiguous_prefix_names_what_it_may_be(shared_daemon: Daemon, score: Score) -> None:
    path = score("say 1", name="twin")
    jobs = [play(shared_daemon, path)["id"] for _ in range(2)]
    error = refusal(shared_daemon, "status", job="twin-")
    assert error.code == "ambiguous_job"
    assert all(job in error.message for job in jobs)
    unique = play(shared_daemon, score("say 1", name="single"))["id"]
    assert shared_daemon.job("singl")["job"]["id"] == unique


@pytest.mark.parametrize("method", ["status", "cancel", "retry", "prompt", "logs.follow"])
def test_an_unknown_job_is_named_with_the_nearest(shared_daemon: Daemon, score: Score, method: str) -> None:
    job = play(shared_daemon, score("say 1", name="memorable"))["id"]
    error = refusal(shared_daemon, method, job=job.replace("memorable", "memorabel"))
    assert error.code == "unknown_job"
    assert "memorabel" in error.message
    assert "memorable" in error.hint
    assert "mozart list" in refusal(shared_daemon, method, job="zzzzzzz").hint


def test_odd_names_of_jobs_that_are_not_there(shared_daemon: Daemon) -> None:
    # Other tests share this daemon and may well have named a job `%`: nobody called one so.
    for typed in ["", "\ud7ff", "%", "_", "a'b", "..", "x" * 100_000, "\0"]:
        assert refusal(shared_daemon, "status", job=f"\U0010ffff{typed}").code == "unknown_job"


@pytest.mark.parametrize(
    ("name", "slug"), [("🎻🎻", "job-"), ("a/b/../c", "a-b-c-"), ("Müller & Söhne", "muller-sohne-")]
)
def test_any_name_makes_an_id_for_a_path_and_a_shell(shared_daemon: Daemon, score: Score, name: str, slug: str) -> None:
    path = score("say played")
    path.write_text(path.read_text().replace('"song"', f'"{name}"'))
    job = submit(shared_daemon, path)
    assert job.startswith(slug)
    assert job.removeprefix(slug).isdigit()
    assert ended(shared_daemon, job)["name"] == name
    assert shared_daemon.job(name)["job"]["id"] == job


# ---- wrong requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_what_nobody_asked_for_is_refused(shared_daemon: Daemon, method: str) -> None:
    error = refusal(shared_daemon, method, job="x", score={}, path="x", scope="x", name="x", priority=1, nonsense=1)
    assert error.code == "-32602", error
    assert "cannot use" in error.message


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("status", {"job": 7}, "cannot use job = 7"),
        ("status", {"after": -1}, "cannot use after = -1"),
        ("status", {"after": 2**63}, "whole number"),
        ("status", {"after": True}, "whole number"),
        ("list", {"states": "failed"}, "a list"),
        ("cancel", {"job": "x", "sheets": [True]}, "whole numbers"),
        ("cancel", {}, "cannot use job = None"),
        ("events.follow", {"since": 2**64 - 1}, "whole number"),
        ("wait", {"jobs": ["x"], "timeout": -1}, "seconds"),
        ("logs.follow", {"job": "x", "cursors": {"1.x": 0}}, "cursor"),
        ("logs.follow", {"job": "x", "cursors": {"1.1": -1}}, "cursor"),
        ("logs.follow", {"job": "x", "cursors": {"1.1": 2**63}}, "cursor"),
        ("submit", {"score": []}, "an object"),
    ],
)
def test_wrong_parameters_are_refused_by_name(
    shared_daemon: Daemon, method: str, params: dict[str, Any], words: str
) -> None:
    error = refusal(shared_daemon, method, **params)
    assert error.code == "-32602"
    assert words in error.message


def test_an_unknown_state_and_an_unknown_method(shared_daemon: Daemon) -> None:
    error = refusal(shared_daemon, "list", states=["broken"])
    assert (error.code, error.exit_code) == ("unknown_state", EXIT_USAGE)
    assert "completed" in error.hint
    assert refusal(shared_daemon, "explode").code == "E404"


def test_unknown_sheets(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    job = submit(shared_daemon, score("gate one", "say 2"))
    for method, params in [("cancel", {"sheets": [3]}), ("logs.follow", {"sheet": 3}), ("cancel", {"sheets": [0]})]:
        error = refusal(shared_daemon, method, job=job, **params)
        assert error.code == "unknown_sheet"
        assert "has 2 sheets" in error.message
    assert refusal(shared_daemon, "prompt", job=job, sheet=2).code == "no_prompt"
    open_gate(workspace / "one")
    ended(shared_daemon, job)
    assert refusal(shared_daemon, "retry", job=job, sheets=[3]).code == "unknown_sheet"


@contextmanager
def raw(daemon: Daemon, greet: bool = True) -> Iterator[socket.socket]:
    with connect_unix(daemon.socket, 10) as peer:
        if greet:
            peer.sendall(encode_frame(hello("client")))
        yield peer


def frames(peer: socket.socket, count: int) -> list[Frame]:
    """So many frames, or what came until the other end hung up."""
    decoder, found = FrameDecoder(), list[Frame]()
    while len(found) < count and (data := peer.recv(1 << 20)):
        found += decoder.feed(data)
    return found


def call(id: Any, method: str = "list", **params: Any) -> bytes:
    return encode_frame({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def test_a_client_of_another_protocol_gets_a_sentence_and_no_answer(shared_daemon: Daemon) -> None:
    """Nor is it heard when it says something better in the same breath."""
    with raw(shared_daemon, greet=False) as peer:
        peer.sendall(encode_frame({**hello("client"), "protocol": 99}) + encode_frame(hello("client")) + call(1))
        (refused,) = frames(peer, 9)
    assert "protocol 99" in refused["error"]["message"]


@pytest.mark.parametrize(
    "frame",
    [
        {"id": 1, "method": "list"},
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "id": 1, "method": 7},
        {"jsonrpc": "2.0", "method": "list"},
        {},
    ],
)
def test_what_is_no_request_is_answered_so_and_the_connection_lives(shared_daemon: Daemon, frame: Frame) -> None:
    with raw(shared_daemon) as peer:
        peer.sendall(encode_frame(frame) + call("after"))
        answers = frames(peer, 3)[1:]
    assert answers[0]["error"]["code"] == -32600
    assert answers[0]["id"] == frame.get("id")
    assert answers[1]["id"] == "after"
    assert "result" in answers[1]


@pytest.mark.parametrize("params", [[], "text", 7, [1]])
def test_params_that_are_no_object(shared_daemon: Daemon, params: Any) -> None:
    with raw(shared_daemon) as peer:
        peer.sendall(encode_frame({"jsonrpc": "2.0", "id": 1, "method": "status", "params": params}))
        answer = frames(peer, 2)[1]
    assert ("error" in answer) == bool(params), "an empty one says nothing, like none"


@pytest.mark.parametrize(
    "noise", [b"\xff\xff\xff\xff", (MAX_FRAME + 1).to_bytes(4, "big"), b"\0\0\0\1{", b"\0\0\0\2[]"]
)
def test_a_bad_frame_costs_its_sender_the_connection(shared_daemon: Daemon, noise: bytes) -> None:
    with raw(shared_daemon) as peer:
        peer.sendall(noise)
        refused = frames(peer, 9)[-1]
    assert refused["error"]["message"].startswith("cannot read a frame")
    assert shared_daemon.is_listening()


def test_half_a_frame_and_silence_disturb_nobody(shared_daemon: Daemon) -> None:
    with raw(shared_daemon) as half, raw(shared_daemon, greet=False), raw(shared_daemon) as full:
        half.sendall(call(1)[:7])
        full.sendall(call(2))
        assert frames(full, 2)[1]["id"] == 2


def test_a_thousand_requests_at_once_are_all_answered(shared_daemon: Daemon) -> None:
    with raw(shared_daemon) as peer:
        sender = threading.Thread(target=peer.sendall, args=(b"".join(call(n) for n in range(1000)),))
        sender.start()
        answers = frames(peer, 1001)[1:]
        sender.join()
    assert sorted(answer["id"] for answer in answers) == list(range(1000))


def test_hundreds_of_connections_at_once(shared_daemon: Daemon) -> None:
    peers = [connect_unix(shared_daemon.socket, 10) for _ in range(300)]
    try:
        for n, peer in enumerate(peers):
            peer.sendall(encode_frame(hello("client")) + call(n))
        assert [frames(peer, 2)[1]["id"] for peer in peers] == list(range(300))
    finally:
        for peer in peers:
            peer.close()


# ---- wait ---------------------------------------------------------------------------------------------------------


def test_wait_for_all_for_any_and_not_for_ever(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    held = submit(shared_daemon, score("gate one", name="held"))
    failed = submit(shared_daemon, score("exit 3", name="lost", retry={"max_retries": 1}))
    found = shared_daemon.request("wait", jobs=[held, failed], any=True)["jobs"]
    assert [job["state"] for job in found] == ["running", "failed"]
    begun = time.monotonic()
    found = shared_daemon.request("wait", jobs=[held, failed], timeout=0.2)["jobs"]
    assert 0.2 <= time.monotonic() - begun < 10
    assert [job["state"] for job in found] == ["running", "failed"]
    assert shared_daemon.mozart("wait", held, "--timeout", "0.1").returncode == 124
    assert shared_daemon.mozart("wait", held, failed, "--any").returncode == 1
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(ended, shared_daemon, held) for _ in range(5)]
        open_gate(workspace / "one")
        assert [one.result()["state"] for one in waiting] == ["completed"] * 5
    assert shared_daemon.mozart("wait", held, failed).returncode == 1
    assert shared_daemon.mozart("wait", held).returncode == 0
    assert shared_daemon.request("wait", jobs=[]) == {"jobs": []}


def test_wait_ends_with_a_cancellation(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    job = submit(shared_daemon, score("gate one"))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(shared_daemon.mozart, "wait", job)
        reach(workspace / "one")
        shared_daemon.request("cancel", job=job)
        assert waiting.result().returncode == 3


# ---- many sheets, many jobs ---------------------------------------------------------------------------------------


def large(score: Score, sheets: int, **fields: Any) -> Path:
    """A score of many sheets that all do the same."""
    return score("say one", sheet={"total_items": sheets}, **fields)


def test_sheets_come_in_pages(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    path = score("gate one", sheet={"total_items": 4500, "dependencies": {n: [1] for n in range(2, 4501)}})
    job = submit(shared_daemon, path)
    reach(workspace / "one")
    for _ in ("running", "cancelled"):
        numbers: list[int] = []
        after: int | None = 0
        while after is not None:
            page = shared_daemon.request("status", job=job, after=after)
            assert len(page["sheets"]) <= 2000
            assert sum(page["job"]["sheets"].values()) == 4500
            numbers += [sheet["n"] for sheet in page["sheets"]]
            after = page["next"]
        assert numbers == list(range(1, 4501))
        assert shared_daemon.request("status", job=job, after=4500)["sheets"] == []
        shared_daemon.request("cancel", job=job) if _ == "running" else None
        ended(shared_daemon, job)


def test_ten_thousand_sheets_are_taken_and_listed_soon(shared_daemon: Daemon, score: Score) -> None:
    given = submission(shared_daemon, large(score, 10_000, pause_between_sheets_seconds=60))
    begun = time.monotonic()
    job = shared_daemon.request("submit", **given)["job"]
    taken = time.monotonic()
    assert job in [one["id"] for one in shared_daemon.request("list")["jobs"]]
    listed = time.monotonic()
    shared_daemon.request("status", job=job)
    asked = time.monotonic()
    shared_daemon.request("cancel", job=job)
    assert (taken - begun < 8, listed - taken < 2, asked - listed < 3) == (True, True, True)
    assert ended(shared_daemon, job)["state"] == "cancelled"


def test_others_are_answered_while_a_large_job_is_taken(shared_daemon: Daemon, score: Score) -> None:
    given = submission(shared_daemon, large(score, 20_000, pause_between_sheets_seconds=60))
    longest = 0.0
    with ThreadPoolExecutor() as pool, shared_daemon.client() as client:
        taking = pool.submit(shared_daemon.request, "submit", **given)
        while not taking.done():
            begun = time.monotonic()
            client.request("list", {"limit": 1})
            longest = max(longest, time.monotonic() - begun)
        job = taking.result()["job"]
    shared_daemon.request("cancel", job=job)
    assert longest < 3


def test_lists_by_state_and_number(shared_daemon: Daemon, score: Score, workspace: Path) -> None:
    done = play(shared_daemon, score("say 1", name="listed"))["id"]
    running = submit(shared_daemon, score("gate one", name="listed"))

    def listed(**params: Any) -> list[str]:
        return [job["id"] for job in shared_daemon.request("list", **params)["jobs"]]

    reach(workspace / "one")
    assert running in listed()
    assert done not in listed()
    assert listed(all=True, limit=2) == [running, done], "the newest first"
    assert listed(states=["completed"], limit=1) == [done]
    assert running in listed(states=["running", "failed"])
    open_gate(workspace / "one")
    ended(shared_daemon, running)


# ---- what was acknowledged, and what was not ----------------------------------------------------------------------


@contextmanager
def disk_that_takes_nothing(daemon: Daemon) -> Iterator[None]:
    """Another process has the database's write lock: what the daemon changes cannot be saved meanwhile."""
    with sqlite3.connect(daemon.home / "state" / "mozart.db", isolation_level=None, timeout=30) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    other.close()


def test_a_submission_whose_client_has_gone_is_a_job_like_any_other(daemon: Daemon, score: Score) -> None:
    """What is on disk runs; what was taken back before that leaves nothing."""
    given = submission(daemon, score("say 1", name="orphan"))
    with disk_that_takes_nothing(daemon), raw(daemon) as peer:
        peer.sendall(b"".join(call(n, "submit", **given) for n in range(20)))
        frames(peer, 1)
        wait_until(is_quiet(daemon.pid("coordinator")))
    wait_until(lambda: not [job for job in daemon.request("list")["jobs"] if job["state"] != "queued"])
    jobs = [job["id"] for job in daemon.request("list", all=True)["jobs"]]
    assert jobs
    assert {ended(daemon, job)["state"] for job in jobs} == {"completed"}


def is_quiet(pid: int) -> Callable[[], bool]:
    """Whether a process has used no processor for a while: it has done what it could with what it was given."""
    looks: list[float] = []

    def look() -> bool:
        looks.append(sum(psutil.Process(pid).cpu_times()[:2]))
        return len(looks) > 20 and looks[-20] == looks[-1]

    return look


def test_nothing_is_told_that_is_not_on_disk(daemon: Daemon, score: Score, workspace: Path) -> None:
    job = submit(daemon, score("gate one\nsay done"))
    reach(workspace / "one")
    with following(daemon, job) as logs, daemon.client() as events, ThreadPoolExecutor() as pool:
        events.request("events.follow", {"job": job, "since": 0, "follow": True})
        waiting = pool.submit(ended, daemon, job)
        with disk_that_takes_nothing(daemon):
            open_gate(workspace / "one")
            read_until_quiet(logs, b"done")
            assert not waiting.done()
        kinds = [event["type"] for method, event in until_end(events) if method == "events.event"]
        assert kinds[-3:] == ["attempt.finished", "sheet.completed", "job.completed"]
        assert waiting.result()["state"] == "completed"
        assert list(until_end(logs))[-1][1]["state"] == "completed"


def read_until_quiet(client: Client, word: bytes) -> None:
    """Read a log up to a word; its end must not be told in the second after."""
    seen = b""
    client.set_timeout(1.5)
    try:
        for method, params in client.notifications():
            assert method == "logs.chunk", f"{params} although the disk took nothing"
            seen += params["text"].encode()
    except Disconnected:
        client.set_timeout(30)
    assert word in seen


def until_end(client: Client) -> Iterator[tuple[str, dict[str, Any]]]:
    for method, params in client.notifications():
        yield method, params
        if method.endswith(".end"):
            return


def test_a_sheet_cancelled_before_its_assignment_is_sent_does_not_run_on(
    daemon: Daemon, score: Score, workspace: Path
) -> None:
    """It has been started in the book, its row is not on disk, so its worker has not heard of it."""
    job = submit(daemon, score("gate one", "say begun\nhang"))
    reach(workspace / "one")
    coordinator = daemon.pid("coordinator")
    with ThreadPoolExecutor() as pool:
        with disk_that_takes_nothing(daemon):
            open_gate(workspace / "one")
            wait_until(is_quiet(coordinator))
            cancelling = pool.submit(daemon.request, "cancel", job=job)
            wait_until(is_quiet(coordinator))
        assert cancelling.result()["sheets"] == [2]
    assert ended(daemon, job)["state"] == "cancelled"
    assert states(outcome(daemon, job)) == {1: "completed", 2: "cancelled"}


def test_numbers_too_large_for_the_database_are_refused_and_the_daemon_goes_on(daemon: Daemon, score: Score) -> None:
    given = submission(daemon, score("say 1"))
    given["score"]["sheet"].update(size=2**63, total_items=2**63)
    error = refusal(daemon, "submit", **given)
    assert "cannot" in error.message
    assert play(daemon, score("say 1"))["state"] == "completed"


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given["score"].update(nonsense=1),
        lambda given: given["score"]["sheet"].update(total_items=0),
        lambda given: given["score"]["sheet"].update(dependencies={"1": [1]}),
        lambda given: given["score"].update(isolation={"enabled": True}),
        lambda given: given.update(start_sheet=9),
        lambda given: given.update(score={}),
    ],
    ids=["a wrong key", "no sheets", "a cycle", "not built", "no such sheet", "nothing"],
)
def test_the_daemon_believes_no_client(shared_daemon: Daemon, score: Score, change: Callable[[Any], None]) -> None:
    given = submission(shared_daemon, score("say 1"))
    change(given)
    error = refusal(shared_daemon, "submit", **given)
    assert error.code == "E301"
    assert error.exit_code == EXIT_USAGE


def test_only_the_variables_that_are_asked_for_are_taken(start_daemon: Callable[..., Daemon], score: Score) -> None:
    daemon = start_daemon({"submit_env": ["PATH", "WANTED_*"]}, workers=1)
    given = submission(daemon, score("env WANTED_ONE\nenv SECRET_TWO"))
    given["environment"].update(WANTED_ONE="yes", SECRET_TWO="no", WANTED_THREE=3)
    job = daemon.request("submit", **given)["job"]
    assert ended(daemon, job)["state"] == "completed"
    assert daemon.mozart("logs", job, "--raw").stdout == "yes\n\n"
    database = b"".join(path.read_bytes() for path in (daemon.home / "state").glob("mozart.db*"))
    assert b"SECRET_TWO" not in database.replace(b"env SECRET_TWO", b"")


def test_start_sheet_skips_what_comes_before(shared_daemon: Daemon, score: Score) -> None:
    job = submit(shared_daemon, score("exit 3", "say 2", sheet={"dependencies": {2: [1]}}), start_sheet=2)
    assert ended(shared_daemon, job)["state"] == "completed"
    assert states(outcome(shared_daemon, job)) == {1: "skipped", 2: "completed"}


def test_two_hundred_submissions_at_once_have_two_hundred_numbers(shared_daemon: Daemon, score: Score) -> None:
    given = submission(shared_daemon, score("say 1"))
    with raw(shared_daemon) as peer:
        sender = threading.Thread(target=peer.sendall, args=(b"".join(call(n, "submit", **given) for n in range(200)),))
        sender.start()
        jobs = {answer["result"]["job"] for answer in frames(peer, 201)[1:]}
        sender.join()
    assert len(jobs) == 200
    found = shared_daemon.request("wait", jobs=sorted(jobs), timeout=50)["jobs"]
    assert {job["state"] for job in found} == {"completed"}


def test_the_socket_is_ours_alone(shared_daemon: Daemon) -> None:
    found = os.stat(shared_daemon.socket)
    assert oct(found.st_mode & 0o777) == "0o600"
    assert oct(os.stat(os.path.dirname(shared_daemon.socket)).st_mode & 0o777) == "0o700"
