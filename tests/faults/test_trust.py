"""Whom the daemon, its clients and its agents believe: variables, directories, peers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ipc import PROTOCOL
from ipc.errors import MozartError
from ipc.score.load import load_score
from mozartd.settings import load_settings
from tests import ROOT
from tests.process.daemon import Daemon, write_score

#: Users that no system has, and a group that is nobody's own.
US, THEM, GROUP = 54321, 54322, 54323
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")

#: What git's own commands need, and nothing of this machine's.
GIT = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.invalid", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.invalid", "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


def shell(script: str, directory: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-ec", script], cwd=directory, env=environment, text=True, capture_output=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wrote(daemon: Daemon, score: Path) -> str:
    """What the score's one sheet printed."""
    job = daemon.run(score)
    assert daemon.wait(job)["state"] == "completed"
    return daemon.mozart("logs", job, "--raw").stdout


# ---- A1 -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")
def test_A01_an_agent_commits_to_its_own_repository_whoever_started_the_daemon(
    cold: Daemon, score: Callable[..., Path], tmp_path: Path
) -> None:
    mine = {**cold.environment, **GIT}
    a, b = tmp_path / "a", tmp_path / "b"
    commits = "cd $MOZART_WORKSPACE/../b; git add -A; git commit -qm B; env"
    hooked = score("say first", name="hooked")
    later = score("", name="later", backend={"command": ["sh", "-c", commits]})
    for place in (a, b):
        place.mkdir()
        shell(
            "git init -q . && git config user.name B && git config user.email b@example.invalid"
            " && echo $PWD > own && git add -A && git commit -qm first",
            place, mine,
        )  # fmt: skip
    shell("git worktree add -q ../linked -b side", a, mine)
    hook = a / ".git" / "hooks" / "pre-commit"
    hook.write_text(f"#!/bin/sh\nexec mozart run --detach {hooked}\n")
    hook.chmod(0o755)
    shell("echo more > more && git add -A && git commit -qm hooked", tmp_path / "linked", mine)
    before = shell("git rev-parse side", a, mine)

    (b / "new").touch()
    printed = wrote(cold, later)

    assert shell("git log -1 --format=%s,%an", b, mine).strip() == "B,B", printed
    assert shell("git rev-parse side", a, mine) == before
    left = [line for line in printed.splitlines() if line.startswith("GIT_")]
    assert left == ["GIT_CONFIG_NOSYSTEM=1"]


def test_A01_what_no_hook_left_stays_and_what_a_setting_names_is_handed_on() -> None:
    from ipc.environment import is_named, without_git

    bot = {"GIT_AUTHOR_NAME": "bot", "GIT_SSH_COMMAND": "ssh -i key", "GIT_CONFIG_COUNT": "1", "HOME": "/h"}
    assert without_git(bot, 7) == bot, "a unit's, or a person's own"
    hook = {**bot, "GIT_INDEX_FILE": ".git/index", "GIT_CONFIG_KEY_0": "a.b", "GITHEAD_0123abc": "x", "GIT_EDITOR": ":"}
    assert without_git(hook, 7) == {"GIT_SSH_COMMAND": "ssh -i key", "HOME": "/h"}
    unit = {**hook, "SYSTEMD_EXEC_PID": "7"}
    assert without_git(unit, 7) == unit
    assert "GIT_INDEX_FILE" not in without_git(unit, 8), "the unit started somebody else"
    assert is_named("GIT_DIR", ["GIT_*"])
    assert is_named("GIT_DIR", ["PATH", "GIT_DIR"])
    assert not any(is_named("GIT_DIR", [all_]) for all_ in ("*", "?*", "[A-Z]*", "**", "G*T_DIR", ""))


# ---- A7, A14: where others may write -------------------------------------------------------------------------------


@pytest.fixture
def common() -> Iterator[Path]:
    """A directory that everybody may enter, as /tmp's is not."""
    with tempfile.TemporaryDirectory(prefix="mz", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="session")
def everybodys_python() -> Iterator[str]:
    """This interpreter with what is installed for it, at a place where other users may run it."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory(prefix="mz") as directory:
        place = Path(directory)
        packages = place / "lib" / version / "site-packages"
        packages.mkdir(parents=True)
        (place / "bin").mkdir()
        place.chmod(0o755)
        for real in (Path(sys.executable).resolve(), Path("/usr/bin", version)):
            (place / "bin" / "python").unlink(missing_ok=True)
            (place / "bin" / "python").symlink_to(real)
            (place / "pyvenv.cfg").write_text(f"home = {real.parent}\n")
            (packages / "all.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
            with contextlib.suppress(OSError):
                tried = [place / "bin" / "python", "-c", "import orjson, ipc"]
                if (
                    subprocess.run(tried, user=US, group=US, extra_groups=[], cwd="/", capture_output=True).returncode
                    == 0
                ):
                    yield str(place / "bin" / "python")
                    return
        pytest.skip("another user can run nothing of this checkout")


def program(
    python: str, home: Path, *words: str, uid: int | None = None, **more: Any
) -> subprocess.CompletedProcess[str]:
    """`mozart WORDS` or `mozartd WORDS` of this checkout, as that user."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home.parent), "MOZART_HOME": str(home), "LANG": "C.UTF-8"}
    options = {"umask": 0o022, "cwd": "/", **more, "env": {**environment, **more.get("env", {})}}
    who = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    run = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from mozartd.entry import {words[0]} as main; sys.exit(main())"
    )
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [python, "-P", "-c", run, *words[1:]], text=True, capture_output=True, timeout=50, **options, **who
    )
    return done


def mozartd(home: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return program(sys.executable, home, "mozartd", *words, **more)


def test_A07_a_home_that_others_may_write_is_refused_and_nothing_is_made(common: Path) -> None:
    table: list[tuple[str, Callable[[Path], object], str]] = [
        ("open", lambda home: home.chmod(0o777), "can be written by everybody"),
        ("above", lambda home: home.parent.chmod(0o777), "can be written by everybody"),
        ("group", lambda home: (os.chown(home, -1, GROUP), home.chmod(0o770)), "can be written by the group"),
        ("linked", lambda home: (home.rmdir(), home.symlink_to(elsewhere)), "can be written by everybody"),
        ("theirs", lambda home: os.chown(home, THEM, THEM), f"belongs to uid {THEM}"),
    ]
    elsewhere = common / "elsewhere"
    (elsewhere / "home").mkdir(parents=True)
    elsewhere.chmod(0o777)
    for name, spoil, said in table:
        if os.geteuid() and name in ("group", "theirs"):
            continue
        home = common / name / "home"
        home.mkdir(parents=True)
        spoil(home)
        done = mozartd(home, "start")
        assert done.returncode == 2, (name, done)
        assert said in done.stderr, (name, done.stderr)
        assert os.listdir(home) == (["home"] if name == "linked" else []), name


def test_A07_what_is_made_is_ours_alone_whatever_the_umask(common: Path) -> None:
    home = common / "deep" / "home"
    done = mozartd(home, "start", umask=0)
    assert done.returncode == 0, done.stderr
    try:
        for made in (home.parent, home, home / "state", home / "run", home / "logs"):
            assert stat.S_IMODE(made.stat().st_mode) == 0o700, made
    finally:
        assert mozartd(home, "stop", umask=0).stdout == "mozartd has stopped\n"


def test_A07_settings_are_ours_and_no_link(common: Path) -> None:
    config, other = common / "config.yaml", common / "other.yaml"
    other.write_text("workers: 1\n")
    table: list[tuple[str, Callable[[], object], str]] = [
        ("a link", lambda: config.symlink_to(other), "it is a link"),
        ("a FIFO", lambda: os.mkfifo(config), "it is not a regular file"),
        ("a directory", config.mkdir, "it is not a regular file"),
        ("open", lambda: (config.touch(), config.chmod(0o666)), "it can be written by everybody"),
        ("theirs", lambda: (config.touch(), os.chown(config, THEM, THEM)), f"it belongs to uid {THEM}"),
    ]
    for name, plant, said in table:
        if os.geteuid() and name == "theirs":
            continue
        plant()
        with pytest.raises(MozartError, match=said) as refused:
            load_settings(str(config))
        assert refused.value.message.startswith(f"cannot read {config}: "), name
        config.rmdir() if name == "a directory" else config.unlink()
    config.symlink_to(other)
    assert load_settings(str(config), must_exist=True).workers == 1, "a person named it"


def forge_pid_file(home: Path, victim: subprocess.Popen[bytes]) -> None:
    """As a daemon would have written it, had it been that process."""
    started = int(Path(f"/proc/{victim.pid}/stat").read_text().rpartition(")")[2].split()[19])
    more = json.dumps({"started": started, "config": "x", "stopping": False})
    (home / "run" / "mozartd.pid").write_text(f"{victim.pid}\n{more}\n")


def test_A07_only_who_took_the_lock_is_signalled(common: Path) -> None:
    home = common / "home"
    for directory in (home, home / "state", home / "run"):
        directory.mkdir(mode=0o700)
    lock, read = home / "state" / "lock", home / "read"
    os.mkfifo(read)
    lock.touch(mode=0o600)
    # It has the lock file open, as a backup would, and says so when it has.
    with subprocess.Popen(["sh", "-c", f"exec 3< {lock}; echo > {read}; exec sleep 60"]) as victim:
        try:
            read.read_text()
            forge_pid_file(home, victim)
            assert "not running" in mozartd(home, "stop").stdout
            assert mozartd(home, "reload").returncode == 4
            assert "not running" in mozartd(home, "stop", "--force").stdout
            lock.unlink()
            lock.symlink_to(f"/proc/{victim.pid}/exe")
            (home / "run").mkdir(exist_ok=True)
            forge_pid_file(home, victim)
            refused = mozartd(home, "stop")
            assert refused.returncode == 1
            assert f"cannot open {lock}: it is a link" in refused.stderr
            assert victim.poll() is None
        finally:
            victim.kill()


@needs_root
def test_A14_root_writes_nothing_in_a_home_that_is_not_roots_and_says_who_may(
    common: Path, everybodys_python: str
) -> None:
    home = common / "home"
    home.mkdir()
    os.chown(home, US, US)
    ours = partial(program, everybodys_python, home, "mozartd", uid=US)
    assert ours("start").returncode == 0
    try:
        before = sorted(home.rglob("*"))
        for verb in ("reload", "upgrade"):
            done = mozartd(home, verb)
            assert done.returncode == 2, done
            assert f"`sudo -u #{US} MOZART_HOME={home} mozartd {verb}`" in done.stderr
        assert sorted(home.rglob("*")) == before
        assert ours("reload").returncode == 0
        assert "has stopped" in mozartd(home, "stop").stdout, "root may end what is anybody's"
    finally:
        ours("stop")
    refused = mozartd(home, "start")
    assert refused.returncode == 2
    assert f"sudo -u #{US} MOZART_HOME={home} mozartd start" in refused.stderr


# ---- A6 -------------------------------------------------------------------------------------------------------------


class Mallory:
    """Listens where somebody else's daemon would, keeps what it is told, and asks for everything."""

    def __init__(self, path: Path, uid: int) -> None:
        self.heard = path.with_suffix(".heard")
        self.heard.touch()
        self.heard.chmod(0o666)
        listens = (
            "import os,socket,sys,json,struct\n"
            "s=socket.socket(socket.AF_UNIX); os.umask(0); s.bind(sys.argv[1]); s.listen(); print(flush=True)\n"
            "def say(c,x): d=json.dumps(x).encode(); c.sendall(struct.pack('>I',len(d))+d)\n"
            "while True:\n"
            "    c,_=s.accept(); f=open(sys.argv[2],'ab')\n"
            "    try:\n"
            "        say(c,dict(type='hello',protocol=int(sys.argv[3]),version='x',role='c',pid=1,submit_env=['*','PATH']))\n"
            "        while d:=c.recv(65536): f.write(d); f.flush()\n"
            "    except OSError: pass\n"
        )
        self.process = subprocess.Popen(
            ["/usr/bin/env", "python3", "-c", listens, str(path), str(self.heard), str(PROTOCOL)],
            user=uid, group=uid, extra_groups=[], stdout=subprocess.PIPE, cwd="/", env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert self.process.stdout
        self.process.stdout.readline()

    def __enter__(self) -> Mallory:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@needs_root
def test_A06_a_client_tells_nothing_to_who_is_not_to_be_trusted(common: Path, everybodys_python: str) -> None:
    place = common / "run"
    place.mkdir()
    os.chown(place, THEM, THEM)
    score = write_score(common, "say hello")
    (common / "workspace").mkdir()
    (common / "workspace").chmod(0o777)
    with Mallory(place / "mozartd.sock", THEM) as mallory:
        named = {"env": {"MOZART_SOCKET": str(place / "mozartd.sock"), "SECRET": "hunter2"}}
        for uid in (US, None):
            done = program(everybodys_python, common, "mozart", "run", str(score), uid=uid, **named)
            assert done.returncode == 4, done
            assert f"cannot trust the daemon at {place}/mozartd.sock: it is run by #{THEM}" in done.stderr
            done = program(everybodys_python, common, "mozart", "list", uid=uid, **named)
            assert done.returncode == 4
        assert mallory.heard.read_bytes() == b""


@needs_root
def test_A06_root_says_who_else_is_believed(common: Path) -> None:
    from ipc.client import connect_unix
    from ipc.trust import check_peer

    client_file = common / "client.yaml"
    with Mallory(common / "s", 0), tempfile.TemporaryDirectory(prefix="mozart-test-", dir="/run") as service:
        Path(service).chmod(0o755)
        os.chown(service, THEM, THEM)
        (common / "open").mkdir()
        (common / "open").chmod(0o777)
        with Mallory(common / "open" / "s", THEM), Mallory(Path(service) / "s", THEM):

            def believes(path: Path, said: str | None, mode: int = 0o644) -> bool:
                client_file.write_text(said or "")
                client_file.chmod(mode)
                with connect_unix(str(path)) as connected:
                    try:
                        check_peer(connected, str(path), str(client_file))
                    except MozartError:
                        return False
                return True

            assert believes(common / "s", None), "it is root's"
            theirs = common / "open" / "s"
            assert not believes(theirs, None)
            assert believes(theirs, f"socket_owner: {THEM}")
            assert not believes(theirs, f"socket_owner: {US}")
            assert not believes(theirs, f"socket_owner: {THEM}", mode=0o666), "anybody may have written that"
            for nonsense in ("[", "socket_owner:", "[1, 2]", "socket_owner: {a: 1}", "socket_owner: true"):
                assert not believes(theirs, nonsense), nonsense
            assert believes(Path(service) / "s", None)
            Path(service).chmod(0o777)
            assert not believes(Path(service) / "s", None)


@pytest.mark.parametrize("pattern", ["*", "?*", "[!_]*", "**"])
def test_A06_no_hello_makes_a_client_send_everything(pattern: str) -> None:
    from cli.commands.run import submission

    loaded = load_score(str(ROOT / "examples" / "hello.yaml"), {}, {}, None)
    assert submission(loaded, {"SECRET": "x", "PATH": "/bin"}, [pattern, "PATH"])["environment"] == {"PATH": "/bin"}


# ---- A20 ------------------------------------------------------------------------------------------------------------


def test_A20_an_agent_looks_and_changes_nothing(
    calm_daemon: Daemon, score: Callable[..., Path], tmp_path: Path
) -> None:
    other = calm_daemon.run(score("hang", name="other"))
    tries = [
        f"mozart cancel {other}", f"mozart pause {other}", f"mozart retry {other} --sheet 1", "mozart limits clear command",
        "mozart hold command --for 1h", "mozart gc", f"mozart priority {other} 1", f"mozart run {tmp_path}/other.yaml -d",
        "mozartd stop --force", "mozartd reload",
    ]  # fmt: skip
    looks = [f"mozart status {other}", "mozart list", "mozart gc --dry-run", f"mozart plan {tmp_path}/other.yaml"]
    # An orphan in a session of its own, without the variables, is the agent's all the same.
    away = f"env -u MOZART_STATE -u MOZART_ATTEMPT_ID setsid sh -c 'mozart cancel {other}; echo away $? >> tried' &"
    lines = [f"({one}) >> said 2>&1; echo $? {one} >> tried" for one in tries + looks]
    script = "\n".join(["cd $MOZART_WORKSPACE", *lines, f"({away})", "while ! grep away tried; do sleep .1; done"])
    mine = write_score(
        tmp_path, "", name="mine", workspace=str(tmp_path / "mine"), backend={"command": ["sh", "-c", script]}
    )

    job = calm_daemon.run(mine)
    assert calm_daemon.wait(job)["state"] == "completed"

    tried = (tmp_path / "mine" / "tried").read_text().splitlines()
    assert sorted(tried) == sorted([*(f"1 {one}" for one in tries), *(f"0 {one}" for one in looks), "away 1"])
    said = (tmp_path / "mine" / "said").read_text()
    assert f"cannot cancel {other} for the agent of {job}:1: agents may look, and change nothing" in said
    assert "`nesting`" in said
    assert calm_daemon.job(other)["job"]["state"] == "running"
    events = calm_daemon.mozart("events", job).stdout
    assert events.count("asked.refused") == 8, events
    assert f"by the agent of {job}:1, request cancel, of {other}" in events
    assert calm_daemon.mozart("cancel", other).returncode == 0, "a person may"


def test_A20_who_is_below_a_worker_is_its_agent() -> None:
    from mozartd.coordinator.agents import lineage, whose
    from mozartd.coordinator.model import Attempt
    from mozartd.processes import Process

    table = {
        pid: Process(pid, parent, pid, 0, False)
        for pid, parent in [(1, 0), (5, 1), (7, 5), (70, 7), (71, 70), (72, 7), (9, 1)]
    }
    running = [
        Attempt(1, "a-1", 3, 1, "normal", "w", 0.0, {"agent_pid": 70}),
        Attempt(2, "b-2", 1, 1, "normal", "w", 0.0),
    ]

    def found(pid: int, said: str = "", of: list[Attempt] = running) -> str | None:
        return whose(lineage(pid, table.get), {7: "w"}, of, said)

    assert found(71) == found(70, "b-2:1:1") == "a-1:3:1"
    assert found(72, "b-2:1:1") == "b-2:1:1"
    assert (found(72), found(72, of=running[:1]), found(72, "c-9:9:9")) == ("", "a-1:3:1", "")
    assert [found(pid) for pid in (1, 5, 7, 9)] == [None] * 4
    assert lineage(99, table.get) == []
    assert len(lineage(1, lambda pid: Process(pid, pid, pid, 0, False))) == 1000, "a loop ends"


def test_A20_who_has_ended_or_is_younger_than_its_connection_is_not_believed() -> None:
    from ipc.connection import Peer
    from mozartd.coordinator.agents import Agents, boot_time

    agents = Agents("/s", dict, list, lambda *_: None)
    with subprocess.Popen(["sleep", "60"]) as person:
        try:
            here = Peer(person.pid, os.geteuid())
            assert agents.behind(here, boot_time(), {}) is None
            assert agents.behind(here, boot_time(), {"state": "/s", "attempt": "a-1:1:1"}) == "a-1:1:1"
            assert agents.behind(here, boot_time(), {"state": "/other", "attempt": "a-1:1:1"}) is None
            with pytest.raises(MozartError, match="has ended"):
                agents.behind(here, boot_time() - 1000, {})
        finally:
            person.kill()
    with pytest.raises(MozartError, match="has ended"):
        agents.behind(here, boot_time(), {})


# ---- A5 -------------------------------------------------------------------------------------------------------------


def test_A05_listing_backends_runs_nothing_of_a_checkout(shared_daemon: Daemon, tmp_path: Path) -> None:
    project = tmp_path / ".mozart" / "backends"
    project.mkdir(parents=True)
    for name in ("aaa", "goose"):
        told = {"argv": ["sh", "-c", f"id > {tmp_path}/{name}; echo 1.2.3"]}
        profile = {"command": {"argv": ["sh"], "prompt": "stdin"}, "output": {"format": "text"}, "version": told}
        (project / f"{name}.yaml").write_text(json.dumps(profile))

    def backends(*words: str) -> subprocess.CompletedProcess[str]:
        return shared_daemon.mozart("backends", *words, cwd=tmp_path)

    listed = json.loads(backends("list", "--json").stdout)["backends"]
    assert backends("show", "aaa").returncode == backends("check", "goose").returncode == 0
    assert not [name for name in ("aaa", "goose") if (tmp_path / name).exists()]
    found = {one["name"]: (one["origin"], one["shadows"], one["version"]) for one in listed}
    assert (found["aaa"], found["goose"]) == (("project", "", ""), ("project", "shipped", ""))
    assert found["claude_cli"][:2] == found["aider"][:2] == ("shipped", "")
    row = next(line for line in backends().stdout.splitlines() if line.startswith("goose"))
    assert "this directory's profile, instead of the shipped one" in row
    assert json.loads(backends("check", "aaa", "--run", "--json").stdout)["backends"][0]["version"] == "1.2.3"
    assert (tmp_path / "aaa").exists(), "a person asked for it"

    theirs = tmp_path / "home" / "backends"
    theirs.mkdir(parents=True)
    theirs.parent.chmod(0o777)
    shutil.copy(project / "goose.yaml", theirs)
    (tmp_path / "goose").unlink(missing_ok=True)
    elsewhere = {"cwd": theirs, "env": {"MOZART_HOME": str(theirs.parent)}}
    assert shared_daemon.mozart("backends", "list", **elsewhere).returncode == 0
    assert not (tmp_path / "goose").exists(), "anybody may have put that there"
    theirs.parent.chmod(0o755)
    assert shared_daemon.mozart("backends", "list", **elsewhere).returncode == 0
    assert (tmp_path / "goose").exists(), "it is the user's own"

    said = shared_daemon.mozart("validate", write_score(tmp_path, "", backend={"type": "goose", "command": None}))
    assert f"V230 warning: goose is {project}/goose.yaml here, not the one that is shipped" in said.stdout + said.stderr


# ---- A11 ------------------------------------------------------------------------------------------------------------


def test_A11_nothing_on_pythonpath_is_taken_for_ours(cold: Daemon, score: Callable[..., Path], tmp_path: Path) -> None:
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for name in (
        "agents",
        "backends",
        "cli",
        "ipc",
        "mozartd",
        "workers",
        "orjson",
        "typer",
        "yaml",
        "pydantic",
        "json",
        "mine",
    ):
        (strangers / f"{name}.py").write_text(f"raise SystemExit('hijacked {name}')\n")
    for name in ("mozart", "mozartd"):
        installed = (ROOT / "scripts" / name).read_text().partition("\n")[2]
        (cold.scripts / name).write_text(f"#!{sys.executable}\n{installed}")
    (strangers / "mine.py").write_text("print('mine')")
    cold.environment["PYTHONPATH"] = str(strangers)

    for words in (["--version"], ["list"], ["validate", str(score("say x"))]):
        done = cold.mozart(*words)
        assert done.returncode in (0, 4), (words, done)
        assert "hijacked" not in done.stdout + done.stderr, words
    there = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(strangers)])}
    assert cold.mozart("--version", env=there).returncode == 0, "where that is how we are found"
    agent = score("", name="uses", backend={"command": [sys.executable, "-c", "import mine"]})
    assert wrote(cold, agent) == "mine\n", "agents have what the user put there"
    assert "hijacked" not in cold.printed()


# ---- A2 -------------------------------------------------------------------------------------------------------------


def test_A02_run_says_which_login_agents_get_and_status_where_it_comes_from(
    cold: Daemon, score: Callable[..., Path]
) -> None:
    uses = score("env TOKEN", "env NOWHERE", backend={"env": {"TOKEN": "x-${MINE}", "NOWHERE": "${ALSO}"}})

    def run(path: Path, **env: str) -> str:
        done = cold.mozart("run", path, "--detach", env=env)
        assert done.returncode == 0, done.stderr
        return "".join(line for line in done.stderr.splitlines(True) if line.startswith(("warning", "hint: `mozartd")))

    first = {"ANTHROPIC_API_KEY": "old-secret", "FOO": "1", "MINE": "a", "OPENAI_BASE_URL": "http://a"}
    assert run(score("say x", name="plain"), **first) == "", "it has what we have"
    assert (
        run(uses, **first, ALSO="b").splitlines()[0]
        == "warning: agents do not get ALSO: the daemon has no such variable"
    )
    second = {**first, "ANTHROPIC_API_KEY": "new-secret", "FOO": "2", "MINE": "c", "GH_TOKEN": "t"}
    said = run(uses, **second)
    assert said.splitlines()[:2] == [
        "warning: agents get the daemon's ANTHROPIC_API_KEY, MINE, which is not what it is here",
        "warning: agents do not get ALSO, GH_TOKEN: the daemon has no such variable",
    ]
    assert "`mozartd status --env`" in said
    assert "submit_env" in said
    third = run(score("say x", name="plain", backend={"env": {"OPENAI_BASE_URL": "http://b"}}))
    assert third.startswith("warning: agents get the daemon's ANTHROPIC_API_KEY, which is not set here\n")

    shown = cold.mozartd("status", "--env").stdout
    assert "secret" not in shown + cold.printed() + said
    assert re.search(r"^ANTHROPIC_API_KEY +the start of the daemon \(mozart run\)$", shown, re.MULTILINE)
    assert re.search(r"^LC_\* +the submitter$", shown, re.MULTILINE)
    told = {
        one["name"]: one["from"] for one in json.loads(cold.mozartd("status", "--env", "--json").stdout)["variables"]
    }
    assert told["FOO"] == "the start of the daemon (mozart run)"
    assert told["PATH"] == "the submitter, else the start of the daemon (mozart run)"


def test_A02_values_are_compared_and_not_told() -> None:
    from ipc.environment import compare, described, is_access

    sent = described(["A_API_KEY", "B_API_KEY", "C"], {"A_API_KEY": "sesame", "B_API_KEY": "other"})
    assert not [one for one in sent.values() if "sesame" in one]
    mine = {"A_API_KEY": "sesame", "B_API_KEY": "mine", "D_BASE_URL": "x", "E": "y"}
    assert compare(sent, mine, mine.get) == {"other": ["B_API_KEY"], "missing": ["C"], "only": ["D_BASE_URL"]}
    assert described(["A"], {"A": "1"})["A"] != described(["A"], {"A": "1"})["A"], "each time with another salt"
    assert compare({"": 1, "../x": "y", "A": None}, (), mine.get) == {"missing": ["A"]}
    assert all(
        map(
            is_access, ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN", "OLLAMA_HOST", "GH_TOKEN"]
        )
    )
    assert not any(map(is_access, ["FOO", "PATH", "VSCODE_GIT_IPC_AUTH_TOKEN", "TOKENIZERS", "MY_URL"]))


def test_A02_what_agents_tell_their_tools_reaches_no_daemon() -> None:
    from mozartd.launch import daemon_environment

    assert daemon_environment({"CLAUDECODE": "1", "CODEX_SANDBOX": "x", "HOME": "/h"}) == {"HOME": "/h"}


# ---- D4, D5 ---------------------------------------------------------------------------------------------------------


@needs_root
def test_D04_without_a_home_nothing_is_made_and_the_way_out_is_said(common: Path, everybodys_python: str) -> None:
    common.chmod(0o777)
    table = [
        ({}, "HOME is not set, and user 54321 has no entry"),
        ({"HOME": "rel"}, "HOME is 'rel', not an absolute path"),
        ({"HOME": "/tmp", "XDG_STATE_HOME": "state"}, "XDG_STATE_HOME is 'state', not an absolute path"),
        ({"HOME": "/tmp", "XDG_RUNTIME_DIR": "./run"}, "XDG_RUNTIME_DIR is './run', not an absolute path"),
        ({"MOZART_HOME": "~/mozart"}, "HOME is not set, and user 54321 has no entry"),
    ]
    for variables, said in table:
        environment = {"HOME": "", "MOZART_HOME": "", **variables}
        done = program(everybodys_python, common, "mozartd", "start", uid=US, env=environment, cwd=common)
        assert done.returncode == 2, done
        assert said in done.stderr
        assert "set MOZART_HOME" in done.stderr
        assert not os.listdir(common)


def test_D05_backends_are_listed_in_a_directory_that_was_deleted(shared_daemon: Daemon, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"rmdir {gone}; {shared_daemon.scripts}/mozart backends"
    done = subprocess.run(
        ["sh", "-c", script], cwd=gone, env=shared_daemon.environment, text=True, capture_output=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert "claude_cli" in done.stdout
    assert "Traceback" not in done.stderr
