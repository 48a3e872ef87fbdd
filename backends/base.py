"""What every backend offers, and the words it uses.

A worker calls `Backend.command` before an attempt, feeds each output line to a fresh `Parser`, and asks that parser for
the `Verdict` when the process has ended. `mozart logs` and `mozart run` feed the same lines to a fresh `Renderer`.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

STDOUT, STDERR = "stdout", "stderr"

#: A parser sees this many bytes of a longer line.
LINE_CAP = 4 << 20

#: How long an agent that streams may print nothing at all after its start; they all say something before they think.
FIRST_BYTE_SECONDS = 300.0


#: A command line (or a text for a shell) and the values of its `{names}` → what is executed, and what its environment gets.
Fill = Callable[[Sequence[str] | str, Mapping[str, str]], tuple[list[str], Mapping[str, str]]]


def _cannot_fill(given: Sequence[str] | str, values: Mapping[str, str]) -> tuple[list[str], Mapping[str, str]]:
    raise ValueError("cannot fill a command: nobody said how")


#: How an agent may name its session: the name comes back on its command line, where nothing may be taken for an option.
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


def is_session(id: str) -> bool:
    return _SESSION.fullmatch(id) is not None


def as_operand(text: str) -> str:
    """A prompt as a word of its own on a command line: one that begins with a dash gets a line's end before it."""
    return f"\n{text}" if text.startswith("-") else text


@dataclass(frozen=True, slots=True)
class Run:
    """All that a backend may know of an attempt. Paths are absolute; `options` is the score's backend section."""

    options: Mapping[str, Any]
    prompt: str
    prompt_file: str
    workspace: str
    directory: str
    """Where the agent will run."""
    environment: Mapping[str, str]
    """What the agent will inherit, before `Command.environment` is laid over it."""
    session_id: str
    """A fresh UUID for this attempt."""
    resume: str | None = None
    """The agent's session to continue."""
    used: Usage | None = None
    """What that session had used before, for agents that count a session's tokens and not a run's."""
    system_prompt: str | None = None
    is_root: bool = False
    fill: Fill = _cannot_fill
    """Puts values into a command so that none of them becomes code."""
    clock: Callable[[], float] = time.time
    """Read when a line tells a time of day ("resets 3pm"), which means nothing without now."""

    def __post_init__(self) -> None:
        # Whoever said it, an agent or a database of before: what would be an option on a command line is no session.
        if self.resume is not None and not is_session(self.resume):
            object.__setattr__(self, "resume", None)


@dataclass(frozen=True, slots=True)
class Command:
    """How to start the agent. argv[0] is looked up in the agent's PATH."""

    argv: Sequence[str]
    stdin: bytes | None
    """Written whole, then closed; None is /dev/null."""
    environment: Mapping[str, str] = field(default_factory=dict)
    spool: bool = False
    """Let stdout be a regular file that the worker tails, for programs that lose what a pipe holds when they exit."""
    stop: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 5.0),)
    """Signals to the group, each with the seconds until the next; KILL comes after the last."""
    first_byte_seconds: float | None = None
    """How long it may print nothing at all after its start; None: for ever, as far as the backend knows."""
    post_result_seconds: float = 20.0
    """How long a process may live on after its result was seen."""


# ---- events: what a line may mean -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    session_id: str
    """Empty when what the agent called so cannot be one: there is nothing to resume then."""
    model: str | None = None

    def __post_init__(self) -> None:
        if not is_session(self.session_id):
            object.__setattr__(self, "session_id", "")


@dataclass(frozen=True, slots=True)
class Usage:
    """Totals so far, never to be added up. `cost_usd` None when the agent does not tell."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Limited:
    """A limit hit now: the attempt will be stopped and its scope held. `until` epoch seconds; `retry_after` seconds."""

    evidence: str
    until: float | None = None
    retry_after: float | None = None
    kind: str = "requests"
    guess: bool = False
    """Concluded from words alone, which anybody may print."""
    patient: bool = False
    """The agent waits and tries again by itself: nobody else is to begin meanwhile, and it is not stopped."""


@dataclass(frozen=True, slots=True)
class Result:
    """The terminal event. The process should exit soon."""

    ok: bool
    text: str = ""
    stop: bool = False
    """It would go on for ever, to no end: do not wait for its exit."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """It tries again by itself and tells when it does: when it has not within so many seconds, it sleeps a limit through."""

    seconds: float | None
    """None: it did."""


Event = Session | Usage | Limited | Result | Waiting


# ---- the ending -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ending:
    """How the process ended, as the worker saw it."""

    exit_code: int | None
    """None when a signal killed it."""
    signal: int | None
    stopped_by: str | None
    """Why Mozart stopped it, or None: timeout, first_byte, stalled, no_output, post_result, cancelled, limited, capped."""
    stderr_tail: str
    """The last 16 KiB of stderr."""
    stdout_tail: str
    now: float
    out_of_memory: str = ""
    """What the kernel says about it (a counter of the memory cgroup, a line of its log), or empty: nothing known."""
    seconds: float = 0.0
    """How long it ran."""
    patience: float = 0.0
    """For how many seconds Mozart waited before it stopped it for its time or its silence; 0: not for that."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ending means. `name` as in `ipc.messages.Finished.verdict`; `code` empty only for ok and skipped."""

    name: str
    code: str = ""
    message: str = ""
    hint: str = ""
    evidence: str = ""
    limit: Limited | None = None


class Parser(Protocol):
    """Eats one attempt's lines. `wants` names the streams it wants lines of; empty = never fed, so nothing is split."""

    wants: frozenset[str]

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        """One line without its newline, cut to LINE_CAP when longer. Called for every line: prefix test first."""

    def verdict(self, ending: Ending) -> Verdict: ...


@runtime_checkable
class PatientParser(Parser, Protocol):
    """One that looks at what was printed last, and not at each line, for what its agent waits for."""

    def look(self, stream: str, printed: str) -> Sequence[Event]:
        """The newest of what a stream had since the last time, soon after it came."""


@runtime_checkable
class WildParser(Parser, Protocol):
    """One that may have patterns of a score or a profile."""

    wild: bool
    """They may take for ever (`backends.patterns`): its verdict, and `live`, are asked for in a process that can be given up,
    and it is pickled to get there."""
    watches: bool
    """It wants `live` to be asked about each line, soon."""

    def live(self, lines: Sequence[tuple[str, bytes]]) -> Sequence[Event]:
        """What `feed` left out. Asked in another process: `note` tells this one."""

    def note(self, events: Sequence[Event]) -> None: ...

    def tame(self) -> None:
        """Do without those patterns from now on."""


class Renderer(Protocol):
    """Makes lines readable for people. Keeps state between lines (text arrives in deltas); pure otherwise."""

    def feed(self, stream: str, line: bytes) -> str:
        """Text to show now, with its newlines; empty when the line is of no interest."""

    def finish(self) -> str:
        """What is left to show at the end of the attempt, for instance a newline."""


class PromptTooLongError(ValueError):
    """The prompt does not fit, and will not the next time either."""


def encoded(prompt: str, program: str, most: int | None = None) -> bytes:
    """A prompt for stdin. `most`: bytes that the program takes."""
    if not prompt.strip():
        raise ValueError(f"cannot start {program} with an empty prompt")
    data = prompt.encode("utf-8", "replace")
    if most is not None and len(data) > most:
        raise PromptTooLongError(f"cannot send {program} a prompt of {len(data):,} bytes: it takes {most:,}")
    return data


class Backend(Protocol):
    name: str
    renders: bool
    """False: its output is shown as it is, no Renderer needed."""
    resumes: bool
    """Whether it can go on in an earlier session of the agent (`Run.resume`)."""

    def command(self, run: Run) -> Command:
        """Raises ValueError with a sentence when the options cannot make a command."""

    def parser(self, run: Run) -> Parser: ...

    def renderer(self) -> Renderer: ...
