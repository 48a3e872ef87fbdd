"""Every verb of `mozart` with words that it accepts, made from its signature: a new verb is in every such table by itself."""

from __future__ import annotations

import contextlib
import inspect
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator

import pytest

from cli.arguments import Argument, parameters
from cli.main import run
from cli.verbs import VERBS, find_verb
from tests.process.daemon import PATIENCE, Daemon

#: (words, exit code, stdout, stderr) of each command.
Said = Iterator[tuple[list[str], int, str, str]]
#: What stands where a usage line says so, if it must be there.
WORDS = {"PRIORITY": "40", "SCOPE": "nobody_cli", "drain": "drain"}
#: Commands that run side by side.
AT_ONCE = 6
#: Verbs that would not let others go on, or would wait; what is asked of them instead.
INSTEAD = {"daemon": ["daemon", "nothing"], "completion": ["completion", "bash"], "reorder": ["reorder", "JOB", "--first"],
           "run": ["run", "SCORE", "--detach"]}  # fmt: skip


def words_of(verb: str, job: str, score: str) -> list[str]:
    """`mozart VERB …` as a list."""
    found = {**WORDS, "JOB": job, "JOB...": job, "[JOB]": job, "[JOB...]": job, "SCORE": score}
    if verb in INSTEAD:
        return [found.get(word, word) for word in INSTEAD[verb]]
    arguments = [one for one in parameters(find_verb(verb).command) if isinstance(one.spec, Argument)]
    needed = [
        one for one in arguments if one.default is inspect.Parameter.empty or one.spec.metavar in ("[JOB]", "[JOB...]")
    ]
    return [verb, *(found[str(one.spec.metavar)] for one in needed)]


def every_verb(job: str, score: str) -> Iterator[list[str]]:
    return (words_of(verb, job, score) for verb in VERBS)


@pytest.fixture
def run_here(
    calm_daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """`run_here(commands, to="/dev/full")`: as `run_all`, in this process: interpreters take most of a minute to start."""
    for name, value in calm_daemon.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(calm_daemon.home)

    def all_of(commands: Iterable[list[str]], to: str = "") -> Said:
        for words in commands:
            with onto(to) if to else contextlib.nullcontext():
                code = run(words)
            said = capfd.readouterr()
            yield words, code, said.out, said.err

    return all_of


@contextlib.contextmanager
def onto(path: str) -> Iterator[None]:
    """Stdout is that file for a while."""
    kept, other = os.dup(1), os.open(path, os.O_WRONLY)
    os.dup2(other, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(other)


def run_all(
    daemon: Daemon, commands: Iterable[list[str]], shell: str = "", program: str = "mozart"
) -> Iterator[tuple[list[str], int, bytes, bytes]]:
    """(words, exit code, stdout, stderr) of each; several at a time. `shell`: redirections that they are started with."""
    script = f'exec "$@" {shell}'
    for some in batched(commands, AT_ONCE):
        asked = [(words, start(daemon, ["sh", "-c", script, "sh", program, *words])) for words in some]
        for words, process in asked:
            out, err = process.communicate(timeout=PATIENCE)
            yield words, process.returncode, out, err


def start(daemon: Daemon, argv: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        cwd=daemon.home,
        env=daemon.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def batched(commands: Iterable[list[str]], size: int) -> Iterator[list[list[str]]]:
    """As `itertools.batched` of Python 3.12."""
    rest = list(commands)
    return (rest[n : n + size] for n in range(0, len(rest), size))
