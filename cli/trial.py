"""One trivial prompt through a backend, judged as a worker judges it. For `mozart backends check NAME --run`."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from typing import Any

import backends
from backends.base import STDOUT, Command, Ending, Run
from cli import group
from ipc.environment import AGENT_MARKS, without_git
from ipc.errors import EXIT_USAGE, MozartError

PROMPT = "Answer with the single word: ready"
#: Seconds for the whole trial.
PATIENCE = 120.0


def attempt(name: str, profile: Mapping[str, Any] | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mozart-") as directory:
        run = _describe(name, directory)
        backend = backends.load(name, profile)
        try:
            command = backend.command(run)
        except ValueError as error:
            raise MozartError("E301", str(error), "it needs a score that configures it", EXIT_USAGE) from None
        began = time.monotonic()
        stdout, stderr, code, stopped = _run(command, run)
        seconds = time.monotonic() - began
    parser, renderer = backend.parser(run), backend.renderer()
    shown = ""
    for line in stdout.splitlines():
        parser.feed(STDOUT, line)
        shown += renderer.feed(STDOUT, line)
    killed = -code if code < 0 else None
    tail, error_tail = (text[-16384:].decode("utf-8", "replace") for text in (stdout, stderr))
    verdict = parser.verdict(Ending(None if killed else code, killed, stopped, error_tail, tail, time.time()))
    return {
        "verdict": verdict.name, "code": verdict.code, "message": verdict.message, "hint": verdict.hint,
        "answer": (shown + renderer.finish()).strip()[:2000], "seconds": round(seconds, 3),
    }  # fmt: skip


def _describe(name: str, directory: str) -> Run:
    from ipc.score.schema import Backend
    from ipc.score.shell import fill_backend

    # With a command, because `command` is refused without one; nobody else looks at it.
    section = Backend.model_validate({"type": name, "command": ["cat"]})
    prompt_file = os.path.join(directory, "prompt")
    with open(prompt_file, "w") as file:
        file.write(PROMPT)
    ours = without_git(os.environ, os.getpid())
    environment = {key: value for key, value in ours.items() if key not in AGENT_MARKS}
    return Run(
        section.model_dump(mode="json"), PROMPT, prompt_file, directory, directory, environment, str(uuid.uuid4()),
        is_root=os.geteuid() == 0, fill=fill_backend,
    )  # fmt: skip


def _run(command: Command, run: Run) -> tuple[bytes, bytes, int, str | None]:
    """Its output and how it ended. Both streams are files: no program loses what a file holds."""
    environment = {**run.environment, **command.environment}
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(command.stdin or b"")
        stdin.seek(0)
        with subprocess.Popen(
            command.argv,
            cwd=run.directory,
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        ) as process:
            stopped = None if group.finish(process, PATIENCE) else "timeout"
        stdout.seek(0)
        stderr.seek(0)
        return stdout.read(), stderr.read(), process.returncode, stopped
