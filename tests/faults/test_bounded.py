"""What outsiders decide the time or memory of is done where it can be given up."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

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
