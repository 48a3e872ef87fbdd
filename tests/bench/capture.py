"""One flooding child captured into the durable, masked log, against supervisord capturing the same child to a file.

The child is `cat` of 180-byte lines, so that it is never the one waited for. Both sides are real processes that wait with
it at a gate; the clock runs from its opening until the last byte is in the file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from statistics import median

from tests import ROOT
from tests.bench import MB, Row, at_least
from tests.bench.flood import flood

ROUNDS = 9
LENGTH = 180
#: The file that `cat` prints, and how often.
FILE_BYTES, REPEATS = 54_000_000, 3
TOTAL = FILE_BYTES * REPEATS
#: One record's head: time, stream, tag.
HEAD = len(b"2026-11-23T02:15:06.123456789Z stdout F ")
PATIENCE = 60.0
SHORT = {"ROUNDS": 1}


def measure() -> list[Row]:
    supervisord = Path(sys.executable).parent / "supervisord"
    if not supervisord.exists() and not (found := which("supervisord")):
        raise SystemExit("cannot compare with supervisord: it is not installed (make bench installs it)")
    program = str(supervisord) if supervisord.exists() else str(found)
    theirs, ours = [], []
    with tempfile.TemporaryDirectory(prefix="mzb") as name:
        lines = Path(name, "lines")
        lines.write_bytes(flood(FILE_BYTES, LENGTH))
        for n in range(ROUNDS):
            theirs.append(by_supervisord(program, lines, Path(name, f"theirs{n}")))
            ours.append(by_us(lines, Path(name, f"ours{n}")))
    row = at_least("capture of one flood, masked", median(ours), median(theirs), "MB/s", "supervisord", 1.0)
    return [row]


def child(lines: Path) -> str:
    """A shell's command: stand at the gate, then flood."""
    return f"read x < gate; exec cat {' '.join([str(lines)] * REPEATS)}"


def by_supervisord(program: str, lines: Path, directory: Path) -> float:
    directory.mkdir()
    configuration = directory / "configuration"
    configuration.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={directory}/log\npidfile={directory}/pid\n"
        f'[program:flood]\ncommand=sh -c "{child(lines)}"\ndirectory={directory}\nautorestart=false\nstartsecs=0\n'
        f"stdout_logfile={directory}/captured\nstdout_logfile_maxbytes=0\n"
    )
    return rate([program, "-c", str(configuration)], directory, TOTAL)


def by_us(lines: Path, directory: Path) -> float:
    directory.mkdir()
    command = [sys.executable, "-m", "tests.bench.capture", child(lines), str(directory)]
    return rate(command, directory, TOTAL + TOTAL // LENGTH * HEAD)


def rate(command: Sequence[str], directory: Path, size: int) -> float:
    """MB/s of the child's bytes, from the gate to `size` bytes in the file `captured`, or in its segments."""
    gate = directory / "gate"
    os.mkfifo(gate)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        fd = os.open(gate, os.O_WRONLY)
        begin = time.perf_counter()
        os.close(fd)
        wait_for_size(directory, size, begin + PATIENCE)
        return TOTAL / MB / (time.perf_counter() - begin)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        for captured in directory.glob("captured*"):
            captured.unlink()


def wait_for_size(directory: Path, size: int, deadline: float) -> None:
    # Looking costs both sides the same, and nobody tells: supervisord has no event for the last byte.
    while sum(path.stat().st_size for path in directory.glob("captured*")) < size:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"the log in {directory} did not come to {size} bytes")
        time.sleep(0.002)


def capture(command: str, directory: str, bare: bool) -> None:
    """Our side: what a worker does with an agent's output, with nothing else in the process. `bare`: and without a mask."""
    import uvloop

    from workers.capture import Capture
    from workers.mask import Mask, preload

    class Unmasked(Mask):
        """Looks at nothing."""

        def hits(self, block: bytes) -> list[tuple[int, int]]:
            return []

    preload()  # as a worker's parent does, before any agent runs
    pipes = {"stdout": os.pipe(), "stderr": os.pipe()}
    out, err = (writing for _, writing in pipes.values())
    subprocess.Popen(["sh", "-c", command], cwd=directory, stdout=out, stderr=err)
    os.close(out)
    os.close(err)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        log = Capture(
            loop, f"{directory}/captured", Unmasked() if bare else Mask(), None, lambda event: None, lambda size: None
        )
        for name, (reading, _) in pipes.items():
            log.attach(name, reading)
        await stopped.wait()
        log.close()

    uvloop.run(run())


if __name__ == "__main__":
    # What `by_us` and `masking` run.
    parser = argparse.ArgumentParser(prog="python -m tests.bench.capture")
    parser.add_argument("command")
    parser.add_argument("directory")
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    capture(options.command, options.directory, options.bare)
