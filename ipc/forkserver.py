"""Work whose time or memory outsiders decide, each piece in a process of its own that can be given up.

Regular expressions over what an agent wrote, templates, walks over its files: a loop or a shared pool of threads that waits for
such a thing waits for whoever wrote it. The fork server is a process that was forked before there was a loop or a thread. It
forks one more for each piece of work, with limits on processor time and memory, and kills it when its time is over or when
whoever asked is gone. Who asks holds one end of a socket pair, and closing that is giving up: no pid ever changes hands.

A piece of work that ends through no doing of its own (somebody killed or stopped its process or the fork server, the kernel ran
out of memory, everything stood still) is begun again. When that does not help it is the machine's fault, never the author's.

`start` is called by a worker and a coordinator at their beginning; anybody else, the CLI say, gets one when it needs it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import math
import os
import pickle
import resource
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from ipc.errors import MozartError

if TYPE_CHECKING:
    import asyncio

P = ParamSpec("P")
T = TypeVar("T")

#: Bytes of an answer, at most.
MAX_ANSWER = 64 * 1024 * 1024
#: How many times its processor time a piece of work may take by the clock: others want the processor, too.
WALL_FACTOR = 3.0
#: Seconds beyond that until whoever waits takes the fork server itself for stopped, and has another one.
PATIENCE = 10.0
#: Pieces of work that one fork server has under way at once, at most. More wait.
MOST = 16
#: How many times a piece of work is begun that ends for no reason of its own.
TRIES = 3
#: Seconds by which the fork server is late when it was not there.
_AWAY = 2.0
#: Of its processor time, the part below which a piece of work that took too long by the clock was not let run.
_STARVED = 0.05

#: Where the fork server has its end of the socket to its parent.
_CONTROL = 3
_ORDER = struct.Struct("!dQ")
_LENGTH = struct.Struct("!Q")
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_NO_ROOM = "the machine ran out of processes, memory or files; try again when it has room"
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Bounds:
    seconds: float
    """Of processor time; `WALL_FACTOR` times that by the clock."""
    memory: int = 512 * 1024 * 1024
    """Bytes beyond what the fork server itself has."""


class GivenUpError(Exception):
    """The work is not done. `why`: `time` or `memory`, of which it wanted too much. Within this module also `ended`: its
    process did, for another reason."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def in_words(self, bounds: Bounds) -> str:
        """What follows the name of the work in a sentence."""
        if self.why == "time":
            return f"takes more than {bounds.seconds:g} s"
        return f"needs more than {bounds.memory >> 20} MiB"


class ForkServer:
    """`call` from a thread or where nothing else waits, `run` on a loop. A server that died is replaced."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._on_start: Callable[[int], None] | None = None
        self._control: socket.socket | None = None
        self._room: asyncio.Semaphore | None = None
        self._sending = threading.Lock()
        self.pid = 0
        self._handle = -1
        """Its pidfd, for as long as there is a control."""
        self._fork()

    def __repr__(self) -> str:
        return f"<ForkServer pid {self.pid}>"

    def belongs_to(self, parent: Callable[[int], None]) -> None:
        """Whoever reaps this process's children is told the server's pid, and that of each one that takes its place."""
        self._on_start = parent
        parent(self.pid)

    def call(self, bounds: Bounds, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` returns or raises, waiting for it. Raises GivenUpError, and MozartError E010."""
        order, answer = _packed((function, args, kwargs)), None
        for _ in range(TRIES):
            with self._begin(bounds) as (ours, server), self._unless_gone(server):
                # The server's own patience ends first.
                ours.settimeout(bounds.seconds * WALL_FACTOR + self._patience)
                ours.sendall(order)
                (length,) = _LENGTH.unpack(_receive(ours, _LENGTH.size))
                answer = _unpacked(_receive(ours, length))
            if answer is not None:
                break
        return _told(answer)  # type: ignore[no-any-return]

    async def run(self, bounds: Bounds, function: Callable[..., T], *args: Any, descriptors: Sequence[int] = ()) -> T:
        """The same on a loop. Cancelled, it gives the work up. `descriptors` follow the other arguments."""
        # Not at the top: the CLI starts sooner without.
        import asyncio

        self._room = self._room or asyncio.Semaphore(MOST)
        loop = asyncio.get_running_loop()
        order, answer = _packed((function, args, {})), None
        for _ in range(TRIES):
            async with self._room:
                with self._begin(bounds, descriptors) as (ours, server), self._unless_gone(server):
                    ours.setblocking(False)
                    async with asyncio.timeout(bounds.seconds * WALL_FACTOR + self._patience):
                        await loop.sock_sendall(ours, order)
                        (length,) = _LENGTH.unpack(await _received(loop, ours, _LENGTH.size))
                        answer = _unpacked(await _received(loop, ours, length))
            if answer is not None:
                break
        return _told(answer)  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def _begin(self, bounds: Bounds, descriptors: Sequence[int] = ()) -> Iterator[tuple[socket.socket, int]]:
        """Our end of a new piece of work, and who does it. Raises MozartError E010 when there is no room for one."""
        ours = theirs = None
        try:
            ours, theirs = socket.socketpair()
            server = self._send(_ORDER.pack(bounds.seconds, bounds.memory), [theirs.fileno(), *descriptors])
        except OSError as error:
            if ours is not None:
                ours.close()
            raise MozartError("E010", f"cannot start a process: {error.strerror}", _NO_ROOM) from None
        finally:
            if theirs is not None:
                theirs.close()
        with ours:
            yield ours, server

    @contextlib.contextmanager
    def _unless_gone(self, server: int) -> Iterator[None]:
        """What ends for no reason of its own goes by in silence, and may be begun again."""
        try:
            yield
        except TimeoutError:
            # It would have answered by now. Stopped, it is no use to the next one either.
            self._replace(server)
        except (ConnectionError, EOFError):
            pass
        except GivenUpError as error:
            if error.why != "ended":
                raise

    def _send(self, order: bytes, descriptors: list[int]) -> int:
        """The pid of the server that has it."""
        with self._sending:
            if self._control is not None:
                # Somebody may have killed it: the kernel say, for want of memory.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError, ConnectionRefusedError):
                    socket.send_fds(self._control, [order], descriptors)
                    return self.pid
            self._fork()
            assert self._control is not None
            socket.send_fds(self._control, [order], descriptors)
            return self.pid

    def _replace(self, server: int) -> None:
        with self._sending:
            if server == self.pid and self._control is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._handle, signal.SIGKILL)
                self.close()

    def _fork(self) -> None:
        self.close()
        if self.pid and self._on_start is None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        control, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        parent = os.getpid()
        in_thread = threading.get_native_id() != parent
        with theirs:
            self.pid = os.fork()
            if self.pid == 0:
                _be_server(theirs, parent, in_thread)
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            control.close()  # At which it ends.
            raise
        self._handle, self._control = handle, control
        control.setblocking(False)
        if self._on_start is not None:
            self._on_start(self.pid)

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
            os.close(self._handle)
            self._control = None


_current: ForkServer | None = None
_owner = 0


def start() -> ForkServer:
    """This process's own. Called where there is no loop and no thread yet."""
    global _current, _owner
    _current, _owner = ForkServer(), os.getpid()
    return _current


def current() -> ForkServer:
    return _current if _current is not None and _owner == os.getpid() else start()


def current_or_none() -> ForkServer | None:
    return _current if _owner == os.getpid() else None


# ---- who asks -------------------------------------------------------------------------------------------------------


def _told(answer: tuple[bool, Any] | None) -> Any:
    if answer is None:
        sentence = f"a process that was to do a part of it was ended {TRIES} times"
        raise MozartError("E010", sentence, _NO_ROOM)
    done, value = answer
    if not done:
        raise value
    return value


def _packed(value: Any) -> bytes:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def _unpacked(data: bytes) -> tuple[bool, Any]:
    """Whether it was done, and what it gave or raised. Raises GivenUpError."""
    # From a process that we forked, over a socket that nobody else has.
    answer: tuple[bool, Any] = pickle.loads(data)  # noqa: S301
    if isinstance(answer[1], GivenUpError):
        raise answer[1]
    return answer


def _receive(ours: socket.socket, count: int) -> bytes:
    if count > MAX_ANSWER:
        raise GivenUpError("memory")
    found = bytearray()
    while len(found) < count:
        block = ours.recv(min(count - len(found), 1 << 20))
        if not block:
            raise EOFError
        found += block
    return bytes(found)


async def _received(loop: asyncio.AbstractEventLoop, ours: socket.socket, count: int) -> bytes:
    if count > MAX_ANSWER:
        raise GivenUpError("memory")
    found = bytearray()
    while len(found) < count:
        block = await loop.sock_recv(ours, min(count - len(found), 1 << 20))
        if not block:
            raise EOFError
        found += block
    return bytes(found)


# ---- the fork server ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Work:
    pid: int
    handle: int
    """Its pidfd."""
    end: socket.socket
    """The same as the work's own: its other end closed means that nobody waits any more."""
    until: float
    seconds: float
    why: str = field(default="")


def _be_server(control: socket.socket, parent: int, outlives_thread: bool) -> NoReturn:
    """Never comes back from here."""
    try:
        _shed(control)
        _die_with(parent, b"mozart-helper")
        if outlives_thread:
            # The kernel means the thread that forked us. When its process ends our socket says so.
            _libc.prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)
        _Server().serve()
    finally:
        os._exit(0)


def _shed(control: socket.socket) -> None:
    """Nothing of what our parent keeps open or does at a signal is ours."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGALRM, signal.SIGXCPU, signal.SIGCHLD, signal.SIGABRT):
        signal.signal(number, signal.SIG_DFL)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Out of the way first: whoever closed its standard streams may have it there.
    held = fcntl.fcntl(control.detach(), fcntl.F_DUPFD, _CONTROL + 1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(_CONTROL):
        os.dup2(null, standard)
    os.dup2(held, _CONTROL)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    os.closerange(_CONTROL + 1, most if most > 0 else 1 << 20)
    gc.collect()
    gc.freeze()


def _die_with(parent: int, title: bytes) -> None:
    _libc.prctl(_PR_SET_NAME, title, 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


class _Server:
    def __init__(self) -> None:
        self._control = socket.socket(fileno=_CONTROL)
        self._poll = select.poll()
        self._poll.register(_CONTROL, select.POLLIN)
        self._by_handle: dict[int, _Work] = {}
        self._by_end: dict[int, _Work] = {}

    def serve(self) -> None:
        while True:
            now = time.monotonic()
            soonest = min((work.until for work in self._by_handle.values()), default=math.inf)
            ready = self._poll.poll(None if soonest == math.inf else max(0.0, soonest - now) * 1000 + 1)
            if (woke := time.monotonic()) - max(soonest, now) > _AWAY:
                # All of us stood still, by `docker pause` say: nobody can have done anything in that time.
                for work in self._by_handle.values():
                    work.until += woke - now
            for fd, _ in ready:
                if fd == _CONTROL:
                    if not self._take():
                        return
                elif fd in self._by_handle:
                    self._bury(self._by_handle[fd])
                elif fd in self._by_end:
                    self._kill(self._by_end[fd], "unwanted")
            now = time.monotonic()
            for work in [work for work in self._by_handle.values() if work.until <= now]:
                self._kill(work, "time")

    def _take(self) -> bool:
        """False: our parent has ended."""
        order, descriptors, _, _ = socket.recv_fds(self._control, _ORDER.size, 8)
        if not order:
            return False
        seconds, memory = _ORDER.unpack(order)
        end, rest = socket.socket(fileno=descriptors[0]), descriptors[1:]
        try:
            pid = os.fork()
        except OSError:
            _answer(end, False, GivenUpError("ended"))
            end.close()
        else:
            if pid == 0:
                self._work(end, seconds, memory, rest)
            self._begun(pid, end, seconds)
        for descriptor in rest:
            os.close(descriptor)
        return True

    def _begun(self, pid: int, end: socket.socket, seconds: float) -> None:
        work = _Work(pid, os.pidfd_open(pid), end, time.monotonic() + seconds * WALL_FACTOR, seconds)
        self._by_handle[work.handle] = self._by_end[end.fileno()] = work
        self._poll.register(work.handle, select.POLLIN)
        self._poll.register(end.fileno(), 0)  # only that its other end is closed

    def _kill(self, work: _Work, why: str) -> None:
        work.why, work.until = work.why or why, math.inf
        with contextlib.suppress(KeyError):
            self._poll.unregister(work.end.fileno())
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(work.handle, signal.SIGKILL)

    def _bury(self, work: _Work) -> None:
        _, status, used = os.wait4(work.pid, 0)
        if status and work.why != "unwanted":
            why = _why(work, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, used.ru_utime + used.ru_stime)
            with contextlib.suppress(OSError):
                work.end.setblocking(False)
                _answer(work.end, False, GivenUpError(why))
        del self._by_handle[work.handle], self._by_end[work.end.fileno()]
        self._poll.unregister(work.handle)
        with contextlib.suppress(KeyError):
            self._poll.unregister(work.end.fileno())
        os.close(work.handle)
        work.end.close()

    def _work(self, end: socket.socket, seconds: float, memory: int, descriptors: Sequence[int]) -> NoReturn:
        code = 1
        try:
            _die_with(os.getppid(), b"mozart-work")
            for other in (self._control, *(work.end for work in self._by_handle.values())):
                other.close()
            _limit(seconds, memory)
            code = _do(end, descriptors)
        finally:
            os._exit(code)


def _why(work: _Work, killed: int, used: float) -> str:
    """Of a GivenUpError. `used`: seconds of processor time."""
    if killed == signal.SIGXCPU:
        return "time"
    if work.why == "time":
        return "time" if used >= work.seconds * _STARVED else "ended"
    # What asks for too much is told so, and dies of it at worst by its own fault. Others kill with SIGKILL.
    return "memory" if killed in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT) else "ended"


def _limit(seconds: float, memory: int) -> None:
    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[0])
    most = pages * resource.getpagesize() + memory
    whole = max(1, math.ceil(seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # What may want too much goes first.


def _do(end: socket.socket, descriptors: Sequence[int]) -> int:
    """The exit code."""
    try:
        function, args, kwargs = pickle.loads(_receive(end, _LENGTH.unpack(_receive(end, _LENGTH.size))[0]))  # noqa: S301
        answer = True, function(*args, *descriptors, **kwargs)
    except EOFError:
        return 0  # Given up before it began.
    except MemoryError:
        answer = False, GivenUpError("memory")
    except Exception as error:  # the edge: it is raised where somebody waits for it
        answer = False, error
    return _answer(end, *answer)


def _answer(end: socket.socket, done: bool, value: Any) -> int:
    try:
        end.sendall(_packed((done, value)))
    except OSError:
        pass  # Nobody waits for it.
    except MemoryError:
        end.sendall(_packed((False, GivenUpError("memory"))))
    return 0
