"""Running a score's rules over what an attempt left behind: stage by stage, each with a verdict a person can act on.

A failing rule says what was looked for, where, and what was there instead. Patterns are matched and large files are read by
the fork server: `re` holds the interpreter, and nobody knows how long what an agent wrote keeps it busy.
Called by `attempt` after an agent that ended by itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ipc.errors import MozartError
from ipc.forkserver import Bounds, ForkServer, GivenUpError
from ipc.messages import Validation
from ipc.score.rules import condition_fault, describe, fill
from ipc.score.shell import compose, shown
from workers import match, workspace
from workers.commands import Ended, Shell
from workers.workspace import Remembered

#: Files above this are not matched against a regular expression.
REGEX_BYTES = 64 * 1024 * 1024
#: What one search through a file may take.
SEARCH = Bounds(seconds=30.0, memory=1024 * 1024 * 1024)
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
    works: ForkServer
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
    root = root_of(rule["path"], ground)
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
    return Found(False, f"{shown} was not modified by this attempt", "E202")


async def _content(rule: Rule, path: str, shown: str, root: str, ground: Ground) -> Found:
    pattern = fill(rule["pattern"], ground.variables)
    how = "text" if rule["type"] == "content_contains" else "pattern"
    try:
        file = workspace.open_file(path, root)
        if file is None:
            return Found(False, f"{shown} is not a regular file", "E202")
        with file:
            size = os.fstat(file.fileno()).st_size
            matches = await _search(how, pattern, file.fileno(), shown, ground)
    except OSError as error:
        return Found(False, f"{shown} cannot be read: {error.strerror}", "E202")
    if matches:
        return Found(True, f"{how} {_brief(pattern)} found in {shown}")
    return Found(False, f"{how} {_brief(pattern)} not found in {shown} ({size:,} bytes)", "E202")


async def _search(how: str, pattern: str, descriptor: int, shown: str, ground: Ground) -> bool:
    """Here only what is over at once whatever the agent wrote. After a halt nobody looks at the answer."""
    size = os.fstat(descriptor).st_size
    is_text = how == "text" or match.is_plain(pattern)
    if is_text and size <= match.SMALL_BYTES:
        return match.contains(pattern, descriptor)
    if not is_text and size > REGEX_BYTES:
        sentence = f"cannot match a pattern in {shown}: {size:,} bytes are more than {REGEX_BYTES:,}"
        raise MozartError("E205", sentence, "split the file, or look for a text with content_contains")
    search = match.contains if is_text else match.matches
    try:
        work = ground.works.run(SEARCH, search, pattern, descriptors=[descriptor])
        return bool(await ground.shell.halt.race(work))
    except GivenUpError as error:
        took = f"more than {SEARCH.seconds:g} s" if error.why == "time" else f"more than {SEARCH.memory >> 20} MiB"
        code = "E204" if error.why == "time" else "E205"
        raise MozartError(code, f"{how} {_brief(pattern)} took {took} in {shown} ({size:,} bytes)") from None
    except re.error as error:
        raise MozartError("E209", f"cannot match {_brief(pattern)} in {shown}: {error}") from None


def _brief(pattern: str) -> str:
    return repr(pattern if len(pattern) <= PATTERN_CHARS else pattern[:PATTERN_CHARS] + "…")


def root_of(path: str, ground: Ground) -> str:
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
    directory = workspace.confine(fill(place, ground.variables), root_of(place, ground))
    workspace.require_directory(directory)
    ended = await ground.shell.script(command, directory, rule["timeout_seconds"])
    words = shown(rule["command"], ground.variables, ground.outside)
    if ended.timed_out:
        return Found(False, with_output(f"{words!r} timed out after {rule['timeout_seconds']:g}s", ended), "E204")
    if ended.exit_code == 0:
        return Found(True, f"exit status 0: {words}")
    return Found(False, with_output(how_it_ended(ended), ended), "E203")


def how_it_ended(ended: Ended) -> str:
    """`exit 3: <last line>`, or the signal's name."""
    what = (
        f"exit status {ended.exit_code}" if ended.signal is None else f"killed by {signal.Signals(ended.signal).name}"
    )
    line = last_line(ended.tail)
    return f"{what}: {line}" if line else what


def with_output(sentence: str, ended: Ended) -> str:
    """The sentence, then the end of the output when it says more than its last line."""
    output = ended.tail.strip()
    return f"{sentence}\n{output[-OUTPUT_CHARS:]}" if "\n" in output else sentence


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
