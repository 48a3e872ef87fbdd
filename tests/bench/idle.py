"""What a daemon costs that has nothing to do: processor time, and how often each process wakes up."""

from __future__ import annotations

import os
import time

from tests.bench import Row, at_most, running
from tests.process.daemon import processes_of

SECONDS = 20.0
#: Until the start-up has settled.
SETTLE = 2.0
SHORT = {"SECONDS": 0.5, "SETTLE": 0.1}


def measure() -> list[Row]:
    with running(workers=2, sample=False) as daemon:
        time.sleep(SETTLE)
        pids = processes_of(daemon.home)
        begin, before = time.monotonic(), {pid: usage(pid) for pid in pids}
        time.sleep(SECONDS)
        seconds, after = time.monotonic() - begin, {pid: usage(pid) for pid in pids}
    cpu = 100 * sum(after[pid][0] - before[pid][0] for pid in pids) / seconds
    wakeups = max(after[pid][1] - before[pid][1] for pid in pids) / seconds
    return [
        at_most("idle: processor, all together", cpu, "%", 0.2),
        at_most("idle: wake-ups of the liveliest", wakeups, "/s", 2),
    ]


def usage(pid: int) -> tuple[float, int]:
    """Seconds on a processor, and context switches, of all its threads."""
    seconds, switches = 0.0, 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            seconds += int(file.read().split()[0]) / 1e9
        with open(f"/proc/{pid}/task/{thread}/status") as file:
            switches += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
    return seconds, switches
