"""Both ends of a socket: the blocking client and the asyncio connection, over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ipc import PROTOCOL, VERSION
from ipc.client import Client, Disconnected, NotListening, connect_unix
from ipc.connection import Connection, hello, hello_problem
from ipc.errors import EXIT_UNREACHABLE, EXIT_USAGE, MozartError
from ipc.frames import MAX_FRAME, Frame, FrameDecoder, encode_frame

GREETING = encode_frame(hello("coordinator"))


# ---- hellos -----------------------------------------------------------------------------------------------------


def test_a_hello_is_no_problem() -> None:
    assert hello("worker", slots=3) == {
        "type": "hello", "protocol": PROTOCOL, "version": VERSION, "role": "worker", "pid": os.getpid(), "slots": 3,
    }  # fmt: skip
    assert hello_problem(hello("client"), "client") == ""


def test_another_protocol_gets_a_sentence_with_both_versions() -> None:
    problem = hello_problem({"type": "hello", "protocol": 99, "version": "9.9"}, "client")
    assert problem.startswith("cannot talk to this client: it is version 9.9 (protocol 99)")
    assert f"version {VERSION} (protocol {PROTOCOL})" in problem


@pytest.mark.parametrize("frame", [{}, {"type": "assign"}, {"jsonrpc": "2.0", "id": 1, "method": "list"}])
def test_another_first_frame_gets_a_sentence(frame: Frame) -> None:
    assert "its first frame is not a hello" in hello_problem(frame, "client")


# ---- the blocking client ----------------------------------------------------------------------------------------


@contextmanager
def answering(path: Path, *answers: bytes, linger: bool = False) -> Iterator[list[Frame]]:
    """A server for one client: its n-th answer goes out when the n-th frame has come. Gives the frames it got."""
    got: list[Frame] = []

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            decoder, left = FrameDecoder(), list(answers)
            while left and (data := peer.recv(1 << 20)):
                for frame in decoder.feed(data):
                    got.append(frame)
                    if left:
                        peer.sendall(left.pop(0))
            while linger and peer.recv(1 << 20):
                pass

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield got
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def talking(path: Path, *answers: bytes, linger: bool = False) -> Iterator[Client]:
    """A client that was greeted by such a server."""
    with answering(path, GREETING, *answers, linger=linger), Client(str(path), 5) as client:
        yield client


def result(call: int, value: Any) -> bytes:
    return encode_frame({"jsonrpc": "2.0", "id": call, "result": value})


def note(n: int) -> bytes:
    return encode_frame({"jsonrpc": "2.0", "method": "note", "params": {"n": n}})


def test_a_request_and_its_answer(tmp_path: Path) -> None:
    with answering(tmp_path / "s", GREETING, result(1, {"a": 1})) as got, Client(str(tmp_path / "s"), 5) as client:
        assert client.daemon["version"] == VERSION
        assert client.request("list", {"all": True}) == {"a": 1}
    assert got[0] == hello("client")
    assert got[1] == {"jsonrpc": "2.0", "id": 1, "method": "list", "params": {"all": True}}


def test_an_answer_in_pieces(tmp_path: Path) -> None:
    whole = result(1, "x" * 3_000_000)
    with answering(tmp_path / "s", GREETING, whole) as got, Client(str(tmp_path / "s"), 5) as client:
        assert client.request("list") == "x" * 3_000_000
    assert got[1]["params"] == {}


def test_notifications_before_the_answer_are_kept_in_order(tmp_path: Path) -> None:
    answers = note(1) + note(2) + result(1, "yes") + note(3)
    with talking(tmp_path / "s", answers, linger=True) as client:
        assert client.request("logs.follow") == "yes"
        assert client.has_frames()
        notes = client.notifications()
        assert [next(notes)[1]["n"] for _ in range(3)] == [1, 2, 3]
        assert not client.has_frames()


def test_the_answer_to_another_request_is_passed_over(tmp_path: Path) -> None:
    with talking(tmp_path / "s", result(7, "old") + result(1, "new")) as client:
        assert client.request("list") == "new"


def test_an_error_is_raised_with_its_code_and_hint(tmp_path: Path) -> None:
    error = MozartError("unknown_job", "cannot find a job 'x'", "did you mean y?", EXIT_USAGE)
    answer = encode_frame({"jsonrpc": "2.0", "id": 1, "error": error.as_rpc()})
    with talking(tmp_path / "s", answer) as client, pytest.raises(MozartError) as caught:
        client.request("status")
    raised = caught.value
    assert (raised.code, raised.message, raised.hint, raised.exit_code) == (
        "unknown_job", "cannot find a job 'x'", "did you mean y?", EXIT_USAGE,
    )  # fmt: skip


def test_an_error_that_names_no_request_is_ours(tmp_path: Path) -> None:
    answer = encode_frame({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "cannot read that"}})
    with talking(tmp_path / "s", answer) as client, pytest.raises(MozartError, match="cannot read that"):
        client.request("status")


def test_a_daemon_that_hangs_up_is_disconnected(tmp_path: Path) -> None:
    with talking(tmp_path / "s", b"") as client, pytest.raises(Disconnected, match="it hung up"):
        client.request("status")


def test_a_daemon_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with talking(tmp_path / "s", b"", linger=True) as client:
        client.set_timeout(0.05)
        with pytest.raises(Disconnected) as caught:
            client.request("status")
    assert caught.value.exit_code == EXIT_UNREACHABLE


def test_half_a_frame_is_disconnected(tmp_path: Path) -> None:
    with talking(tmp_path / "s", result(1, "yes")[:-1]) as client, pytest.raises(Disconnected):
        client.request("status")


@pytest.mark.parametrize("noise", [b"\xff\xff\xff\xff", b"\0\0\0\1{", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_does_not_speak_our_framing_gets_a_sentence(tmp_path: Path, noise: bytes) -> None:
    with answering(tmp_path / "s", noise), pytest.raises(MozartError, match="cannot understand the daemon") as caught:
        Client(str(tmp_path / "s"), 5)
    assert caught.value.exit_code == EXIT_UNREACHABLE


def test_a_daemon_of_another_version_gets_a_sentence(tmp_path: Path) -> None:
    greeting = encode_frame({**hello("coordinator"), "protocol": PROTOCOL + 1, "version": "9.9"})
    with answering(tmp_path / "s", greeting), pytest.raises(MozartError, match=r"it is version 9\.9") as caught:
        Client(str(tmp_path / "s"), 5)
    assert caught.value.code == "E404"
    assert "mozartd stop" in caught.value.hint


def test_a_daemon_that_refuses_us_is_heard(tmp_path: Path) -> None:
    refusal = encode_frame({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "cannot talk to uid 7"}})
    with answering(tmp_path / "s", refusal), pytest.raises(MozartError, match="cannot talk to uid 7"):
        Client(str(tmp_path / "s"), 5)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NotListening, match="the daemon is not running"):
        Client(str(tmp_path / "s"), 5)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    with pytest.raises(NotListening, match="the daemon is not running") as caught:
        Client(str(tmp_path / "s"), 5)
    assert caught.value.exit_code == EXIT_UNREACHABLE


def test_a_request_over_the_cap_is_not_sent(tmp_path: Path) -> None:
    with (
        talking(tmp_path / "s", result(1, "still here"), linger=True) as client,
        pytest.raises(MozartError, match="the cap is"),
    ):
        client.request("submit", {"source": "x" * MAX_FRAME})


def test_a_path_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(directory, os.O_PATH)
        listener.bind(f"/proc/self/fd/{here}/s")
        os.close(here)
        listener.listen()
        open_before = len(os.listdir("/proc/self/fd"))
        with connect_unix(str(directory / "s")) as peer, listener.accept()[0] as other:
            peer.sendall(b"hello")
            assert other.recv(5) == b"hello"
        assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_failed_client_leaves_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(MozartError):
            Client(str(tmp_path / "s"), 5)
    assert len(os.listdir("/proc/self/fd")) == before


# ---- the asyncio connection -------------------------------------------------------------------------------------


class Log:
    """What a connection was told, in order."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.lost = asyncio.Event()
        self.connections: list[Connection] = []
        self.on_frame = lambda connection, frame: None

    def make(self) -> Connection:
        return Connection(self._frame, lambda _: self.lost.set(), self.connections.append)

    def _frame(self, connection: Connection, frame: Frame) -> None:
        self.frames.append(frame)
        self.on_frame(connection, frame)


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Log]:
    log = Log()
    server = await asyncio.get_running_loop().create_unix_server(log.make, str(path))
    try:
        yield log
    finally:
        server.close()
        for connection in log.connections:
            connection.abort()
        await server.wait_closed()


async def read_frames(reader: asyncio.StreamReader) -> list[Frame]:
    """All until the other end hangs up."""
    decoder = FrameDecoder()
    return list(decoder.feed(await reader.read()))


async def test_frames_come_whole_however_they_were_sent(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as log:
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        data = encode_frame({"n": 1}) + encode_frame({"n": 2})
        for i in range(len(data)):
            writer.write(data[i : i + 1])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()
        await log.lost.wait()
    assert log.frames == [{"n": 1}, {"n": 2}]


async def test_half_a_frame_and_then_nothing_is_only_a_lost_peer(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as log:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(encode_frame({"n": 1})[:-1])
        writer.write_eof()
        assert await read_frames(reader) == []
        writer.close()
        await log.lost.wait()
    assert log.frames == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ((MAX_FRAME + 1).to_bytes(4, "big"), "the cap is"),
        (b"\0\0\0\1[", "not JSON"),
        (b"\0\0\0\2[]", "not an object"),
        (b"GET / HTTP/1.1\r\n", "the cap is"),
    ],
    ids=["16 MiB and one byte", "no JSON", "no object", "HTTP"],
)
async def test_a_bad_frame_costs_a_sentence_and_the_connection(tmp_path: Path, bad: bytes, words: str) -> None:
    async with serving(tmp_path / "s") as log:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(encode_frame({"n": 1}) + bad)
        (answer,) = await read_frames(reader)
        assert words in answer["error"]["message"]
        writer.close()
        await log.lost.wait()
    assert log.frames == [{"n": 1}]


async def test_nothing_is_heard_of_a_peer_that_was_refused(tmp_path: Path) -> None:
    """All in one write: a refused hello must not be followed by one that is taken."""
    async with serving(tmp_path / "s") as log:
        log.on_frame = lambda connection, frame: connection.refuse("cannot talk to you")
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(encode_frame({"n": 1}) + encode_frame({"n": 2}) + encode_frame({"n": 3}))
        assert [frame["error"]["message"] for frame in await read_frames(reader)] == ["cannot talk to you"]
        writer.close()
        await log.lost.wait()
    assert log.frames == [{"n": 1}]


async def test_other_connections_do_not_notice(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as log:
        _, good = await asyncio.open_unix_connection(str(tmp_path / "s"))
        bad_reader, bad = await asyncio.open_unix_connection(str(tmp_path / "s"))
        bad.write(b"\xff" * 100)
        await bad_reader.read()
        arrived = asyncio.Event()
        log.on_frame = lambda connection, frame: arrived.set()
        good.write(encode_frame({"n": 1}))
        await arrived.wait()
        good.close()
        bad.close()
    assert log.frames == [{"n": 1}]


async def test_the_kernel_vouches_for_the_peer(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as log:
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        arrived = asyncio.Event()
        log.on_frame = lambda connection, frame: arrived.set()
        writer.write(encode_frame({}))
        await arrived.wait()
        assert log.connections[0].peer == (os.getpid(), os.geteuid())
        writer.close()


async def test_a_slow_reader_is_waited_for_and_a_lost_one_is_not(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as log:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"), limit=1024)
        arrived = asyncio.Event()
        log.on_frame = lambda connection, frame: arrived.set()
        writer.write(encode_frame({}))
        await arrived.wait()
        (connection,) = log.connections
        await connection.drained()
        while connection.unsent < Connection.HIGH:
            connection.send({"text": "x" * 100_000})
        waiting = asyncio.create_task(connection.drained())
        await asyncio.sleep(0)
        assert not waiting.done()
        await reader.readexactly(Connection.HIGH)
        await waiting
        assert connection.unsent <= Connection.HIGH
        while connection.unsent < Connection.HIGH:
            connection.send({"text": "x" * 100_000})
        waiting = asyncio.create_task(connection.drained())
        writer.transport.abort()
        await waiting
        assert connection.lost
        connection.send({"dropped": True})
        assert connection.unsent == 0


async def test_what_was_queued_is_sent_before_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as log:
        log.on_frame = lambda connection, frame: [connection.send({"text": "x" * 1_000_000}), connection.close()]
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(encode_frame({}))
        assert await read_frames(reader) == [{"text": "x" * 1_000_000}]
        writer.close()
