"""The real programs can mean nobody but the loopback server: what they are given, what they run with, what they can reach."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agents.programs import CLAUDE, CODEX, GEMINI, OPENCODE, SUBSCRIBER, Program
from tests.agents.scene import Apis, Scene
from tests.process.daemon import Daemon, environment_of

PROGRAMS = (CLAUDE, SUBSCRIBER, CODEX, GEMINI, OPENCODE)
URL = re.compile(r"\b[a-z][a-z0-9+.-]*://([^/\s\"']*)", re.IGNORECASE)
#: What an agent has besides the names that its score gives it.
GIVEN = {
    "PATH", "HOME", "LANG", "TERM", "MOZART_HOME", "MOZART_STATE", "MOZART_ATTEMPT_ID", "MOZART_JOB_ID", "MOZART_SHEET",
    "MOZART_ATTEMPT", "MOZART_WORKSPACE",
    # By the backend: its retries, the sandbox it is in.
    "CLAUDE_CODE_MAX_RETRIES", "IS_SANDBOX", "DISABLE_AUTOUPDATER",
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.environment.__name__)
def test_every_address_is_the_loopback_servers(program: Program, tmp_path: Path) -> None:
    section = program.section("http://127.0.0.1:1/x", tmp_path, "sk-invented")
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    hosts = URL.findall("\n".join([json.dumps(section), *files]))
    assert "127.0.0.1:1" in hosts
    assert set(hosts) == {"127.0.0.1:1"}
    assert not [name for name in section["env"] if "proxy" in name.lower()]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.environment.__name__)
def test_nothing_is_taken_from_this_machine(program: Program, tmp_path: Path) -> None:
    """No value refers to a variable of the daemon's; every path is in the test's own directory."""
    values = program.section("http://127.0.0.1:1/x", tmp_path, "sk-invented")["env"].values()
    assert not [value for value in values if "${" in value]
    assert not [value for value in values if value.startswith(("/", "~")) and not value.startswith(str(tmp_path))]


def test_there_is_nothing_else_to_reach(apis: Apis) -> None:
    if not apis.entering:
        pytest.skip("this user may not make a network namespace, so the addresses alone keep the programs in")
    code = (
        "import socket\n"
        "print([name for _, name in socket.if_nameindex()])\n"
        "try: socket.create_connection(('192.0.2.1', 443), 2)\n"
        "except OSError as error: print(error.errno)\n"
    )
    done = subprocess.run([*apis.entering, sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    import errno

    assert done.stdout.split("\n")[:2] == ["['lo']", str(errno.ENETUNREACH)], done
    port = int(apis.url.rpartition(":")[2])
    with socket.socket() as outside:
        assert outside.connect_ex(("127.0.0.1", port)) != 0, "the server is in a namespace of its own"


@pytest.fixture
def running(scene: Callable[[Program], Scene]) -> Iterator[Scene]:
    arranged = scene(CLAUDE)
    arranged.start("hang It works on it.")
    yield arranged
    arranged.close()


@pytest.mark.timeout(150)
def test_a_running_program_has_what_it_was_given_and_no_more(running: Scene, lonely_daemon: Daemon) -> None:
    variables = dict(line.split(b"=", 1) for line in environment_of(running.agent()) if line)
    names = {name.decode() for name in variables}
    given = running.program.section(running.url, running.home / "again", running.key)["env"]
    assert not names - set(given) - GIVEN
    assert {host.partition(":")[0] for host in URL.findall(b"\n".join(variables.values()).decode())} == {"127.0.0.1"}
    assert variables[b"HOME"] == str(running.home).encode()
