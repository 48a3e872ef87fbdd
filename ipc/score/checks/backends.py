"""The backend section: V103 and V104 timeouts, V204 permissions, V209 fields its type does not use, V210 its program
or package, V227 what others can read."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from ipc.score import routing
from ipc.score.load import LoadedScore
from ipc.score.problems import INFO, WARNING, Field, Problem
from ipc.score.schema import Backend, overlay
from ipc.score.shell import backend_placeholder, read_script

#: Agents, which take their time; a `command` may well be done in a second.
AGENTS = ("claude_cli", "codex_cli", "gemini_cli", "opencode_cli")
PROGRAMS = {
    "claude_cli": "claude", "codex_cli": "codex", "gemini_cli": "gemini", "opencode_cli": "opencode",
    "aider": "aider", "bash": "bash", "crush": "crush", "cursor-agent": "cursor-agent", "goose": "goose",
    "qwen-code": "qwen",
}  # fmt: skip
#: Extras of ours, each named after the package it is for.
EXTRAS = {"anthropic_api": "anthropic", "ollama": "ollama"}
SHORT_SECONDS, LONG_SECONDS = 60, 7200

#: Every type uses these.
_COMMON = frozenset(
    {
        "type", "env", "working_directory", "timeout_seconds", "timeout_overrides", "max_output_capture_bytes", "fallbacks",
        "max_wait", "prompt_is",
    }
)  # fmt: skip
_CLI = frozenset(
    {
        "skip_permissions", "disable_mcp", "output_format", "cli_model", "system_prompt_file", "cli_extra_args",
        "resume_session", "pty",
    }
)  # fmt: skip
_API = frozenset({"model", "api_key_env", "max_tokens", "temperature", "system_prompt_file"})
_USED: dict[str, frozenset[str]] = {
    "claude_cli": _CLI | {"allowed_tools"},
    "codex_cli": _CLI,
    "gemini_cli": _CLI,
    "opencode_cli": _CLI,
    "command": frozenset({"command", "cli_model", "cli_extra_args", "pty"}),
    "anthropic_api": _API,
    "ollama": frozenset({"ollama", "system_prompt_file"}),
    "recursive_light": frozenset({"recursive_light"}),
}


def timeouts(loaded: LoadedScore) -> Iterator[Problem]:
    for path, backend in _backends(loaded):
        for where, seconds in _timeouts(path, backend):
            if seconds < SHORT_SECONDS and backend.type in AGENTS and loaded.is_written(*where):
                message = f"{seconds:g} s is short for an agent"
                yield loaded.found("V103", WARNING, where, message, "most work takes minutes; the default is 1800")
            elif seconds > LONG_SECONDS and loaded.is_written(*where):
                message = f"{seconds / 3600:.1f} h is long: a stuck agent is noticed that late"
                yield loaded.found("V104", INFO, where, message, "stale_detection notices silence earlier")


def _timeouts(path: Field, backend: Backend) -> Iterator[tuple[Field, float]]:
    yield (*path, "timeout_seconds"), backend.timeout_seconds
    for n, seconds in backend.timeout_overrides.items():
        yield (*path, "timeout_overrides", n), seconds


def permissions(loaded: LoadedScore) -> Iterator[Problem]:
    for path, backend in _backends(loaded):
        if not backend.skip_permissions and backend.type in AGENTS and loaded.is_written(*path, "skip_permissions"):
            message = "the agent would wait for a permission that nobody can give"
            hint = "set skip_permissions: true, and name allowed_tools to limit it"
            yield loaded.found("V204", WARNING, (*path, "skip_permissions"), message, hint)


def unused_fields(loaded: LoadedScore) -> Iterator[Problem]:
    for path, backend in _backends(loaded):
        used = _used(backend)
        if used is None:
            continue
        unused = [
            name for name in Backend.model_fields if name not in used | _COMMON and loaded.is_written(*path, name)
        ]
        if unused:
            message = f"the backend {backend.type} does not use {', '.join(unused)}"
            yield loaded.found("V209", WARNING, (*path, unused[0]), message, "remove it, or choose another type")
    for name in ("state_backend", "state_path"):
        if loaded.is_written(name):
            message = f"{name} has no effect: the daemon keeps the state"
            yield loaded.found("V209", INFO, (name,), message, "remove it")


#: What a profile says about its command → the field of a score that it is for.
_PROFILED = {
    "model": "cli_model",
    "system_prompt": "system_prompt_file",
    "bypass": "skip_permissions",
    "no_mcp": "disable_mcp",
    "resume": "resume_session",
}


def _used(backend: Backend) -> frozenset[str] | None:
    """None: a shipped profile, whose content is not known here."""
    if backend.type in _USED or backend.profile is None:
        return _USED.get(backend.type)
    given = _invocation(backend)
    return frozenset(
        {"cli_extra_args", "pty", "profile", *(field for key, field in _PROFILED.items() if given.get(key))}
    )


def _invocation(backend: Backend) -> dict[str, Any]:
    """The profile's `command` section; empty where there is none. What is wrong with it is told by `backends.profile`."""
    command = (backend.profile or {}).get("command")
    return command if isinstance(command, dict) else {}


def visible(loaded: LoadedScore) -> Iterator[Problem]:
    """V227: what stands in a program's arguments, every user of the machine may read."""
    for path, backend in _backends(loaded):
        if backend.type == "codex_cli" and backend.system_prompt_file is not None:
            message = "codex takes the system prompt as an argument: every user of this machine can read it with `ps`"
            hint = "keep secrets out of it, or put it into the prompt"
            yield loaded.found("V227", WARNING, (*path, "system_prompt_file"), message, hint)
        elif backend.type == "command" and _shows_prompt(backend.command or []):
            message = "{prompt} is passed as an argument: every user of this machine can read it with `ps`"
            yield loaded.found(
                "V227", WARNING, (*path, "command"), message, "write {prompt_file}, or leave it to stdin"
            )
        elif _tells_prompt(backend):
            message = (
                f"{backend.type} takes the prompt as an argument: every user of this machine can read it with `ps`"
            )
            yield loaded.found(
                "V227", WARNING, (*path, "type"), message, "keep secrets out of it, or let the agent read a file"
            )


#: They pass nothing on to another process.
_SHELLS_OWN = frozenset({"echo", "printf", "test", "[", ":", "true", "export", "read"})


def _shows_prompt(command: str | list[str]) -> bool:
    if isinstance(command, list):
        return any("{prompt}" in word for word in command)
    for spot in read_script(command, backend_placeholder(("prompt",))).spots:
        simple, place = spot.levels[-1] if spot.levels else (None, -1)
        first = simple.words[simple.assigned] if simple and len(simple.words) > simple.assigned else ""
        if place > 0 and first and place > simple.assigned and first not in _SHELLS_OWN:
            return True
    return False


def _tells_prompt(backend: Backend) -> bool:
    given = _invocation(backend)
    words = [word for value in given.values() if isinstance(value, list) for word in value]
    return given.get("prompt") == "argument" or "{prompt}" in "\n".join(map(str, words))


def programs(loaded: LoadedScore) -> Iterator[Problem]:
    said = set()
    for path, backend in _backends(loaded):
        program = _program(backend)
        if program and program not in said and not _is_found(program, backend, loaded):
            said.add(program)
            yield loaded.found("V210", WARNING, _naming(loaded, path), *_not_found(program, backend, loaded))


def _naming(loaded: LoadedScore, path: Field) -> Field:
    """The field that chooses the program."""
    if path == ("bridge",):
        return path
    return (*path, "command") if loaded.is_written(*path, "command") else (*path, "type")


def packages(loaded: LoadedScore) -> Iterator[Problem]:
    """The vendors' packages of API backends; the daemon runs in the environment of this command, or should."""
    for path, backend in _backends(loaded):
        extra = EXTRAS.get(backend.type)
        if extra and find_spec(extra) is None:
            message = f"the Python package {extra!r} of the backend {backend.type} is not installed"
            hint = f"pip install 'mozartd[{extra}]' where the daemon runs"
            yield loaded.found("V210", WARNING, (*path, "type"), message, hint)


def bridge(loaded: LoadedScore) -> Iterator[Problem]:
    score = loaded.score
    kinds = {backend.type for _, backend in _backends(loaded)}
    if score.bridge is not None and score.bridge.enabled and "ollama" not in kinds:
        message = "bridge gives tools to models of the backend ollama, which this score does not use"
        yield loaded.found("V209", WARNING, ("bridge",), message, "remove it, or choose the backend ollama")


def _program(backend: Backend) -> str:
    if isinstance(backend.command, str) and backend.type == "command":
        return _program_of_text(backend.command)
    if backend.type == "command":
        return backend.command[0] if isinstance(backend.command, list) and "{" not in backend.command[0] else ""
    if backend.type not in _USED and backend.profile is not None:
        argv = _invocation(backend).get("argv")
        return str(argv[0]) if isinstance(argv, list) and argv and "{" not in str(argv[0]) else ""
    return PROGRAMS.get(backend.type, "")


#: Words that a shell knows by itself.
_OF_THE_SHELL = frozenset(
    {".", ":", "[", "alias", "bg", "break", "cd", "command", "continue", "echo", "eval", "exec", "exit", "export", "false",
     "fg", "getopts", "hash", "jobs", "kill", "local", "printf", "pwd", "read", "readonly", "return", "set", "shift", "test",
     "time", "times", "trap", "true", "type", "ulimit", "umask", "unalias", "unset", "wait"}
)  # fmt: skip


def _program_of_text(command: str) -> str:
    """Of a text for a shell that is one command; else of the first that is named by a path."""
    named = [
        simple.words[simple.assigned] for simple in read_script(command).commands if len(simple.words) > simple.assigned
    ]
    known = [word for word in named if "\0" not in word and not word.startswith("~")]
    if len(named) == 1 and len(known) == 1 and known[0] not in _OF_THE_SHELL:
        return known[0]
    return next((word for word in known if word.startswith(("./", "../"))), "")


def _not_found(program: str, backend: Backend, loaded: LoadedScore) -> tuple[str, str]:
    if os.sep not in program:
        message = f"{program}: command not found (the backend {backend.type} needs it)"
        return message, "install it, or add its directory to PATH"
    directory = backend.working_directory or loaded.directory
    if os.path.isfile(os.path.join(directory, program)):
        return f"{program}: permission denied", f"chmod +x {shlex.quote(program)}, in {directory}"
    return f"{program}: no such file", f"check the path: it is looked for in {directory}"


def _is_found(program: str, backend: Backend, loaded: LoadedScore) -> bool:
    search = backend.env.get("PATH", os.environ.get("PATH", os.defpath))
    if os.sep in program:
        program = os.path.join(backend.working_directory or loaded.directory, program)
    return shutil.which(program, path=search) is not None


def _backends(loaded: LoadedScore) -> Iterator[tuple[Field, Backend]]:
    """The score's backend, each sheet's, and what they fall back to, as they run, with the section that writes them."""
    score = loaded.score
    first: list[tuple[Field, int]] = [(("backend",), 0), *((("sheet", "backends", n), n) for n in score.sheet.backends)]
    for path, n in first:
        backend, *fallbacks = score.choices_for(n)
        yield path, backend
        written = score.sheet.backends[n].fallbacks if n else score.backend.fallbacks
        yield from (((*path, "fallbacks", i), each) for i, each in enumerate(fallbacks) if written)
        if routing.adds_claude(backend.model_dump(), score.bridge.model_dump() if score.bridge else None):
            yield ("bridge",), Backend.model_validate(overlay(backend.model_dump(), routing.CLAUDE_CLI))
