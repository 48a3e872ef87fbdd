"""The scripted agent does what its script says: it stands for every agent in the other tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import AGENT


def start(script: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """The agent in a session of its own, with `script` on its stdin."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(AGENT), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **environment},
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(script.encode())
    process.stdin.close()
    process.stdin = None
    return process


def play(script: str, *arguments: str, **environment: str) -> tuple[int, bytes, bytes]:
    process = start(script, *arguments, **environment)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_it_is_an_executable() -> None:
    done = subprocess.run([AGENT, "say hello", "err oops", "exit 3"], capture_output=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"hello\n", b"oops\n")


def test_help_names_every_command() -> None:
    namespace: dict[str, object] = {"__name__": "agent", "__file__": str(AGENT)}
    exec(compile(AGENT.read_text(), AGENT, "exec"), namespace)
    words = set(play("", "--help")[1].decode().replace("`", " ").replace(",", " ").split())
    commands = namespace["COMMANDS"]
    assert isinstance(commands, dict)
    assert not set(commands) - words


@pytest.mark.parametrize(
    "script", ["frobnicate", "sleep", "sleep soon", "hang now", "ignore NOTHING", "flood 100 3", "claude no-such-run"]
)
def test_a_wrong_script_is_said_and_exits_64(script: str) -> None:
    code, out, err = play("say before\n" + script + "\nsay after")
    assert (code, out) == (64, b"before\n")
    assert err.startswith(b"agent: ")


def test_a_flood_is_numbered_lines() -> None:
    _, out, _ = play("flood 500000 50")
    lines = out.split(b"\n")
    assert lines.pop() == b""
    assert {len(line) for line in lines} == {49}
    assert [int(line[:10]) for line in lines] == list(range(10_000))


def test_bytes_come_as_they_are() -> None:
    assert play("bytes 00ff0a80\nnonl end\nendless 70000")[1] == b"\x00\xff\n\x80end" + b"x" * 70_000


def test_the_script_stands_between_begin_and_end() -> None:
    prompt = "Some rules come first.\nbegin\n  say one\nend\nThen what will be checked."
    assert play(prompt)[:2] == (0, b"one\n")


def test_guards_look_at_the_attempt_and_the_sheet() -> None:
    script = "attempt 1: say first\nattempt 2+: say again\nsheet 3: attempt 2: say both\n"
    assert play(script)[1] == b"first\n"
    assert play(script, MOZART_ATTEMPT="2")[1] == b"again\n"
    assert play(script, MOZART_ATTEMPT="2", MOZART_SHEET="3")[1] == b"again\nboth\n"


def test_files_are_written_in_the_workspace(tmp_path: Path) -> None:
    play("write a.txt one two\nappend a.txt three", MOZART_WORKSPACE=str(tmp_path))
    assert (tmp_path / "a.txt").read_text() == "one two\nthree\n"


def test_a_gate_holds_it_until_somebody_comes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    process = start("say before\ngate go\nsay after", MOZART_WORKSPACE=str(tmp_path))
    assert process.stdout
    assert process.stdout.readline() == b"before\n"
    assert process.poll() is None
    os.close(os.open(tmp_path / "go", os.O_WRONLY))
    assert process.communicate(timeout=20)[0] == b"after\n"


def test_it_ignores_what_it_is_told_to_ignore() -> None:
    process = start("ignore TERM\nsay ready\nhang")
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT, "TERM was ignored, INT was not"


def test_it_dies_of_a_signal() -> None:
    assert play("signal SEGV")[0] == -signal.SIGSEGV
    assert play("ignore TERM\nsignal TERM")[0] == -signal.SIGTERM


@pytest.mark.parametrize(("command", "same_group"), [("spawn 600", True), ("setsid 600", False)])
def test_what_it_leaves_behind_holds_its_pipes(command: str, same_group: bool) -> None:
    process = start(f"ids\n{command}\nsay done")
    assert process.stdout
    group = int(process.stdout.readline().split()[1])
    assert process.stdout.readline() == b"done\n"
    assert process.wait(timeout=20) == 0
    left = [int(name) for name in os.listdir("/proc") if name.isdigit() and holds(int(name), process.stdout.fileno())]
    assert len(left) == 1
    assert (os.getpgid(left[0]) == group) == same_group
    os.kill(left[0], signal.SIGKILL)
    assert process.communicate(timeout=20) == (b"", b""), "end of file comes when the last holder is gone"


def holds(pid: int, reader: int) -> bool:
    """Whether `pid`, another process, has an end of the pipe that we read at `reader`."""
    wanted = os.fstat(reader).st_ino
    if pid == os.getpid():
        return False
    try:
        return any(os.stat(f"/proc/{pid}/fd/{fd}").st_ino == wanted for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def test_it_closes_its_output_and_lives_on() -> None:
    process = start("say last\ncloseout\nhang")
    assert process.stdout
    assert process.stdout.read() == b"last\n"
    assert process.poll() is None
    process.kill()
    process.communicate(timeout=20)


def test_it_plays_claude_code(tmp_path: Path) -> None:
    (tmp_path / "case.stdout").write_bytes(b'{"type":"result"}\n')
    (tmp_path / "case.stderr").write_bytes(b"warned\n")
    (tmp_path / "case.meta.json").write_text('{"exit_code": 1}')
    claude = tmp_path / "claude"
    claude.symlink_to(AGENT)
    done = subprocess.run(
        [claude, "-p", "--verbose"], input=b"claude case", capture_output=True, timeout=20,
        env={"PATH": os.environ["PATH"], "AGENT_RECORDINGS": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (1, b'{"type":"result"}\n', b"warned\n")
