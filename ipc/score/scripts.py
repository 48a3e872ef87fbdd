"""Whether a backend takes its prompt as a program: then nothing of ours is ever appended to it, and no value from outside may
be part of it.

A prompt is a script where an interpreter reads its program from stdin (`bash -s`, `python3 -`), or where `{prompt}` or
`{prompt_file}` stands in the place of its program. `python3 my_agent.py` and `sh -c "claude -p"` read text.
`backend.prompt_is` overrides. Pure. Workers, `plan` and `checks` ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ipc.errors import MozartError
from ipc.score.interpreters import ASSIGNMENT, UNKNOWN, Reading, read_words, runs_files
from ipc.score.rules import outside
from ipc.score.shell import Script, backend_placeholder, read_script

_WHOLE = ("{prompt}", "{prompt_file}")
_PLACEHOLDER = backend_placeholder(("model", "prompt", "prompt_file", "workspace"))
#: Of the shipped profiles, which load has not read.
_SHIPPED = frozenset({"bash"})
#: What is nothing but itself to any interpreter.
_HARMLESS = re.compile(r"[A-Za-z0-9_@%+=:,./-]*\Z")


def takes_script(backend: Mapping[str, Any]) -> bool:
    """`backend`: a dumped `schema.Backend`."""
    if backend.get("prompt_is"):
        return bool(backend["prompt_is"] == "script")
    kind, profile = backend["type"], backend.get("profile")
    if kind == "command":
        return _is_script(backend.get("command") or [])
    if profile is None:
        return kind in _SHIPPED
    called = profile.get("command") if isinstance(profile, Mapping) else None
    argv = called.get("argv") if isinstance(called, Mapping) else None
    return isinstance(argv, list) and _is_script([str(word) for word in argv])


def _is_script(command: str | Sequence[str]) -> bool:
    if isinstance(command, str):
        script = read_script(command, _PLACEHOLDER)
        reads = any(_reads_program(simple.words, simple.reading) for simple in script.commands)
        return reads or _names_program(command) or _runs_stdin(script)
    masked = [_PLACEHOLDER.sub(UNKNOWN, word) for word in command]
    reading = read_words(masked)
    told = any(_PLACEHOLDER.search(word) and ("{prompt" in word) for word in command)
    if any(
        runs_files(reading.code[place]) and "{prompt_file}" in command[place]
        for place in reading.code
        if place < len(command)
    ):
        return True
    if reading.program is not None and reading.program < len(command) and command[reading.program] in _WHOLE:
        return True
    return _reads_program(command, reading, told)


def _reads_program(words: Sequence[str], reading: Reading, told: bool = False) -> bool:
    """Whether it runs what comes on stdin; `told`: the prompt does not come there."""
    if reading.stdin:
        return not told
    return any(_is_script(words[place]) for place in reading.shell_code if place < len(words))


def _runs_stdin(script: Script) -> bool:
    """`eval "$(cat)"`, `x=$(cat); sh -c "$x"`."""
    read: set[str] = set()
    for simple in script.commands:
        for word, heads in zip(simple.words, simple.heads, strict=True):
            if (assigned := ASSIGNMENT.match(word)) and "cat" in heads:
                read.add(assigned[1])
        if simple.words[:1] == ["read"]:
            read |= {word for word in simple.words[1:] if not word.startswith("-")}
    return any(
        "cat" in simple.heads[place] or simple.names[place] & read
        for simple in script.commands
        for place, who in simple.reading.code.items()
        if place < len(simple.words)
        and (who == "eval" or place in (*simple.reading.shell_code, simple.reading.program, simple.assigned))
    )


def _names_program(command: str) -> bool:
    """`bash {prompt_file}`, `. {prompt_file}` in a text for a shell."""
    for spot in read_script(command, _PLACEHOLDER).spots:
        if not spot.name.startswith("prompt") or not spot.levels or spot.inside:
            continue
        simple, place = spot.levels[-1]
        is_word = 0 <= place < len(simple.words) and simple.words[place] == UNKNOWN
        if is_word and (place == simple.reading.program or simple.reading.code.get(place) in (".", "source", "eval")):
            return True
    return False


def refuse_outside(prompt: Mapping[str, Any], variables: Mapping[str, Any], used: Iterable[str]) -> None:
    """Raises MozartError E604 when the script would hold what an agent said, or a typed value that is more than a word.

    `prompt`: a dumped `schema.Prompt`; `variables`: all that the template sees; `used`: the names that it uses."""
    foreign = outside(prompt)
    for name in used:
        value = variables.get(name)
        if name in foreign and not (isinstance(value, str | int | float) and _HARMLESS.match(str(value))):
            message = f"cannot put {{{{ {name} }}}} into a script: its text would run as part of the script"
            raise MozartError("E604", message, _hint(name))


def _hint(name: str) -> str:
    if name.startswith("previous"):
        return "let the sheet before write a file, and read that; or say `backend.prompt_is: text`"
    return f"pass it by the environment: `--set 'backend.env.{name.upper()}=…'`, and write \"${name.upper()}\" in the script"
