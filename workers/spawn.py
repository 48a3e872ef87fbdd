"""Starting a process in a session of its own, and learning its end through a pidfd.

`subprocess.Popen` without `preexec_fn` takes the vfork path, three times as fast as a fork of the whole worker. stdin
is a memory file holding the prompt: nothing has to be written later, no reader can block us, and it ends by itself.
Every child is reaped here and nowhere else, so its pid stays its own until `Child.ended` is set. Called by `agent` and
`commands`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shlex
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence

from ipc import files
from ipc.awake import Awake
from ipc.errors import MozartError
from workers import machine, memory, tags

#: The kernel cuts a process's name to so many bytes.
COMM_BYTES = 15
#: What an end of everything sends (a container's, a session's, `killall5`), or 128 more where a shell passes it on.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL)
#: Seconds in which it has reached everybody.
TOLD_SECONDS = 1.0


class Children:
    """The processes this worker started and has not reaped. Everything else below it is a stray."""

    def __init__(self, loop: asyncio.AbstractEventLoop, keep: Collection[str] = ()) -> None:
        self.loop = loop
        self.keep = frozenset(name[:COMM_BYTES] for name in keep)
        """Names of programs that are left running when who started them has ended."""
        self.awake = Awake(loop.time)
        self.stopping: asyncio.Future[None] = loop.create_future()
        """This worker was told to stop."""
        self.known: dict[int, Child] = {}

    def __repr__(self) -> str:
        return f"<Children {sorted(self.known)}>"

    def adopt(self, pid: int) -> None:
        """A process of ours that somebody else forked: no stray either."""
        Child(pid, self)

    async def died_with_us(self, child: Child) -> bool:
        """Whether its end is no fact about the agent: somebody ends everything at once, and we are told so too, if only
        a moment later."""
        if child.signal not in ENDING and (child.exit_code or 0) - 128 not in ENDING:
            return False
        await self.wait([self.stopping], TOLD_SECONDS)
        return self.stopping.done()

    async def wait(self, futures: Sequence[asyncio.Future[None]], seconds: float) -> None:
        """Until one of them is done, or the time is up in which we could have noticed."""
        until = self.awake.now() + seconds
        while not any(each.done() for each in futures) and (left := until - self.awake.now(self.awake.real(until))) > 0:
            if futures:
                await asyncio.wait(futures, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(left)

    def reap_strays(self) -> None:
        """Reap adopted orphans that have died. Our own are left to their pidfd."""
        with contextlib.suppress(ChildProcessError):
            while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if dead.si_pid in self.known:
                    return
                os.waitpid(dead.si_pid, os.WNOHANG)


class Child:
    """One process we started: leader of its own session and process group."""

    def __init__(self, pid: int, children: Children) -> None:
        self.pid = pid
        self.ended: asyncio.Future[None] = children.loop.create_future()
        self.exit_code: int | None = None
        self.signal: int | None = None
        self._children = children
        self._handle = os.pidfd_open(pid)
        children.known[pid] = self
        children.loop.add_reader(self._handle, self._reap)

    def __repr__(self) -> str:
        state = f"ended {self.exit_code if self.signal is None else -self.signal}" if self.ended.done() else "running"
        return f"<Child {self.pid} {state}>"

    def signal_group(self, number: signal.Signals) -> None:
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _reap(self) -> None:
        self._children.loop.remove_reader(self._handle)
        os.close(self._handle)
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status):
            self.signal = os.WTERMSIG(status)
        else:
            self.exit_code = os.WEXITSTATUS(status)
        del self._children.known[self.pid]
        self.ended.set_result(None)


def spawn(
    children: Children,
    argv: Sequence[str],
    *,
    directory: str,
    environment: Mapping[str, str],
    stdin: bytes | int | None,
    stdout: int,
    stderr: int,
    tag: int,
) -> Child:
    """Start `argv`, looked up in its own PATH; `stdin` is content or a descriptor. MozartError: E505, E602, E603, or the
    machine's fault."""
    program = find_program(argv[0], environment, directory)
    try:
        descriptor = _stdin(stdin)
        try:
            with tags.worn(tag), memory.first_to_go():
                process = subprocess.Popen(
                    argv, executable=program, stdin=descriptor, stdout=stdout, stderr=stderr, cwd=directory,
                    env=environment, start_new_session=True,
                )  # fmt: skip
        finally:
            os.close(descriptor)
        # Ours to reap, by pidfd: Popen must neither wait for it nor warn about it.
        process.returncode = 0
        return _adopt(process.pid, children)
    except OSError as error:
        raise _no_interpreter(error, argv[0], program) or explain(error, argv[0], directory) from None
    except ValueError as error:
        raise MozartError("E301", f"cannot start {argv[0]}: {error}", "look for a NUL byte in its arguments") from None


def _adopt(pid: int, children: Children) -> Child:
    try:
        return Child(pid, children)
    except OSError:
        # Out of descriptors: a child whose end nobody would hear of must not run.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def find_program(name: str, environment: Mapping[str, str], directory: str) -> str:
    """The file that running `name` there would execute. Raises MozartError E505."""
    if "/" in name:
        path = os.path.join(directory, name)
        if _is_program(path):
            return path
        if os.path.isfile(path):
            raise MozartError("E505", f"{name}: permission denied", f"chmod +x {shlex.quote(name)}, in {directory}")
        raise MozartError("E505", f"{name}: no such file", f"check the path: it was looked for in {directory}")
    search = environment.get("PATH", os.defpath)
    for folder in search.split(os.pathsep):
        path = os.path.join(directory, folder, name)
        if _is_program(path):
            return path
    hint = f"install it, or run `mozart run` from a shell that finds it; PATH was {search}"
    raise MozartError("E505", f"{name}: command not found", hint)


def _is_program(path: str) -> bool:
    return os.access(path, os.X_OK) and os.path.isfile(path)


def _stdin(content: bytes | int | None) -> int:
    if isinstance(content, int):
        return os.dup(content)
    if not content:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("stdin")
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _no_interpreter(error: OSError, name: str, program: str) -> MozartError | None:
    """The program was found; what its first line names was not: then it is that which is missing."""
    if error.errno != errno.ENOENT or error.filename != program:
        return None
    try:
        descriptor = files.open_regular(program)
    except (OSError, files.NotRegularError):
        return None
    try:
        head, newline, _ = os.pread(descriptor, 256, 0).partition(b"\n")
    finally:
        os.close(descriptor)
    if not newline or not head.startswith(b"#!"):
        return None
    if head.endswith(b"\r"):
        hint = f"give it Unix line ends: sed -i 's/\\r$//' {shlex.quote(program)}"
        return MozartError("E505", f"cannot start {name}: its first line ends in CR (a file from Windows)", hint)
    interpreter = head[2:].decode(errors="replace").strip()
    return MozartError(
        "E505", f"cannot start {name}: its interpreter {interpreter} is not there", "correct its first line"
    )


def explain(error: OSError, program: str, directory: str) -> MozartError:
    if error.filename == directory:
        hint = "create it, or correct backend.working_directory"
        return MozartError("E603", f"cannot run in {directory}: {error.strerror}", hint)
    if error.errno == errno.E2BIG:
        hint = "let the prompt travel by stdin or {prompt_file} instead of an argument"
        return MozartError("E602", f"cannot start {program}: its arguments and environment are too long", hint)
    if fault := machine.fault(error, f"cannot start {program}"):
        return fault
    hint = "does its first line name an interpreter (#!/bin/sh)?" if error.errno == errno.ENOEXEC else ""
    return MozartError("E505", f"cannot start {program}: {error.strerror}", hint)
