"""Any program at all: the score gives the command, its exit code is the verdict.

Nothing is known about what it prints, so its lines are never parsed and are shown as they are. A failure's stderr is
searched for limits (`rate_limit.detection_patterns`) and for causes that have their own code.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from typing import Any

from backends import endings, evidence
from backends.base import Command, Ending, Event, PromptTooLongError, Renderer, Run, Verdict, as_operand
from backends.rendering import Plain
from backends.resets import zone_of

#: The kernel's MAX_ARG_STRLEN: a longer argument does not exec.
LONGEST_ARGUMENT = 128 * 1024 - 1

_PLACEHOLDER = re.compile(r"\{(prompt|prompt_file|workspace|model)\}")


class CommandBackend:
    name = "command"
    renders = False
    resumes = False

    def command(self, run: Run) -> Command:
        evidence.limit_words(run.options)
        given = run.options.get("command")
        if not given or given == [""]:
            raise ValueError("cannot run a command: backend.command is empty")
        extra = [str(word) for word in run.options.get("cli_extra_args") or ()]
        if isinstance(given, str):
            argv = ["/bin/sh", "-c", _fill(given, run, quote=True), *(["sh", *extra] if extra else [])]
        else:
            argv = [_fill(str(word), run, quote=False) for word in given] + extra
        used = set(_PLACEHOLDER.findall(given if isinstance(given, str) else "\n".join(map(str, given))))
        _check(argv, "prompt" in used)
        told = used & {"prompt", "prompt_file"}
        return Command(argv, None if told else run.prompt.encode("utf-8", "replace"))

    def parser(self, run: Run) -> CommandParser:
        return CommandParser(run)

    def renderer(self) -> Renderer:
        return Plain()


class CommandParser:
    wants: frozenset[str] = frozenset()

    def __init__(self, run: Run) -> None:
        self._words = evidence.limit_words(run.options)
        self._zone = zone_of(run.environment)
        self._program = _program(run.options.get("command"))
        self._names = _names(run.options.get("command"))

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        return ()

    def verdict(self, ending: Ending) -> Verdict:
        if ending.exit_code == 0 and ending.stopped_by is None:
            return Verdict("ok")
        return (
            endings.stopped(ending)
            or endings.signalled(ending)
            or endings.conventional(ending, self._program, self._names)
            or endings.crashed(ending)
            or self._said(ending)
            or endings.failed(ending)
        )

    def _said(self, ending: Ending) -> Verdict | None:
        found = evidence.judge(ending.stderr_tail, ending.now, self._words, self._zone)
        if found and found.name == "auth":
            # Two commands have no login in common: the sheet fails with the cause, the others are not held back.
            return Verdict("failed", found.code, found.message, found.hint, found.evidence)
        return found


def _fill(text: str, run: Run, quote: bool) -> str:
    """Only the four names: `${HOME}`, `{print $1}` and JSON stay as they are."""
    model = run.options.get("cli_model") or run.options.get("model") or ""
    values = {
        "prompt": as_operand(run.prompt),
        "prompt_file": run.prompt_file,
        "workspace": run.workspace,
        "model": str(model),
    }
    return _PLACEHOLDER.sub(lambda found: shlex.quote(values[found[1]]) if quote else values[found[1]], text)


def _check(argv: list[str], has_prompt: bool) -> None:
    for word in argv:
        size = len(word.encode("utf-8", "surrogateescape"))
        if size > LONGEST_ARGUMENT:
            advice = ": use {prompt_file}, or leave {prompt} out and read stdin" if has_prompt else ""
            raise PromptTooLongError(
                f"cannot pass an argument of {size:,} bytes to a program (the kernel takes 131,071){advice}"
            )
        if "\0" in word:
            advice = ": use {prompt_file}, or leave {prompt} out and read stdin" if has_prompt else ""
            raise ValueError(f"cannot pass a NUL byte in an argument{advice}")


def _names(command: Any) -> set[str]:
    """As what it may speak of itself: its program, or the script that an interpreter is given."""
    words = command if isinstance(command, list) else str(command or "").split()
    return {os.path.basename(str(word)).lower() for word in words}


def _program(command: Any) -> str:
    """The name to tell when it cannot be found; a shell's script names it itself."""
    return str(command[0]) if isinstance(command, list) and command else ""


BACKEND = CommandBackend()
