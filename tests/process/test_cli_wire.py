"""The command line against the other end of its wire: a coordinator that answers, dies and comes back as a test says."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipc import PROTOCOL, VERSION, cri
from ipc.frames import FrameDecoder, encode_frame
from tests import ROOT

Talk = Callable[["Peer"], object]


class Peer:
    """One accepted connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = FrameDecoder()
        self._frames: list[dict[str, Any]] = []

    def read(self) -> dict[str, Any]:
        while not self._frames:
            data = self._connection.recv(65536)
            assert data, "the client hung up"
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def send(self, **frame: Any) -> None:
        self._connection.sendall(encode_frame(frame))

    def answer(self, request: dict[str, Any], result: Any) -> None:
        self.send(jsonrpc="2.0", id=request["id"], result=result)

    def notify(self, method: str, **params: Any) -> None:
        self.send(jsonrpc="2.0", method=method, params={"subscription": 1, "job": "song-1", **params})

    def chunk(self, text: str, offset: int, **more: Any) -> int:
        """Send one; where the next begins."""
        end = offset + len(text)
        place = {"sheet": 1, "attempt": 1, "backend": "command", **more}
        self.notify("logs.chunk", offset=offset, end=end, text=text, **place)
        return end

    def end(self, state: str = "completed", exit_code: int = 0) -> None:
        self.notify("logs.end", state=state, reason="", exit_code=exit_code)


class Wire:
    """A socket whose connections are served one after another, each by the next of `talks`."""

    def __init__(self, path: str, talks: list[Talk]) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(path)
        self._server.listen()
        self._talks = talks
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        try:
            for talk in self._talks:
                self._server.settimeout(20)
                connection, _ = self._server.accept()
                with connection:
                    connection.settimeout(20)
                    peer = Peer(connection)
                    assert peer.read()["role"] == "client"
                    peer.send(
                        type="hello", protocol=PROTOCOL, version=VERSION, role="coordinator", pid=1, submit_env=["PATH"]
                    )
                    talk(peer)
        except BaseException as error:
            self.problem = error
        finally:
            self._server.close()

    def finish(self) -> None:
        self._thread.join()
        if self.problem:
            raise self.problem


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`serve(talk, talk…)`: the path of a socket; what went wrong on the other end fails the test."""
    wires: list[Wire] = []

    def start(*talks: Talk) -> str:
        path = str(tmp_path / "wire.sock")
        wires.append(Wire(path, list(talks)))
        return path

    yield start
    for wire in wires:
        wire.finish()


def mozart(path: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {"MOZART_SOCKET": path, "PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60)


def records(first: int, count: int) -> str:
    return "".join(f"{cri.timestamp(n).decode()} stdout F line {n}\n" for n in range(first, first + count))


def lines(first: int, count: int) -> bytes:
    return b"".join(b"line %d\n" % n for n in range(first, first + count))


def test_no_line_is_lost_and_none_comes_twice_when_the_daemon_dies(serve: Callable[..., str]) -> None:
    first, second, third = records(0, 10), records(10, 5), records(15, 3)

    def dies_after_two_chunks(peer: Peer) -> None:
        request = peer.read()
        assert request["params"] == {"job": "song", "sheet": 1, "follow": True, "tail": 7}
        peer.answer(request, {"job": "song-1", "subscription": 1})
        peer.chunk(second, peer.chunk(first, 0))
        peer.chunk(third, 5000)  # announced, but cut in half by its death
        peer._connection.shutdown(socket.SHUT_RDWR)

    def hangs_up_at_once(peer: Peer) -> None:
        peer.read()

    def goes_on(peer: Peer) -> None:
        request = peer.read()
        assert request["params"]["job"] == "song-1"
        at = request["params"]["cursors"]["1.1"]
        peer.answer(request, {"job": "song-1", "subscription": 1})
        whole = (first + second + third).encode()
        assert whole[at - 1 : at] == b"\n" or at == 5000 + len(third)
        peer.end("failed", 1)

    done = mozart(
        serve(dies_after_two_chunks, hangs_up_at_once, goes_on), "logs", "song", "--sheet", "1", "-f", "--tail", "7"
    )
    assert done.stdout == lines(0, 18)
    assert done.returncode == 1
    assert done.stderr.decode() == "mozart: lost the daemon; reconnecting…\n"


def test_run_follows_events_and_logs_over_two_lives(serve: Callable[..., str]) -> None:
    def event(peer: Peer, number: int, kind: str, **more: Any) -> None:
        peer.notify("events.event", id=number, time="2026-11-23T02:15:06.123Z", type=kind, data={}, **more)

    def subscribe(peer: Peer) -> tuple[dict[str, Any], dict[str, Any]]:
        events, logs = peer.read(), None
        peer.answer(events, {"subscription": 2})
        # What a subscription sends may overtake the answer to the next request.
        if events["params"]["since"] == 0:
            event(peer, 7, "sheet.running", sheet=1, attempt=1)
        logs = peer.read()
        peer.answer(logs, {"job": "song-1", "subscription": 1})
        return events["params"], logs["params"]

    def watch(peer: Peer) -> None:
        request = peer.read()
        peer.answer(request, {"job": {"id": "song-1", "sheets": {"pending": 2}}, "sheets": [], "next": None})
        assert subscribe(peer) == ({"job": "song-1", "since": 0, "follow": True}, {"job": "song-1", "follow": True})
        peer.chunk(records(0, 2), 0)
        event(peer, 8, "sheet.completed", sheet=1, attempt=1)

    def again(peer: Peer) -> None:
        events, logs = subscribe(peer)
        assert events["since"] == 8
        assert logs["cursors"] == {"1.1": len(records(0, 2))}
        event(peer, 9, "job.completed")
        peer.end()
        peer.notify("events.end", state="completed", reason="", exit_code=0)

    def take(peer: Peer) -> None:
        request = peer.read()
        assert request["method"] == "submit"
        peer.answer(request, {"job": "song-1"})

    score = Path(__file__).parents[2] / "examples" / "hello.yaml"
    done = mozart(serve(take, watch, again), "run", str(score), "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [one["id"] for one in found if "id" in one] == [7, 8, 9]
    assert [one["line"] for one in found if "line" in one] == ["line 0", "line 1"]
    assert found[-1] == {"type": "end", "job": "song-1", "state": "completed", "reason": "", "exit_code": 0}


def test_an_error_of_the_daemon_is_a_sentence_a_hint_and_an_exit_code(serve: Callable[..., str]) -> None:
    def refuse(peer: Peer) -> None:
        request = peer.read()
        data = {"code": "E403", "hint": "make room", "exit_code": 3}
        peer.send(jsonrpc="2.0", id=request["id"], error={"code": -32000, "message": "cannot do that", "data": data})

    done = mozart(serve(refuse), "cancel", "song", "--json")
    assert done.returncode == 3
    assert done.stderr == b"mozart: cannot do that\nhint: make room\n"
    assert json.loads(done.stdout) == {"error": {"code": "E403", "message": "cannot do that", "hint": "make room"}}


def test_a_daemon_that_hangs_up_is_said(serve: Callable[..., str]) -> None:
    done = mozart(serve(lambda peer: None), "list")
    assert done.returncode == 4
    assert b"mozart: lost the daemon" in done.stderr


def test_a_question_goes_on_where_its_coordinator_died(serve: Callable[..., str]) -> None:
    """Between two pages, before an answer, and in the middle of one."""
    jobs = [{"id": f"song-{n}"} for n in (3, 2, 1)]

    def first_page(peer: Peer) -> None:
        peer.answer(peer.read(), {"jobs": jobs[:2], "total": 3, "next": 2})

    def hangs_up(peer: Peer) -> None:
        peer.read()

    def half_an_answer(peer: Peer) -> None:
        peer._connection.sendall(encode_frame({"jsonrpc": "2.0", "id": peer.read()["id"], "result": "x" * 50})[:30])

    def second_page(peer: Peer) -> None:
        request = peer.read()
        assert request["params"]["before"] == 2
        peer.answer(request, {"jobs": jobs[2:], "total": 3, "next": None})

    done = mozart(serve(first_page, hangs_up, half_an_answer, second_page), "list", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {"jobs": jobs, "total": 3}


def test_what_changes_something_is_asked_again_with_its_key(serve: Callable[..., str]) -> None:
    keys: list[str] = []

    def hangs_up(peer: Peer) -> None:
        keys.append(peer.read()["params"]["key"])

    def answers(peer: Peer) -> None:
        request = peer.read()
        keys.append(request["params"]["key"])
        peer.answer(request, {"job": "song-1", "sheets": [1]})

    done = mozart(serve(hangs_up, hangs_up, answers), "cancel", "song-1")
    assert done.stdout == b"cancelled song-1: sheet 1\n"
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_a_change_whose_daemon_went_for_good_may_have_been_made(serve: Callable[..., str]) -> None:
    done = mozart(serve(Peer.read), "cancel", "song-1")
    assert done.returncode == 4
    assert b"mozart: lost the daemon" in done.stderr
    assert b"hint: it may have done that" in done.stderr


def test_a_first_subscription_is_made_again(serve: Callable[..., str]) -> None:
    def hangs_up(peer: Peer) -> None:
        peer.read()

    def answers(peer: Peer) -> None:
        peer.answer(peer.read(), {"job": "song-1", "subscription": 1})
        peer.chunk(records(0, 1), 0)
        peer.end()

    done = mozart(serve(hangs_up, answers), "logs", "song", "--sheet", "1", "-f")
    assert (done.stdout, done.stderr, done.returncode) == (lines(0, 1), b"", 0)


def test_a_follower_waits_for_a_daemon_that_comes_back_later(serve: Callable[..., str], tmp_path: Path) -> None:
    """The whole daemon is gone for a moment: no socket at all."""

    def dies(peer: Peer) -> None:
        peer.answer(peer.read(), {"job": "song-1", "subscription": 1})
        peer.chunk(records(0, 1), 0)
        os.unlink(tmp_path / "wire.sock")
        revived.append(Wire(str(tmp_path / "wire.sock"), [goes_on]))

    def goes_on(peer: Peer) -> None:
        peer.answer(peer.read(), {"job": "song-1", "subscription": 1})
        peer.end()

    revived: list[Wire] = []
    done = mozart(serve(dies), "logs", "song", "--sheet", "1", "-f")
    revived[0].finish()
    assert (done.stdout, done.returncode) == (lines(0, 1), 0)


@pytest.mark.parametrize("how", ["logs", "run", "run --json"])
def test_what_is_gone_is_said_in_its_place_and_not_asked_for_again(serve: Callable[..., str], how: str) -> None:
    """Half a line before the gap is no part of what follows it."""
    gone = {"sheet": 1, "attempt": 1, "offset": 1000, "end": 5_000_000, "why": "log_attempt_bytes"}
    begun = f"{cri.timestamp(0).decode()} stdout P half a line\n"

    def tells(peer: Peer) -> None:
        peer.chunk(begun, 1000 - len(begun))
        peer.notify("logs.gone", **gone)

    def first(peer: Peer) -> None:
        if how != "logs":
            request = peer.read()
            peer.answer(request, {"job": {"id": "song-1", "sheets": {"pending": 1}}, "sheets": [], "next": None})
            peer.answer(peer.read(), {"subscription": 2})
        peer.answer(peer.read(), {"job": "song-1", "subscription": 1})
        tells(peer)

    def second(peer: Peer) -> None:
        if how != "logs":
            peer.answer(peer.read(), {"subscription": 2})
            peer.notify("events.end", state="completed", reason="", exit_code=0)
        request = peer.read()
        assert request["params"]["cursors"] == {"1.1": 5_000_000}
        peer.answer(request, {"job": "song-1", "subscription": 1})
        peer.chunk(records(1, 1), 5_000_000)
        peer.end()

    def take(peer: Peer) -> None:
        peer.answer(peer.read(), {"job": "song-1"})

    def ended(peer: Peer) -> None:
        peer.read()

    sentence = b"mozart: sheet 1: 4.8 MiB of its log (4999000 bytes from 1000) are gone: log_attempt_bytes\n"
    if how == "logs":
        done = mozart(serve(first, second), "logs", "song", "--sheet", "1", "-f")
        assert done.stdout == b"half a line\nline 1\n"
        assert done.stderr.startswith(sentence)
        return
    score = str(Path(__file__).parents[2] / "examples" / "hello.yaml")
    if how == "run":
        done = mozart(serve(take, first, second, ended), "run", score)
        assert done.stdout == b"mozart: song-1 is submitted\nhalf a line\n" + sentence + b"line 1\n"
        return
    done = mozart(serve(take, first, second), "run", score, "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one.get("line") or one["type"] for one in found] == ["half a line", "gone", "line 1", "end"]
    assert found[1] == {"type": "gone", "job": "song-1", **gone}
