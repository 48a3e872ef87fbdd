"""Commands for a shell: V218 a value from outside where it would be run, V219 a value of the author's in code of another
interpreter, V222 names that are slightly wrong, V223 syntax."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from ipc.errors import MozartError
from ipc.score.checks.templates import known_names
from ipc.score.load import LoadedScore
from ipc.score.problems import ERROR, WARNING, Field, Problem, misspelt
from ipc.score.rules import outside
from ipc.score.schema import Backend
from ipc.score.scripts import refuse_outside, takes_script
from ipc.score.shell import FOREIGN_TO_BACKENDS, PLACEHOLDER, backend_placeholder, compose_words, read_script
from ipc.score.template import TemplateProblem, names_used
from ipc.score.variables import built_in, merge

#: What a backend's command may name.
BACKEND_NAMES = ("model", "prompt", "prompt_file", "workspace")


def values(loaded: LoadedScore) -> Iterator[Problem]:
    sheets = loaded.sheets
    known = merge(built_in(loaded.score, sheets[0], len(sheets)), loaded.score.prompt.variables)
    foreign = outside(loaded.score.prompt.model_dump(mode="json"))
    for path, text in commands(loaded):
        yield from _placed(loaded, path, text, known, foreign)
    for path, command in backend_commands(loaded):
        if isinstance(command, str):
            texts = dict.fromkeys(BACKEND_NAMES, "")
            yield from _placed(loaded, path, command, texts, FOREIGN_TO_BACKENDS, backend=True)
        else:
            yield from _words(loaded, path, command)


def commands(loaded: LoadedScore) -> Iterator[tuple[Field, str]]:
    """What a shell runs beside the agent."""
    for i, rule in enumerate(loaded.score.validations):
        if rule.command is not None:
            yield ("validations", i, "command"), rule.command
    for n, skip in loaded.score.sheet.skip_when_command.items():
        yield ("sheet", "skip_when_command", n, "command"), skip.command


def backend_commands(loaded: LoadedScore) -> Iterator[tuple[Field, str | list[str]]]:
    for path, section in loaded.score.backend_sections():
        if section.command:
            yield (*path, "command"), section.command


#: Commands whose syntax is looked at, and seconds that all of them may take.
MAX_COMMANDS, SYNTAX_SECONDS = 200, 5.0


def syntax(loaded: LoadedScore) -> Iterator[Problem]:
    """V223: what `sh -n` says of each command, with something harmless in the place of what is filled in."""
    texts = [*commands(loaded), *((path, each) for path, each in backend_commands(loaded) if isinstance(each, str))]
    for section in ("on_success", "on_failure_hooks"):
        hooks = enumerate(getattr(loaded.score, section))
        texts += [((section, i, "command"), hook.command) for i, hook in hooks if hook.type == "run_command"]
    deadline = time.monotonic() + SYNTAX_SECONDS
    judged: dict[str, str] = {}
    for path, text in texts[:MAX_COMMANDS]:
        if text not in judged:
            judged[text] = _syntax_fault(PLACEHOLDER.sub("x", text), deadline - time.monotonic())
        if judged[text]:
            message = f"the shell cannot read this command: {judged[text]}"
            yield loaded.found("V223", ERROR, path, message, "check that every quote, bracket, `if` and `do` is closed")


def _syntax_fault(text: str, seconds: float) -> str:
    """Empty: none, or nobody knows."""
    if seconds <= 0:
        return ""
    try:
        done = subprocess.run(
            ["/bin/sh", "-n"], input=text.encode("utf-8", "replace"), env={"PATH": os.defpath, "LC_ALL": "C"},
            capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    fault = re.sub(r"^.*?(line )?(\d+): ", r"line \2: ", said[0]) if done.returncode and said else ""
    return fault.replace("Syntax error: ", "").replace("syntax error: ", "")


def names(loaded: LoadedScore) -> Iterator[Problem]:
    """V222: names in a backend's command that are nearly right, or that are filled elsewhere only."""
    filled_elsewhere = known_names(loaded)
    for path, command in backend_commands(loaded):
        text = command if isinstance(command, str) else "\n".join(command)
        for name in dict.fromkeys(PLACEHOLDER.findall(text)):
            near = misspelt(name, BACKEND_NAMES)
            if name in BACKEND_NAMES or not (near or name in filled_elsewhere):
                continue
            hint = f"did you mean {{{near}}}?" if near else "it takes {prompt}, {prompt_file}, {workspace}, {model}"
            yield loaded.found("V222", WARNING, path, f"{{{name}}} is not replaced in a backend's command", hint)


def _placed(
    loaded: LoadedScore, path: Field, text: str, known: dict[str, Any], foreign: frozenset[str], backend: bool = False
) -> Iterator[Problem]:
    script = read_script(text, backend_placeholder(BACKEND_NAMES)) if backend else read_script(text)
    for spot in script.spots:
        if spot.name in foreign:
            why = None if script.is_program(spot) else script.refusal(spot)
            if why:
                message = f"{{{spot.name}}} cannot be passed to this command: {why.reason}"
                yield loaded.found("V218", ERROR, path, message, why.hint)
            elif spot.name != "prompt" and (refusal := script.option(spot)):
                message = (
                    f"{{{spot.name}}} is refused here when it begins with `-`: the program would take it for an option"
                )
                yield loaded.found("V229", WARNING, path, message, refusal.hint)
        elif (
            spot.name in known
            and isinstance(known[spot.name], str)
            and not script.is_whole(spot)
            and (who := script.is_code(spot))
        ):
            where = who if who.startswith("in ") else f"as code for `{who}`"
            message = f"{{{spot.name}}} is pasted {where}: a quote or a space in it would break that"
            hint = "pass it as an argument, or read it from the environment: the workspace is $MOZART_WORKSPACE"
            yield loaded.found("V219", WARNING, path, message, hint)


def _words(loaded: LoadedScore, path: Field, command: list[str]) -> Iterator[Problem]:
    try:
        compose_words(command, dict.fromkeys(BACKEND_NAMES, ""))
    except MozartError as error:
        yield loaded.found("V218", ERROR, path, error.message.replace("pass", "use", 1), error.hint)


def scripts(loaded: LoadedScore) -> Iterator[Problem]:
    """The first sheet whose prompt runs, and would run what somebody else wrote."""
    score = loaded.score
    if not any(takes_script(section.model_dump(mode="json")) for section in _chosen(loaded)):
        return
    sheets = loaded.sheets
    known = merge(built_in(score, sheets[0], len(sheets)), score.prompt.variables)
    try:
        refuse_outside(score.prompt.model_dump(mode="json"), known, names_used(score.prompt.template or ""))
    except MozartError as error:
        yield loaded.found("V218", ERROR, ("prompt",), error.message, error.hint)
    except TemplateProblem:
        return  # `templates` says it.


def _chosen(loaded: LoadedScore) -> Iterator[Backend]:
    for n in (0, *loaded.score.sheet.backends):
        yield from loaded.score.choices_for(n)
