"""The blocking end of the client socket, for the CLI: ask, and read what a subscription sends.

Imports the interpreter's own modules and orjson alone, because every `mozart status` pays for them. Never retries and never
prints: `line` asks again, and `cli` decides what an unreachable daemon means.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

from ipc import PROTOCOL, VERSION
from ipc.errors import EXIT_UNREACHABLE, RPC_INVALID_PARAMS, RPC_UNKNOWN_METHOD, MozartError
from ipc.frames import Frame, FrameDecoder, FrameError, encode_frame
from ipc.paths import check_socket
from ipc.trust import check_peer


class NotListening(MozartError):  # noqa: N818 - a fact about the socket, not a mistake
    """No daemon at all: no socket, or nobody behind it. One may be started."""


class Disconnected(MozartError):  # noqa: N818 - a fact about the connection, not a mistake
    """The daemon went away while it was talking to us; asking again may find its successor."""


def connect_unix(path: str, timeout: float | None = None) -> socket.socket:
    """Connect to a Unix socket, also one whose path is longer than the kernel's 107 bytes. `timeout` 0: at once or not."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = -1
    try:
        if len(os.fsencode(path)) > 107:
            directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
            path = f"/proc/self/fd/{directory}/{os.path.basename(path)}"
        _limit_connect(peer, timeout)
        peer.connect(path)
        peer.settimeout(timeout)
    except BaseException:
        peer.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return peer


def _limit_connect(peer: socket.socket, timeout: float | None) -> None:
    """While the backlog is full a Unix socket refuses at once whoever does not block, and `settimeout` makes it so: a
    blocking one with a limit of the kernel's waits its turn."""
    if timeout is None:
        return
    if timeout == 0:
        peer.setblocking(False)
        return
    seconds, rest = divmod(timeout, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds), int(rest * 1e6)))


def _started_by() -> Frame:
    """The attempt whose agent started us, also where nobody else could tell any more."""
    marks = {"attempt": "MOZART_ATTEMPT_ID", "state": "MOZART_STATE"}
    return {word: os.environ[variable] for word, variable in marks.items() if variable in os.environ}


class NotTaken(Disconnected):
    """It went away before it had all of what we asked: nothing came of that."""


class TimedOut(Disconnected):
    """It is there, and did not answer in time."""


class Client:
    """One connection. `request` asks and answers; `notifications` yields what a subscription sends afterwards."""

    def __init__(self, path: str, timeout: float | None = None) -> None:
        """Raises MozartError (exit 4) when nobody listens there or the daemon is of another version."""
        check_socket(path)
        self.path = path
        self._decoder = FrameDecoder()
        self._frames: list[Frame] = []
        self._last_id = 0
        self._is_taken = False
        """The daemon may have all of the last request."""
        try:
            self._socket = connect_unix(path, timeout)
        except OSError as error:
            absent = isinstance(error, FileNotFoundError | ConnectionRefusedError)
            reason = "the daemon is not running" if absent else error.strerror or "it does not answer"
            hint = "start it with `mozartd start`, or let `mozart run` start it"
            kind = NotListening if absent else MozartError
            raise kind("E501", f"cannot reach the daemon at {path}: {reason}", hint, EXIT_UNREACHABLE) from None
        try:
            check_peer(self._socket, path)
        except BaseException:
            self.close()
            raise
        self._send({
            "type": "hello", "protocol": PROTOCOL, "version": VERSION, "role": "client", "pid": os.getpid(), **_started_by(),
        })  # fmt: skip
        try:
            self.daemon = self._check_hello(self._receive())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def set_timeout(self, seconds: float | None) -> None:
        """How long to wait for any one answer; a subscription may be silent for ever (None)."""
        self._socket.settimeout(seconds)

    def request(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """The result of one request. Raises the daemon's error as MozartError, Disconnected when it went away."""
        self._last_id += 1
        self._is_taken = False
        self._is_taken = self._send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}})
        earlier: list[Frame] = []
        while True:
            frame = self._receive()
            if frame.get("id") == self._last_id or ("error" in frame and frame.get("id") is None):
                break
            if "method" in frame:
                # Of a subscription made before: it belongs to whoever reads `notifications` next.
                earlier.append(frame)
        self._frames[:0] = earlier
        if "error" in frame:
            raise self._refused(method, frame["error"])
        return frame["result"]

    def _refused(self, method: str, error: dict[str, Any]) -> MozartError:
        """What was not understood a newer daemon understands: ours are asked nothing else."""
        ours = self.daemon.get("version") == VERSION
        if error.get("code") == RPC_UNKNOWN_METHOD or (error.get("code") == RPC_INVALID_PARAMS and not ours):
            message = f"cannot ask for {method!r}: the daemon is older than this program"
            return MozartError("E404", message, "mozartd upgrade")
        return MozartError.from_rpc(error)

    def notifications(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(method, params) of what comes, until the caller stops asking. Raises Disconnected."""
        while True:
            frame = self._receive()
            if "method" in frame:
                yield frame["method"], frame["params"]
            elif "error" in frame:
                raise MozartError.from_rpc(frame["error"])

    def has_frames(self) -> bool:
        """Whether a frame was already received: `select` on the socket would not show it."""
        return bool(self._frames)

    def _check_hello(self, frame: Frame) -> Frame:
        if "error" in frame:
            raise MozartError("E404", frame["error"].get("message", "refused"), "restart the daemon with `mozartd stop` "
                              "and `mozartd start`", EXIT_UNREACHABLE)  # fmt: skip
        if frame.get("type") != "hello" or frame.get("protocol") != PROTOCOL:
            message = (
                f"cannot talk to the daemon at {self.path}: it is version {frame.get('version')} "
                f"(protocol {frame.get('protocol')}), this is version {VERSION} (protocol {PROTOCOL})"
            )
            raise MozartError(
                "E404", message, "restart the daemon with `mozartd stop` and `mozartd start`", EXIT_UNREACHABLE
            )
        return frame

    def _send(self, frame: Frame) -> bool:
        """Whether all of it is under way."""
        try:
            data = encode_frame(frame)
        except FrameError as error:
            raise MozartError("E503", str(error)) from None
        try:
            self._socket.sendall(data)
        except OSError as error:
            # The daemon may have said why before it hung up; _receive finds that out.
            if not isinstance(error, BrokenPipeError | ConnectionResetError):
                raise self._gone(error) from None
            return False
        return True

    def _receive(self) -> Frame:
        while not self._frames:
            try:
                data = self._socket.recv(1 << 20)
            except OSError as error:
                raise self._gone(error) from None
            if not data:
                raise self._gone(None)
            try:
                self._frames.extend(self._decoder.feed(data))
            except FrameError as error:
                raise MozartError("E503", f"cannot understand the daemon: {error}", "", EXIT_UNREACHABLE) from None
        return self._frames.pop(0)

    def _gone(self, error: OSError | None) -> Disconnected:
        is_late = isinstance(error, TimeoutError)
        late = f"no answer in {self._socket.gettimeout() or 0:g} s"
        reason = late if is_late else (error.strerror or type(error).__name__) if error else "it hung up"
        kind = TimedOut if is_late else Disconnected if self._is_taken else NotTaken
        return kind("E501", f"lost the daemon at {self.path}: {reason}", "", EXIT_UNREACHABLE)
