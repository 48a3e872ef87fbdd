"""What outsiders decide the time or memory of is done where it can be given up."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ipc.connection import hello
from ipc.frames import FrameDecoder
from tests.process.daemon import Daemon, wait_until, works_of
from tests.process.worker import Peer

#: On 60 underscores and another letter, `re` is busy for hours.
HOSTILE = r"^(\w\w|\w)+$"


def test_C03_a_hostile_pattern_keeps_nobody_waiting(peer: Peer) -> None:
    peer.workspace("text").write_text("_" * 60 + "!")
    attempts = [
        peer.assign("say done", sheet=n, validations=[{"type": "content_regex", "path": "text", "pattern": pattern}])
        for n, pattern in enumerate((HOSTILE, r"(\w\w|\w)" * 40 + "#", r"(?:_?_?)*#"), 1)
    ]
    wait_until(lambda: len(works_of(peer.pid)) == len(attempts))
    assert peer.play("say quick", sheet=9)["verdict"] == "ok"
    for attempt in attempts:
        peer.cancel(attempt)
        assert peer.finish(attempt)["verdict"] == "cancelled"
    wait_until(lambda: not works_of(peer.pid))


def test_C03_what_takes_too_long_or_too_much_is_given_up() -> None:
    from ipc.forkserver import Bounds, ForkServer, GivenUpError

    server = ForkServer()
    try:
        with pytest.raises(GivenUpError) as late:
            server.call(Bounds(1.0), re.search, HOSTILE, "_" * 60 + "!")
        with pytest.raises(GivenUpError) as large:
            server.call(Bounds(5.0, memory=32 << 20), str.center, "x", 1 << 30)
        assert (late.value.why, large.value.why) == ("time", "memory")
        with pytest.raises(ValueError, match="invalid literal"):
            server.call(Bounds(5.0), int, "x")
        assert server.call(Bounds(5.0), len, "still there") == 11
    finally:
        server.close()


def test_C06_links_that_lead_upward_and_giants_end(peer: Peer) -> None:
    root = peer.workspace("a").parent
    for name in "abc":
        (root / name).symlink_to(".")
    peer.workspace("sub").mkdir()
    peer.workspace("sub/one.md").write_text("one")
    (root / "named").symlink_to("sub")
    patterns = ["**/*.md", "*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*.md", "named/*.md", "{{ workspace }}/sub/o*"]
    started = time.monotonic()
    report = peer.play("say done", capture={"capture_files": patterns, "max_output_chars": 10})
    assert report["captured"] == {"sub/one.md": "one", "named/one.md": "one"}
    assert time.monotonic() - started < 10


def test_C06_a_giant_is_given_up_with_its_attempt(peer: Peer) -> None:
    giant = peer.workspace("giant")
    giant.touch()
    os.truncate(giant, 1 << 42)
    rule = {"type": "content_contains", "path": "giant", "pattern": "needle"}
    attempts = [peer.assign("say done", sheet=n, validations=[rule]) for n in range(1, 5)]
    wait_until(lambda: len(works_of(peer.pid)) == 4)
    for attempt in attempts:
        peer.cancel(attempt)
        assert peer.finish(attempt)["verdict"] == "cancelled"
    wait_until(lambda: not works_of(peer.pid))


def test_C06_entries_are_bounded(tmp_path: Path) -> None:
    from workers import workspace

    for n in range(60):
        (tmp_path / f"{n}.md").touch()
    found, left_out = workspace.collect(["*.md"], str(tmp_path), 10, most=50)
    assert 0 < len(found) < 60
    assert "50 entries" in left_out


def test_D16_a_file_too_large_for_a_pattern_is_not_judged(peer: Peer) -> None:
    large = peer.workspace("large")
    large.touch()
    os.truncate(large, 200_000_000)
    report = peer.play("say done", validations=[{"type": "content_regex", "path": "large", "pattern": "a.c"}])
    (found,) = report["validations"]
    assert (found["passed"], found["code"]) == (False, "E205")
    assert "cannot match a pattern in large: 200,000,000 bytes" in found["detail"]


NESTED = "[[1]*99999]*99999 == [[1]*99999+[]]*99999"


def test_C21_an_expression_is_bounded_in_what_it_looks_at_and_makes() -> None:
    from ipc.score.expressions import ExpressionError, compile_expression

    small = "[[[[[[[[[[1]*9]*9]*9]*9]*9]*9]*9]*9]*9]"
    hostile = [
        NESTED, " and ".join([NESTED] * 20), f"{small} == {small}", f"str({small}) == ''", f"1 in {small}",
        f"max({small}, {small})", f"{small} < {small}", "+".join(["'a' * 99999"] * 40) + " == ''", "str([[0]*99999]*99999)",
        "any([[0]*99999]*9) and all([0]*99999)", "big == big", "'x' in big", "float('1' * 99999) > len(str([big] * 99))",
    ]  # fmt: skip
    variables = {"big": [["x" * 1000] * 1000] * 50}
    for text in hostile:
        started = time.process_time()
        with pytest.raises(ExpressionError):
            compile_expression(text).evaluate(variables)
        assert time.process_time() - started < 0.05, text
    allowed = {"items": [str(n) for n in range(5000)], "text": "word " * 100_000}
    assert compile_expression("'4999' in items and 'word' in text and len(items) > 3").evaluate(allowed) is True


def test_C21_what_can_be_known_is_refused_and_the_rest_fails_its_sheet(
    shared_daemon: Daemon, score: Callable[..., Path]
) -> None:
    known = score("say one", "say two", sheet={"skip_when": {2: NESTED}})
    assert "too large" in shared_daemon.mozart("validate", known).stdout
    hidden = score("say one", "say two", sheet={"skip_when": {2: f"sheets[1].status == 'x' or {NESTED}"}})
    job = shared_daemon.run(hidden)
    assert shared_daemon.wait(job)["state"] == "failed"
    sheets = shared_daemon.job(job)["sheets"]
    assert sheets[1]["state"] == "failed"
    assert "too large to compute" in sheets[1]["reason"]


#: Templates that no bound on loops and texts stops.
BOMBS = [
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "{% set x = 'a' * 1000000 %}{% set y = [x] * 7 %}{% for i in range(90000) %}{{ (y | join(x)) | length }}{% endfor %}",
    "{% for i in range(900) %}{{ ('a' * 99999) | replace('a', 'b' * 9999) | length }}{% endfor %}",
    "{% for i in range(90000) %}{{ range(90000) | sum }}{% endfor %}",
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 50 + "{{ a }}",
    "{{ '%s' | format('a' * 999999) | replace('a', 'a' * 9999) | replace('a', 'a' * 9999) }}",
    "{% for i in range(99999) %}{{ 'a' ~ i }}{{ ('b' * 99999) | upper | length }}{% endfor %}",
]


def test_C05_templates_are_bounded_in_time_and_memory() -> None:
    from ipc.forkserver import Bounds
    from ipc.score.rendering import rendered
    from ipc.score.template import TemplateProblem, render

    for text in BOMBS:
        started = time.monotonic()
        with pytest.raises(TemplateProblem) as caught:
            pytest.fail(f"{text}: {len(rendered(render, text, {}, bounds=Bounds(0.3, 256 << 20)))}")
        assert time.monotonic() - started < 10, text
        assert re.search(
            r"takes more than|needs more than|longer than|grows beyond|too large|steps", caught.value.message
        ), text


def test_C05_simple_templates_are_rendered_on_the_spot() -> None:
    from ipc.score.template import TooMuchError, render

    variables = {"name": "x", "files": ["a", "b"], "n": 3, "previous_outputs": {1: "y" * 10_000}}
    simple = [
        "plain",
        "do {{ name | upper }} in {{ n + 1 }}{% if n > 2 and name is defined %} soon{% elif x is defined %}{% endif %}",
        "{% for file in files %}{{ loop.index }}. {{ file }}\n{% endfor %}{{ previous_outputs[1] }}"
        "{% set a = name ~ n %}{{ a }}",
    ]
    for text in simple:
        assert render(text, variables, at_once=True) == render(text, variables)
    for text in [*BOMBS, "{{ name }}" * 1000, "{{ " + "name + " * 2000 + "name }}", "{% include 'x' %}"]:
        with pytest.raises(TooMuchError):
            render(text, variables, at_once=True)


def test_C05_neither_worker_nor_client_stands_still(peer: Peer, tmp_path: Path) -> None:
    prompt = {"template": BOMBS[0], "template_file": None, "variables": {}, "stakes": None, "thinking_method": None}
    attempt = peer.assign("", prompt=prompt)
    assert peer.play("say quick", sheet=2)["verdict"] == "ok"
    peer.cancel(attempt)
    assert peer.finish(attempt)["verdict"] == "cancelled"
    wait_until(lambda: not works_of(peer.pid))


def beside(tmp_path: Path, **prompt: object) -> Path:
    path = tmp_path / "s.yaml"
    fields = {"workspace": str(tmp_path / "w"), "sheet": {"size": 1, "total_items": 1}, "prompt": prompt}
    backend = {"type": "claude_cli", "system_prompt_file": str(tmp_path / "system")} if "system" in prompt else {}
    prompt.pop("system", None)
    path.write_text(json.dumps({"name": "s", **fields, **({"backend": backend} if backend else {})}))
    return path


def test_C04_what_stands_beside_a_score_is_a_regular_file_of_bounded_size(tmp_path: Path) -> None:
    from ipc.score.load import read_score

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "linked").symlink_to("pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "directory").mkdir()
    (tmp_path / "giant").touch()
    os.truncate(tmp_path / "giant", 1 << 40)
    for name in ("pipe", "linked", "device", "directory", "giant"):
        for prompt in (
            {"template": f"{{% include '{name}' %}}"},
            {"template_file": name},
            {"template": "x", "system": 1},
        ):
            (tmp_path / "system").unlink(missing_ok=True)
            (tmp_path / "system").symlink_to(name)
            found = read_score(str(beside(tmp_path, **prompt))).problems
            words = "; ".join(problem.message for problem in found)
            assert re.search(r"it is (a pipe|a device|a directory|larger than)|outside", words), (name, prompt, words)


def test_C04_what_was_submitted_is_what_runs(tmp_path: Path) -> None:
    from ipc.score.load import read_score
    from ipc.score.prompt import assemble

    (tmp_path / "one").write_text("one{% include 'two' %}")
    (tmp_path / "two").write_text("two")
    (tmp_path / "system").write_text("be kind")
    path = beside(tmp_path, template="{% include 'one' %}{% include 'no' ignore missing %}", system=1)
    score = read_score(str(path)).score
    for name in ("one", "two", "system"):
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
    assert assemble(score.prompt, {}, [], directory=str(tmp_path)) == "onetwo\n"
    assert score.backend.system_prompt_text == "be kind"


def test_A17_a_file_that_is_swapped_while_it_is_opened_leaks_nothing(tmp_path: Path) -> None:
    from ipc.score.template import TemplateProblem, render

    score, outside = tmp_path / "score", tmp_path / "outside"
    score.mkdir()
    outside.mkdir()
    (outside / "f").write_text("secret")
    (score / "real").mkdir()
    (score / "real" / "f").write_text("fine")
    (score / "real" / "link").symlink_to("f")
    swap = (
        "import os, itertools\n"
        f"os.chdir({str(score)!r})\n"
        "for n in itertools.count():\n"
        f"    os.symlink(('real', {str(outside)!r})[n % 2], 'new'); os.rename('new', 'd')\n"
    )
    assert render("{% include 'real/link' %}", {}, str(score)) == "fine"
    with subprocess.Popen([sys.executable, "-c", swap]) as swapper:
        wait_until((score / "d").exists)
        seen = set()
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            try:
                seen.add(render("{% include 'd/f' %}", {}, str(score)))
            except TemplateProblem as problem:
                seen.add(problem.message.rpartition(" is ")[2].split()[0])
        swapper.kill()
    assert "secret" not in seen
    assert "fine" in seen


def memory_of(daemon: Daemon, title: str) -> str:
    """A memory file that the supervisor holds open."""
    assert daemon.process
    directory = f"/proc/{daemon.process.pid}/fd"
    return next(
        f"{directory}/{fd}"
        for fd in os.listdir(directory)
        if os.readlink(f"{directory}/{fd}").startswith(f"/memfd:{title} ")
    )


def test_C21_a_job_that_coordinators_died_over_is_paused_before_it_is_looked_at(
    start_daemon: Callable[..., Daemon], score: Callable[..., Path]
) -> None:
    daemon = start_daemon(workers=1)
    suspect, other = (daemon.run(score("hang", "say done", name=name)) for name in ("suspect", "other"))
    for job in (suspect, other):
        daemon.wait_for(job, "attempt.started")
    Path(memory_of(daemon, "mozart-deaths")).write_text(json.dumps({suspect: 2, other: 1}))
    daemon.kill("coordinator")
    wait_until(lambda: daemon.is_ready() and daemon.job(suspect)["job"]["state"] == "paused")
    assert "the coordinator died 2 times" in daemon.job(suspect)["job"]["reason"]
    assert "the coordinator died 2 times" in daemon.mozart("status", suspect).stdout
    assert daemon.job(other)["job"]["state"] == "running"
    daemon.mozart("resume", suspect)
    assert json.loads(Path(memory_of(daemon, "mozart-deaths")).read_text()) == {other: 1}
    for job in (suspect, other):
        daemon.mozart("cancel", job)


async def test_C22_what_a_process_is_at_outlives_it() -> None:
    import asyncio

    from ipc import blame

    slots, seen = blame.new_slots(), []

    async def work(name: str) -> str:
        for _ in range(2):
            seen.append((name, blame.read(slots, 7)))
            await asyncio.sleep(0)
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        except TimeoutError:
            seen.append((name, blame.read(slots, 7)))
        return name

    blame.begin(slots, 7)
    try:
        done = await asyncio.gather(*(blame.steps_of(name, work(name)) for name in ("song-1:1:1", "song-2:1:1")))
        assert done == ["song-1:1:1", "song-2:1:1"]
        assert len(seen) == 6
        assert all(name == marked for name, marked in seen)
        assert blame.read(slots, 7) == ""
    finally:
        blame.begin(blame.new_slots(), 0)
        os.close(slots)


def test_C25_a_price_is_bounded_as_tokens_are() -> None:
    from backends.records import price
    from mozartd.coordinator.budget import cost_of
    from tests.unit.scenes import make_job

    assert [price(told) for told in (1e308, -1.0, 0.5, "1", None, True)] == [1e6, 0.0, 0.5, None, None, None]
    report = {"tokens": None, "cost_usd": 1e308, "model": None}
    assert cost_of(report, make_job(1).policy, {}) == 1e6  # type: ignore[arg-type]


def test_C25_what_a_file_may_hold_is_answered_in_words(tmp_path: Path) -> None:
    from ipc.score.document import parse_document, parse_value
    from ipc.score.problems import ScoreError
    from ipc.score.variables import decode, encode, merge

    odd = {"__entries__": [[[1], 2], [{"a": 1}, 3]]}
    assert decode(odd) == odd
    assert merge({}, {"v": odd})["v"] == odd
    assert decode(encode({1: {2.5: "x"}})) == {1: {2.5: "x"}}
    for text in ("1:" * 300_000 + "1", "1" + ":59" * 200_000 + ".5", "-" + "1" * 600_000, "0x" + "f" * 600_000):
        started = time.process_time()
        for read in (parse_value, lambda text, path: parse_document(f"name: {text}\n", path)):
            with pytest.raises(ScoreError, match=r"out of range|not a value"):
                read(text, "s.yaml")
        assert time.process_time() - started < 2


def test_C25_a_profile_that_is_a_pipe_is_refused_in_words(
    cold: Daemon, score: Callable[..., Path], tmp_path: Path
) -> None:
    directory = tmp_path / ".mozart" / "backends"
    directory.mkdir(parents=True)
    os.mkfifo(directory / "piped.yaml")
    path = score("say one", backend={"type": "piped", "command": None})
    for words in (("validate", path), ("run", path, "--no-start"), ("backends",), ("backends", "check", "piped")):
        done = cold.mozart(*words, cwd=tmp_path, timeout=20)
        said = done.stdout + done.stderr
        assert "it is a pipe" in said or words == ("backends",), said
        assert "Traceback" not in said


def ask_raw(daemon: Daemon, method: str, **params: object) -> str:
    """The message of the refusal, whatever our own client would send."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(daemon.socket)
        decoder, answers = FrameDecoder(), []
        for frame in (hello("client"), {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}):
            body = json.dumps(frame).encode()
            raw.sendall(len(body).to_bytes(4, "big") + body)
        while not any(frame.get("id") == 1 for frame in answers):
            data = raw.recv(65536)
            assert data, "the connection was dropped"
            answers += decoder.feed(data)
    return str(next(frame for frame in answers if frame.get("id") == 1)["error"]["message"])


def test_C25_what_a_raw_client_nests_too_deeply_is_refused_in_words(
    shared_daemon: Daemon, score: Callable[..., Path]
) -> None:
    from ipc.score.load import load_score

    document = load_score(str(score("say one"))).score.model_dump(mode="json")
    for depth in (200, 480):
        deep: object = 1
        for _ in range(depth):
            deep = [deep]
        document["prompt"]["variables"] = {"deep": deep}
        assert "levels deep" in ask_raw(shared_daemon, "submit", score=document, path="/s.yaml", environment={})
        assert "must be text" in ask_raw(shared_daemon, "status", job=[deep])
    assert shared_daemon.is_ready()


def shipped_patterns() -> list[str]:
    import backends

    found = []
    for name in backends.shipped():
        known = backends.load(name).profile  # type: ignore[attr-defined]
        found += [message.pattern for message in known.messages] + [known.output.success, known.output.failure]
    return [pattern for pattern in found if pattern]


def test_C23_shipped_patterns_take_time_in_proportion_to_what_they_search() -> None:
    for pattern in shipped_patterns():
        literals = re.sub(r"\\[sSwdb]|\(\?i\)|[\\^$()|?*+]|\{[\d,]*\}", " ", pattern)
        bait = [
            "\n",
            " ",
            "\t",
            "a",
            "a ",
            "a\n",
            "'",
            "4",
            *(word + " " for word in literals.split()),
            literals,
            literals + "\n",
        ]
        for search in (pattern, *([] if pattern.startswith("(?i)") else [rf"(?:{pattern})\s*\Z"])):
            for piece in bait:
                text = (piece * 16_384)[:16_384]
                started = time.process_time()
                re.search(search, text, re.MULTILINE)
                assert time.process_time() - started < 0.25, (search, piece)


def test_C23_an_authors_pattern_keeps_nobody_waiting(peer: Peer) -> None:
    options = {"rate_limit_patterns": [r"(\w+\s?)+$", "too many"]}
    script = "err " + "a" * 60 + "!\nexit 1"
    attempt = peer.assign(script, backend=options)
    wait_until(lambda: works_of(peer.pid))
    assert peer.play("say quick", sheet=2)["verdict"] == "ok"
    peer.cancel(attempt)
    assert peer.finish(attempt)["verdict"] == "cancelled"
    found = peer.play("err too many\nexit 1", sheet=3, backend=options)
    assert (found["verdict"], found["code"]) == ("rate_limited", "E102")


def test_C23_which_patterns_are_tame() -> None:
    from backends.patterns import is_tame

    tame = [
        "rate.?limit",
        "429",
        r"(?i)too many requests|quota (?:reached|exceeded)",
        r"\d{3}",
        "try again in .{1,20} s",
    ]
    wild = [r"(a+)+$", r"a*", r"(a|b|ab){9}", r"(\w\w|\w)" * 20, r"(a)\1", ".{1,999}x", "(?=a)b", "(", "a" * 501]
    assert [pattern for pattern in tame if not is_tame(pattern)] == []
    assert [pattern for pattern in wild if is_tame(pattern)] == []


def test_F05_a_locale_without_the_characters_of_a_score_changes_nothing(cold: Daemon, tmp_path: Path) -> None:
    cold.environment |= {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    path = tmp_path / "é→.yaml"
    score = {
        "name": "wé→s",
        "workspace": str(tmp_path / "wé→s"),
        "sheet": {"size": 1, "total_items": 1},
        "backend": {"type": "command", "command": "sh -s 'é→'"},
        "retry": {"max_retries": 0},
        "prompt": {"template": 'echo "$1" "$LC_ALL" > wé→s/né→\nexit 0\n'},
        "validations": [{"type": "content_contains", "path": "né→", "pattern": "é→ POSIX"}],
    }
    path.write_text(json.dumps(score, ensure_ascii=False), encoding="utf-8")
    done = cold.mozart("run", os.fsencode(path), cwd=tmp_path, timeout=50, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
