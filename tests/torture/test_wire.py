"""The sockets under attack: whatever is sent, only who sends it pays.

Every request with any parameters is answered, refused or costs its connection; never is there an internal error, a
traceback or another coordinator. Under floods, half frames and idle crowds others are answered as before.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipc.client import connect_unix
from ipc.connection import hello
from ipc.errors import RPC_INTERNAL
from ipc.frames import MAX_FRAME, FrameDecoder, encode_frame
from ipc.messages import METHODS
from tests.bench import quantile
from tests.process.conftest import check_end
from tests.process.daemon import Daemon, wait_until, write_score
from tests.torture.attackers import ATTACKS, attacked
from tests.torture.load import submission

Score = Callable[..., Path]

#: Seconds that anything hostile gets to be answered or hung up on.
PATIENCE = 20.0
EXAMPLES = settings(
    max_examples=int(os.environ.get("TORTURE_EXAMPLES", "150")), suppress_health_check=list(HealthCheck)
)

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, -1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**40, 0.0, -0.5, 1e-300, 1e18, 1e308, "",
     "\0", "song", "song-1", "song-", "../..", "/", "{{", "%s%n", "é\U0001f600\u202e", "\ud800", "x" * 5000, "a/b/c", [],
     [[]], [1], [-1], ["song-1"], [None], {}, {"a": 1}, {"1.1": 5}, {"1.1": -5}, {"1.1": 2**63}, {"x": 0}, {"1.1": "a"}]
)  # fmt: skip
#: What some request knows by that name.
NAMES = ("job", "jobs", "sheet", "sheets", "attempt", "after", "since", "follow", "tail", "cursors", "states", "all", "limit",
         "score", "path", "source", "environment", "start_sheet", "at", "group", "any", "from", "now", "priority",
         "scope", "seconds", "reason", "name", "parallel")  # fmt: skip
#: What each needs before it looks at anything else.
NEEDED = {"wait": ("jobs",), "limits.clear": ("scope",), "hold": ("scope",), "group.set": ("name",),
          "priority": ("job", "priority"), "submit": ("score", "path")}  # fmt: skip


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon that all of this must leave as it was, with a job that has ended."""
    with tempfile.TemporaryDirectory(prefix="mz", ignore_cleanup_errors=True) as home:
        daemon = Daemon(Path(home)).start()
        pid = daemon.pid("coordinator")
        daemon.wait(daemon.run(write_score(tmp_path_factory.mktemp("song"), "say one", "say two")))
        yield daemon
        assert daemon.pid("coordinator") == pid, "it died"
        check_end(daemon)


# ---- requests -------------------------------------------------------------------------------------------------------


def frame_of(document: Any) -> bytes:
    """Any JSON, also such as orjson would not write."""
    body = json.dumps(document).encode()
    return len(body).to_bytes(4, "big") + body


@contextmanager
def connected(path: str) -> Iterator[socket.socket]:
    peer = connect_unix(path, PATIENCE)
    try:
        yield peer
    finally:
        peer.close()


def answers(peer: socket.socket) -> Iterator[dict[str, Any]]:
    """What it sends, until it hangs up."""
    decoder = FrameDecoder()
    while True:
        try:
            data = peer.recv(1 << 20)
        except ConnectionResetError:
            return
        if not data:
            return
        yield from decoder.feed(data)


def ask(daemon: Daemon, method: Any, params: Any) -> dict[str, Any] | None:
    """The answer; None when it hung up."""
    with connected(daemon.socket) as peer:
        peer.sendall(
            encode_frame(hello("client")) + frame_of({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        )
        found = (frame for frame in answers(peer) if frame.get("type") != "hello" and "method" not in frame)
        return next(found, None)


def check_answer(answer: dict[str, Any] | None) -> None:
    if answer and "error" in answer:
        assert answer["error"]["code"] != RPC_INTERNAL, answer
        assert answer["error"]["message"].startswith("cannot "), answer


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    method = draw(st.sampled_from(METHODS))
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    params = {name: draw(ODD) for name in (*NEEDED.get(method, ("job",)), *names)}
    if method == "daemon.drain":
        params["x"] = 1  # it would be obeyed
    if method == "wait":
        params["timeout"] = draw(st.sampled_from([0, 0.01, -1, "", True]))
    return method, params


@EXAMPLES
@given(requests())
def test_any_request_is_answered_or_refused(target: Daemon, request_: tuple[str, dict[str, Any]]) -> None:
    check_answer(ask(target, *request_))


def leaves(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value in a document, also of those that hold others."""
    if path:
        yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from leaves(value, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy: Any = json.loads(json.dumps(document))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A submission with a bit of everything."""
    rules = [{"type": "file_exists", "path": "{workspace}/x"}, {"type": "command_succeeds", "command": "true"}]
    path = write_score(tmp_path_factory.mktemp("good"), "say one", "say two", name="good", validations=rules)
    return submission(path)


@EXAMPLES
@given(st.data())
def test_any_score_is_taken_or_refused(target: Daemon, good: dict[str, Any], data: st.DataObject) -> None:
    where = data.draw(st.sampled_from(list(leaves(good["score"]))))
    check_answer(ask(target, "submit", {**good, "score": replaced(good["score"], where, data.draw(ODD))}))


# ---- bytes ----------------------------------------------------------------------------------------------------------


def sockets(daemon: Daemon) -> list[str]:
    return [daemon.socket, str(Path(daemon.socket).with_name("workers.sock"))]


@EXAMPLES
@given(st.binary(max_size=200), st.booleans(), st.integers(0, 1))
def test_noise_costs_its_sender_the_connection(target: Daemon, noise: bytes, greeted: bool, which: int) -> None:
    role = ("client", "worker")[which]
    with connected(sockets(target)[which]) as peer:
        with suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall((encode_frame(hello(role)) if greeted and not which else b"") + noise)
            peer.shutdown(socket.SHUT_WR)
        for _ in answers(peer):
            pass


FIELDS = st.dictionaries(
    st.sampled_from(
        ["type", "attempt", "worker", "pid", "slots", "running", "unacknowledged", "size", "event", "bytes"]
    ),
    ODD | st.sampled_from(["hello", "finished", "started", "grew", "noted", "progress", "draining", "song-1:1:1"]),
)


@EXAMPLES
@given(FIELDS)
def test_frames_of_no_worker_cost_the_connection(target: Daemon, fields: dict[str, Any]) -> None:
    """A worker is a child of the supervisor, whatever somebody else says."""
    workers = target.status()["workers"]
    with connected(sockets(target)[1]) as peer:
        with suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(frame_of({**hello("worker"), **fields}))
            peer.sendall(frame_of({"type": "grew", **fields}))
            peer.shutdown(socket.SHUT_WR)
        for _ in answers(peer):
            pass
    assert [worker["pid"] for worker in target.status()["workers"]] == [worker["pid"] for worker in workers]


def test_a_frame_over_the_cap_is_refused_before_its_body(target: Daemon) -> None:
    for path in sockets(target):
        with connected(path) as peer:
            peer.sendall((MAX_FRAME + 1).to_bytes(4, "big"))
            (refusal,) = answers(peer)
        assert "cap" in refusal["error"]["message"]


# ---- crowds ---------------------------------------------------------------------------------------------------------


def p99(daemon: Daemon, seconds: float = 0.5) -> float:
    """Of a client's requests, in seconds."""
    taken = []
    with daemon.client() as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            client.request("daemon.status")
            taken.append(time.perf_counter() - begin)
    return quantile(taken, 0.99)


def memory(pid: int) -> int:
    """Resident bytes."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


#: Bytes that it may cost at any moment to be attacked so.
MEMORY = 200_000_000


@pytest.mark.parametrize("attack", ATTACKS)
def test_others_are_served_as_before(target: Daemon, attack: str) -> None:
    """The reach is 2×, held by `make bench`; a busy machine of two cores, one of them the attacker's, gets more room here."""
    pid = target.pid("coordinator")
    before, quiet = memory(pid), p99(target)
    with attacked(attack, target.socket):
        under_attack = p99(target)
        assert memory(pid) - before < MEMORY
        assert target.mozart("list").returncode == 0, "who comes meanwhile is let in"
    print(f"{attack}: p99 {1000 * quiet:.2f} ms, under attack {1000 * under_attack:.2f} ms")
    assert under_attack < max(10 * quiet, 0.5)
    wait_until(lambda: descriptors(pid) < 60)


def test_many_that_wait_keep_no_request_from_being_answered(target: Daemon, tmp_path: Path) -> None:
    job = target.run(write_score(tmp_path, "hang", name="lasting"))
    with connected(target.socket) as peer:
        peer.sendall(encode_frame(hello("client")))
        for n in range(20):
            peer.sendall(request(n, "logs.follow", job=job, follow=True))
            peer.sendall(request(100 + n, "wait", jobs=[job]))
        peer.sendall(request(999, "daemon.status"))
        assert any(frame.get("id") == 999 for frame in answers(peer))
    target.request("cancel", job=job)
    target.wait(job)


def request(n: int, method: str, **params: Any) -> bytes:
    return encode_frame({"jsonrpc": "2.0", "id": n, "method": method, "params": params})


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


# ---- other users ----------------------------------------------------------------------------------------------------

#: Connects as nobody; prints what it gets.
AS_NOBODY = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(10)
try:
    peer.connect(sys.argv[1])
except PermissionError as error:
    sys.exit(f"refused: {error.strerror}")
peer.sendall(bytes.fromhex(sys.argv[2]))
print(peer.recv(65536)[4:].decode())
"""


def as_nobody(path: str, role: str) -> subprocess.CompletedProcess[str]:
    greeting = encode_frame({**hello(role), "worker": "x", "slots": 1}).hex()
    return subprocess.run(
        [sys.executable, "-I", "-c", AS_NOBODY, path, greeting], capture_output=True, text=True, timeout=30
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_stopped_by_the_modes_and_if_they_are_open_by_the_peer_check(daemon: Daemon) -> None:
    for path, role in zip(sockets(daemon), ("client", "worker"), strict=True):
        assert "refused: Permission denied" in as_nobody(path, role).stderr
        for place, mode in ((daemon.home, 0o755), (Path(path).parent, 0o755), (Path(path), 0o666)):
            place.chmod(mode)
        done = as_nobody(path, role)
        assert "user" in done.stdout or "uid 65534" in done.stdout, done
        assert '"role"' not in done.stdout, "no hello for him"
        Path(path).parent.chmod(0o700)
