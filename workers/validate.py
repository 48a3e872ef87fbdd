"""Running a score's rules over what an attempt left behind: stage by stage, each with a verdict a person can act on.

A failing rule says what was looked for, where, and what was there instead. Patterns that could take for ever are
matched in a process of their own (`match`), because `re` holds the interpreter and a hostile pattern never gives it
back.
Called by `attempt` after an agent that ended by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from ipc.errors import MozartError
from ipc.messages import Validation
from ipc.score.rules import condition_fault, describe, fill
from ipc.score.shell import compose, shown
from ipc.threads import in_thread
from workers import match, workspace
from workers.commands import Ended, Shell
from workers.halt import Halt
from workers.workspace import Remembered

#: Files above this are not matched against a regular expression.
REGEX_BYTES = 64 * 1024 * 1024
#: Seconds one regular expression may take.
REGEX_SECONDS = 60.0
#: Characters of a command's output, and of a pattern, in a rule's detail.
OUTPUT_CHARS, PATTERN_CHARS = 2000, 200

Rule = Mapping[str, Any]


class Found(NamedTuple):
    passed: bool
    detail: str
    code: str = ""


@dataclass(slots=True)
class Ground:
    """What the rules look at."""

    workspace: str
    variables: Mapping[str, Any]
    shell: Shell
    outside: frozenset[str] = frozenset()
    """Variables whose values are not the author's."""
    directory: str = ""
    """Where the agent runs: relative paths that the workspace does not have are looked up here."""
    before: dict[tuple[int, str], Remembered] = field(default_factory=dict)
    """index of a file_modified rule, and where it is looked up → its file before the attempt."""

    @property
    def roots(self) -> list[str]:
        return list(dict.fromkeys(filter(None, (self.workspace, self.directory))))


def remember(rules: Sequence[tuple[int, Rule]], ground: Ground) -> None:
    """Take the snapshot that file_modified compares with."""
    for index, rule in rules:
        if rule["type"] == "file_modified":
            for root in ground.roots:
                # A path that leads out of there is told when the rule runs.
                with contextlib.suppress(MozartError):
                    ground.before[index, root] = workspace.remember(_path(rule, ground, root), root)


async def run_rules(rules: Sequence[tuple[int, Rule]], ground: Ground) -> list[Validation]:
    """The rules that ran, in order. A stage with a failure stops the later ones, a halt everything."""
    ran: list[Validation] = []
    for stage in sorted({rule["stage"] for _, rule in rules}):
        for index, rule in rules:
            if rule["stage"] == stage:
                found = await _check(index, rule, ground)
                if ground.shell.halt.verdict:
                    return ran
                ran.append(_report(index, rule, found, ground))
        if not all(each["passed"] for each in ran):
            break
    return ran


def _report(index: int, rule: Rule, found: Found, ground: Ground) -> Validation:
    return {
        "index": index,
        "type": rule["type"],
        "stage": rule["stage"],
        "description": fill(rule["description"] or "", ground.variables) or describe(rule, ground.variables),
        "passed": found.passed,
        "detail": found.detail,
        "code": found.code,
    }


async def _check(index: int, rule: Rule, ground: Ground) -> Found:
    fault = condition_fault(rule, ground.variables)
    if fault:
        return Found(False, f"cannot decide its condition: {fault}", "E604")
    try:
        if rule["type"] == "command_succeeds":
            return await _command(rule, ground)
        return await _file_with_retries(index, rule, ground)
    except MozartError as error:
        return Found(False, error.message, error.code)


# ---- files ----------------------------------------------------------------------------------------------------------


async def _file_with_retries(index: int, rule: Rule, ground: Ground) -> Found:
    """A file may need a moment to appear on a network share, or be written by something that outlives its parent."""
    tries_left = rule["retry_count"]
    while True:
        found = await _file(index, rule, ground)
        if found.passed or not tries_left or await ground.shell.halt.wait(rule["retry_delay_ms"] / 1000):
            return found
        tries_left -= 1


async def _file(index: int, rule: Rule, ground: Ground) -> Found:
    root = _root(rule["path"], ground)
    path = _path(rule, ground, root)
    shown = _shown(path, root)
    found = _presence(index, rule, path, shown, root, ground)
    if found.passed and rule["type"].startswith("content_"):
        return await _content(rule, path, shown, root, ground)
    return found


def _presence(index: int, rule: Rule, path: str, shown: str, root: str, ground: Ground) -> Found:
    if not os.path.exists(path):
        relative = not os.path.isabs(fill(rule["path"], ground.variables))
        places = " or ".join(ground.roots if relative else [ground.workspace])
        return Found(False, f"{shown} does not exist in {places}", "E201")
    if rule["type"] != "file_modified":
        return Found(True, f"{shown} exists")
    if workspace.has_changed(ground.before.get((index, root), Remembered()), path, root):
        return Found(True, f"{shown} was modified")
    return Found(False, f"{shown} is as it was before the attempt", "E202")


async def _content(rule: Rule, path: str, shown: str, root: str, ground: Ground) -> Found:
    pattern = fill(rule["pattern"], ground.variables)
    how = "text" if rule["type"] == "content_contains" else "pattern"
    try:
        file = workspace.open_file(path, root)
        if file is None:
            return Found(False, f"{shown} is not a regular file", "E202")
        size = os.fstat(file.fileno()).st_size
        if how == "text":
            matches = await _contains(file, pattern, size, ground.shell.halt)
        else:
            matches = await _matches(file, pattern, size, shown, ground)
    except OSError as error:
        return Found(False, f"{shown} cannot be read: {error.strerror}", "E202")
    if matches:
        return Found(True, f"{how} {_brief(pattern)} found in {shown}")
    return Found(False, f"{how} {_brief(pattern)} not found in {shown} ({size:,} bytes)", "E202")


async def _contains(file: IO[bytes], text: str, size: int, halt: Halt) -> bool:
    if size <= match.SMALL_BYTES:
        with file:
            return match.contains(file, text)
    search = asyncio.ensure_future(in_thread(match.contains, file, text))
    # Not before: after a halt the thread may go on reading.
    search.add_done_callback(lambda _: file.close())
    either: list[asyncio.Future[Any]] = [search, halt.requested]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    # After a halt nobody looks at the answer.
    return await search if search.done() else False


async def _matches(file: IO[bytes], pattern: str, size: int, shown: str, ground: Ground) -> bool:
    with file:
        if size > REGEX_BYTES:
            sentence = f"cannot match a pattern in {shown}: {size:,} bytes are more than {REGEX_BYTES:,}"
            raise MozartError("E202", sentence)
        if match.is_quick(pattern, size):
            return match.matches(file, pattern)
        matcher = (sys.executable, "-I", "-S", match.__file__, pattern)
        ended = await ground.shell.run(matcher, "/", REGEX_SECONDS, file.fileno())
    if ended.timed_out:
        sentence = f"pattern {_brief(pattern)} took more than {REGEX_SECONDS:.0f} s in {shown} ({size:,} bytes)"
        raise MozartError("E204", sentence)
    if ended.exit_code not in (match.FOUND, match.NOT_FOUND):
        raise MozartError("E209", f"cannot match {_brief(pattern)} in {shown}: {last_line(ended.tail)}")
    return ended.exit_code == match.FOUND


def _brief(pattern: str) -> str:
    return repr(pattern if len(pattern) <= PATTERN_CHARS else pattern[:PATTERN_CHARS] + "…")


def _root(path: str, ground: Ground) -> str:
    """Where a rule's path is looked up: the workspace, else where the agent runs, if it is there."""
    path = fill(path, ground.variables)
    if os.path.isabs(path) or os.path.lexists(os.path.join(ground.workspace, path)):
        return ground.workspace
    return next((root for root in ground.roots if os.path.lexists(os.path.join(root, path))), ground.workspace)


def _path(rule: Rule, ground: Ground, root: str) -> str:
    return workspace.confine(fill(rule["path"], ground.variables), root)


def _shown(path: str, root: str) -> str:
    """The path as people know it: from where it was looked up."""
    return os.path.relpath(path, os.path.realpath(root))


# ---- commands -------------------------------------------------------------------------------------------------------


async def _command(rule: Rule, ground: Ground) -> Found:
    command = compose(rule["command"], ground.variables, ground.outside)
    place = rule.get("working_directory") or "."
    directory = workspace.confine(fill(place, ground.variables), _root(place, ground))
    workspace.require_directory(directory)
    ended = await ground.shell.script(command, directory, rule["timeout_seconds"])
    words = shown(rule["command"], ground.variables, ground.outside)
    if ended.timed_out:
        return Found(False, with_output(f"{words!r} ran longer than {rule['timeout_seconds']:g} s", ended), "E204")
    if ended.exit_code == 0:
        return Found(True, f"exit 0: {words}")
    return Found(False, with_output(how_it_ended(ended), ended), "E203")


def how_it_ended(ended: Ended) -> str:
    """`exit 3: <last line>`, or the signal's name."""
    what = f"exit {ended.exit_code}" if ended.signal is None else f"killed by {signal.Signals(ended.signal).name}"
    line = last_line(ended.tail)
    return f"{what}: {line}" if line else what


def with_output(sentence: str, ended: Ended) -> str:
    """The sentence, then the end of the output when it says more than its last line."""
    output = ended.tail.strip()
    return f"{sentence}\n{output[-OUTPUT_CHARS:]}" if "\n" in output else sentence


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
