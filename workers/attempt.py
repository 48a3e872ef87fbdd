"""One attempt from assignment to report: prepare, ask whether to skip, run the agent, validate, collect, report.

Reports facts and the backend's verdict; what follows from them (retry, hold, give up) is the coordinator's. Every
exception becomes a report: an attempt that began ends with `finished`, whatever happens. Called by `main`, one task per
attempt.
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import backends
from backends.base import (
    Backend,
    Command,
    Ending,
    Event,
    Limited,
    Parser,
    PromptTooLongError,
    Run,
    Session,
    Usage,
    Verdict,
    WildParser,
)
from ipc import marks, segments
from ipc.environment import Lookup
from ipc.errors import MozartError
from ipc.files import NotRegularError, read_regular
from ipc.forkserver import Bounds, ForkServer, GivenUpError
from ipc.messages import Assign, Finished, Noted, Running, Started
from ipc.score.prompt import assemble, notes, script
from ipc.score.rendering import rendered_on_loop
from ipc.score.rules import applicable, outside
from ipc.score.scripts import refuse_outside, takes_script
from ipc.score.shell import compose, fill_backend, shown
from ipc.score.template import TemplateProblem, names_used, render
from ipc.score.variables import merge
from workers import before, machine, validate, workspace
from workers.agent import CAPPED, UNWRITABLE, Ran, Vigil, run_agent
from workers.capture import Capture, Growth
from workers.clocks import Clocks
from workers.commands import Shell
from workers.environment import agent_environment
from workers.halt import Halt
from workers.mask import Mask, secret_values
from workers.memory import oom_kills
from workers.report import Facts, finished, judge, masked
from workers.spawn import Children
from workers.stop import Traces
from workers.validate import Ground
from workers.wild import Wild

log = logging.getLogger("mozart.worker")

#: Characters of stdout and stderr that a backend may judge by.
ENDING_TAIL = 16 * 1024
#: Bytes of a system prompt, at most.
SYSTEM_PROMPT_BYTES = 4 * 1024 * 1024
#: What looking for `capture_files` may take.
COLLECT = Bounds(seconds=20.0)
#: Seconds between two reports of what an agent has used, at least.
USAGE_SECONDS = 0.1

Send = Callable[[Any], None]
T = TypeVar("T")


@dataclass(slots=True)
class Surroundings:
    """What a worker lends to each of its attempts."""

    children: Children
    works: ForkServer
    running: dict[str, Traces]
    """Attempt → its traces, of all that run in this worker."""
    send: Send
    environment: Mapping[str, str]
    """What agents inherit from the daemon."""
    lookup: Lookup
    """The daemon's value of a `${NAME}`."""
    state: str
    mask: Callable[[Iterable[str]], Mask]
    """What to mask beside the known formats: these values."""


class Attempt:
    """An assignment being worked on: what can be asked of it from outside while it runs."""

    def __init__(self, assignment: Assign, around: Surroundings) -> None:
        self.assignment = assignment
        self.id = assignment["attempt"]
        self.facts = Facts(self.id)
        self.halt = Halt(around.children.loop)
        self.traces = Traces(around.state, self.id)
        self.capture: Capture | None = None
        self._vigil: Vigil | None = None
        self._mask = around.mask(())
        """Of what is told and kept of this attempt beside its output."""
        self._is_script = takes_script(assignment["backend"])
        self._whole_prompt = ""
        self._for_the_agent: list[str] = []
        """Files that only the agent is to see, for as long as it runs."""
        self.watched = assignment["watched"]
        self._around = around

    def __repr__(self) -> str:
        return f"<Attempt {self.id} agent {self.facts.agent_pid or 'not started'} {self.halt!r}>"

    def watch(self, on: bool) -> None:
        self.watched = on
        if self.capture is not None:
            self.capture.watched = on

    def cap(self, reason: str) -> None:
        """It has cost what it may."""
        if self._vigil is not None and not self._vigil.has_result and self._vigil.stop(CAPPED):
            self.facts.note = reason

    def running(self) -> Running:
        capture = self.capture
        grown = (capture.bytes, capture.lines) if capture else (0, 0)
        return {"attempt": self.id, "agent_pid": self.facts.agent_pid, "bytes": grown[0], "lines": grown[1]}

    async def run(self) -> Finished:
        """Never raises."""
        self._around.running[self.id] = self.traces
        try:
            await self._run()
        except MozartError as error:
            self.facts.verdict = _cannot(error)
        except MemoryError:
            hint = "give the machine more memory, or run fewer sheets at once"
            self.facts.verdict = Verdict("failed", "E010", "cannot go on: the worker has no memory left", hint)
        except Exception as error:  # the edge: an attempt's bug must not take the worker's other attempts along
            self.facts.verdict = self._broke(error)
        finally:
            del self._around.running[self.id]
            if self.traces.kept:
                self.facts.note = f"left running, as the setting keep says: {', '.join(sorted(self.traces.kept))}"
            for path in self._for_the_agent:
                with suppress(OSError):
                    os.unlink(path)
        if self.halt.verdict and self.facts.verdict.name != "skipped":
            self.facts.verdict = _halted(self.halt)
        return masked(finished(self.facts, time.time()), self._mask)

    def _broke(self, error: Exception) -> Verdict:
        if isinstance(error, OSError) and (fault := machine.fault(error, "cannot go on")):
            return _cannot(fault)
        log.error("attempt %s broke", self.id, exc_info=error)
        return Verdict("failed", "E999", f"{type(error).__name__}: {error}", "this is a bug in Mozart")

    async def _run(self) -> None:
        if self.halt.verdict:
            return
        assignment = self.assignment
        workspace.prepare(assignment["workspace"])
        directory = assignment["backend"].get("working_directory") or assignment["score_dir"]
        workspace.require_directory(directory)
        environment = agent_environment(self._around.environment, assignment, self._around.lookup, self._around.state)
        self._mask = self._around.mask(secret_values(environment))
        variables = merge(assignment["variables"], assignment["prompt"].get("variables") or {})
        shell = Shell(
            self._around.children, self.traces, self._around.running.values(), environment, self.halt, self._mask
        )
        if assignment["skip_command"] and await self._is_skipped(assignment["skip_command"], variables, shell):
            return
        rules = applicable(assignment["validations"], variables)
        self.facts.applicable = len(rules)
        ground = Ground(
            assignment["workspace"], variables, shell, self._around.works, outside(assignment["prompt"]), directory
        )
        validate.remember(rules, ground)
        held = assignment.get("held")
        self.facts.held = await before.held(rules, ground) if held is None else held
        text = await self.halt.race(self._prompt(variables))
        if text is None:
            return
        prompt = self._write_prompt(text)
        told = await self.halt.race(self._write_notes())
        run = self._describe(directory, {**environment, **(told or {})}, prompt)
        if self.halt.verdict or not await self._run_agent(run):
            return
        ran = await validate.run_rules(rules, ground)
        if not self.halt.verdict:
            self.facts.validations = before.compared(ran, self.facts.held)
            self.facts.verdict = judge(self.facts.verdict, ran)
            await self._collect(variables)

    async def _is_skipped(self, skip: Mapping[str, Any], variables: Mapping[str, Any], shell: Shell) -> bool:
        """Exit 0 skips. What is not an answer (a time-out, no such program) lets the sheet run, and is told."""
        given = skip["command"], variables, outside(self.assignment["prompt"])
        ended = await shell.script(compose(*given), self.assignment["workspace"], skip["timeout_seconds"])
        if self.halt.verdict:
            return False
        if ended.timed_out:
            self.facts.note = f"skip_when_command timed out after {skip['timeout_seconds']:g}s, so the sheet ran"
        elif ended.signal is not None or ended.exit_code in (126, 127):
            self.facts.note = f"skip_when_command failed ({validate.how_it_ended(ended)}), so the sheet ran"
        elif ended.exit_code == 0:
            self.facts.verdict = Verdict(
                "skipped", message=skip.get("description") or f"skip_when_command: {shown(*given)}"
            )
        return self.facts.verdict.name == "skipped"

    async def _prompt(self, variables: Mapping[str, Any]) -> str:
        works, assignment = self._around.works, self.assignment
        if not self._is_script:
            return await _rendered(
                works, assemble, assignment["prompt"], assignment["variables"], assignment["validations"],
                _mode(assignment), assignment["last"], assignment["lessons"], assignment["score_dir"],
            )  # fmt: skip
        used = await _rendered(works, names_used, assignment["prompt"].get("template") or "")
        refuse_outside(assignment["prompt"], variables, used)
        return await _rendered(works, script, assignment["prompt"], assignment["variables"], assignment["score_dir"])

    def _write_prompt(self, text: str) -> str:
        """Keep the prompt beside the log, exactly as the agent gets it, but for secrets: with those it is
        in another file, for as long as the agent may read it."""
        assignment = self.assignment
        path = assignment["prompt_file"]
        data = text.encode("utf-8", "replace")
        kept = self._mask.apply(data)
        try:
            marks.make_log_directory(os.path.dirname(path))
            _write(path, kept)
            if kept != data:
                self._whole_prompt = path.removesuffix(".prompt") + segments.UNMASKED
                self._for_the_agent.append(self._whole_prompt)
                _write(self._whole_prompt, data)
        except OSError as error:
            raise _unwritable("keep the prompt in", path, error) from None
        return text

    async def _write_notes(self) -> dict[str, str]:
        """For a script, in a file that it is told: what another prompt would say beside its template."""
        if not self._is_script:
            return {}
        assignment = self.assignment
        text = await _rendered(
            self._around.works, notes, assignment["prompt"], assignment["variables"], assignment["validations"],
            _mode(assignment), assignment["last"], assignment["lessons"],
        )  # fmt: skip
        path = assignment["prompt_file"].removesuffix(".prompt") + ".notes"
        try:
            _write(path, self._mask.apply(text.encode("utf-8", "replace")))
        except OSError as error:
            raise _unwritable("keep the notes in", path, error) from None
        return {"MOZART_NOTES": path}

    def _write_system_prompt(self, text: str | None) -> dict[str, str]:
        """What was submitted is what the agent gets, whatever became of the score's own file; and nobody else reads it."""
        if text is None:
            return {}
        path = self.assignment["log"].removesuffix(segments.LOG) + ".system"
        try:
            self._for_the_agent.append(path)
            _write(path, text.encode("utf-8", "replace"))
        except OSError as error:
            raise _unwritable("keep the system prompt in", path, error) from None
        return {"system_prompt_file": path}

    def _describe(self, directory: str, environment: Mapping[str, str], prompt: str) -> Run:
        assignment = self.assignment
        system_prompt = _system_prompt(assignment["backend"])
        return Run(
            options={**assignment["backend"], **self._write_system_prompt(system_prompt)},
            prompt=prompt,
            prompt_file=self._whole_prompt or assignment["prompt_file"],
            workspace=assignment["workspace"],
            directory=directory,
            environment=environment,
            session_id=str(uuid.uuid4()),
            resume=assignment["session_id"],
            used=Usage(**used) if (used := assignment.get("session_used")) else None,
            system_prompt=system_prompt,
            is_root=os.geteuid() == 0,
            fill=fill_backend,
        )

    async def _run_agent(self, run: Run) -> bool:
        """True when the agent ended by itself: what it left may be judged."""
        around = self._around
        command, parser = _prepare(_backend(self.assignment), run)
        self._vigil = vigil = Vigil(around.children, self.halt)
        if command.environment:
            self._mask = self._around.mask(secret_values({**run.environment, **command.environment}))
        seen = self._seen_by(vigil)
        self.capture = capture = self._open_log(parser, vigil, seen)
        wild = Wild(around.works, parser, seen) if isinstance(parser, WildParser) and parser.wild else None
        if wild and wild.parser.watches:
            capture.on_line = wild.see
        try:
            ran = await run_agent(
                command, self._clocks(command), capture, vigil,
                children=around.children, traces=self.traces, running=around.running.values(),
                directory=run.directory, environment=run.environment, spool=self.assignment["log"] + ".spool",
                pty=bool(run.options.get("pty")), on_start=self._on_start,
            )  # fmt: skip
            await capture.sync()
        finally:
            if wild:
                wild.close()
            capture.close()
            self.facts.bytes, self.facts.lines, self.facts.log_bytes = capture.bytes, capture.lines, capture.size
            self.facts.tail = _end_of(self.facts.answer, self._tail_bytes()) or capture.tail(self._tail_bytes())
        await self._judge(ran, parser, wild, capture)
        return ran.stopped_by in (None, CAPPED) and capture.error is None and not self.halt.verdict

    def _seen_by(self, vigil: Vigil) -> Callable[[Event], None]:
        spending = Growth(self._around.children.loop, self._tell_usage, USAGE_SECONDS)

        def on_event(event: Event) -> None:
            self.facts.see(event)
            vigil.see(event)
            if isinstance(event, Limited | Session):
                self._note(event)
            elif isinstance(event, Usage):
                spending.note()

        return on_event

    def _open_log(self, parser: Parser, vigil: Vigil, seen: Callable[[Event], None]) -> Capture:
        def on_error(_: OSError) -> None:
            vigil.stop(UNWRITABLE)

        path = self.assignment["log"]
        try:
            capture = Capture(
                self._around.children.loop,
                path,
                self._mask,
                parser,
                seen,
                self._grew,
                on_error=on_error,
                tail_bytes=max(self._tail_bytes(), ENDING_TAIL),
                segment_bytes=self.assignment.get("log_segment_bytes", segments.SEGMENT_BYTES),
                on_segment=self._began_segment,
                clock=self._around.children.awake.now,
                who=self.id,
            )
        except OSError as error:
            raise _unwritable("write the log", path, error) from None
        capture.watched = self.watched
        return capture

    def _tail_bytes(self) -> int:
        return int(self.assignment["backend"]["max_output_capture_bytes"])

    def _clocks(self, command: Command) -> Clocks:
        assignment = self.assignment
        now = self._around.children.awake.now()
        first = assignment.get("first_byte_seconds") or command.first_byte_seconds
        return Clocks(
            now,
            assignment["timeout_seconds"],
            assignment["idle_seconds"],
            command.post_result_seconds,
            first_byte=first,
        )

    async def _judge(self, ran: Ran, parser: Parser, wild: Wild | None, capture: Capture) -> None:
        facts = self.facts
        facts.exit_code, facts.signal, facts.survivors = ran.exit_code, ran.signal, ran.survivors
        facts.stopped_by = ran.stopped_by
        if capture.error is not None:
            facts.verdict = _cannot(_unwritable("write the log", self.assignment["log"], capture.error))
            return
        killed_for_memory = ran.signal == signal.SIGKILL and ran.stopped_by is None and oom_kills() > ran.oom_kills
        ending = Ending(
            exit_code=ran.exit_code,
            signal=ran.signal,
            stopped_by=ran.stopped_by,
            stderr_tail=capture.stderr_tail,
            stdout_tail=capture.tail(ENDING_TAIL),
            now=time.time(),
            seconds=time.time() - ran.started_at,
            patience=self._patience(ran.stopped_by),
            out_of_memory="the kernel killed processes of this cgroup for want of memory" if killed_for_memory else "",
        )
        if wild is None:
            facts.verdict = parser.verdict(ending)
        else:
            facts.verdict, facts.note = await wild.verdict(ending, self.halt)

    def _patience(self, stopped_by: str | None) -> float:
        told = self.assignment
        idle = told["idle_seconds"]
        return {"timeout": told["timeout_seconds"], "stalled": idle, "no_output": idle}.get(stopped_by or "") or 0.0

    async def _collect(self, variables: Mapping[str, Any]) -> None:
        """The files that later sheets want to see."""
        capture, facts = self.assignment["capture"], self.facts
        passed = all(each["passed"] for each in facts.validations) if facts.applicable else facts.verdict.name == "ok"
        if not capture or not passed:
            return
        try:
            works = self._around.works
            given = [await rendered_on_loop(works, render, pattern, variables) for pattern in capture["capture_files"]]
        except TemplateProblem as problem:
            facts.note = f"cannot collect cross_sheet.capture_files: {problem.message}"
            return
        place, limit = self.assignment["workspace"], capture["max_output_chars"]
        try:
            found = await self.halt.race(works.run(COLLECT, workspace.collect, given, place, limit))
        except GivenUpError as error:
            facts.note = f"cannot collect cross_sheet.capture_files: looking for them {error.in_words(COLLECT)}"
            return
        except MozartError as error:
            facts.note = f"cannot collect cross_sheet.capture_files: {error.message}"
            return
        if found is not None:
            facts.captured, facts.note = found[0], found[1] or facts.note

    def _on_start(self, ran: Ran) -> None:
        self.facts.agent_pid, self.facts.started_at = ran.pid, ran.started_at
        self._around.send(
            Started(type="started", attempt=self.id, agent_pid=ran.pid, at=ran.started_at, held=self.facts.held)
        )

    def _note(self, event: Limited | Session) -> None:
        self._around.send(Noted(type="noted", attempt=self.id, at=time.time(), event=_as_dict(event)))

    def _tell_usage(self) -> None:
        """Totals, so that only the newest count. Only where somebody counts."""
        if self.facts.usage is None or self.assignment["backend"].get("cost_left_usd") is None:
            return
        session, options = self.facts.session, self.assignment["backend"]
        model = (session.model if session else None) or options.get("cli_model")
        event = {"kind": "usage", **dataclasses.asdict(self.facts.usage), "model": model}
        self._around.send(Noted(type="noted", attempt=self.id, at=time.time(), event=event))

    def _began_segment(self, start: int) -> None:
        self._around.send({"type": "segment", "attempt": self.id, "start": start})

    def _grew(self, size: int) -> None:
        self._around.send({"type": "grew", "attempt": self.id, "size": size})


def _as_dict(event: Limited | Session) -> dict[str, Any]:
    fields = dataclasses.asdict(event)
    if isinstance(event, Limited):
        fields["limit_kind"] = fields.pop("kind")
    return {"kind": type(event).__name__.lower(), **fields}


def _end_of(text: str, most: int) -> str:
    """Its last bytes."""
    data = text[-most:].encode("utf-8", "replace")
    return data[-most:].decode("utf-8", "ignore")


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", opener=_private) as file:
        file.write(data)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _system_prompt(options: Mapping[str, Any]) -> str | None:
    """As it was when the score was submitted."""
    text, path = options.get("system_prompt_text"), options.get("system_prompt_file")
    if text is not None or not path:
        return text if path else None
    try:
        return read_regular(path, SYSTEM_PROMPT_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError, NotRegularError) as error:
        if isinstance(error, OSError) and (fault := machine.fault(error, f"cannot read {path}")):
            raise fault from None
        reason = error.strerror if isinstance(error, OSError) else error if isinstance(error, NotRegularError) else None
        message = f"cannot read backend.system_prompt_file {path}: {reason or 'it is not UTF-8'}"
        raise MozartError("E303", message) from None


def _mode(assignment: Assign) -> str:
    """An agent that cannot go on in a session is not told that it does."""
    mode: str = assignment["mode"]
    return "normal" if mode == "resume" and not (assignment["session_id"] and _backend(assignment).resumes) else mode


def _backend(assignment: Assign) -> Backend:
    options = assignment["backend"]
    try:
        return backends.load(str(options["type"]), options.get("profile"))
    except ValueError as error:
        raise MozartError("E301", str(error)) from None


async def _rendered(works: ForkServer, work: Callable[..., T], *given: Any) -> T:
    try:
        return await rendered_on_loop(works, work, *given)
    except TemplateProblem as problem:
        code = "E302" if problem.undefined else "E304"
        raise MozartError(code, f"cannot make the prompt: {problem.message}", problem.hint) from None


def _prepare(backend: Backend, run: Run) -> tuple[Command, Parser]:
    try:
        return backend.command(run), backend.parser(run)
    except PromptTooLongError as error:
        raise MozartError("E602", str(error), "split the sheet, or let it read what it needs from files") from None
    except ValueError as error:
        raise MozartError("E301", str(error)) from None


def _unwritable(what: str, path: str, error: OSError) -> MozartError:
    if fault := machine.fault(error, f"cannot {what} {path}"):
        return fault
    hints = {
        errno.EROFS: "make that disk writable",
        errno.EEXIST: "it is of an earlier job with this number; move it away",
    }
    hint = hints.get(error.errno or 0, "see who may write there")
    return MozartError("E403", f"cannot {what} {path}: {error.strerror}", hint)


def _cannot(error: MozartError) -> Verdict:
    return Verdict("missing" if error.code == "E505" else "failed", error.code, error.message, error.hint)


def _halted(halt: Halt) -> Verdict:
    hint = "mozart retry, or resume, runs it again" if halt.verdict == "cancelled" else "it runs again by itself"
    return Verdict(halt.verdict, "E004", halt.reason, hint)
