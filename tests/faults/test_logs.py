"""Reading logs, and the one way to a person's eyes: the faults that were found in `mozart logs` and in what verbs print."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from cli.commands.logs import since_time
from cli.durations import moment_of
from cli.lines import ALL, Selection
from cli.main import run
from cli.verbs import VERBS
from ipc.cri import STREAMS
from ipc.errors import EXIT_OUTPUT, EXIT_USAGE, MozartError
from mozartd.coordinator.reading import tail_starts
from tests.bench import MB, hostile_logs
from tests.faults.verbs import Said, every_verb, run_all, run_here
from tests.process.asking import open_gate
from tests.process.daemon import PATIENCE, Daemon, wait_until
from tests.process.test_cli import Terminal

__all__ = ["run_here"]

Score = Callable[..., Path]


# ---- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", hostile_logs.HOSTILE)
def test_F01_showing_costs_the_same_whatever_an_agent_prints(name: str) -> None:
    """Two MB were more than ten minutes, and are some tens of milliseconds."""
    block = hostile_logs.HOSTILE[name]
    for raw in (False, True):
        assert hostile_logs.seconds(block, MB, ALL, raw) < 1.5
    assert hostile_logs.seconds(block, MB, Selection("stdout"), True) < 1.5


def test_F01_a_log_of_what_looks_like_heads_is_shown_exactly(shared_daemon: Daemon, score: Score) -> None:
    line = b" stdout P\n"
    path = score("", backend={"command": ["sh", "-c", "yes ' stdout P' | head -n 26000"]})
    job = shared_daemon.run(path)
    shared_daemon.wait(job)
    done = shared_daemon.mozart("logs", job, "--raw", timeout=10)
    assert done.stdout.encode() == line * 26000


# ---- stdout that takes nothing --------------------------------------------------------------------------------------


def test_D02_what_cannot_be_written_is_one_line_and_an_exit_code_of_its_own(
    calm_daemon: Daemon, score: Score, run_here: Callable[..., Said]
) -> None:
    path = score("say hello", validations=[{"type": "command_succeeds", "command": "true"}])
    job = calm_daemon.run(path)
    calm_daemon.wait(job)
    closed = [["status"], ["logs", job, "--raw"], ["plan", "--help"], ["--version"]]
    said = [(words, code, err.decode()) for words, code, _, err in run_all(calm_daemon, closed, ">&-")]
    full = [*every_verb(job, str(path)), ["logs", job, "--raw"]]
    said += [(words, code, err) for words, code, _, err in run_here(full, to="/dev/full")]
    told = set()
    for words, code, err in said:
        lines = err.splitlines()
        assert code, (words, err)
        if code == EXIT_OUTPUT:
            assert sum("cannot write to standard output" in line for line in lines) == 1, (words, err)
            told.add(words[0])
        else:
            assert lines[0].startswith("mozart: cannot "), (words, err)
    refused = {"cancel", "pause", "resume", "retry", "modify", "priority", "reorder", "daemon", "hold"}
    assert told | refused >= {*VERBS, "--version"}


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "<&- >&- 2>&-"])
def test_D02_the_daemons_verbs_too(shared_daemon: Daemon, redirection: str) -> None:
    for verb in ("status", "start"):
        _, code, _, err = next(run_all(shared_daemon, [[verb]], redirection, "mozartd"))
        assert code == EXIT_OUTPUT
        assert len(err.splitlines()) == ("2>&-" not in redirection)


def test_F07_a_closed_descriptor_is_nobody_elses(shared_daemon: Daemon, score: Score) -> None:
    """What an agent prints went into the daemon's socket: here a request, framed, that cancels another job."""
    victim = shared_daemon.run(score("gate go", name="victim"))
    shared_daemon.wait_for(victim, "sheet.running")
    request = b'{"jsonrpc": "2.0", "id": 1, "method": "cancel", "params": {"job": "%s"}}' % victim.encode()
    frame = len(request).to_bytes(4, "big") + request
    job = shared_daemon.run(score(f"bytes {frame.hex()}", name="evil"))
    shared_daemon.wait(job)
    assert shared_daemon.mozart("logs", job, "--raw").stdout.encode() == frame
    _, code, _, _ = next(run_all(shared_daemon, [["logs", job, "--raw"]], ">&-"))
    assert code == EXIT_OUTPUT
    assert shared_daemon.job(victim)["job"]["state"] == "running"
    shared_daemon.request("cancel", job=victim)
    assert shared_daemon.wait(victim)["state"] == "cancelled"


# ---- the last lines -------------------------------------------------------------------------------------------------


def raw(daemon: Daemon, job: str, *how: str) -> str:
    return daemon.mozart("logs", job, "--raw", *how).stdout


def test_F02_the_last_lines_are_those_of_the_stream_with_all_their_parts(shared_daemon: Daemon, score: Score) -> None:
    script = "nonl a\nsleep .15\nerr x\nsleep .15\nsay b\nsleep .15\nerr y\nsleep .15\nsay c\nsleep .15\nnonl d"
    job = shared_daemon.run(score(script))
    shared_daemon.wait(job)
    log = Path(shared_daemon.job(job)["sheets"][0]["attempts"][0]["log"]).read_text()
    assert [line.split()[1:] for line in log.splitlines()] == [
        ["stdout", "P", "a"], ["stderr", "F", "x"], ["stdout", "F", "b"], ["stderr", "F", "y"], ["stdout", "F", "c"],
        ["stdout", "P", "d"],
    ]  # fmt: skip
    assert raw(shared_daemon, job, "--stream", "stdout", "--tail", "1") == "d"
    assert raw(shared_daemon, job, "--stream", "stdout", "--tail", "2") == "c\nd"
    assert raw(shared_daemon, job, "--stream", "stdout", "--tail", "3") == "ab\nc\nd"
    assert raw(shared_daemon, job, "--stream", "stderr", "--tail", "1") == "y\n"
    assert raw(shared_daemon, job, "--tail", "2") == "c\nd"
    assert raw(shared_daemon, job, "--tail", "4") == "ab\ny\nc\nd", "x ended before"
    assert raw(shared_daemon, job, "--tail", "0") == ""
    documents = [
        json.loads(line) for line in shared_daemon.mozart("logs", job, "--json", "--tail", "4").stdout.splitlines()
    ]
    assert [(one["line"], log[one["offset"] :].split(" ")[3][:1]) for one in documents] == [(c, c) for c in "abycd"]


def test_F02_the_last_lines_are_those_a_reader_from_the_front_finds(tmp_path: Path) -> None:
    """Against a model: every log of six records of two streams, whole and in parts, is looked at."""
    log = tmp_path / "1.1.log"
    kinds = [(stream, tag) for stream in STREAMS for tag in "FP"]
    for shape in itertools.product(kinds, repeat=5):
        log.write_bytes(
            b"".join(b"T %s %s %d\n" % (stream.encode(), tag.encode(), n) for n, (stream, tag) in enumerate(shape))
        )
        for stream, wanted in itertools.product(("", *STREAMS), (1, 2, 3)):
            starts = tail_starts(str(log), wanted, stream)
            size = log.stat().st_size // len(shape)
            shown = [n for n, (name, _) in enumerate(shape) if n * size >= starts[name] and stream in ("", name)]
            assert shown == last_lines(shape, wanted, stream), (shape, wanted, stream)


def last_lines(shape: Sequence[tuple[str, str]], wanted: int, stream: str) -> list[int]:
    """The numbers of the records that the last lines are made of."""
    lines: list[list[int]] = []
    for name in STREAMS if not stream else (stream,):
        line: list[int] = []
        for n, (of, tag) in enumerate(shape):
            if of == name:
                line.append(n)
                if tag == "F":
                    lines.append(line)
                    line = []
        lines += [line] if line else []
    return sorted(itertools.chain(*sorted(lines, key=lambda line: line[-1])[-wanted:]))


def test_F08_where_a_follower_stands_is_fixed_when_it_is_accepted(daemon: Daemon, score: Score, tmp_path: Path) -> None:
    path = score("say old\nnonl half\ngate one\nsay Q1\nsay Q2\nsay Q3\ngate two", "say of another sheet")
    job = daemon.run(path)
    gate = tmp_path / "workspace"
    wait_until((gate / "one").exists)
    follower = daemon.popen("logs", "-f", job, "--raw", "--tail", "0")
    wait_until(lambda: daemon.status()["followers"] == 1)
    daemon.kill("coordinator")
    open_gate(gate / "one")
    wait_until((gate / "two").exists)
    open_gate(gate / "two")
    daemon.wait(job)
    out, _ = follower.communicate(timeout=PATIENCE)
    assert out == b"Q1\nQ2\nQ3\nof another sheet\n"


# ---- one way to a person's eyes -------------------------------------------------------------------------------------

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b]52;c;aGk=\x07\x9b31m\r\x0b\u202ereversed\u200b\u2066\ufeff\U000e0041\x1b[8m"
#: As a score can have it.
WRITTEN = HOSTILE.replace("\U000e0041", "")
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]")


@pytest.fixture
def hostile_score(tmp_path: Path) -> Path:
    """A score that is hostile in its file's name, its prompt, its rules and what its agent prints."""
    directory = tmp_path / f"d{HOSTILE}".replace("\n", "")
    directory.mkdir()
    prompt = f"printf '%b' '{WRITTEN}'; printf '%b' '{WRITTEN}' >&2; echo; exit 3 # {{{{ sheet_num }}}}"
    fields = {
        "name": "hostile",
        "workspace": str(directory.with_name("w")),
        "backend": {"type": "command", "command": ["sh", "-s"]},
        "sheet": {"size": 1, "total_items": 2},
        "prompt": {"template": prompt},
        "validations": [{"type": "file_exists", "path": f"no{WRITTEN}", "description": f"d{WRITTEN}"}],
        "retry": {"max_retries": 0},
        "parallel": {"enabled": True},
    }
    path = directory / f"s{HOSTILE}.yaml"
    path.write_text(json.dumps(fields))
    return path


def test_D01_nothing_that_is_shown_acts_on_a_terminal(
    calm_daemon: Daemon, hostile_score: Path, run_here: Callable[..., Said]
) -> None:
    job = calm_daemon.run(hostile_score)
    assert calm_daemon.wait(job)["state"] == "failed"
    broken = hostile_score.with_name(f"b{HOSTILE}.yaml")
    fields = {"name": "x", f"k{WRITTEN}": 1, "sheet": {"total_items": f"x{WRITTEN}"}, "prompt": WRITTEN}
    broken.write_text(json.dumps(fields))
    score, logs = str(hostile_score), ["logs", job, "--sheet", "1"]
    commands = list(every_verb(job, score))
    commands += [words for words in every_verb(HOSTILE, str(broken)) if words not in commands]
    commands += [
        [HOSTILE],
        ["status", f"--{HOSTILE}"],
        ["backends", "show", HOSTILE],
        ["list", "--all"],
        ["run", score],
        ["plan", score, "--prompts"],
    ]
    commands += [[*logs, "-t"], [*logs, "--prompt"], ["status", job, "--json"], ["logs", job, "--json"]]
    for words, _, out, err in run_here(commands):
        if words[0] not in ("completion", "schema"):
            assert not ACTING.search(out), (words, out)
            assert not ACTING.search(err), (words, err)
    assert "\x1b]0;owned" in raw(calm_daemon, job)


def test_D01_colours_stay_on_a_terminal(shared_daemon: Daemon, score: Score) -> None:
    line = "\x1b[31mred\x1b[0m \x1b[8mhidden\x1b[38;5;8mgrey" + HOSTILE
    job = shared_daemon.run(score(f"bytes {line.encode().hex()}0a"))
    shared_daemon.wait(job)
    terminal = Terminal(shared_daemon, "logs", job)
    assert terminal.read_to_end() == 0
    seen = terminal.seen.decode()
    assert "\x1b[31mred\x1b[0m hidden\x1b[38;5;8mgrey" in seen
    assert not ACTING.search(re.sub(r"\x1b\[[0-9;]*m|\r\n", "", seen))
    assert seen.rstrip().endswith("\x1b[0m"), "the person's colours are their own again"


# ---- what was typed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "exact"),
    [
        ("2026-11-23T02:15:06.123456789Z", b"2026-11-23T02:15:06.123456789Z"),
        ("2026-11-23T02:15:06,5+01:00", b"2026-11-23T01:15:06.500000000Z"),
        ("20261123T021506Z", b"2026-11-23T02:15:06.000000000Z"),
        ("2026-11-23T02:15:06Z", b"2026-11-23T02:15:06.000000000Z"),
    ],
)
def test_F04_a_time_is_exact(typed: str, exact: bytes) -> None:
    assert since_time(typed, 0.0) == exact


def test_F04_eight_digits_are_a_day() -> None:
    assert since_time("20261129", 1.8e9) == since_time("2026-11-29", 1.8e9)
    assert since_time("20261329", 1.8e9) == since_time("20261329s", 1.8e9), "no day: seconds"


BIG = "9" * 20
REFUSED = {
    "F03": [["logs", "x", "--since", "0001-01-01T00:00:00+14:00"], ["logs", "x", "--since", "9999-12-31T23:59:59-14:00"],
            ["logs", "x", "--tail", BIG], ["logs", "x", "--sheet", BIG], ["logs", "x", "--attempt", BIG],
            ["events", "--since", BIG], ["list", "--limit", BIG], ["retry", "x", "--from", BIG], ["priority", "x", BIG]],
    "F04": [["logs", "x", "--since", ""], ["logs", "x", "--raw", "--json"], ["logs", "x", "--json", "-t"],
            ["logs", "x", "--prompt", "--tail", "0"], ["list", "--limit", "0"]],
    "D03": [["run", "f\udcff.yaml"], ["logs", "\udcff"], ["cancel", "\udcff"], ["hold", "\udcff"], ["validate", "\udcff"],
            ["limits", "clear", "\udcff"], ["run", "x.yaml", "--var", "a=\udcff"]],
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_F03_F04_D03_a_mistake_is_a_usage_error_in_a_sentence(row: str, capfd: pytest.CaptureFixture[str]) -> None:
    for words in REFUSED[row]:
        assert run(words) == EXIT_USAGE, words
        assert capfd.readouterr().err.startswith("mozart: cannot "), words


def test_D03_a_variable_that_is_no_text_is_a_sentence(shared_daemon: Daemon, score: Score) -> None:
    for name in ("PATH", "TZ"):
        value = shared_daemon.environment.get(name, "") + "/\udcff"
        done = shared_daemon.mozart("run", "--detach", score("say a"), env={name: value})
        assert done.returncode == EXIT_USAGE
        assert f"cannot pass on the variable {name}" in done.stderr


def test_D06_an_empty_job_is_no_job(capfd: pytest.CaptureFixture[str]) -> None:
    """Of every verb that takes one."""
    for words in every_verb("", "score.yaml"):
        if "" in words:
            assert run(words) == 1, words
            assert capfd.readouterr().err.startswith("mozart: cannot find a job ''"), words


def test_D17_an_older_daemon_is_said_to_be_older(shared_daemon: Daemon) -> None:
    with pytest.raises(MozartError) as refused:
        shared_daemon.request("job.compose", job="x")
    assert "the daemon is older than this program" in refused.value.message
    assert refused.value.hint == "mozartd upgrade"


def test_D11_a_score_comes_from_stdin(shared_daemon: Daemon, score: Score, tmp_path: Path) -> None:
    """The workspace is relative to the caller's directory, as it is for `<(…)`."""
    fields = json.loads(score("write here yes").read_text()) | {"workspace": "./beside"}
    script = 'printf %s "$SCORE" | mozart run --detach -; mozart run --detach <(printf %s "$SCORE")'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE,
                          env={**shared_daemon.environment, "SCORE": json.dumps(fields)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    for job in done.stdout.split():
        shared_daemon.wait(job)
        found = shared_daemon.job(job)["job"]
        assert (found["state"], found["workspace"]) == ("completed", str(tmp_path / "beside"))


NOON = 1_796_000_000.0


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("2026-12-01", "2026-12-01T00:00:00"),
        ("2026-12-01T06:00Z", "2026-12-01T06:00:00+00:00"),
        ("2026-12-01T06:00+02:00", "2026-12-01T04:00:00+00:00"),
        ("2026-12-01 06:00", "2026-12-01T06:00:00"),
        ("2020-01-01", "2020-01-01T00:00:00"),
    ],
)
def test_D09_a_time_may_have_a_zone_or_be_a_day(typed: str, moment: str) -> None:
    assert moment_of("--at", typed, NOON) == datetime.fromisoformat(moment).timestamp()


def test_D09_what_was_understood_is_said_and_the_id_comes_first(shared_daemon: Daemon, score: Score) -> None:
    path = score("say hello")
    done = shared_daemon.mozart("run", path, "--at", "2020-01-01T00:00Z")
    job = done.stdout.split()[1]
    assert done.stdout.startswith(f"mozart: {job} is submitted\n")
    assert f"{job} begins at once: 2020-01-01 " in done.stderr
    quiet = shared_daemon.mozart("run", path, "--quiet")
    assert quiet.returncode == 0
    assert "mozart:" not in quiet.stderr
    assert re.fullmatch(r"song-\d+\n", quiet.stdout)
    failed = shared_daemon.mozart("run", score("exit 3", retry={"max_retries": 0}), "-q")
    assert failed.returncode == 1
    assert "E009" in failed.stdout
    later = shared_daemon.popen("run", path, "--at", "+1h")
    seen = b""
    while b"is queued; `mozart status" not in seen:
        seen += later.stdout.read1() if later.stdout else b""  # type: ignore[union-attr]
    job = seen.decode().split()[1]
    shared_daemon.request("cancel", job=job)
    _, err = later.communicate(timeout=PATIENCE)
    assert later.returncode == 3
    assert b"in 1h" in err or b"in 59m" in err
