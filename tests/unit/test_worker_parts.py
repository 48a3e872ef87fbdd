"""The pure parts of a worker: clocks, whose stray it is, staying inside the workspace, matching, environments, reports."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Result, Verdict, Waiting
from ipc.environment import lookup_in
from ipc.errors import MozartError
from ipc.frames import MAX_FRAME, encode_frame
from ipc.messages import Validation
from workers import match, processes, workspace
from workers.agent import Vigil
from workers.clocks import NO_OUTPUT, POST_RESULT, STALLED, TIMEOUT, Clocks
from workers.environment import base_environment, expand
from workers.halt import Halt
from workers.processes import Seen
from workers.report import EVIDENCE_BYTES, Facts, finished, judge, salvage
from workers.spawn import Children
from workers.stop import Signs, Traces, owns

# ---- clocks ---------------------------------------------------------------------------------------------------------

seconds = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("idle", "last_output", "result_at", "expected"),
    [
        (None, None, None, (110.0, TIMEOUT)),
        (5.0, None, None, (15.0, NO_OUTPUT)),
        (5.0, 20.0, None, (25.0, STALLED)),
        (5.0, 108.0, None, (110.0, TIMEOUT)),
        (5.0, 20.0, 21.0, (41.0, POST_RESULT)),
        (None, 20.0, 100.0, (110.0, TIMEOUT)),
    ],
)
def test_the_nearest_clock(
    idle: float | None, last_output: float | None, result_at: float | None, expected: tuple[float, str]
) -> None:
    assert Clocks(10.0, 100.0, idle, 20.0, result_at).next(last_output) == expected


async def test_a_retry_that_does_not_come_is_a_limit() -> None:
    loop = asyncio.get_running_loop()
    vigil = Vigil(Children(loop), Halt(loop))
    clocks = Clocks(loop.time(), 100.0, None, 20.0)
    vigil.begin(clocks, lambda: None)
    vigil.see(Waiting(50.0))
    assert clocks.next(None) == (pytest.approx(loop.time() + 50.0, abs=1.0), "limited")
    vigil.see(Waiting(None))
    assert clocks.next(None)[1] == "timeout"
    vigil.see(Waiting(0.0))
    await asyncio.wait([vigil.over], timeout=10)
    assert vigil.reason == "limited"
    vigil.close()


async def test_a_result_that_leads_to_no_end_is_a_reason_to_stop() -> None:
    loop = asyncio.get_running_loop()
    vigil = Vigil(Children(loop), Halt(loop))
    vigil.see(Result(False, "it waits for the network"))
    assert not vigil.over.done(), "it may still exit"
    vigil.see(Result(False, "it waits for the network for ever", stop=True))
    assert vigil.over.done()
    assert vigil.reason == POST_RESULT


@given(started=seconds, timeout=seconds, idle=st.none() | seconds, quiet=seconds, result=st.none() | seconds)
def test_no_clock_runs_beyond_the_time_limit(
    started: float, timeout: float, idle: float | None, quiet: float, result: float | None
) -> None:
    due, _ = Clocks(started, timeout, idle, 20.0, result).next(started + quiet)
    assert started <= due <= started + timeout or result is not None


# ---- strays ---------------------------------------------------------------------------------------------------------

#: The other one began later.
MINE = Traces("/state", "song-1:1:1", began=1000, sessions={100})
OTHER = Traces("/state", "song-1:2:1", began=2000, sessions={200})
ENDED = Traces("/state", "song-1:9:1", began=1000)
NO_MARK = (None, None)


@pytest.mark.parametrize(
    ("signs", "running", "mine"),
    [
        (Signs(None, (b"/state", b"song-1:1:1"), 7, 3000), [MINE, OTHER], True),
        (Signs(None, (b"/state", b"song-1:2:1"), 7, 3000), [MINE, OTHER], False),
        (Signs(None, (b"/state", b"song-1:9:1"), 7, 3000), [MINE, OTHER], True),  # it has ended, nobody else will come
        (Signs(None, (b"/elsewhere", b"song-1:1:1"), 7, 3000), [MINE, OTHER], False),  # started by somebody's agent
        (Signs(None, (b"/elsewhere", b"song-1:1:1"), 100, 3000), [MINE, OTHER], True),
        (Signs(None, NO_MARK, 100, 3000), [MINE, OTHER], True),
        (Signs(None, NO_MARK, 200, 3000), [MINE, OTHER], False),
        (Signs(None, NO_MARK, 7, 3000), [MINE, OTHER], False),
        (Signs(None, NO_MARK, 7, 1500), [MINE, OTHER], True),  # born when the other did not run yet
        (Signs(None, NO_MARK, 7, 3000), [MINE], True),
        (Signs(None, NO_MARK, 7, 3000), [], True),
        (Signs(MINE.tag, NO_MARK, 7, 3000), [MINE, OTHER], True),
        (Signs(OTHER.tag, (b"/state", b"song-1:1:1"), 7, 3000), [MINE, OTHER], False),  # whatever it claims
        (Signs(ENDED.tag, NO_MARK, 7, 3000), [MINE, OTHER], True),
        (Signs(99, NO_MARK, 7, 3000), [MINE, OTHER], False),  # somebody else's use of that limit
    ],
)
def test_whose_stray(signs: Signs, running: list[Traces], mine: bool) -> None:
    assert owns(signs, MINE, running) is mine


# ---- processes ------------------------------------------------------------------------------------------------------


def test_a_process_is_seen_and_only_it_is_killed() -> None:
    command = ["/bin/sh", "-c", "echo; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"A": "1", "AB": "2"}) as child:
        # Until its exec is over it has no environment to be read.
        assert child.stdout
        child.stdout.readline()
        state = processes.stat(child.pid)
        assert state is not None
        assert (state.parent, state.zombie) == (os.getpid(), False)
        assert child.pid in processes.own_children()
        assert processes.descendants(os.getpid())[child.pid] == state.started
        assert processes.environment_of(child.pid, (b"A", b"B")) == (b"1", None)
        processes.kill(Seen(child.pid, state.started + 1))
        assert processes.is_alive(Seen(child.pid, state.started))
        processes.kill(Seen(child.pid, state.started))
        assert child.wait(20) == -9
    assert processes.stat(child.pid) is None


def test_a_name_with_parentheses_is_no_riddle(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/cat")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as child:
        state = processes.stat(child.pid)
        assert state is not None
        assert state.parent == os.getpid()
        child.kill()


# ---- the workspace --------------------------------------------------------------------------------------------------

parts = st.lists(st.sampled_from(["..", ".", "in", "out", "a", "/", "/etc"]), max_size=6)


@given(parts)
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    base = tmp_path_factory.getbasetemp() / "confined"
    (base / "in").mkdir(parents=True, exist_ok=True)
    if not (base / "out").is_symlink():
        (base / "out").symlink_to("/etc")
    place = os.path.join(*names) if names else ""
    real = os.path.realpath(base / place)
    if real == str(base) or real.startswith(f"{base}/"):
        assert workspace.confine(place, str(base)) == real
    else:
        with pytest.raises(MozartError, match="outside the workspace"):
            workspace.confine(place, str(base))


def test_a_path_with_the_workspaces_name_in_front_is_outside(tmp_path: Path) -> None:
    with pytest.raises(MozartError):
        workspace.confine(f"{tmp_path}-other/file", str(tmp_path))


def test_a_symlinked_workspace_is_inside_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    link = str(tmp_path / "link")
    assert workspace.confine(f"{link}/file", link) == str(tmp_path / "real" / "file")


def test_changes_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    place = (str(path), str(tmp_path))
    before = workspace.remember(*place)
    assert not workspace.has_changed(before, *place)
    path.write_text("one")
    assert workspace.has_changed(before, *place)
    before = workspace.remember(*place)
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    assert not workspace.has_changed(before, *place)
    path.write_text("two")
    os.utime(path, ns=times)
    assert workspace.has_changed(before, *place), "the same time and size, other content"
    path.unlink()
    assert not workspace.has_changed(before, *place)


def test_what_becomes_of_a_path_after_it_was_confined_leads_nowhere(tmp_path: Path) -> None:
    place = tmp_path / "workspace"
    place.mkdir()
    (tmp_path / "secret").write_text("outside")
    (place / "file").write_text("inside")
    path = workspace.confine("file", str(place))
    opened = workspace.open_file(path, str(place))
    assert opened is not None
    with opened:
        assert opened.read() == b"inside"
    (place / "file").unlink()
    (place / "file").symlink_to("../secret")
    for look in (workspace.open_file, workspace.remember):
        with pytest.raises(MozartError, match="outside the workspace"):
            look(path, str(place))
    (place / "file").unlink()
    # Nobody writes to it: whoever opened it to read would wait for ever.
    os.mkfifo(place / "file")
    assert workspace.open_file(path, str(place)) is None
    assert workspace.remember(path, str(place)).digest == b""


def test_the_end_of_what_matches_is_collected(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.md").write_text("é" * 100 + "end")
    (tmp_path / "secret").symlink_to("/etc/passwd")
    assert workspace.collect(["**/*.md", "secret", "../*"], str(tmp_path), 5) == ({"a/one.md": "ééend"}, "")


# ---- matching -------------------------------------------------------------------------------------------------------


@given(st.text("ab", max_size=30), st.text("ab", max_size=4), st.integers(1, 7))
def test_text_is_found_across_blocks(
    tmp_path_factory: pytest.TempPathFactory, text: str, wanted: str, block: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "text"
    path.write_text(text)
    with path.open("rb") as file:
        assert match.contains(wanted, file.fileno(), block) is (wanted in text)


@pytest.mark.parametrize(
    ("pattern", "plain"), [("plain text: 9/10", True), ("a+", False), ("a.b", False), ("é", False)]
)
def test_what_is_matched_in_the_loop(pattern: str, plain: bool) -> None:
    assert match.is_plain(pattern) is plain


@pytest.mark.parametrize(
    ("pattern", "found"), [("b.d", True), ("xyz", False), ("(?m)^bcd$", True), ("a\N{REPLACEMENT CHARACTER}", True)]
)
def test_patterns_are_matched_in_text(tmp_path: Path, pattern: str, found: bool) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a\xff\nbcd")
    with path.open("rb") as file:
        assert match.matches(pattern, file.fileno()) is found


# ---- environments ---------------------------------------------------------------------------------------------------


def test_references_are_the_daemons_values(tmp_path: Path) -> None:
    (tmp_path / "TOKEN").write_text("from systemd\n")
    lookup = lookup_in({"A": "1", "EMPTY": "", "CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert expand("X", "${A}${EMPTY}-${TOKEN} $A ${} ${1}", lookup) == "1-from systemd $A ${} ${1}"
    with pytest.raises(MozartError, match=r"X.*NOWHERE") as raised:
        expand("X", "${NOWHERE}", lookup)
    assert raised.value.code == "E302"


def test_other_agents_traces_are_dropped() -> None:
    assert base_environment({"CLAUDECODE": "1", "PATH": "/bin"}) == {"PATH": "/bin"}


# ---- reports --------------------------------------------------------------------------------------------------------


def passed(yes: bool) -> Validation:
    return {
        "index": 0, "type": "file_exists", "stage": 1, "description": "report", "passed": yes, "detail": "not there\nat all",
        "code": "" if yes else "E201",
    }  # fmt: skip


def test_what_is_missing_makes_it_incomplete() -> None:
    assert judge(Verdict("ok"), [passed(True)]).name == "ok"
    verdict = judge(Verdict("ok"), [passed(True), passed(False)])
    assert verdict.hint
    assert (verdict.name, verdict.code, verdict.message) == (
        "incomplete",
        "E201",
        "validation failed: report (not there)",
    )
    crash = Verdict("crashed", "E003")
    assert judge(crash, [passed(False)]) is crash


def test_evidence_is_cut_where_a_character_ends() -> None:
    facts = Facts("a:1:1", Verdict("failed", "E009", "it broke", evidence="é" * EVIDENCE_BYTES), note="and so on")
    report = finished(facts, 5.0)
    assert report["evidence"] == "é" * (EVIDENCE_BYTES // 2)
    assert report["message"] == "it broke; and so on"
    assert (report["tokens"], report["limit"], report["ended_at"]) == (None, None, 5.0)


@settings(max_examples=50)
@given(
    st.recursive(
        st.text() | st.integers(-9, 9) | st.none(), lambda deeper: st.lists(deeper) | st.dictionaries(st.text(), deeper)
    )
)
def test_anything_can_be_salvaged(value: object) -> None:
    assert len(encode_frame({"value": salvage(value)})) < MAX_FRAME


def test_what_is_too_much_is_cut_to_its_end() -> None:
    cut = salvage({"tail": "x" * 20_000_000 + "end", "name": "\udcff", "list": [1] * 9999})
    assert cut["tail"].endswith("xend")
    assert len(encode_frame(cut)) < 10_000
