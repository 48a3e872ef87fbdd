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
from backends.patience import Patience
from backends.rendering import Plain
from backends.resets import zone_of

#: The kernel's MAX_ARG_STRLEN: a longer argument does not exec.
LONGEST_ARGUMENT = 128 * 1024 - 1

#: What a shell's command is told of a prompt goes by its environment.
LONGEST_VALUE = 64 * 1024

_PLACEHOLDER = re.compile(r"(?<!\$)\{(prompt|prompt_file|workspace|model)\}")


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
        words = given if isinstance(given, str) else [str(word) for word in given]
        used = set(_PLACEHOLDER.findall(given if isinstance(given, str) else "\n".join(words)))
        if isinstance(given, str) and "prompt" in used:
            _check([run.prompt], True, LONGEST_VALUE)
        argv, environment = run.fill(words, _values(run))
        argv += ["sh", *extra] if isinstance(given, str) and extra else extra
        _check(argv, "prompt" in used)
        told = used & {"prompt", "prompt_file"}
        return Command(argv, None if told else run.prompt.encode("utf-8", "replace"), environment)

    def parser(self, run: Run) -> CommandParser:
        return CommandParser(run)

    def renderer(self) -> Renderer:
        return Plain()


class CommandParser:
    wants: frozenset[str] = frozenset()
    watches = False

    def __init__(self, run: Run) -> None:
        self._words = evidence.limit_words(run.options)
        self.wild = self._words.wild
        self._zone = zone_of(run.environment)
        self._program = _program(run.options.get("command"))
        self._names = _names(run.options.get("command"))
        self._is_program_meant = is_program_meant(run.options.get("command"))
        self._patience = Patience(self._words, run.clock, self._zone)

    def feed(self, stream: str, line: bytes) -> Sequence[Event]:
        return ()

    def look(self, stream: str, printed: str) -> Sequence[Event]:
        """A limit that it sits out holds others back. How long it may wait for what, nobody has said."""
        pause = self._patience.look(printed)
        return (pause.limit,) if pause and pause.limit else ()

    def live(self, lines: Sequence[tuple[str, bytes]]) -> Sequence[Event]:
        return ()

    def note(self, events: Sequence[Event]) -> None:
        pass

    def tame(self) -> None:
        self._words, self.wild = self._words.tamed(), False

    def verdict(self, ending: Ending) -> Verdict:
        if ending.exit_code == 0 and ending.stopped_by is None:
            return Verdict("ok")
        return (
            endings.stopped(ending)
            or endings.signalled(ending)
            or self._conventional(ending)
            or endings.crashed(ending)
            or self._said(ending)
            or endings.failed(ending)
        )

    def _conventional(self, ending: Ending) -> Verdict | None:
        found = endings.conventional(ending, self._program, self._names)
        if found and found.name == "missing" and not self._is_program_meant:
            message = f"a program that the agent calls cannot be run (exit status {ending.exit_code})"
            return endings.failed(ending, message=message)
        return found

    def _said(self, ending: Ending) -> Verdict | None:
        found = evidence.judge(ending.stderr_tail, ending.now, self._words, self._zone)
        if found and found.name == "auth":
            # Two commands have no login in common: the sheet fails with the cause, the others are not held back.
            return Verdict("failed", found.code, found.message, found.hint, found.evidence)
        return found


def _values(run: Run) -> dict[str, str]:
    model = run.options.get("cli_model") or run.options.get("model") or ""
    return {
        "prompt": as_operand(run.prompt),
        "prompt_file": run.prompt_file,
        "workspace": run.workspace,
        "model": str(model),
    }


def _check(argv: Sequence[str], has_prompt: bool, most: int = LONGEST_ARGUMENT) -> None:
    for word in argv:
        size = len(word.encode("utf-8", "surrogateescape"))
        if size > most:
            advice = ": use {prompt_file}, or leave {prompt} out and read stdin" if has_prompt else ""
            raise PromptTooLongError(
                f"cannot pass an argument of {size:,} bytes to a program (at most {most:,} are possible){advice}"
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


_SHELLS = frozenset({"ash", "bash", "dash", "ksh", "mksh", "sh", "zsh"})
#: A command that begins so is more than one program's start.
_COMPOUND = frozenset({"!", ".", "[[", "case", "cd", "eval", "for", "if", "source", "until", "while", "{"})


def is_program_meant(command: Any) -> bool:
    """Whether the exit codes 126 and 127 are about the agent itself: not when they may be those of some line in a script."""
    if isinstance(command, str):
        return _is_simple(command)
    words = [str(word) for word in command or ()]
    if not words or os.path.basename(words[0]) not in _SHELLS:
        return True
    text = next((i for i, word in enumerate(words) if re.fullmatch(r"-[a-z]*c", word)), 0)
    return text > 0 and text + 1 < len(words) and _is_simple(words[text + 1])


def _is_simple(command: str) -> bool:
    lexer = shlex.shlex(command.strip(), posix=True, punctuation_chars=";&|()")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return False
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
        words.pop(0)
    if not words or "\n" in command.strip() or words[0] in _COMPOUND:
        return False
    return not any(set(word) <= set(";&|()") for word in words) and is_program_meant(words)


BACKEND = CommandBackend()
