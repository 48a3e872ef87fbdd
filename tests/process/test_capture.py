"""Capture of real children: whatever they print, the log holds it, once, in order, and says so in time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from backends.base import Result
from ipc import cri
from tests.process.captured import SECRET, Attempt, Echo, python
from tests.process.daemon import PATIENCE
from workers.capture import BLOCK_BYTES
from workers.pipe import PIPE_BYTES


@pytest_asyncio.fixture
async def attempt(tmp_path: Path) -> AsyncIterator[Callable[..., Attempt]]:
    """`attempt(Echo("stdout"))`; whatever it started and opened is gone afterwards."""
    before = set(os.listdir("/proc/self/fd"))
    made: list[Attempt] = []

    def make(parser: Echo | None = None, **more: Any) -> Attempt:
        made.append(Attempt(tmp_path / f"logs/{len(made)}.log", parser, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()
        # A segment that was complete may be on its way to the disk.
        await each.capture.sync()
    assert set(os.listdir("/proc/self/fd")) <= before


# ---- every byte -----------------------------------------------------------------------------------------------------

PRINTED = {
    "nothing": b"",
    "one line": b"hello\n",
    "no newline at the end": b"hello\nworld",
    "only newlines": b"\n\n\n",
    "not UTF-8": b"\xff\xfe caf\xe9 \xf0\x9f\n\x80\xbf",
    "NUL": b"a\0b\n\0\n\0",
    "carriage returns": b"10 %\r20 %\r30 %\r\ndone\r\n\r",
    "all bytes": bytes(range(256)) * 3 + b"\n" + bytes(range(255, -1, -1)),
    "what looks like a record": b"2026-11-23T02:15:06.123456789Z stdout F fake\nP F\n F \n",
    "unicode line separators": "a\u2028b\x0cc\x85d\n".encode(),
    "many lines": b"".join(b"%d %s\n" % (n, b"x" * (n % 300)) for n in range(20000)),
    "lines around a record's size": b"".join(b"y" * (cri.MAX_CONTENT + n) + b"\n" for n in range(-2, 3)),
    "long lines among short ones": (b"short\n" * 100 + b"z" * 300_000 + b"\n") * 3 + "ä→😀".encode() * 100_000,
}


@pytest.mark.parametrize("printed", PRINTED.values(), ids=PRINTED)
async def test_every_byte_is_kept(attempt: Callable[..., Attempt], tmp_path: Path, printed: bytes) -> None:
    source = tmp_path / "printed"
    source.write_bytes(printed)
    echo = Echo("stdout", "stderr")
    it = attempt(echo)
    await it.ended(it.run("sh", "-c", f"cat {source}; cat {source} >&2"))
    lines = printed.split(b"\n") if not printed.endswith(b"\n") else printed[:-1].split(b"\n")
    lines = lines if printed else []
    assert it.content("stdout") == printed
    assert it.content("stderr") == printed
    it.capture.close()  # now the last bytes are told, if not before
    for stream in ("stdout", "stderr"):
        assert [line for name, line in echo.lines if name == stream] == lines
    assert (it.capture.bytes, it.capture.lines) == (2 * len(printed), 2 * len(lines))
    assert it.capture.size == it.path.stat().st_size == (it.sizes[-1] if it.sizes else 0)
    assert it.capture.tail(100) == printed[-100:].decode(errors="replace")
    assert it.capture.stderr_tail == printed[-16384:].decode(errors="replace")


async def test_every_record_is_one_and_small(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    await it.ended(it.run(*python("w('€'.encode() * 500_000 + b'\\n' + b'end')")))
    block = it.path.read_bytes()
    records = list(cri.records(block))
    assert all(len(line) <= cri.MAX_RECORD for line in block.split(b"\n"))
    assert len(records) > 500_000 * 3 // cri.MAX_CONTENT
    assert [record.full for record in records] == [False] * (len(records) - 2) + [True, False]
    for record in records:
        record.content.decode()  # no character was cut
        assert len(record.time) == 30


async def test_the_streams_keep_their_order(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    child = it.run(*python("for line in sys.stdin.buffer:\n  os.write(2 - int(line) % 2, line)"))
    assert child.stdin
    for n in range(50):
        child.stdin.write(b"%d\n" % n)
        child.stdin.flush()
        await it.until(lambda n=n: it.capture.lines > n)
    child.stdin.close()
    await it.ended(child)
    records = list(cri.records(it.path.read_bytes()))
    assert [record.content for record in records] == [b"%d" % n for n in range(50)]
    assert [record.stream for record in records] == [cri.STDERR, cri.STDOUT] * 25
    assert [record.time for record in records] == sorted(record.time for record in records)


async def test_output_faster_than_it_is_read(attempt: Callable[..., Attempt], agent: str) -> None:
    total = 20_000_000
    it = attempt()
    await it.ended(it.run(agent, f"flood {total}"))
    assert it.capture.lines == -(-total // 180)
    assert all(int(line[:10]) == n for n, line in enumerate(it.content().splitlines()))
    assert len(it.sizes) < it.capture.lines / 100
    assert it.sizes == sorted(it.sizes)


async def test_a_line_of_50_megabytes_is_kept_and_not_in_memory(attempt: Callable[..., Attempt], agent: str) -> None:
    it = attempt(Echo("stdout"))
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await it.ended(it.run(agent, "endless 50000000"))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin
    assert grown < 30_000, "kilobytes"
    assert it.capture.bytes == 50_000_000
    assert it.capture.lines == 1
    assert it.parser
    assert [len(line) for _, line in it.parser.lines] == [4 * 1024 * 1024]
    assert len(it.content()) == 50_000_000


async def test_the_pipe_is_wide(attempt: Callable[..., Attempt]) -> None:
    """An agent may exit at once after so much output, nobody having read yet."""
    it = attempt()
    child = it.run(*python(f"w(b'x' * {PIPE_BYTES - 4096} + b'end'); sys.stdout.flush()"))
    child.wait(PATIENCE)  # the loop does not run meanwhile
    it.capture.drain()
    assert it.content().endswith(b"xend")
    assert it.capture.bytes == PIPE_BYTES - 4093


# ---- in time --------------------------------------------------------------------------------------------------------


async def test_an_unfinished_line_is_shown_and_goes_on(attempt: Callable[..., Attempt]) -> None:
    it = attempt(Echo("stdout"))
    child = it.run("sh", "-c", "printf Working...; read x; printf more; read x; echo ' done'; printf rest")
    for seen in (b"Working...", b"Working...more"):
        await it.until(lambda seen=seen: it.content() == seen)
        assert child.stdin
        child.stdin.write(b"\n")
        child.stdin.flush()
    await it.ended(child)
    records = [(record.full, record.content) for record in cri.records(it.path.read_bytes())]
    assert records == [(False, b"Working..."), (False, b"more"), (True, b" done"), (False, b"rest")]
    assert it.parser
    assert it.parser.lines == [("stdout", b"Working...more done"), ("stdout", b"rest")]
    assert it.capture.lines == 2


async def test_an_unfinished_line_of_one_stream_and_lines_of_the_other(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    child = it.run("sh", "-c", "printf a; read x; echo warning >&2; read x; echo b")
    assert child.stdin
    await it.until(lambda: it.content() == b"a")
    child.stdin.write(b"\n")
    child.stdin.flush()
    await it.until(lambda: it.content("stderr") == b"warning\n")
    child.stdin.write(b"\n")
    child.stdin.flush()
    await it.ended(child)
    assert it.content() == b"ab\n"


async def test_an_event_is_told_in_the_same_turn_after_its_line_is_stored(attempt: Callable[..., Attempt]) -> None:
    it = attempt(Echo("stdout"))
    child = it.run("sh", "-c", "echo result; read x")
    await it.until(lambda: it.events)
    assert it.events == [(Result(True), it.capture.size)]
    assert child.poll() is None


async def test_nobody_watching_nothing_is_said(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    it.sizes.clear()
    it.capture.watched = False
    await it.ended(it.run("sh", "-c", "echo one; echo two"))
    assert it.sizes == []
    it.capture.watched = True
    await it.until(lambda: it.sizes == [it.capture.size])


async def test_a_flood_leaves_the_others_their_turns(attempt: Callable[..., Attempt], agent: str) -> None:
    """Between two turns of anything else no more than a turn's share of the flood is read."""
    flood = attempt()
    flood.run("sh", "-c", "exec yes")
    shares: list[int] = []
    async with asyncio.timeout(PATIENCE):
        while flood.capture.bytes < 20 * BLOCK_BYTES:
            before = flood.capture.bytes
            await asyncio.sleep(0)
            shares.append(flood.capture.bytes - before)
    assert 0 < max(shares) <= BLOCK_BYTES


# ---- ends -----------------------------------------------------------------------------------------------------------


async def test_leftover_children_that_hold_the_pipe_do_not_matter(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    child = it.run("sh", "-c", "echo before; (exec sleep 600) & printf last")
    await it.ended(child)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    assert it.content() == b"before\nlast"


async def test_leftover_children_that_flood_the_pipe_do_not_matter(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    child = it.run("sh", "-c", "exec yes 1>&2 & read x")
    await it.until(lambda: it.capture.bytes > PIPE_BYTES)
    assert child.stdin
    child.stdin.close()
    child.wait(PATIENCE)
    before = it.capture.bytes
    it.capture.drain()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    assert it.capture.bytes - before <= PIPE_BYTES


async def test_drain_and_close_may_come_twice(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    await it.ended(it.run("sh", "-c", "printf text"))
    it.capture.drain()
    await it.capture.sync()
    it.capture.close()
    it.capture.close()
    assert it.content() == b"text"
    assert it.capture.lines == 1


async def test_a_closed_stdout_is_only_the_end_of_stdout(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    child = it.run("sh", "-c", "printf out; exec >&-; read x; echo err >&2")
    await it.until(lambda: it.content() == b"out")
    assert child.stdin
    child.stdin.close()
    await it.ended(child)
    assert (it.content(), it.content("stderr")) == (b"out", b"err\n")


# ---- secrets --------------------------------------------------------------------------------------------------------


async def test_a_secret_in_many_writes_is_masked_everywhere(attempt: Callable[..., Attempt]) -> None:
    it = attempt(Echo("stdout"))
    parts = [SECRET[:9], SECRET[9:], " end", " gh", "p_A1b2", "A1b2" * 8, "\n"]
    child = it.run(*python(f"for part in {parts}:\n  os.write(1, part.encode()); sys.stdin.readline()"))
    assert child.stdin
    for count in range(1, len(parts) + 1):
        await it.turns_until(lambda count=count: it.capture.bytes == len("".join(parts[:count])))
        child.stdin.write(b"\n")
        child.stdin.flush()
    await it.ended(child)
    expected = b"[masked:secret] end [masked:github]"
    assert it.content() == expected + b"\n"
    assert it.parser
    assert it.parser.lines == [("stdout", expected)]
    assert it.capture.tail(100) == expected.decode() + "\n"


async def test_of_a_secret_that_comes_slowly_only_its_public_start_is_shown(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    child = it.run("sh", "-c", f"printf 'key: gh'; read x; echo 'p_{'A1b2' * 9}.'")
    await it.until(lambda: it.content() == b"key: gh")
    assert child.stdin
    child.stdin.close()
    await it.ended(child)
    assert it.content() == b"key: gh[masked:github].\n"


# ---- failures -------------------------------------------------------------------------------------------------------


async def test_a_parser_that_fails_on_a_line_gets_the_next(attempt: Callable[..., Attempt], caplog: Any) -> None:
    it = attempt(Echo("stdout"))
    await it.ended(it.run("sh", "-c", "echo bad; echo bad; echo result"))
    assert [event for event, _ in it.events] == [Result(True)]
    assert it.content() == b"bad\nbad\nresult\n"
    assert caplog.text.count("cannot parse a line of stdout") == 1


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file of this process may grow above `size`: writes fail as on a full disk, after a part was written.

    Left before the test is over: pytest's own report may go to a file, too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def test_a_log_that_cannot_grow_is_an_error_told_once(attempt: Callable[..., Attempt]) -> None:
    it = attempt(Echo("stdout"))
    child = it.run("sh", "-c", "echo first; read x; echo second; echo third; read x; echo result; printf last")
    assert child.stdin
    await it.until(lambda: it.content() == b"first\n")
    with small_files(it.capture.size + 20):
        child.stdin.write(b"\n")
        child.stdin.flush()
        await it.until(lambda: it.errors)
        child.stdin.write(b"\n")
        child.stdin.flush()
        await it.ended(child)
    assert [error.errno for error in it.errors] == [errno.EFBIG]
    assert it.capture.error is it.errors[0]
    assert it.content() == b"first\n", "whole records only"
    assert it.capture.size == it.path.stat().st_size
    assert [event for event, _ in it.events] == [Result(True)], "the agent is read on, so that it can be stopped"
    assert it.capture.tail(100) == "first\nsecond\nthird\nresult\nlast"
    await it.capture.sync()


async def test_a_log_that_cannot_be_made_is_the_callers_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        Attempt(tmp_path / "file" / "log")


# ---- spool files ----------------------------------------------------------------------------------------------------


async def test_a_spool_is_shown_while_it_is_written(attempt: Callable[..., Attempt]) -> None:
    it = attempt(Echo("stdout"))
    child = it.spool("sh", "-c", "echo one; read x; printf two; read x; echo; head -c 20000000 /dev/zero; echo end")
    assert child.stdin
    for seen in (b"one\n", b"one\ntwo"):
        await it.until(lambda seen=seen: it.content() == seen)
        child.stdin.write(b"\n")
        child.stdin.flush()
    await it.ended(child)
    assert it.content() == b"one\ntwo\n" + bytes(20_000_000) + b"end\n"
    assert sorted(os.listdir(it.path.parent)) == [".mozart-logs", it.path.name], "the spool is gone"


async def test_a_spool_gives_its_disk_back_while_it_is_read(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    child = it.spool("sh", "-c", "head -c 40000000 /dev/zero; read x")
    await it.until(lambda: it.capture.bytes == 40_000_000)
    spool = os.stat(f"{it.path}.spool")
    assert spool.st_size == 40_000_000
    assert spool.st_blocks * 512 < 20_000_000
    assert child.stdin
    child.stdin.close()
    await it.ended(child)


async def test_what_a_spool_got_after_the_last_turn_is_drained(attempt: Callable[..., Attempt]) -> None:
    it = attempt()
    child = it.spool("sh", "-c", "head -c 5000000 /dev/zero; printf end")
    child.wait(PATIENCE)  # the loop does not run meanwhile
    it.capture.drain()
    assert it.content() == bytes(5_000_000) + b"end"
    assert it.capture.lines == 1


def test_blocks_are_smaller_than_the_pipe() -> None:
    """Else one turn could take all, and the writer would always wait for the reader."""
    assert BLOCK_BYTES < PIPE_BYTES
    reading, writing = os.pipe()
    try:
        assert fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES) == PIPE_BYTES
    finally:
        os.close(reading)
        os.close(writing)
